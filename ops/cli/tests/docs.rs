//! The blocks of the documentation that need no cluster: every YAML block is linted, JSON is JSON, and every command
//! of the CLI has its place in `cli.md`. The commands of getting-started are followed by the tests of the system.
#![allow(clippy::disallowed_methods, reason = "a test reads the documentation")]

use std::path::{Path, PathBuf};
use std::process::Command;

use trimaran_language::{Diagnostic, Severity, SourceFile, compile, compile_host_spec};
use trimaran_test_support::docs::{Block, Kind, Page, Yaml, page};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Every page below `folder`.
fn pages(folder: &Path, found: &mut Vec<(PathBuf, Page)>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = std::fs::read_to_string(&path).expect("a readable page");
            let page = page(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            found.push((path, page));
        }
    }
}

fn errors(yaml: &Yaml, text: &str) -> Vec<Diagnostic> {
    let file = SourceFile { name: "block.yaml", bytes: text.as_bytes() };
    match yaml {
        Yaml::Good | Yaml::Bad(_) => {
            compile(&[file]).diagnostics.into_iter().filter(|it| it.severity == Severity::Error).collect()
        }
        Yaml::HostSpec => compile_host_spec(file).err().unwrap_or_default(),
        Yaml::Kubernetes => Vec::new(),
    }
}

/// What is wrong with a block, or nothing.
fn wrong(block: &Block) -> Option<String> {
    match &block.kind {
        Kind::Yaml(yaml) => {
            let found = errors(yaml, &block.text);
            let codes: Vec<String> = found.iter().map(|it| it.code.to_string()).collect();
            match yaml {
                Yaml::Bad(Some(code)) => (!codes.contains(code)).then(|| format!("has no {code}: {codes:?}")),
                Yaml::Bad(None) => codes.is_empty().then(|| "has no error".to_owned()),
                Yaml::Good | Yaml::HostSpec | Yaml::Kubernetes => {
                    (!found.is_empty()).then(|| format!("has errors: {found:#?}"))
                }
            }
        }
        Kind::Json => {
            serde_json::from_str::<serde_json::Value>(&block.text).err().map(|error| error.to_string())
        }
        Kind::Console { .. } | Kind::Sh | Kind::Text => None,
    }
}

#[test]
fn every_block_is_what_it_says() {
    let mut found = Vec::new();
    pages(&docs(), &mut found);
    let count = found.iter().flat_map(|(_, page)| &page.blocks).count();
    assert!(count > 15, "{count} blocks");
    let mut failures = Vec::new();
    for (path, page) in &found {
        for block in &page.blocks {
            if let Some(why) = wrong(block) {
                failures.push(format!("{}:{}: {why}", path.display(), block.line));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_examples_that_init_writes_have_no_findings() {
    let read = |name: &str| std::fs::read(docs().join("../examples").join(name)).expect("an example");
    for name in ["trimaran.yaml", "target.yaml"] {
        let compiled = compile(&[SourceFile { name, bytes: &read(name) }]);
        assert_eq!(compiled.diagnostics, [], "{name}");
    }
    let target = String::from_utf8(read("target.yaml")).expect("UTF-8");
    assert!(target.contains("require_user: true"), "new targets ask for a user");
}

#[test]
fn every_command_has_its_place_in_the_reference() {
    let reference = std::fs::read_to_string(docs().join("cli.md")).expect("cli.md");
    let help = Command::new(env!("CARGO_BIN_EXE_trimaran")).arg("--help").output().expect("the CLI starts");
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        // Deeper lines continue the line before.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 20, "{commands:?}");
    let missing: Vec<_> =
        commands.iter().filter(|command| !reference.contains(&format!("trimaran {command}"))).collect();
    assert!(missing.is_empty(), "cli.md does not name {missing:?}");
}
