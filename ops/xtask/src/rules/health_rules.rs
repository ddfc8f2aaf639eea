//! Rules for custom resources: each says what holds when no clause does.
//!
//! Without `otherwise` an object in a state that the rule does not list is `unknown`, also in its first second.

use std::path::Path;

const FOLDER: &str = "agent/kubernetes/core/rules/";

pub(crate) fn check(root: &Path, files: &[String]) -> Vec<String> {
    let rules = files.iter().filter(|file| file.starts_with(FOLDER) && file.ends_with(".yaml"));
    let texts = rules.map(|file| (file, std::fs::read_to_string(root.join(file)).unwrap_or_default()));
    texts
        .filter(|(_, text)| !has_otherwise(text))
        .map(|(file, _)| format!("{file}: has no `otherwise`: say what a state is that no clause lists"))
        .collect()
}

fn has_otherwise(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("otherwise:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_of_the_rule_itself_counts() {
        assert!(has_otherwise("match: {}\notherwise: {verdict: progressing}\n"));
        assert!(has_otherwise("otherwise:\n  verdict: generic\n"));
        assert!(!has_otherwise("# otherwise: unknown\nexamples:\n  good:\n    - {otherwise: x}\n"));
    }
}
