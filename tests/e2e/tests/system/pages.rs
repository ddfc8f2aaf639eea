//! The pages of the documentation, followed as a reader would: every command of theirs, with what it prints.

use std::path::Path;
use std::process::{Command, Stdio};

use trimaran_e2e::lab::{Lab, binaries};
use trimaran_test_support::docs::Page;

/// Follows a page in a lab's folder. Names that belong to one reader alone are the lab's own here.
fn follow(lab: &Lab, name: &str, words: &[(&str, &str)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops/docs").join(name);
    let markdown = std::fs::read_to_string(&path).expect("the page");
    let page = Page::with(&markdown, words).unwrap_or_else(|error| panic!("{name}: {error}"));
    let folder = lab.folder.path();
    let write = |file: &str, text: &str| {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    let search = format!("{}:{}", binaries().display(), std::env::var("PATH").unwrap_or_default());
    let run = |command: &str| {
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(folder)
            .env("PATH", &search)
            .env("TRIMARAN_CONFIG", folder.join("config.toml"))
            .env("TRIMARAN_CONTEXT", "dev")
            .stdin(Stdio::null())
            .output()
            .expect("sh runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
    };
    page.follow(write, run).unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn getting_started_works_as_it_is_written() {
    let lab = Lab::fresh(6);
    let builds = lab.folder.path().join("builds").display().to_string();
    let address = lab.host(1, 0).ip().to_string();
    let prefix = address.trim_end_matches('1').to_owned();
    follow(&lab, "getting-started.md", &[("/tmp/trimaran-builds", &builds), ("127.0.1.", &prefix)]);
}
