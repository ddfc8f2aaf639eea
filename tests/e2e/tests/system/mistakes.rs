//! The commonest mistakes with a running cluster: the exit code, and the sentence that says what is wrong, where, and what
//! to type. Those that need none are in `ops/cli/tests/offline/mistakes.rs`.

use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web};

/// The command, its exit code, and what it has to say.
type Mistake = (&'static [&'static str], i32, &'static [&'static str]);

const MISTAKES: &[Mistake] = &[
    (
        &["deploy", "wbe", "--artifact", "bundle=v1"],
        5,
        &["there is no pipeline `wbe`", "did you mean `web`?"],
    ),
    (&["deploy", "web.yaml", "--artifact", "bundle=v1"], 5, &["there is no pipeline `web.yaml`", "`-f"]),
    (&["deploy", "web"], 2, &["artifact `bundle` has no version", "add `--artifact bundle=VERSION`"]),
    (&["deploy", "-f", "web.yaml", "--artifact", "bundel=v1"], 5, &["bundel", "bundle"]),
    (&["deploy", "-f", "web.yaml", "--artifact", "bundle=v99"], 5, &["web-v99.tar.zst"]),
    (
        &["plan", "-f", "path.yaml", "--artifact", "bundle=v99"],
        2,
        &[
            "error[TR2205]: ",
            "/nowhere/web-v99.tar.zst: No such file or directory",
            "--artifact bundle=VERSION@sha256:HEX",
        ],
    ),
    (&["deploy", "-f", "binary.yaml", "--artifact", "bundle=v1"], 11, &["binary.yaml", "not UTF-8"]),
    (&["why", "wbe"], 5, &["did you mean `web`?"]),
    (&["why", "web#999"], 5, &["there is no run `web#999`", "the newest run of `web` is web#2"]),
    (&["why", "web#1/prdo/lab-prod"], 5, &["prdo/lab-prod", "did you mean `prod/lab-prod`?"]),
    (&["why", "web#1/prod"], 5, &["its stages are: staging/lab-staging, prod/lab-prod"]),
    (&["rollback", "web", "--env", "porrd", "--yes"], 5, &["porrd", "prod"]),
    (&["rollback", "web", "--env", "prod", "--to", "latest", "--yes"], 5, &["no release `latest`", "v2, v1"]),
    (
        &["rollback", "web", "--env", "prod", "--from", "v1", "--yes"],
        6,
        &["error[TR2310]: `web` runs v2 on lab-prod, not v1", "trimaran status"],
    ),
    (&["rollback", "web", "--env", "prod"], 2, &["needs a confirmation", "--yes"]),
    (&["cancel", "web#1"], 6, &["error[TR2307]: `web#1` succeeded"]),
    (&["installation", "show", "web"], 2, &["write PIPELINE/TARGET"]),
    (&["status", "--context", "prod"], 2, &["there is no context `prod`; there are: dev"]),
    (&["status", "--endpoint", "127.0.0.1:1"], 9, &["127.0.0.1:1 did not answer"]),
];

#[test]
fn each_says_what_is_wrong_and_what_to_type() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    web.deploy_until(&lab, "v2", "succeeded");
    let (folder, text) = (lab.folder.path(), std::fs::read_to_string(lab.folder.path().join(web.file())));
    let lines = text.as_deref().expect("the pipeline file").lines();
    let path = lines.map(|line| match line.trim_start().starts_with("bundle: ") {
        true => "  bundle: { path: \"/nowhere/web-{version}.tar.zst\" }",
        false => line,
    });
    std::fs::write(folder.join("path.yaml"), path.collect::<Vec<_>>().join("\n")).expect("a file");
    std::fs::write(folder.join("binary.yaml"), b"\x7fELF\x02\x01\xff\xfe").expect("a file");
    let mut wrong = Vec::new();
    for (words, code, parts) in MISTAKES {
        let output = lab.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() != Some(*code) || !parts.iter().all(|part| said.contains(part)) {
            wrong.push(format!(
                "{words:?} ended with {:?}, not {code} and {parts:?}:\n{said}",
                output.status.code()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The one who was second wanted something else, and is not left without a next step.
#[test]
fn a_second_decision_names_the_first_and_what_is_still_possible() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape { approve: true, ..Shape::default() }, &[("v1", "good")]);
    let run = web.deploy(&lab, "v1");
    web.approve(&lab, &run, "promote");
    let second = lab.run(&["approve", &run, "--option", "roll_back"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(6), "{said}");
    for part in [
        "error[TR2303]: ",
        "operator/admin chose `promote` already",
        "trimaran cancel RUN",
        "trimaran rollback",
    ] {
        assert!(said.contains(part), "it has to say `{part}`: {said}");
    }
}
