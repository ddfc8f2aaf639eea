//! The commands of one host as a user sees them.

use sha2::{Digest as _, Sha256};

use crate::lab::{Lab, until, words_of};

#[test]
fn apply_rollback_status_and_stop_all() {
    let lab = Lab::new();
    assert!(words_of(&lab.run(&["status"])).0.contains("nothing is deployed here"));
    assert!(!lab.data().exists(), "an inspection makes no directory");
    assert!(lab.apply(&lab.spec("v1", "good"), 0).contains("web v1 is healthy"));
    assert!(lab.apply(&lab.spec("v2", "good"), 0).contains("web v2 is healthy"));
    let pid = lab.pid();
    let status = words_of(&lab.run(&["status", "-o", "json"])).0;
    for words in ["\"state\": \"healthy\"", "\"version\": \"v2\"", "\"running\": true", "\"probe\": \"ok\""] {
        assert!(status.contains(words), "{words} is missing in {status}");
    }
    lab.apply(&lab.spec("v2", "good"), 0);
    assert_eq!(lab.pid(), pid, "the same release again disturbs nothing");
    std::fs::remove_dir_all(lab.data().join("cache")).expect("a cache");
    let output = lab.run(&["rollback", "web"]);
    assert_eq!(output.status.code(), Some(0), "{:?}", words_of(&output));
    lab.check("v1", "after the rollback");
    assert_eq!(lab.run(&["rollback", "web"]).status.code(), Some(6), "there is nothing further back");
    assert_eq!(lab.run(&["rollback", "nothing"]).status.code(), Some(5));
    assert_eq!(lab.run(&["stop-all"]).status.code(), Some(0));
    assert!(lab.alive().is_empty());
}

#[test]
fn a_bad_release_goes_back_with_its_cause() {
    for (behaviour, words) in [
        ("sick", "HTTP 500"),
        ("exit", "exit code 3"),
        ("hang", "no answer within 500ms"),
        ("cut", "the answer broke off"),
        ("deaf", "connection refused"),
        ("detach", "exit code 0"),
        ("redirect", "HTTP 302"),
    ] {
        let lab = Lab::new();
        lab.apply(&lab.spec("v1", "good"), 0);
        let out = lab.apply(&lab.spec("v2", behaviour), 12);
        assert!(out.contains("went back to v1") && out.contains(words), "{behaviour}: {out}");
        lab.check("v1", behaviour);
    }
}

#[test]
fn an_answer_longer_than_what_is_read_of_it_is_judged_by_its_status() {
    for behaviour in ["stream", "chunks"] {
        let lab = Lab::new();
        assert!(lab.apply(&lab.spec("v1", behaviour), 0).contains("web v1 is healthy"), "{behaviour}");
    }
}

/// What the first process leaves answers on for a second: long enough for `min_healthy`.
#[test]
fn a_release_whose_first_process_ends_is_never_healthy_by_what_it_left() {
    let lab = Lab::new();
    let spec = lab.spec("v1", "master");
    for round in 0..40 {
        let out = lab.apply(&spec, 3);
        let words = "web is broken (process_exited): the process ended with exit code 7";
        assert!(out.contains(words), "round {round}: {out}");
        assert!(lab.alive().is_empty(), "round {round}");
    }
}

#[test]
fn an_answer_of_a_process_that_is_not_of_the_release_does_not_count() {
    let lab = Lab::new();
    let spec = lab.spec("v1", "deaf");
    let (address, port, runs) = (lab.address.clone(), lab.port, lab.start_log());
    let stranger = std::thread::spawn(move || {
        until("the service runs", || runs.exists().then_some(()));
        let listener = std::net::TcpListener::bind((address.as_str(), port)).expect("no one listens");
        listener.set_nonblocking(true).expect("a socket");
        let end = std::time::Instant::now() + std::time::Duration::from_secs(6);
        while std::time::Instant::now() < end {
            if let Ok((mut stream, _)) = listener.accept() {
                use std::io::{Read as _, Write as _};
                stream.set_nonblocking(false).expect("a socket");
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    let out = lab.apply(&spec, 3);
    let who = format!("process {}", std::process::id());
    assert!(
        out.contains("probe_failed") && out.contains(&who) && out.contains("not a process of the release"),
        "{out}"
    );
    stranger.join().expect("it ends");
}

#[test]
fn a_service_has_its_own_environment_and_nothing_of_whoever_deploys_it() {
    let lab = Lab::new();
    let spec = lab.spec("v1", "environment");
    let text = std::fs::read_to_string(&spec).expect("a spec");
    let own = "process:\n    environment: { COLOR: blue, PATH: /opt/bin, LANG: fr_FR }\n";
    std::fs::write(&spec, text.replace("process:\n", own)).expect("a file");
    let foreign =
        [("DEPLOY_TOKEN", "x"), ("LD_LIBRARY_PATH", "/x"), ("HOME", "/nowhere"), ("TRIMARAN_CONFIG", "/x")];
    let output = lab.run_with(&["apply", &spec.display().to_string()], &foreign);
    assert_eq!(output.status.code(), Some(0), "{:?}", words_of(&output));
    let written = lab.start_log().with_extension("environment");
    let written = std::fs::read_to_string(written).expect("the service wrote it");
    let mut variables: Vec<&str> = written.split_terminator('\0').collect();
    variables.sort_unstable();
    let names: Vec<&str> =
        variables.iter().filter_map(|it| it.split_once('=')).map(|(name, _)| name).collect();
    let expected = [
        "COLOR",
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
    assert_eq!(names, expected);
    for variable in ["COLOR=blue", "PATH=/opt/bin", "LANG=fr_FR", "TRIMARAN_HOST=host-1"] {
        assert!(variables.contains(&variable), "{variable} is missing in {variables:?}");
    }
    assert!(!variables.contains(&"HOME=/nowhere"), "{variables:?}");
}

#[test]
fn a_failure_shows_the_last_output_where_it_is_and_what_shows_more() {
    let lab = Lab::new();
    let output = lab.run(&["apply", &lab.spec("v1", "exit").display().to_string()]);
    let (out, err) = words_of(&output);
    assert_eq!(output.status.code(), Some(3), "{out}{err}");
    let file = lab.installation().join("log/output-00000001.log");
    let more = format!("more: trimaran-agent host logs web@local --data-dir {}", lab.data().display());
    for words in [format!("output: {}", file.display()), "  v1 started".to_owned(), more] {
        assert!(err.contains(&words), "{words} is missing in {err}");
    }
    assert!(words_of(&lab.run(&["status"])).1.contains("  v1 started"), "status shows it too");
    assert!(words_of(&lab.run(&["logs", "web", "--tail", "2"])).0.starts_with("v1 started\n"));
    assert!(words_of(&lab.run(&["logs", "web", "-o", "json"])).0.contains("\"line\":\"v1 started\""));
    assert_eq!(lab.run(&["logs", "nothing"]).status.code(), Some(5));
}

#[test]
fn a_first_release_that_is_bad_is_ended() {
    let lab = Lab::new();
    let out = lab.apply(&lab.spec("v1", "sick"), 3);
    assert!(out.contains("web is broken (probe_failed)"), "{out}");
    assert!(lab.alive().is_empty());
}

#[test]
fn what_can_not_be_unpacked_or_fetched_touches_nothing() {
    let lab = Lab::new();
    lab.apply(&lab.spec("v1", "good"), 0);
    let pid = lab.pid();
    let spec = lab.spec("v2", "good");
    let archive = lab.folder.path().join("web-v2.tar");
    std::fs::write(&archive, "another file").expect("a file");
    let out = lab.apply(&spec, 3);
    assert!(out.contains("web is refused (fetch_digest)"), "{out}");
    std::fs::remove_file(&archive).expect("a file");
    assert!(lab.apply(&spec, 3).contains("fetch_missing"));
    let text = std::fs::read_to_string(lab.spec("v2", "good")).expect("a spec");
    std::fs::write(&spec, text.replace("bin/web", "bin/wep")).expect("a file");
    let out = lab.apply(&spec, 3);
    assert!(out.contains("web is refused (unpack_program)") && out.contains("`bin/wep`"), "{out}");
    std::fs::write(&archive, "no archive").expect("a file");
    let digest = Sha256::digest("no archive").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sha256 = text.split_once("sha256: ").expect("a digest").1.split_at(64).0;
    std::fs::write(&spec, text.replace(sha256, &digest)).expect("a file");
    assert!(lab.apply(&spec, 3).contains("unpack_corrupt"));
    assert!(!lab.data().join("cache").join(&digest).exists(), "a refused archive is not kept");
    assert_eq!(lab.pid(), pid, "what ran keeps running");
    lab.check("v1", "after four refusals");
}

#[test]
fn a_foreign_process_on_the_port_is_named_before_anything_is_stopped() {
    let lab = Lab::new();
    let spec = lab.spec("v1", "good");
    let foreign = std::net::TcpListener::bind((lab.address.as_str(), lab.port)).expect("the port is free");
    let out = lab.apply(&spec, 3);
    assert!(out.contains("preflight_port") && out.contains(&std::process::id().to_string()), "{out}");
    drop(foreign);
    lab.apply(&spec, 0);
}

#[test]
fn stop_ends_what_ignores_sigterm_and_what_left_the_session() {
    for behaviour in ["stubborn", "daemon"] {
        let lab = Lab::new();
        lab.apply(&lab.spec("v1", behaviour), 0);
        let versions = if behaviour == "daemon" { vec!["v1", "daemon"] } else { vec!["v1"] };
        until("all of it runs", || (lab.alive() == versions).then_some(()));
        lab.apply(&lab.spec("v2", "good"), 0);
        lab.check("v2", behaviour);
    }
}

#[test]
fn a_second_process_learns_who_has_the_directory() {
    let lab = Lab::new();
    lab.apply(&lab.spec("v1", "good"), 0);
    let lock = trimaran_host::lock::DirectoryLock::acquire(&lab.data()).expect("no one has it");
    for words in [&["status"][..], &["rollback", "web"], &["stop-all"]] {
        let output = lab.run(words);
        let (_, err) = words_of(&output);
        assert_eq!(output.status.code(), Some(6), "{words:?}: {err}");
        assert!(err.contains(&std::process::id().to_string()), "{err}");
    }
    drop(lock);
}

#[test]
fn a_bad_file_is_refused_with_all_its_places() {
    let lab = Lab::new();
    let path = lab.folder.path().join("bad.yaml");
    std::fs::write(&path, "trimaran: v1\nservice: Web\nversion: 1\nartifact: {}\nhost: {}\n")
        .expect("a file");
    let output = lab.run(&["apply", &path.display().to_string()]);
    let (_, err) = words_of(&output);
    assert_eq!(output.status.code(), Some(11), "{err}");
    assert!(err.matches("bad.yaml:").count() >= 3, "{err}");
    let output = lab.run(&["apply", "missing.yaml", "-o", "json"]);
    assert_eq!(output.status.code(), Some(11));
    assert!(words_of(&output).1.contains("\"schema\":\"trimaran.error/v1\""));
}

/// The page with this lab's service, port and data directory in the place of the reader's, followed line by line.
#[test]
fn the_page_on_one_host_is_true() {
    let page = include_str!("../../../../ops/docs/one-host.md");
    let block = |language: &str| {
        let start = page.split_once(&format!("```{language}\n")).expect("a block of this language").1;
        start.split_once("```").expect("the block ends").0
    };
    let lab = Lab::new();
    lab.apply(&lab.spec("v1", "good"), 0);
    let (archive, digest) = lab.pack("v2");
    std::fs::rename(archive, lab.folder.path().join("web-v2.tar.zst")).expect("an archive");
    let mut spec = block("yaml spec file=web.yaml").to_owned();
    let written = spec.split_once("sha256: ").expect("a digest").1.split_at(64).0.to_owned();
    let command =
        format!("bin/web, \"{}:{}\", {}, v2, good", lab.address, lab.port, lab.start_log().display());
    for (from, to) in [
        (written.as_str(), digest.as_str()),
        ("bin/web, \"--port\", \"8080\"", &command),
        (":8080/", &format!(":{}/", lab.port)),
    ] {
        assert!(spec.contains(from), "{from} is not in the page's file");
        spec = spec.replace(from, to);
    }
    std::fs::write(lab.folder.path().join("web.yaml"), spec).expect("a file");
    let mut said = Vec::new();
    for line in block("sh").lines() {
        let line = line.replace("/var/lib/trimaran", &lab.data().display().to_string());
        let output = lab.shell(&line);
        let (out, err) = words_of(&output);
        assert_eq!(output.status.code(), Some(0), "{line}: {out}{err}");
        said.push(out);
    }
    let [applied, status, back, output, again, stopped] = said.as_slice() else { panic!("{said:?}") };
    assert!(applied.contains("web v2 is healthy"), "{applied}");
    assert!(status.contains("v2") && status.contains("healthy"), "{status}");
    assert!(back.contains("v1"), "{back}");
    assert!(output.contains("v2 started"), "{output}");
    assert!(again.contains("web v1 is healthy"), "{again}");
    assert!(stopped.contains("1 service stopped") && lab.alive().is_empty(), "{stopped}");
}
