//! `trimaran render` and `trimaran lint` of manifests, as real processes: documents, places and exit codes.
//!
//! `render/NAME.yaml` is rendered and compared with `render/NAME.expected.yaml`, which `UPDATE=1` writes again.
#![allow(clippy::disallowed_methods, reason = "a test starts processes and writes files")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// A folder of files and what commands say of it.
struct Desk(tempfile::TempDir);

struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Desk {
    fn new(files: &[(&str, &str)]) -> Self {
        let desk = Self(tempfile::tempdir().expect("a directory"));
        for (name, text) in files {
            desk.write(name, text);
        }
        desk
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        std::fs::write(path, text).expect("the desk can be written");
    }

    fn run(&self, args: &[&str]) -> Done {
        self.run_with(args, b"")
    }

    fn run_with(&self, args: &[&str], input: &[u8]) -> Done {
        let mut child = Command::new(env!("CARGO_BIN_EXE_trimaran"))
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // The command may end without reading.
        let _ = stdin.write_all(input);
        drop(stdin);
        let output = child.wait_with_output().expect("the command ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Done {
            code: output.status.code().expect("an exit code"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Findings of `lint -o json` as code, file, line and column.
    fn lint(&self, args: &[&str]) -> (i32, Vec<(String, String, u64, u64)>) {
        let done = self.run(&[&["lint", "-o", "json"], args].concat());
        let document = done.document();
        assert_eq!(document["schema"], "trimaran.lint/v1");
        let one = |it: &Value| {
            let text = |key: &str| it[key].as_str().expect("a text").to_owned();
            let number = |key: &str| it[key].as_u64().expect("a number");
            assert!(!text("message").is_empty() && !text("help").is_empty() && number("length") > 0);
            (text("code"), text("file"), number("line"), number("column"))
        };
        (done.code, document["diagnostics"].as_array().expect("a list").iter().map(one).collect())
    }
}

impl Done {
    fn document(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.stdout, self.stderr))
    }

    fn objects(&self) -> Vec<Value> {
        assert_eq!(self.code, 0, "{}", self.stderr);
        trimaran_language::manifest::read("stdout", self.stdout.as_bytes())
            .expect("what is rendered can be read")
            .into_iter()
            .map(|it| it.value)
            .collect()
    }
}

const PAIR: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: app}
data: {a: b}
---
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  containers:
  - {name: c, image: \"a:1\", envFrom: [{configMapRef: {name: app}}]}
";

#[test]
fn golden_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/render");
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("a folder").map(|it| it.expect("an entry").path()).collect();
    names.retain(|it| !it.display().to_string().ends_with(".expected.yaml"));
    names.sort();
    assert!(names.len() >= 2);
    for path in names {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let desk = Desk::new(&[("in.yaml", &text)]);
        let done = desk.run(&["render", "in.yaml", "--namespace", "shop"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let expected = path.with_extension("expected.yaml");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&expected, &done.stdout).expect("a writable file");
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(done.stdout, wanted, "{}", path.display());

        desk.write("out.yaml", &done.stdout);
        let again = desk.run(&["render", "out.yaml", "--namespace", "shop"]);
        assert_eq!(again.stdout, done.stdout, "rendering again changes nothing");
        let json = desk.run(&["render", "in.yaml", "--namespace", "shop", "-o", "json"]).document();
        assert_eq!(json["objects"], Value::from(done.objects()), "both forms say the same");
    }
}

#[test]
fn the_document_has_objects_names_and_warnings() {
    let desk =
        Desk::new(&[("a.yaml", PAIR), ("b.yaml", "{apiVersion: v1, kind: Secret, metadata: {name: s}}")]);
    let done = desk.run(&["render", "a.yaml", "b.yaml", "-o", "json"]);
    let document = done.document();
    assert_eq!(document["schema"], "trimaran.render/v1");
    let objects = document["objects"].as_array().unwrap();
    let new = objects[0]["metadata"]["name"].as_str().unwrap();
    assert_eq!(objects[1]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"], new);
    assert_eq!(
        document["names"][0],
        json!({"kind": "ConfigMap", "namespace": null, "from": "app", "to": new})
    );
    assert_eq!(document["warnings"][0]["code"], "TR5034");
    assert_eq!(
        (&document["warnings"][0]["file"], &document["warnings"][0]["line"]),
        (&json!("b.yaml"), &json!(1))
    );
    assert!(done.stderr.contains("warning[TR5034]") && done.stderr.contains("b.yaml:1:"), "{}", done.stderr);
    let done = desk.run(&["render", "a.yaml", "--namespace", "shop", "-o", "json"]);
    assert_eq!(done.document()["names"][0]["namespace"], "shop");
    assert!(done.stderr.is_empty());
}

#[test]
fn a_name_that_is_kept_elsewhere_is_warned_about() {
    let custom = "\
apiVersion: db.example.com/v1
kind: Database
metadata: {name: pg}
spec:
  env:
  - name: SETTINGS
    valueFrom: {configMapKeyRef: {name: app, key: a}}
";
    let desk = Desk::new(&[("a.yaml", PAIR), ("pg.yaml", custom)]);
    let done = desk.run(&["render", "a.yaml", "pg.yaml", "-o", "json"]);
    let document = done.document();
    let new = document["objects"][0]["metadata"]["name"].as_str().unwrap();
    assert_eq!(document["objects"][1]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"], new);
    assert_eq!(document["objects"][2]["spec"]["env"][0]["valueFrom"]["configMapKeyRef"]["name"], "app");
    let warning = &document["warnings"][0];
    let message = format!("Database/pg keeps the name `app` here, but ConfigMap `app` is renamed to `{new}`");
    assert_eq!((&warning["code"], &warning["message"]), (&json!("TR5037"), &json!(message)));
    assert_eq!((&warning["file"], &warning["line"]), (&json!("pg.yaml"), &json!(7)));
    assert!(done.stderr.contains("warning[TR5037]") && done.stderr.contains("pg.yaml:7:"), "{}", done.stderr);
    // Nothing that Trimaran knows refers to it; that its name stands there is the one thing to say.
    let alone = "{apiVersion: v1, kind: ConfigMap, metadata: {name: app}, data: {a: b}}";
    let desk = Desk::new(&[("app.yaml", alone), ("pg.yaml", custom)]);
    let document = desk.run(&["render", "app.yaml", "pg.yaml", "-o", "json"]).document();
    let codes: Vec<_> = document["warnings"].as_array().unwrap().iter().map(|it| &it["code"]).collect();
    assert_eq!(codes, ["TR5037"]);
}

#[test]
fn keys_that_yaml_changes_are_warned_about() {
    let switches = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata:\n  on: \"1\"\n";
    let desk = Desk::new(&[("one.yaml", switches), ("two.yaml", &format!("{switches}  yes: \"2\"\n"))]);
    let place = |line: u64, code: &str, file: &str| (code.to_owned(), file.to_owned(), line, 3);
    assert_eq!(desk.lint(&["one.yaml"]), (0, vec![place(5, "TR5002", "one.yaml")]));
    assert_eq!(desk.lint(&["two.yaml"]), (11, vec![place(6, "TR5001", "two.yaml")]));
    let document = desk.run(&["render", "one.yaml", "-o", "json"]).document();
    assert_eq!(document["objects"][0]["data"], json!({"true": "1"}));
    assert_eq!(document["warnings"][0]["code"], "TR5002");
}

#[test]
fn what_server_side_apply_refuses_has_its_place() {
    let service = "\
apiVersion: v1
kind: Service
metadata: {name: web, labels: {tier: }}
spec:
  selectors: {app: web}
  ports: [{port: \"80\"}]
";
    let desk = Desk::new(&[("web.yaml", service)]);
    let (code, found) = desk.lint(&["web.yaml"]);
    let short: Vec<_> = found.iter().map(|(code, _, line, column)| (code.as_str(), *line, *column)).collect();
    assert_eq!((code, short), (11, vec![("TR5024", 3, 32), ("TR5022", 5, 3), ("TR5023", 6, 18)]));
}

#[test]
fn folders_lists_and_stdin_are_read() {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"a": "b"}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "app"}},
    ]})
    .to_string();
    let desk =
        Desk::new(&[("k8s/b/pair.yml", PAIR), ("k8s/a.json", &list), ("k8s/README.md", "# no YAML: [")]);
    let done = desk.run(&["render", "k8s", "--namespace", "x"]);
    // The ConfigMap is there twice.
    assert_eq!(done.code, 11, "{}", done.stdout);
    assert!(done.stderr.contains("TR5012") && done.stderr.contains("k8s/b/pair.yml:3:"), "{}", done.stderr);
    let kinds = |done: &Done| -> Vec<String> {
        done.objects().iter().map(|it| it["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&desk.run(&["render", "k8s/a.json"])), ["ConfigMap", "PersistentVolumeClaim"]);
    assert_eq!(kinds(&desk.run_with(&["render", "-"], PAIR.as_bytes())), ["ConfigMap", "Pod"]);
}

#[test]
fn errors_have_codes_places_and_exit_codes() {
    let desk = Desk::new(&[
        ("syntax.yaml", "a: [1\nb: 2\n"),
        ("twice.json", "{\n  \"a\": 1,\n  \"a\": 2\n}"),
        ("comma.json", "{\n  \"a\": 1,\n}"),
        ("empty.yaml", "# nothing\n---\n"),
        ("chart.yaml", "metadata:\n  name: {{ .Release.Name }}\n"),
        ("bad.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: App\n---\nkind: Pod\n"),
    ]);
    std::fs::create_dir(desk.0.path().join("none")).unwrap();
    let position = |args: &[&str]| {
        let done = desk.run(&[&["render", "-o", "json"], args].concat());
        assert!(done.stdout.is_empty());
        let error: Value = serde_json::from_str(&done.stderr).unwrap_or_else(|_| panic!("{}", done.stderr));
        assert_eq!(error["schema"], "trimaran.error/v1");
        let at = &error["error"]["position"];
        (
            done.code,
            error["error"]["code"].as_str().unwrap().to_owned(),
            at["line"].as_u64(),
            at["column"].as_u64(),
        )
    };
    assert_eq!(position(&["missing.yaml"]), (11, "TR5001".to_owned(), Some(1), Some(1)));
    assert_eq!(position(&["none"]), (11, "TR5001".to_owned(), Some(1), Some(1)));
    assert_eq!(position(&["syntax.yaml"]).0, 11);
    assert_eq!(position(&["twice.json"]), (11, "TR5001".to_owned(), Some(3), Some(5)));
    assert_eq!(position(&["comma.json"]), (11, "TR5001".to_owned(), Some(3), Some(1)));
    assert_eq!(position(&["bad.yaml"]), (11, "TR5014".to_owned(), Some(4), Some(9)));
    let text = desk.run(&["render", "bad.yaml"]).stderr;
    assert!(text.contains("error[TR5014]") && text.contains("error[TR5010]"), "all errors are shown: {text}");
    let text = desk.run(&["render", "chart.yaml"]).stderr;
    assert!(text.contains("render") && text.contains("chart.yaml:2:"), "{text}");
    let done = desk.run(&["render", "empty.yaml"]);
    assert_eq!((done.code, done.stdout.trim()), (0, ""));
    assert_eq!(desk.run(&["render"]).code, 2);
    assert_eq!(desk.run(&["render", "--nonsense", "bad.yaml"]).code, 2);
}

#[test]
fn a_set_that_is_not_whole_is_rendered_with_warnings() {
    let half = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: app}
data: {a: b}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
      - {name: c, image: \"a:${TAG}\", envFrom: [{configMapRef: {name: app}}]}
";
    let desk = Desk::new(&[("half.yaml", half)]);
    let done = desk.run(&["render", "half.yaml", "-o", "json"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let document = done.document();
    let codes: Vec<&str> =
        document["warnings"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["TR5040", "TR5015"]);
    assert!(
        done.stderr.starts_with("warning[TR5040]") && done.stderr.contains("half.yaml:9:"),
        "{}",
        done.stderr
    );
    assert_eq!(desk.run(&["lint", "half.yaml"]).code, 11);
}

#[test]
fn lint_tells_manifests_from_pipelines() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, args: [1], image: a}]}\n";
    let desk = Desk::new(&[
        ("k8s/pod.yaml", pod),
        ("k8s/values.yaml", "replicas: 3\n"),
        ("trimaran.yaml", "trimaran: v1\npipeline: web\n"),
        (
            "pod.json",
            "{\"apiVersion\": \"v1\",\n \"kind\": \"Pod\", \"metadata\": {\"name\": \"A\"},\n \"spec\": {\"containers\": [{\"name\": \"c\", \"image\": \"a:1\"}]}}",
        ),
        ("other.yaml", "a: 1\n"),
    ]);
    let (code, found) = desk.lint(&["k8s"]);
    assert_eq!(code, 11);
    let expected = [("TR5016", "k8s/pod.yaml", 4, 38), ("TR5010", "k8s/values.yaml", 1, 1)];
    let short: Vec<_> = found.iter().map(|it| (it.0.as_str(), it.1.as_str(), it.2, it.3)).collect();
    assert_eq!(short, expected);
    let (_, found) = desk.lint(&["pod.json"]);
    assert_eq!((found[0].0.as_str(), found[0].2, found[0].3), ("TR5014", 2, 38));
    let (_, found) = desk.lint(&["trimaran.yaml", "k8s"]);
    assert!(found.iter().any(|it| it.1 == "trimaran.yaml" && it.0.starts_with("TR1")));
    assert!(found.iter().any(|it| it.1 == "k8s/pod.yaml"));
    let (_, found) = desk.lint(&["other.yaml"]);
    assert!(found.iter().all(|it| it.0.starts_with("TR1")), "a file that is neither belongs to the language");
    desk.write("syntax.yaml", "kind: Pod\nmetadata: [\n");
    let (code, found) = desk.lint(&["syntax.yaml", "pod.json"]);
    assert!(code == 11 && found.iter().any(|it| it.0 == "TR5001") && found.iter().any(|it| it.0 == "TR5014"));
    let done = desk.run(&["lint", "k8s/pod.yaml"]);
    assert!(
        done.stdout.contains("--> k8s/pod.yaml:4:38") && done.stdout.contains("args: [1]"),
        "{}",
        done.stdout
    );
    desk.write("fine.yaml", PAIR);
    let done = desk.run(&["lint", "fine.yaml"]);
    assert_eq!((done.code, done.stdout.trim()), (0, "fine.yaml: no errors, no warnings"));
}

#[test]
fn lint_of_a_pipeline_looks_at_its_manifests_and_targets() {
    let pipeline = "\
trimaran: v1
pipeline: web
owner: team-web
artifacts:
  app: { image: registry.corp/shop/web }
workload:
  kubernetes:
    manifests: deploy/k8s
    images: { c: app }
environments:
  - name: staging
    targets: [tokyo]
";
    let target = "\
trimaran: v1
target: tokyo
agent: tokyo
class: staging
kubernetes: { namespace: shop }
";
    let elsewhere =
        PAIR.replace("kind: Pod\nmetadata: {name: app", "kind: Pod\nmetadata: {namespace: other, name: app");
    let desk = Desk::new(&[
        ("service/trimaran.yaml", pipeline),
        ("service/deploy/k8s/pod.yaml", &elsewhere),
        ("targets.yaml", target),
    ]);
    let (code, found) = desk.lint(&["service/trimaran.yaml", "targets.yaml"]);
    let other: Vec<_> = found.iter().filter(|it| it.0 == "TR5013").collect();
    assert_eq!(other.len(), 1, "{found:?}");
    assert_eq!((code, other[0].1.as_str(), other[0].2), (11, "service/deploy/k8s/pod.yaml", 8));
    let (_, found) = desk.lint(&["service/trimaran.yaml"]);
    assert!(found.iter().all(|it| it.0 != "TR5013"), "the target is not known: {found:?}");
    std::fs::remove_dir_all(desk.0.path().join("service/deploy")).unwrap();
    let (_, found) = desk.lint(&["service/trimaran.yaml", "targets.yaml"]);
    assert!(found.iter().all(|it| it.0.starts_with("TR1")), "manifests may be an artifact: {found:?}");
}

#[test]
fn large_inputs_are_read() {
    // Ten thousand documents, and one file of 50 MB.
    let mut text = String::new();
    for n in 0..10_000 {
        text.push_str(&format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{n}}}\n"));
    }
    let desk = Desk::new(&[("many.yaml", &text)]);
    assert_eq!(desk.run(&["render", "many.yaml"]).objects().len(), 10_000);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"x": "y".repeat(50_000)}});
    let items: Vec<Value> = (0..1_000)
        .map(|n| {
            let mut pod = pod.clone();
            pod["metadata"]["name"] = format!("p{n}").into();
            pod
        })
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    assert!(list.len() > 50_000_000);
    desk.write("large.json", list);
    let done = desk.run(&["render", "large.json", "-o", "jsonl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.len() > 50_000_000);
}

#[test]
fn bombs_end_with_an_error() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in ('b'..='j').zip('a'..='i') {
        bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 10].join(", ")));
    }
    let desk = Desk::new(&[("bomb.yaml", &bomb)]);
    for args in [["render", "bomb.yaml"], ["lint", "bomb.yaml"]] {
        assert_eq!(desk.run(&args).code, 11);
    }
    desk.write("deep.yaml", "[".repeat(100_000));
    desk.write("deep.json", "[".repeat(100_000));
    desk.write("bytes.yaml", b"kind: \xff\xfe\n");
    for name in ["deep.yaml", "deep.json", "bytes.yaml"] {
        let done = desk.run(&["render", name]);
        assert!(done.code == 11 && done.stderr.contains("TR5001"), "{name}: {}", done.stderr);
    }
}

#[test]
fn the_page_of_the_documentation_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kubernetes/config.md");
    let text = std::fs::read_to_string(path).expect("the page");
    let page = trimaran_test_support::docs::page(&text).expect("a page whose blocks are known");
    assert!(page.blocks.len() >= 6);
    let desk = Desk::new(&[]);
    let followed = page.follow(
        |name, text| desk.write(name, text),
        |command| {
            let words: Vec<&str> = command.split_whitespace().collect();
            assert_eq!(words[0], "trimaran", "{command}");
            let done = desk.run(&words[1..]);
            assert_eq!(done.stderr, "", "{command}");
            (done.code, done.stdout)
        },
    );
    if let Err(error) = followed {
        panic!("config.md:{}: {}", error.line, error.why);
    }
}
