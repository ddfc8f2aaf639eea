//! Services that run as a user: who they are, what they reach, what they keep, and what is refused before anything is
//! stopped. Needs root, as a runner of such services does.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::lab::{Lab, until, words_of};

/// A lab whose folder others may pass through, as /var/lib.
fn lab() -> Lab {
    let lab = Lab::new();
    std::fs::set_permissions(lab.folder.path(), std::fs::Permissions::from_mode(0o711)).expect("own folder");
    lab
}

/// Writes a SPEC whose command is a shell that becomes the test service; `process` and `health` are further keys.
fn spec(lab: &Lab, service: &str, version: &str, process: &str, script: &str, health: &str) -> PathBuf {
    let (archive, digest) = lab.pack(version);
    let (address, port) = (&lab.address, lab.port);
    let script =
        format!("{script}\nexec bin/web {address}:{port} \"$TRIMARAN_STATE_DIR/starts\" {version} good");
    let path = lab.folder.path().join(format!("{service}-{version}.yaml"));
    let text = format!(
        "trimaran: v1\nservice: {service}\nversion: {version}\nartifact: {{ path: {}, sha256: {digest} }}\n\
         host:\n  process:\n    command: [/bin/sh, -c, {script:?}]\n    stop: {{ grace: 500ms }}\n{process}  health:\n{health}",
        archive.display(),
    );
    std::fs::write(&path, text).expect("a file");
    path
}

fn health(lab: &Lab) -> String {
    format!(
        "    {{ http: \":{}/\", interval: 50ms, timeout: 500ms, min_healthy: 200ms, deadline: 5s }}\n",
        lab.port
    )
}

fn apply(lab: &Lab, spec: &Path, more: &[&str]) -> (i32, String) {
    let spec = spec.display().to_string();
    let words = [&["apply", &spec], more].concat();
    let output = lab.run(&words);
    let (out, err) = words_of(&output);
    (output.status.code().expect("it ends"), format!("{out}{err}"))
}

fn state(lab: &Lab, service: &str, file: &str) -> Option<String> {
    let path = lab.data().join(format!("services/{service}@local/data/state/{file}"));
    std::fs::read_to_string(path).ok()
}

#[test]
fn a_service_is_its_user_and_reaches_nothing_of_others() {
    let lab = lab();
    let secrets = lab.folder.path().join("secrets");
    std::fs::create_dir(&secrets).expect("made");
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o700)).expect("own directory");
    std::fs::write(secrets.join("db"), "geheim\n").expect("written");
    std::fs::create_dir_all(lab.data().join("identity")).expect("made");
    std::fs::write(lab.data().join("identity/key.pem"), "key").expect("written");
    // It listens nowhere: the other one has the port.
    let script = "echo x > \"$TRIMARAN_STATE_DIR/own\"; exec sleep 1000 # ";
    let alive = "    { command: [/bin/true], interval: 50ms, min_healthy: 200ms, deadline: 5s }\n";
    let other = spec(&lab, "other", "v1", "    user: daemon\n", script, alive);
    let (code, words) = apply(&lab, &other, &[]);
    assert_eq!(code, 0, "{words}");
    let data = lab.data().display().to_string();
    let script = format!(
        "cd \"$TRIMARAN_STATE_DIR\" && id -u > uid && id -G > groups && env > environment && pwd > state && \
         touch \"$TRIMARAN_RUN_DIR/pid\" && cd - > /dev/null\n\
         for file in {data}/identity/key.pem {data}/host {data}/services/other@local/current/VERSION \
             {data}/services/other@local/data/state/own {data}/services/web@local/state {data}/cache/* \
             {data}/services/web@local/log/* {data}/services/web@local/run/*/state {}; do\n\
             if cat \"$file\" > /dev/null 2>&1; then echo \"read $file\" >> \"$TRIMARAN_STATE_DIR/trespass\"; fi\n\
         done\n\
         for file in VERSION bin/web new {data}/new {data}/services/new; do\n\
             if (echo x >> \"$file\") 2> /dev/null; then echo \"wrote $file\" >> \"$TRIMARAN_STATE_DIR/trespass\"; fi\n\
         done\n\
         if ls {data}/services > /dev/null 2>&1; then echo listed >> \"$TRIMARAN_STATE_DIR/trespass\"; fi",
        secrets.join("db").display()
    );
    let process = "    user: nobody\n    groups: [\"7\"]\n    environment: { COLOR: blue }\n    \
                   secrets: { DB: { secret: db } }\n";
    let web = spec(&lab, "web", "v1", process, &script, &health(&lab));
    let (code, words) = apply(&lab, &web, &["--secrets", &secrets.display().to_string()]);
    assert_eq!(code, 0, "{words}");
    assert_eq!(state(&lab, "web", "trespass"), None);
    assert_eq!(state(&lab, "web", "uid").as_deref(), Some("65534\n"));
    assert_eq!(state(&lab, "web", "groups").as_deref(), Some("65534 7\n"));
    let environment = state(&lab, "web", "environment").expect("the service wrote it");
    let mut variables: BTreeMap<&str, &str> =
        environment.lines().filter_map(|line| line.split_once('=')).collect();
    // What the shell itself sets.
    for own in ["PWD", "OLDPWD", "_", "SHLVL"] {
        variables.remove(own);
    }
    let names: Vec<&str> = variables.keys().copied().collect();
    let wanted = [
        "COLOR",
        "DB",
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "TRIMARAN_ADDRESS",
        "TRIMARAN_ATTEMPT",
        "TRIMARAN_HOST",
        "TRIMARAN_RELEASE",
        "TRIMARAN_RUN",
        "TRIMARAN_RUN_DIR",
        "TRIMARAN_SERVICE_MARK",
        "TRIMARAN_STATE_DIR",
        "USER",
    ];
    assert_eq!(names, wanted);
    assert_eq!((variables["USER"], variables["DB"]), ("nobody", "geheim"));
    let whole = lab.data().join("services/web@local/data/state");
    assert_eq!(variables["TRIMARAN_STATE_DIR"], whole.display().to_string());
    let found = std::fs::metadata(&whole).expect("it is there");
    assert_eq!((found.uid(), found.mode() & 0o7777), (65_534, 0o700));
}

#[test]
fn state_outlives_releases_and_users_and_the_run_directory_does_not() {
    let lab = lab();
    let script = "ls \"$TRIMARAN_RUN_DIR\" > \"$TRIMARAN_STATE_DIR/run\"; touch \"$TRIMARAN_RUN_DIR/socket\"; \
                  date >> \"$TRIMARAN_STATE_DIR/kept\"";
    for (version, user) in [("v1", "nobody"), ("v2", "daemon"), ("v3", "root")] {
        let spec = spec(&lab, "web", version, &format!("    user: {user}\n"), script, &health(&lab));
        let (code, words) = apply(&lab, &spec, &[]);
        assert_eq!(code, 0, "{version}: {words}");
        assert_eq!(state(&lab, "web", "run").as_deref(), Some(""), "{version}: it is empty at each start");
    }
    assert_eq!(state(&lab, "web", "kept").expect("it is kept").lines().count(), 3);
}

#[test]
fn what_the_host_does_not_have_is_refused_before_anything_is_stopped() {
    let lab = lab();
    let good = spec(&lab, "web", "v1", "    user: nobody\n", "", &health(&lab));
    assert_eq!(apply(&lab, &good, &[]).0, 0);
    let starts = state(&lab, "web", "starts");
    for (process, code) in [
        ("    user: no-such-user\n", "preflight_user"),
        ("    groups: [no-such-group]\n", "preflight_user"),
        ("    secrets: { DB: { secret: db } }\n", "secret_missing"),
        ("    environment_files: [conf/env]\n", "environment_file"),
    ] {
        let bad = spec(&lab, "web", "v2", process, "", &health(&lab));
        let (exit, words) = apply(&lab, &bad, &[]);
        assert_eq!(exit, 3, "{words}");
        assert!(words.contains(code), "{code}: {words}");
    }
    assert_eq!(state(&lab, "web", "starts"), starts, "nothing was started again");
}

#[test]
fn every_probe_counts_and_says_what_it_found() {
    let lab = lab();
    let port = lab.port;
    let good = format!(
        "    startup: [{{ tcp: \":{port}\", interval: 50ms }}]\n    \
         readiness:\n      - {{ http: \":{port}/x\", method: POST, headers: {{ X-Probe: a }}, expect: {{ status: \"200\" }}, interval: 50ms }}\n      \
         - {{ command: [/bin/sh, -c, \"test $(id -u) = 65534 && test -f VERSION\"], interval: 100ms }}\n    \
         min_healthy: 200ms\n    deadline: 10s\n"
    );
    let first = spec(&lab, "web", "v1", "    user: nobody\n", "", &good);
    let (code, words) = apply(&lab, &first, &[]);
    assert_eq!(code, 0, "{words}");
    for (probe, expected) in [
        (format!("http: \":{port}/\", expect: {{ status: \"204\" }}"), "HTTP 200"),
        (format!("http: \":{port}/\", expect: {{ contains: no-such-text }}"), "without `no-such-text`"),
        ("tcp: \":1\"".to_owned(), "connection refused"),
        (
            "command: [/bin/sh, -c, \"echo first; echo disk is full >&2; exit 3\"]".to_owned(),
            "exit code 3: disk is full",
        ),
        ("command: [/bin/sleep, \"60\"], timeout: 200ms".to_owned(), "did not end within 200ms"),
        ("command: [/bin/sh, -c, \"yes & yes\"], timeout: 200ms".to_owned(), "did not end within 200ms: y"),
        ("command: [bin/nothing]".to_owned(), "can't run"),
    ] {
        let health = format!(
            "    readiness: [{{ {probe}, interval: 100ms }}]\n    min_healthy: 200ms\n    deadline: 2s\n"
        );
        let bad = spec(&lab, "web", "v2", "    user: nobody\n", "", &health);
        let (code, words) = apply(&lab, &bad, &[]);
        assert_eq!(code, 12, "{probe}: {words}");
        assert!(words.contains(expected), "{probe}: {words}");
    }
    let commands = lab.data().join("services/web@local/commands");
    until("no command is left", || {
        let left = std::fs::read_dir(&commands).map(Iterator::count).unwrap_or_default();
        (left == 0).then_some(())
    });
}

#[test]
fn a_service_that_hangs_is_started_again() {
    let lab = lab();
    let health = format!(
        "    readiness: [{{ tcp: \":{}\", interval: 50ms }}]\n    \
         liveness: [{{ command: [/bin/sh, -c, 'test ! -f \"$TRIMARAN_RUN_DIR/hung\"'], interval: 100ms, failures: 2 }}]\n    \
         min_healthy: 200ms\n    deadline: 10s\n",
        lab.port
    );
    let process = "    user: nobody\n    restart: { on: failure, delay: 10ms }\n";
    let web = spec(&lab, "web", "v1", process, "", &health);
    let (code, words) = apply(&lab, &web, &[]);
    assert_eq!(code, 0, "{words}");
    std::fs::write(lab.data().join("services/web@local/data/run/hung"), "").expect("written");
    // Without a runner nothing watches; the next command does until it ends.
    let output = lab.run(&["restart", "web"]);
    let (out, err) = words_of(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert_eq!(state(&lab, "web", "starts").expect("noted").lines().count(), 2);
}
