//! Every built-in rule with its examples, and rule files that are refused.

use trimaran_model::verdict::Verdict;

use super::RuleSet;
use super::file::{self, Examples};
use crate::custom::builtin;

/// The built-in rules with their examples.
fn files() -> Vec<(&'static str, Examples)> {
    let read = builtin::FILES.iter().map(|(name, text)| match file::read(name, text) {
        Ok((_, examples)) => Ok((*name, examples)),
        Err(error) => Err(format!("{error}; {}", error.help)),
    });
    let (files, errors): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
    let errors: Vec<String> = errors.into_iter().filter_map(Result::err).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    files.into_iter().filter_map(Result::ok).collect()
}

#[test]
fn every_example_is_judged_as_it_says() {
    let files = files();
    let rules = RuleSet::builtin();
    let mut wrong = Vec::new();
    for (name, examples) in files {
        wrong.extend(examples.check(name, &rules).into_iter().map(|error| error.to_string()));
        for verdict in [Verdict::Healthy, Verdict::Progressing, Verdict::Degraded] {
            if !examples.cases.iter().any(|example| example.verdict == verdict) {
                wrong.push(format!("{name} has no example of {}", verdict.as_str()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
