//! What each crate depends on, read from `cargo metadata`: only what the table of crates allows, nothing that it does
//! not name anywhere, and nothing that the whole graph must not have.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::crates::{CRATES, is_product};

/// What no core may link directly.
const IMPURE: &[&str] =
    &["tokio", "rand", "getrandom", "quinn", "reqwest", "rocksdb", "libc", "rustix", "tempfile"];

/// `(dependency, the only crates of the product that may link it)`.
const ONLY: &[(&str, &[&str])] = &[
    ("bincode", &["trimaran-wire"]),
    ("quinn", &["trimaran-transport"]),
    ("quinn-proto", &["trimaran-transport"]),
    // The program that a test of `trimaran-host` starts names the provider of its downloads; `trimaran-kubernetes` tells a
    // certificate that it does not trust from a server that is silent.
    ("rustls", &["trimaran-transport", "trimaran-host", "trimaran-kubernetes"]),
    ("raft", &["trimaran-replica"]),
    ("raft-proto", &["trimaran-replica"]),
    ("protobuf", &["trimaran-replica"]),
    ("rocksdb", &["trimaran-store"]),
];

/// A crate of the workspace and what its manifest names.
struct Package {
    name: String,
    /// From the top.
    folder: String,
    /// What it links, and what its build needs.
    links: Vec<String>,
    /// What only its tests need.
    tests: Vec<String>,
}

pub(crate) fn check(root: &Path, files: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages(root).iter().filter(|package| is_product(&package.folder)) {
        findings.extend(check_package(package));
        findings.extend(unused(root, files, package));
    }
    findings.extend(no_ring(root));
    findings
}

fn check_package(package: &Package) -> Vec<String> {
    let Package { name, folder, links, .. } = package;
    let Some(known) = CRATES.iter().find(|known| known.name == *name && known.folder == *folder) else {
        return vec![format!("{name} in {folder} is not in the table of crates (`rules/crates.rs`)")];
    };
    let mut findings = Vec::new();
    for link in links {
        if known.is_core && IMPURE.contains(&link.as_str()) {
            findings.push(format!("{name} is a core and must not depend on {link}"));
        }
        if let Some((_, users)) =
            ONLY.iter().find(|(only, users)| only == link && !users.contains(&known.name))
        {
            findings.push(format!("{name} must not depend on {link}; only {users:?} may"));
        }
        if link.starts_with("trimaran") && !known.knows.contains(&link.as_str()) {
            findings.push(format!("{name} must not know {link}"));
        }
    }
    findings
}

/// Dependencies that no source of the crate names; one that only tests name is no normal dependency.
fn unused(root: &Path, files: &[String], package: &Package) -> Vec<String> {
    let below = |part: &str| {
        let folder = format!("{}/{part}", package.folder);
        let sources = files.iter().filter(|file| file.starts_with(&folder) && file.ends_with(".rs"));
        sources.map(|file| std::fs::read_to_string(root.join(file)).unwrap_or_default()).collect::<String>()
    };
    let lists = [
        (&package.links, below("src/"), "its sources name"),
        (&package.tests, below(""), "its sources and tests name"),
    ];
    let mut findings = Vec::new();
    for (list, text, who) in lists {
        let unused = list.iter().filter(|name| !names(&text, &name.replace('-', "_")));
        findings.extend(
            unused.map(|name| format!("{}: {who} no `{name}`; take it out of the manifest", package.name)),
        );
    }
    findings
}

/// Whether `word` stands in the text as a word of its own.
fn names(text: &str, word: &str) -> bool {
    let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    text.match_indices(word).any(|(at, _)| {
        let bytes = text.as_bytes();
        !is_part(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && !is_part(bytes.get(at + word.len()))
    })
}

fn packages(root: &Path) -> Vec<Package> {
    let metadata: Value =
        serde_json::from_slice(&cargo(root, &["metadata", "--format-version", "1", "--no-deps", "--locked"]))
            .expect("cargo metadata prints JSON");
    let top = metadata["workspace_root"].as_str().expect("a workspace has a root").to_owned();
    let text = |value: &Value| value.as_str().expect("cargo metadata gives text").to_owned();
    let list = |value: &Value| value.as_array().expect("cargo metadata gives a list").clone();
    let named = |package: &Value, wanted: fn(&Value) -> bool| {
        let found = list(&package["dependencies"]).into_iter().filter(|it| wanted(&it["kind"]));
        found.map(|it| text(&it["name"])).collect()
    };
    let one = |package: &Value| {
        let manifest = text(&package["manifest_path"]);
        let folder =
            manifest.trim_start_matches(&top).trim_start_matches('/').trim_end_matches("/Cargo.toml");
        Package {
            name: text(&package["name"]),
            folder: folder.to_owned(),
            links: named(package, |kind| kind != "dev"),
            tests: named(package, |kind| kind == "dev"),
        }
    };
    list(&metadata["packages"]).iter().map(one).collect()
}

/// One crypto provider: two would make rustls panic at its first use.
fn no_ring(root: &Path) -> Vec<String> {
    let arguments =
        ["tree", "--locked", "--workspace", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let tree = cargo(root, &arguments);
    let text = String::from_utf8_lossy(&tree);
    let ring = text.lines().find(|line| line.starts_with("ring v"));
    ring.map(|line| format!("{line} is in the graph; aws-lc-rs is the one provider")).into_iter().collect()
}

/// What cargo prints. A cargo that fails must not look like a graph without findings.
fn cargo(root: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, folder: &str, links: &[&str]) -> Vec<String> {
        let links = links.iter().map(|link| (*link).to_owned()).collect();
        check_package(&Package { name: name.to_owned(), folder: folder.to_owned(), links, tests: Vec::new() })
    }

    #[test]
    fn each_rule_of_the_table_has_its_finding() {
        assert_eq!(findings("trimaran-wire", "protocol/wire", &["trimaran-model", "bincode"]), [""; 0]);
        let wrong = [
            ("trimaran-wire", "protocol/wire", "trimaran-engine", "must not know"),
            ("trimaran-wire", "protocol/wire", "tokio", "is a core"),
            ("trimaran-store", "coordinator/store", "raft", "must not depend on raft"),
            ("trimaran-new", "agent/new", "tokio", "not in the table"),
            ("trimaran-wire", "protocol/other", "tokio", "not in the table"),
        ];
        for (name, folder, link, words) in wrong {
            let found = findings(name, folder, &[link]);
            assert!(found.len() == 1 && found[0].contains(words), "{name} {link}: {found:?}");
        }
    }

    #[test]
    fn a_name_within_a_longer_one_is_not_named() {
        assert!(names("use tar::Builder;", "tar") && names("tar", "tar"));
        assert!(!names("let target = start;", "tar") && !names("", "tar"));
    }
}
