//! The closed lists of states that a rule knows, and what an object says that is in none of them.
//!
//! A text of the status that the clauses compare with words is a state. Its list has these words and those that the
//! rule file lists under `states`. A controller of another version may write a state that no one has listed: that is
//! said in a warning, so that the rule gets corrected. Deliberately not here: what such a state means; the clauses and
//! `otherwise` say so, and `otherwise` is never healthy.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Clause;
use crate::custom::expression::Expression;
use crate::custom::subject::Subject;

/// The lists of one rule, by the path below `status`.
#[derive(Debug, Default)]
pub(super) struct States {
    lists: BTreeMap<Vec<String>, Listed>,
}

/// What a state may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listed {
    /// Anything: the controller has no closed list for it.
    Any,
    /// Words; one that ends with `*` is every word that begins so.
    Words(BTreeSet<String>),
}

/// A state that the rule does not list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unlisted {
    /// Such as `status.phase`.
    pub path: String,
    pub word: String,
}

impl States {
    /// The lists of the clauses together with those that the file gives.
    pub(super) fn new(
        clauses: &[Clause],
        suspended: Option<&Expression>,
        given: &BTreeMap<Vec<String>, Listed>,
    ) -> Self {
        let compared = clauses.iter().map(|clause| &clause.cel).chain(suspended).flat_map(|it| &it.compared);
        let mut lists = given.clone();
        for (path, word) in compared.filter(|(path, _)| path[0] == "status") {
            match lists.entry(path.clone()).or_insert_with(|| Listed::Words(BTreeSet::new())) {
                Listed::Any => {}
                Listed::Words(words) => {
                    words.insert(word.clone());
                }
            }
        }
        Self { lists }
    }

    /// The paths that have a list.
    #[cfg(test)]
    pub(super) fn paths(&self) -> impl Iterator<Item = &Vec<String>> {
        self.lists.keys()
    }

    /// Whether the path may say anything.
    #[cfg(test)]
    pub(super) fn is_open(&self, path: &[String]) -> bool {
        self.lists.get(path) == Some(&Listed::Any)
    }

    /// The states of an object that are in none of the lists.
    pub(super) fn unlisted(&self, subject: &Subject<'_>) -> Vec<Unlisted> {
        let unlisted = self.lists.iter().filter_map(|(path, listed)| {
            let (first, rest) = path.get(1..)?.split_first()?;
            let value = rest.iter().try_fold(subject.status(first)?, |value, name| value.get(name))?;
            let word = value.as_str().filter(|word| !word.trim().is_empty() && !listed.has(word))?;
            Some(Unlisted { path: path.join("."), word: word.to_owned() })
        });
        unlisted.collect()
    }
}

impl Listed {
    fn has(&self, word: &str) -> bool {
        let Self::Words(words) = self else { return true };
        words.iter().any(|known| match known.strip_suffix('*') {
            Some(beginning) => word.starts_with(beginning),
            None => known == word,
        })
    }

    /// From a value of `states`: `any`, or a list of words.
    pub(super) fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(word) if word == "any" => Some(Self::Any),
            Value::Array(words) => words
                .iter()
                .map(|word| word.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .map(Self::Words),
            _ => None,
        }
    }
}
