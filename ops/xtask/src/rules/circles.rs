//! Files of a crate must not name each other in a circle: who reads one file of a circle has to read all of it.
//!
//! An arrow goes from a file to the file that defines what it names, through re-exports. Types and constants of a
//! parent may be named by its children, since a module often is the type that its children implement. A *function* of a
//! parent that a child calls is an arrow like any other: a parent is a dispatcher that calls its children, or a toolbox
//! that they call, and not both.
//!
//! Not here: circles between crates, which cargo refuses, and unit tests, which name everything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};

/// A module as the names on its path from the crate's root, which is the empty path.
type Module = Vec<String>;

/// What one file says of others.
#[derive(Default)]
struct Names {
    /// Paths in code and in `use`, as written.
    used: Vec<Vec<String>>,
    /// Name here, and the path that it stands for.
    exported: Vec<(String, Vec<String>)>,
    /// The same of private `use`, through which paths in code begin.
    imported: Vec<(String, Vec<String>)>,
}

/// Finds the circles of every crate.
pub(crate) fn check(root: &Path, files: &[String]) -> Vec<String> {
    let mut crates: BTreeMap<&str, BTreeMap<Module, Names>> = BTreeMap::new();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.ends_with(".rs")) {
        let Some((folder, below)) = file.split_once("/src/") else { continue };
        let module = module_of(below);
        if below.starts_with("bin/") || module.iter().any(|name| name == "tests") {
            continue;
        }
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        match names_in(&text) {
            Ok(names) => drop(crates.entry(folder).or_default().insert(module, names)),
            Err(error) => findings.push(format!("{file}: can't be parsed: {error}")),
        }
    }
    for (folder, modules) in &crates {
        findings.extend(circles(modules).iter().map(|circle| describe(folder, circle)));
    }
    findings
}

fn module_of(below: &str) -> Module {
    let path = below.trim_end_matches(".rs");
    if path == "lib" || path == "main" {
        return Module::new();
    }
    path.split('/').map(str::to_owned).collect()
}

fn describe(folder: &str, circle: &[Module]) -> String {
    let name = |module: &Module| {
        if module.is_empty() { "the root".to_owned() } else { module.join("/") }
    };
    let names: Vec<String> = circle.iter().map(name).collect();
    format!("{folder}: files name each other in a circle: {}", names.join(", "))
}

/// Reads what a file names, its unit tests left out.
fn names_in(text: &str) -> syn::Result<Names> {
    let mut names = Names::default();
    names.visit_file(&syn::parse_file(text)?);
    Ok(names)
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        collect(&item.tree, &mut Vec::new(), &mut found);
        let private = matches!(item.vis, syn::Visibility::Inherited);
        if private {
            self.used.extend(found.iter().map(|(_, path)| path.clone()));
        }
        let list = if private { &mut self.imported } else { &mut self.exported };
        list.extend(found);
    }

    /// A macro is text that the compiler copies, no dependency on what its file does.
    fn visit_macro(&mut self, _: &'ast syn::Macro) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.used.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }
}

/// The leaves of a `use` tree: the name here and the whole path.
fn collect(tree: &syn::UseTree, before: &mut Vec<String>, found: &mut Vec<(String, Vec<String>)>) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            collect(&path.tree, before, found);
            before.pop();
        }
        syn::UseTree::Name(name) if name.ident == "self" => {
            found.extend(before.last().cloned().map(|last| (last, before.clone())));
        }
        syn::UseTree::Name(name) => found.push((name.ident.to_string(), with(before, &name.ident))),
        syn::UseTree::Rename(rename) => {
            found.push((rename.rename.to_string(), with(before, &rename.ident)));
        }
        syn::UseTree::Glob(_) => found.push(("*".to_owned(), before.clone())),
        syn::UseTree::Group(group) => group.items.iter().for_each(|item| collect(item, before, found)),
    }
}

fn with(before: &[String], last: &syn::Ident) -> Vec<String> {
    before.iter().cloned().chain([last.to_string()]).collect()
}

/// A path from the crate's root; `None` when it leads into another crate.
fn from_root(modules: &BTreeMap<Module, Names>, here: &Module, path: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([here, rest].concat()),
        "super" => {
            let (_, above) = here.split_last()?;
            let rest = if rest.first().is_some_and(|it| it == "super") {
                rest
            } else {
                &[&["self".to_owned()], rest].concat()
            };
            from_root(modules, &above.to_vec(), rest)
        }
        _ => {
            let child = [here.as_slice(), &path[..1]].concat();
            if modules.contains_key(&child) {
                return Some([here, path].concat());
            }
            let (_, import) = modules.get(here)?.imported.iter().find(|(name, _)| name == first)?;
            let whole: Vec<String> = import.iter().chain(rest).cloned().collect();
            (import.first() != Some(first)).then(|| from_root(modules, here, &whole)).flatten()
        }
    }
}

/// The file that defines what a path from the root names, and the name in it. Re-exports are followed.
fn definition(modules: &BTreeMap<Module, Names>, path: &[String], hops: u8) -> Option<(Module, String)> {
    let length = (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))?;
    let (module, rest) = (path[..length].to_vec(), &path[length..]);
    let name = rest.first().cloned().unwrap_or_default();
    let exported = modules[&module].exported.iter().find(|(exported, _)| *exported == name);
    if let Some((_, target)) = exported.filter(|_| hops > 0)
        && let Some(target) = from_root(modules, &module, target)
        && target != path
    {
        return definition(modules, &target, hops - 1);
    }
    Some((module, name))
}

fn arrows(modules: &BTreeMap<Module, Names>, here: &Module) -> BTreeSet<Module> {
    const HOPS_MAX: u8 = 8;
    let mut arrows = BTreeSet::new();
    for path in &modules[here].used {
        let Some(path) = from_root(modules, here, path) else { continue };
        let Some((module, name)) = definition(modules, &path, HOPS_MAX) else { continue };
        let is_above = module.len() < here.len() && here.starts_with(&module);
        let is_function = name.starts_with(|first: char| first.is_ascii_lowercase());
        if module != *here && (!is_above || is_function) {
            arrows.insert(module);
        }
    }
    arrows
}

/// Sets of files that reach each other, each set in order.
fn circles(modules: &BTreeMap<Module, Names>) -> Vec<Vec<Module>> {
    let graph: BTreeMap<&Module, BTreeSet<Module>> =
        modules.keys().map(|module| (module, arrows(modules, module))).collect();
    let reach = |from: &Module| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&Module> = graph[from].iter().collect();
        while let Some(module) = open.pop() {
            if seen.insert(module.clone()) {
                open.extend(graph.get(module).into_iter().flatten());
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> = modules.keys().map(|it| (it, reach(it))).collect();
    let mut found: BTreeSet<Vec<Module>> = BTreeSet::new();
    for (module, all) in &reached {
        if all.contains(*module) {
            found.insert(all.iter().filter(|other| reached[*other].contains(*module)).cloned().collect());
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        let names = |text: &str| names_in(text).expect("the example parses");
        let modules = files.iter().map(|(file, text)| (module_of(file), names(text))).collect();
        circles(&modules).iter().map(|circle| describe("a", circle)).collect()
    }

    #[test]
    fn files_that_name_each_other_are_a_circle() {
        let files = [
            ("lib.rs", "mod low; mod high;"),
            ("low.rs", "use crate::high::Table; pub struct Tone;"),
            ("high.rs", "pub struct Table(crate::low::Tone);"),
        ];
        assert_eq!(circles_of(&files), ["a: files name each other in a circle: high, low"]);
        let one_way = [files[0], ("low.rs", "pub struct Tone;"), files[2]];
        assert_eq!(circles_of(&one_way), [""; 0]);
    }

    #[test]
    fn a_child_may_name_a_type_of_its_parent_and_call_no_function_of_a_dispatcher() {
        let parent =
            "mod child; pub struct Set; pub fn all(set: &Set) { child::check(set) } pub fn list() {}";
        let types = "use super::Set; pub fn check(_: &Set) {}";
        assert_eq!(
            circles_of(&[("lib.rs", "mod lint;"), ("lint.rs", parent), ("lint/child.rs", types)]),
            [""; 0]
        );
        let calls = "use super::Set; pub fn check(_: &Set) { super::list() }";
        assert_eq!(
            circles_of(&[("lib.rs", "mod lint;"), ("lint.rs", parent), ("lint/child.rs", calls)]),
            ["a: files name each other in a circle: lint, lint/child"]
        );
    }

    #[test]
    fn re_exports_and_imports_are_followed_and_unit_tests_left_out() {
        let root = "mod one; mod two; pub use one::One;";
        let two = "use crate::One; pub fn two(_: One) {} #[cfg(test)] mod tests { use crate::one::call; }";
        assert_eq!(
            circles_of(&[("lib.rs", root), ("one.rs", "pub struct One; pub fn call() {}"), ("two.rs", two)]),
            [""; 0]
        );
        let one = "use crate::two; pub struct One; pub fn call() { two::two(One) }";
        assert_eq!(
            circles_of(&[("lib.rs", root), ("one.rs", one), ("two.rs", two)]),
            ["a: files name each other in a circle: one, two"]
        );
    }
}
