//! Files as people and tools write them, and every way in which they can be broken.

use serde_json::{Value, json};

use super::*;

fn values(text: &str) -> Vec<Value> {
    read("a.yaml", text.as_bytes()).expect("the file is good").into_iter().map(|it| it.value).collect()
}

fn place(text: &str, document: usize, pointer: &str) -> (u32, u32, u32) {
    let documents = read("a.yaml", text.as_bytes()).expect("the file is good");
    let span = Places::default().of(text.as_bytes(), documents[document].place, pointer);
    (span.line, span.column, span.length)
}

fn problem(name: &str, bytes: &[u8]) -> (u32, u32, String) {
    let problem = read(name, bytes).expect_err("the file is bad");
    assert_eq!(problem.code, error_code::UNREADABLE);
    assert!(!problem.help.is_empty() && problem.file == name);
    (problem.line, problem.column, problem.message)
}

#[test]
fn documents_that_are_empty_are_left_out() {
    let text = "# a comment\n---\n---\na: 1\n---\nnull\n---\n# nothing\n---\nb: 2\n...\n";
    assert_eq!(values(text), [json!({"a": 1}), json!({"b": 2})]);
    let documents = read("a.yaml", text.as_bytes()).unwrap();
    assert_eq!(place(text, 1, "/b").0, 10, "{documents:?}");
    assert!(values("").is_empty() && values("\n# only words\n").is_empty());
}

#[test]
fn yaml_is_read_as_kubernetes_reads_it() {
    let text = "mode: 0644\nanswer: yes\nquoted: \"yes\"\nday: 2001-01-01\nnothing:\ntag: !!str 5\nforced: !!int \"3\"\n\
                on: 1\n0x10: a\nbig: 123456789012345678\ncpu: 1.0\nlocal: !mine 12\n";
    let expected = json!({
        "mode": 420, "answer": true, "quoted": "yes", "day": "2001-01-01", "nothing": null, "tag": "5", "forced": 3,
        "true": 1, "16": "a", "big": 123456789012345678_i64, "cpu": 1, "local": "12",
    });
    assert_eq!(values(text), [expected]);
    assert_eq!(values("a: |\n  x\n  y\nb: >-\n  x\n  y\n"), [json!({"a": "x\ny\n", "b": "x y"})]);
}

#[test]
fn keys_that_are_no_text_are_warned_about() {
    let text =
        "data:\n  on: a\n  0x10: b\n  \"off\": c\n  false: d\n  8080: e\n  1_000: f\n  2001-01-01: g\n";
    let warnings: Vec<_> = read("a.yaml", text.as_bytes()).unwrap().remove(0).warnings;
    let found: Vec<_> = warnings.iter().map(|it| (it.line, it.column, it.message.as_str())).collect();
    let expected = [(3, 3, "the key `0x10` is read as `16`"), (7, 3, "the key `1_000` is read as `1000`")];
    assert_eq!(found[1..], expected);
    assert!(warnings.iter().all(|it| it.code == error_code::KEY_NOT_TEXT));
    assert_eq!(found[0], (2, 3, "the key `on` is read as `true`"));
    assert_eq!(warnings[0].help, "put the key in quotes: `\"on\"`");
}

#[test]
fn keys_that_become_one_are_an_error() {
    let both = |text: &str| problem("a.yaml", text.as_bytes());
    let (line, column, message) = both("data:\n  on: \"1\"\n  yes: \"2\"\n");
    assert_eq!(
        (line, column, message.as_str()),
        (3, 3, "`on` and `yes` are one key: both are read as `true`")
    );
    for text in
        ["y: 1\ntrue: 2\n", "\"true\": 1\non: 2\n", "0x10: 1\n16: 2\n", "1_0: 1\n10: 2\n", "010: 1\n8: 2\n"]
    {
        assert!(both(text).2.contains("are one key"), "{text}");
    }
    assert_eq!(values("a: &a {on: 1}\nb:\n  <<: *a\n  yes: 2\n")[0]["b"], json!({"true": 2}));
}

#[test]
fn anchors_and_merge_keys_are_taken_apart() {
    let text =
        "x: &a {p: 1, q: 2}\na:\n  <<: *a\n  q: 3\nb:\n  q: 4\n  <<: *a\nc:\n  <<: [*a, {r: 1, p: 9}]\n";
    let all = &values(text)[0];
    assert_eq!(all["a"], json!({"p": 1, "q": 3}));
    // So does the library of Kubernetes, whatever the specification says.
    assert_eq!(all["b"], json!({"q": 2, "p": 1}));
    assert_eq!(all["c"], json!({"r": 1, "p": 1, "q": 2}));
    assert_eq!(place(text, 0, "/a/p"), (1, 11, 1), "merged keys are where they were written");
    assert_eq!(values("z:\n  \"<<\": {a: 1}\n"), [json!({"z": {"<<": {"a": 1}}})]);
}

#[test]
fn json_texts_follow_each_other() {
    let text = "{\"a\": 1}\n\n{\"b\": [true, null, 1.5, \"\\ud83d\\ude00\"]} null [1]";
    assert_eq!(values(text), [json!({"a": 1}), json!({"b": [true, null, 1.5, "😀"]}), json!([1])]);
    // JSON separated as YAML is, and YAML in flow style.
    assert_eq!(values("{\"a\": 1}\n---\n{\"b\": 2}\n"), [json!({"a": 1}), json!({"b": 2})]);
    assert_eq!(values("{a: 1, b: yes}"), [json!({"a": 1, "b": true})]);
    assert_eq!(read("a.json", "\u{feff}{\"a\": 1}".as_bytes()).unwrap()[0].value, json!({"a": 1}));
}

#[test]
fn pointers_have_places_in_yaml() {
    let text = "a: 1\nspec:\n  list:\n    - name: x\n    - name: äöü  # here\n      port: 80\n";
    assert_eq!(place(text, 0, "/a"), (1, 4, 1));
    assert_eq!(place(text, 0, "/spec"), (2, 1, 4));
    assert_eq!(place(text, 0, "/spec/list/1/name"), (5, 13, 3));
    assert_eq!(place(text, 0, "/spec/list/1/port"), (6, 13, 2));
    assert_eq!(place(text, 0, "/spec/list/1"), (5, 7, 1), "an item of a list has no key");
    assert_eq!(place(text, 0, "/spec/list/7/name"), (3, 3, 4), "the nearest part that exists");
    assert_eq!(place(text, 0, ""), (1, 1, 1));
}

#[test]
fn pointers_have_places_in_json() {
    let text = "{\"x\": 0}\n{\n  \"a\": 1,\n  \"b/c\": {\"ä\": [1, {\"name\": \"x\\\"y\"}, []]}\n}";
    assert_eq!(place(text, 1, "/a"), (3, 8, 1));
    assert_eq!(place(text, 1, "/b~1c"), (4, 3, 5));
    assert_eq!(place(text, 1, "/b~1c/ä/1/name"), (4, 29, 6));
    assert_eq!(place(text, 1, "/b~1c/ä/2/0"), (4, 38, 1));
    assert_eq!(place(text, 1, "/nothing"), (2, 1, 1));
    assert_eq!(place(text, 0, "/x"), (1, 7, 1));
}

#[test]
fn broken_files_say_where() {
    assert_eq!(problem("a.yaml", b"a: 1\na: 2\n").0, 2);
    assert_eq!(
        problem("a.json", b"{\n \"a\": 1,\n \"a\": 2}").2,
        "this is not valid JSON: the key `a` is here twice"
    );
    assert_eq!(problem("a.json", b"{\n  \"a\": 1 2,\n}").0, 2);
    let (line, _, _) = problem("a.yaml", b"a:\n\tb: 1\n");
    assert_eq!(line, 2);
    assert_eq!(problem("a.yaml", b"a: \xff\n").1, 4);
    assert_eq!(problem("a.yaml", b"a: x\0y\n").0, 1);
    assert_eq!(problem("a.yaml", b"a: .inf\n").2, "`.inf` has no form in JSON");
    assert_eq!(problem("a.yaml", b"~: 1\n").2, "a key has to be a text");
    assert_eq!(problem("a.yaml", b"[1]: 1\n").2, "a key has to be a text");
    assert_eq!(problem("a.yaml", b"a: *missing\n").0, 1);
    assert_eq!(problem("a.yaml", b"a:\n  <<: 5\n").0, 2);
    assert_eq!(problem("a.yaml", b"a: !!binary aGk=\n").0, 1);
}

#[test]
fn what_grows_is_bounded() {
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned()
        + &('b'..'j').fold(String::new(), |text, name| {
            let before = char::from(name as u8 - 1);
            format!("{text}{name}: &{name} [{}]\n", vec![format!("*{before}"); 10].join(", "))
        });
    assert!(problem("a.yaml", bomb.as_bytes()).2.contains("aliases repeat"));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 1000].join(", "));
    assert!(problem("a.yaml", long.as_bytes()).2.contains("aliases repeat"));
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert!(problem("a.yaml", deep.as_bytes()).2.contains("deep"));
    assert!(problem("a.json", deep.as_bytes()).2.contains("JSON"));
}

#[test]
fn large_maps_are_read_in_one_pass() {
    let mut text: String = (0..50_000).map(|n| format!("k{n}: {n}\n")).collect();
    assert_eq!(values(&text)[0].as_object().unwrap().len(), 50_000);
    text.push_str("k7: 1\n");
    assert_eq!(problem("a.yaml", text.as_bytes()).0, 50_001);
}
