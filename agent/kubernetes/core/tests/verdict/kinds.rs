//! Kinds of mistakes that a judge can make: for each a file with objects and the verdicts that are right.
//!
//! A file of `tests/cases-kinds` begins with a comment that says why, has `checks` (an object, a time, perhaps the start
//! of the deploy, and what has to come out) and the `documents` that are judged together.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use trimaran_kubernetes_core::custom::RuleSet;
use trimaran_kubernetes_core::judgment::Judgment;
use trimaran_kubernetes_core::object::Object;
use trimaran_kubernetes_core::snapshot::Snapshot;
use trimaran_kubernetes_core::verdict::judge;
use trimaran_model::time::Wall;
use trimaran_model::verdict::Verdict;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kind {
    #[serde(skip)]
    pub(crate) name: String,
    pub(crate) checks: Vec<Check>,
    pub(crate) documents: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    /// `Kind/name`.
    pub(crate) subject: String,
    now: String,
    since: Option<String>,
    verdict: String,
    /// Not asked where it is left out, but for healthy, which has none.
    reason: Option<String>,
    /// A part of the message.
    message: Option<String>,
    /// A part of a warning.
    warning: Option<String>,
}

fn wall(text: &str) -> Wall {
    let time: jiff::Timestamp = text.parse().expect("times of checks are RFC 3339");
    Wall(time.as_millisecond())
}

impl Check {
    pub(crate) fn now(&self) -> Wall {
        wall(&self.now)
    }

    pub(crate) fn since(&self) -> Option<Wall> {
        self.since.as_deref().map(wall)
    }

    /// The verdict on the subject among these documents at a time.
    pub(crate) fn judge_at(&self, documents: &[Value], now: Wall) -> Judgment {
        let snapshot = Snapshot::new(documents);
        let subject = snapshot.objects().find(|object: &Object<'_>| object.display() == self.subject);
        let subject = subject.unwrap_or_else(|| panic!("{} is not among the documents", self.subject));
        judge(&snapshot, subject, &RuleSet::builtin(), now, self.since())
    }

    fn differs(&self, judgment: &Judgment) -> bool {
        let reason = judgment.reason.map(|reason| reason.as_str());
        let has = |part: &Option<String>, text: &str| part.as_ref().is_none_or(|part| text.contains(part));
        let warns = |part: &String| judgment.warnings.iter().any(|warning| warning.contains(part));
        judgment.verdict.as_str() != self.verdict
            || (judgment.verdict == Verdict::Healthy) != reason.is_none()
            || (self.reason.is_some() && reason != self.reason.as_deref())
            || !has(&self.message, &judgment.message)
            || !self.warning.as_ref().is_none_or(warns)
    }
}

/// All files, by name.
pub(crate) fn all() -> Vec<Kind> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases-kinds");
    let entries = std::fs::read_dir(&folder).expect("there are kinds");
    let files = entries.map(|entry| entry.expect("an entry can be listed").path());
    let mut kinds: Vec<Kind> = files
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a kind can be read");
            assert!(text.starts_with("# "), "{name} does not say why");
            let kind: Kind = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            Kind { name, ..kind }
        })
        .collect();
    kinds.sort_by(|a, b| a.name.cmp(&b.name));
    kinds
}

#[test]
fn every_kind_is_judged_as_it_says_in_any_order() {
    let kinds = all();
    let checks: usize = kinds.iter().map(|kind| kind.checks.len()).sum();
    assert!(kinds.len() >= 23 && checks >= 240, "{} kinds with {checks} checks", kinds.len());
    let mut wrong = String::new();
    for kind in &kinds {
        let reversed: Vec<Value> = kind.documents.iter().rev().cloned().collect();
        for check in &kind.checks {
            let judgment = check.judge_at(&kind.documents, check.now());
            if check.differs(&judgment) {
                wrong.push_str(&format!("{}: {check:?}\n    {judgment:?}\n", kind.name));
            }
            assert_eq!(check.judge_at(&reversed, check.now()), judgment, "{}: {}", kind.name, check.subject);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn a_verdict_changes_at_the_time_that_it_names_and_not_before() {
    for kind in all() {
        for check in &kind.checks {
            let judgment = check.judge_at(&kind.documents, check.now());
            let Some(next) = judgment.next_check_at else { continue };
            let what = format!("{}: {}", kind.name, check.subject);
            assert!(next > check.now(), "{what} is to be judged again in the past");
            let before = check.judge_at(&kind.documents, Wall(next.0 - 1));
            assert_eq!(before.verdict, judgment.verdict, "{what}");
            let after = check.judge_at(&kind.documents, next);
            assert_ne!(after.verdict, judgment.verdict, "{what}: {after:?}");
        }
    }
}
