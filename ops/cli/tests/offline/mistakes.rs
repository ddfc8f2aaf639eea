//! The commonest mistakes that need no cluster: the exit code, and the sentence that says what is wrong, where, and what
//! to type. Those of a running cluster are in `tests/e2e/tests/system/mistakes.rs`.

use crate::Desk;

/// The command, its exit code, and what it has to say.
type Mistake = (&'static [&'static str], i32, &'static [&'static str]);

const ARTIFACT: &str = "write `--artifact NAME=VERSION` or `--artifact NAME=VERSION@sha256:HEX`";

const MISTAKES: &[Mistake] = &[
    (&["depoly"], 2, &["error[TR2001]: unrecognized subcommand 'depoly'", "'deploy'"]),
    (&["deploy", "web", "--artefact", "bundle=v1"], 2, &["error[TR2001]: ", "'--artefact'", "'--artifact'"]),
    (&["deploy", "web", "--timeout", "60"], 2, &["`60` is not a duration; write 90s, 10m, 1h30m or 3d"]),
    (
        &["deploy", "web", "--wait", "approval"],
        2,
        &["the value stands behind `=`", "write `--wait=approval`"],
    ),
    (&["deploy"], 2, &["error[TR2001]: ", "<PIPELINE>", "Usage: trimaran deploy"]),
    (&["rollback", "web"], 2, &["error[TR2001]: ", "--env <NAME>"]),
    (&["lint", "-o", "xml"], 2, &["'xml'", "table, json, jsonl, yaml"]),
    (&["logs", "web#1", "--since", "yesterday"], 2, &["`yesterday` is not a duration"]),
    (&["plan", "-f", "trimaran.yaml", "--artifact", "bundle"], 2, &["there is no `=`", ARTIFACT]),
    (&["plan", "-f", "trimaran.yaml", "--artifact", "bundle:v16"], 2, &["there is no `=`", ARTIFACT]),
    (&["plan", "-f", "trimaran.yaml", "--artifact", "v16"], 2, &["there is no `=`", ARTIFACT]),
    (
        &["plan", "-f", "trimaran.yaml", "--artifact", "bundle=v1@sha256:abc"],
        2,
        &["a sha256 digest has 64 hexadecimal digits"],
    ),
    (&["status"], 2, &["error[TR4103]: no context is chosen", "trimaran context add NAME", "trimaran dev"]),
    (
        &["explain", "probe_fialed"],
        5,
        &["there is no code or reason `probe_fialed`", "trimaran explain probe_failed"],
    ),
    (&["lint", "nothing.yaml"], 11, &["error[TR5001]: `nothing.yaml` can't be read", "No such file"]),
    (&["lint", "tab.yaml"], 11, &["tab.yaml:1:11", "found a tab", "Fix the marked line"]),
    (&["lint", "utf16.yaml"], 11, &["the file is not UTF-8", "save the file as UTF-8"]),
    (&["lint", "latin1.yaml"], 11, &["latin1.yaml:2:14", "save the file as UTF-8"]),
    (&["lint", "empty.yaml"], 11, &["the file has no document", "start it with `trimaran: v1`"]),
    (
        &["lint", "twice.yaml"],
        11,
        &["the key `owner` is here twice; first in line 3", "remove one of the two"],
    ),
    (&["lint", "key.yaml"], 11, &["unknown key `min_helthy`", "did you mean `min_healthy`?"]),
    (&["lint", "actions.yaml"], 11, &["looks like a workflow of GitHub Actions", "trimaran init"]),
    (&["lint", "compose.yaml"], 11, &["looks like a Compose file", "trimaran init"]),
    (&["lint", "deployment.yaml"], 0, &["read as Kubernetes manifests"]),
    (&["init"], 2, &["trimaran.yaml", "never overwritten"]),
];

const KEY: &str = "\
trimaran: v1
pipeline: web
owner: team-web
artifacts: { bundle: { file: \"http://127.0.0.1:8000/web-{version}.tar.zst\" } }
workload:
  host:
    unpack: bundle
    process: { command: [bin/web] }
    health: { http: \":8080/healthz\", min_helthy: 3s }
environments:
  - name: staging
    targets: [lab-staging]
";

#[test]
fn each_says_what_is_wrong_and_what_to_type() {
    let desk = Desk::new();
    desk.run(&["init"]);
    desk.write("tab.yaml", "trimaran: v1\n\tpipeline: web\n");
    desk.write("utf16.yaml", b"\xff\xfet\0r\0");
    desk.write("latin1.yaml", b"trimaran: v1\npipeline: caf\xe9\n");
    desk.write("empty.yaml", "");
    desk.write("twice.yaml", "trimaran: v1\npipeline: web\nowner: a\nowner: b\n");
    desk.write("key.yaml", KEY);
    desk.write(
        "actions.yaml",
        "name: ci\non: [push]\njobs:\n  build:\n    runs-on: ubuntu-latest\n    steps: []\n",
    );
    desk.write("compose.yaml", "services:\n  web:\n    image: nginx\n");
    desk.write("deployment.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    for (words, code, parts) in MISTAKES {
        let done = desk.run(words);
        let said = format!("{}{}", done.stdout, done.stderr);
        assert_eq!(done.code, *code, "{words:?}: {said}");
        for part in *parts {
            assert!(said.contains(part), "{words:?} has to say `{part}`: {said}");
        }
    }
}

/// A file of an identity that is not there is an error of this machine, not a certificate that a server refused.
#[test]
fn a_missing_file_of_an_identity_is_named() {
    let desk = Desk::new();
    desk.write(
        "config.toml",
        "current = \"lab\"\n[contexts.lab]\nendpoints = [\"127.0.25.1:1\"]\nca = \"/nowhere/ca.pem\"\n\
         cert = \"/nowhere/cert.pem\"\nkey = \"/nowhere/key.pem\"\n",
    );
    let done = desk.run(&["status"]);
    assert_eq!(done.code, 2, "{}", done.stderr);
    let said =
        "error[TR4103]: the context's file /nowhere/cert.pem can't be read\n  why: No such file or directory";
    assert!(done.stderr.starts_with(said), "{}", done.stderr);
    let unknown = desk.run(&["status", "--context", "prod"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("there is no context `prod`; there are: lab"), "{}", unknown.stderr);
    desk.write("config.toml", "[contexts\n");
    let broken = desk.run(&["status"]);
    assert_eq!(broken.code, 2);
    assert!(broken.stderr.contains("config.toml:1:10"), "{}", broken.stderr);
}
