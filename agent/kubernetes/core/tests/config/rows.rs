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
    let folders = [folder.join("schemas"), folder];
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
    for entry in entries.map(|it| it.expect("an entry").path()).filter(|it| it.is_file()) {
        let text = std::fs::read_to_string(entry).expect("a readable file");
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

/// An object of a kind with a name at a place, and with what a row of the other kind at that place needs.
fn object_of(kind: &str, place: &str, what: &str, all: &BTreeSet<(String, String)>) -> Value {
    let (group, plain) = kind.split_once('/').map_or(("", kind), |(group, kind)| (group, kind));
    let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    let mut object = json!({"apiVersion": version, "kind": plain, "metadata": {"name": "it"}});
    put(&mut object, place, BASE.into());
    let is_map = what.ends_with("config-map");
    let (this, that) = if is_map { ("config-map", "secret") } else { ("secret", "config-map") };
    if all.contains(&(place.to_owned(), what.replace(this, that))) {
        let beside = place.replace("/name", "/kind");
        put(&mut object, &beside, if is_map { "ConfigMap" } else { "Secret" }.into());
    }
    object
}

#[test]
fn every_row_has_its_effect() {
    let rows = rows();
    let mut count = 0;
    for kind in rows.keys().filter(|it| !it.starts_with('@')) {
        let mut all = BTreeSet::new();
        places(&rows, kind, "", &mut all);
        let places: Vec<_> = all.iter().collect();
        // One set for many places: each object has one.
        let objects = places.iter().map(|(place, what)| object_of(kind, place, what, &all));
        let out =
            rendered([config_map(BASE), secret(BASE)].into_iter().chain(objects).collect(), None).objects;
        let new = [name(&out[0]), name(&out[1])];
        for ((place, what), object) in places.iter().zip(&out[2..]) {
            count += 1;
            let new = &new[usize::from(!what.ends_with("config-map"))];
            // A place that a controller writes keeps its name, whatever other rows say.
            let is_output = all.contains(&(place.clone(), "output-secret".to_owned()));
            let wanted: Value = if is_output { BASE.into() } else { new.as_str().into() };
            assert_eq!(object.pointer(place), Some(&wanted), "{kind} {what} {place}");
        }
    }
    assert!(count > 5_000, "{count} places");
}
