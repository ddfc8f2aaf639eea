//! Places of references in a schema, and how they are written: parts that several places have in common once.

use std::collections::{BTreeMap, BTreeSet};

/// What is at a place, and what is below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tree {
    /// WHAT of the rows of this place: `secret`, `config-map`, or a part that is written by hand.
    pub(super) what: BTreeSet<&'static str>,
    /// By `key`, `[]` or `{}`.
    pub(super) below: BTreeMap<String, Tree>,
}

/// A part has at least so many rows; fewer are clearer where they are.
const PART_ROWS_MIN: usize = 3;

impl Tree {
    pub(super) fn is_empty(&self) -> bool {
        self.what.is_empty() && self.below.is_empty()
    }

    pub(super) fn put(&mut self, step: &str, tree: Tree) {
        if !tree.is_empty() {
            self.below.entry(step.to_owned()).or_default().merge(tree);
        }
    }

    /// Adds what another version of the same kind has.
    pub(super) fn merge(&mut self, other: Tree) {
        self.what.extend(other.what);
        for (step, tree) in other.below {
            self.below.entry(step).or_default().merge(tree);
        }
    }

    fn rows(&self) -> usize {
        self.what.len() + self.below.values().map(Tree::rows).sum::<usize>()
    }

    /// The tree at a path of steps.
    pub(super) fn remove(&mut self, steps: &[String]) -> bool {
        let Some((step, rest)) = steps.split_first() else {
            let was_there = !self.is_empty();
            *self = Tree::default();
            return was_there;
        };
        let Some(below) = self.below.get_mut(step) else { return false };
        let removed = below.remove(rest);
        if below.is_empty() {
            self.below.remove(step);
        }
        removed
    }
}

/// The rows of kinds, with parts of their own: `name` starts the names of parts.
pub(super) fn rows(name: &str, kinds: &BTreeMap<String, Tree>) -> String {
    let mut counts: BTreeMap<&Tree, (usize, &str)> = BTreeMap::new();
    for (kind, tree) in kinds {
        count(tree, kind.rsplit('/').next().unwrap_or(kind), &mut counts);
    }
    let mut parts: BTreeMap<&Tree, String> = BTreeMap::new();
    let mut used = BTreeSet::new();
    for (tree, (times, key)) in counts {
        if times > 1 && tree.rows() >= PART_ROWS_MIN {
            let base = format!("@{name}-{}", dashed(key));
            let numbered = std::iter::once(base.clone()).chain((2..).map(|n| format!("{base}-{n}")));
            let unused = numbered.into_iter().find(|it| !used.contains(it)).expect("numbers do not end");
            used.insert(unused.clone());
            parts.insert(tree, unused);
        }
    }
    let mut lines = BTreeSet::new();
    for (tree, part) in &parts {
        print(tree, part, "", true, &parts, &mut lines);
    }
    for (kind, tree) in kinds {
        print(tree, kind, "", false, &parts, &mut lines);
    }
    let width = lines.iter().map(|(title, _, _): &(String, String, String)| title.len()).max().unwrap_or(0);
    let what_width = lines.iter().map(|(_, _, what)| what.len()).max().unwrap_or(0);
    lines.iter().map(|(title, path, what)| format!("{title:width$} {what:what_width$} {path}\n")).collect()
}

fn count<'t>(tree: &'t Tree, key: &'t str, counts: &mut BTreeMap<&'t Tree, (usize, &'t str)>) {
    if tree.below.is_empty() {
        return;
    }
    let entry = counts.entry(tree).or_insert((0, key));
    entry.0 += 1;
    // What is below a part that is known already is counted with it.
    if entry.0 > 1 {
        return;
    }
    for (step, below) in &tree.below {
        let key = if matches!(step.as_str(), "[]" | "{}") { key } else { step };
        count(below, key, counts);
    }
}

fn print(
    tree: &Tree,
    title: &str,
    path: &str,
    is_top: bool,
    parts: &BTreeMap<&Tree, String>,
    lines: &mut BTreeSet<(String, String, String)>,
) {
    let shown = if path.is_empty() { "." } else { path };
    if !is_top && let Some(part) = parts.get(tree) {
        lines.insert((title.to_owned(), shown.to_owned(), part.clone()));
        return;
    }
    for what in &tree.what {
        lines.insert((title.to_owned(), shown.to_owned(), (*what).to_owned()));
    }
    for (step, below) in &tree.below {
        let path = match step.as_str() {
            "[]" | "{}" => format!("{path}{step}"),
            key if key.contains(['.', '[', '{']) => format!("{path}.\"{key}\""),
            key => format!("{path}.{key}"),
        };
        print(below, title, path.strip_prefix('.').unwrap_or(&path), false, parts, lines);
    }
}

/// `tls-config` of `tlsConfig`.
fn dashed(key: &str) -> String {
    let mut out = String::new();
    let mut before_is_lower = false;
    for letter in key.chars() {
        if letter.is_ascii_uppercase() && before_is_lower {
            out.push('-');
        }
        before_is_lower = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        out.push(if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(what: &'static str) -> Tree {
        Tree { what: BTreeSet::from([what]), ..Tree::default() }
    }

    #[test]
    fn what_several_places_have_is_written_once() {
        let mut auth = Tree::default();
        for key in ["user", "password", "token"] {
            let mut name = Tree::default();
            name.put("name", leaf("secret"));
            auth.put(key, name);
        }
        let mut spec = Tree::default();
        spec.put("basicAuth", auth.clone());
        spec.put("proxyAuth", auth);
        spec.put("a.b/c", leaf("config-map"));
        let mut kind = Tree::default();
        kind.put("spec", spec);
        let text = rows("x", &BTreeMap::from([("g.io/Thing".to_owned(), kind)]));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines,
            [
                ["@x-basic-auth", "secret", "password.name"],
                ["@x-basic-auth", "secret", "token.name"],
                ["@x-basic-auth", "secret", "user.name"],
                ["g.io/Thing", "config-map", "spec.\"a.b/c\""],
                ["g.io/Thing", "@x-basic-auth", "spec.basicAuth"],
                ["g.io/Thing", "@x-basic-auth", "spec.proxyAuth"],
            ]
        );
    }
}
