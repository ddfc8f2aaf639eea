//! Every row of the references files does what it says: an object that is made for the row is rewritten at its place.
#![allow(clippy::disallowed_methods, reason = "a test reads the files that are built in")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::{BASE, config_map, name, put, rendered, secret};

/// WHAT and PATH, by KIND.
type Rows = BTreeMap<String, Vec<(String, String)>>;

fn rows() -> Rows {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("references");
    let mut rows = Rows::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a readable file");
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            rows.entry(words[0].to_owned()).or_default().push((words[1].to_owned(), words[2].to_owned()));
        }
    }
    rows
}

/// A path as the pointer of its first place.
fn pointer(path: &str) -> String {
    if path == "." {
        return String::new();
    }
    let mut out = String::new();
    for (index, part) in path.split('"').enumerate() {
        if index % 2 == 1 {
            out.push_str(&format!("/{}", part.replace('/', "~1")));
        } else {
            let part = part.replace("[]", ".0").replace("{}", ".x");
            out.extend(part.split('.').filter(|it| !it.is_empty()).map(|it| format!("/{it}")));
        }
    }
    out
}

/// The places of a kind, those inside of its parts too.
fn places(rows: &Rows, kind: &str, before: &str, found: &mut BTreeSet<(String, String)>) {
    for (what, path) in &rows[kind] {
        let place = format!("{before}{}", pointer(path));
        if what.starts_with('@') {
            places(rows, what, &place, found);
        } else {
            found.insert((place, what.clone()));
        }
    }
}

#[test]
fn every_row_has_its_effect() {
    let rows = rows();
    let mut count = 0;
    for kind in rows.keys().filter(|it| !it.starts_with('@')) {
        let mut all = BTreeSet::new();
        places(&rows, kind, "", &mut all);
        for (place, what) in &all {
            count += 1;
            let (group, plain) =
                kind.split_once('/').map_or(("", kind.as_str()), |(group, kind)| (group, kind));
            let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
            let mut object = json!({"apiVersion": version, "kind": plain, "metadata": {"name": "it"}});
            put(&mut object, place, BASE.into());
            let is_map = what.ends_with("config-map");
            let other = what.replace(
                if is_map { "config-map" } else { "secret" },
                if is_map { "secret" } else { "config-map" },
            );
            if all.contains(&(place.clone(), other)) {
                let beside = place.replace("/name", "/kind");
                put(&mut object, &beside, if is_map { "ConfigMap" } else { "Secret" }.into());
            }
            let set = vec![config_map(BASE), secret(BASE), object.clone()];
            let out = rendered(set, None).objects;
            let wanted: Value = if what.starts_with("output-") {
                BASE.into()
            } else {
                name(&out[usize::from(!is_map)]).into()
            };
            assert_eq!(out[2].pointer(place), Some(&wanted), "{kind} {what} {place}");
        }
    }
    assert!(count > 1_000, "{count} places");
}
