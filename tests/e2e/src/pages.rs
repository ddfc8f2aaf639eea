//! A page of the documentation, followed in a lab as a reader would.

use std::path::Path;
use std::process::{Command, Stdio};

use trimaran_test_support::docs::Page;

use crate::lab::{Lab, binaries};

/// Runs every command of a page in the lab's folder, and compares what it prints. Names that belong to one reader alone are
/// the lab's own here.
pub fn follow(lab: &Lab, name: &str, words: &[(&str, &str)]) {
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
