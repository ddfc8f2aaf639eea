//! Bundles of a custom resource with what its controller made below it, and the verdict that is right.
//!
//! Each file of `cases-custom/` is one case: `what` it is, the `subject`, `now`, the expected `verdict`, `reason`
//! (and `fault` where it matters), and the documents.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use trimaran_kubernetes_core::custom::RuleSet;
use trimaran_kubernetes_core::object::Object;
use trimaran_kubernetes_core::snapshot::Snapshot;
use trimaran_kubernetes_core::verdict::judge;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::WallTime;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    subject: String,
    now: String,
    verdict: String,
    reason: Option<String>,
    fault: Option<String>,
    /// A part of the message.
    message: Option<String>,
    documents: Vec<Value>,
}

fn cases() -> Vec<(String, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases-custom");
    let files =
        std::fs::read_dir(&folder).expect("the folder of cases").map(|entry| entry.expect("an entry").path());
    let mut cases: Vec<(String, Case)> = files
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a case");
            let case = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, case)
        })
        .collect();
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

fn check(case: &Case, documents: &[Value], rules: &RuleSet) -> Result<(), String> {
    let snapshot = Snapshot::new(documents);
    let mut objects = snapshot.objects();
    let subject =
        objects.find(|object: &Object<'_>| object.display() == case.subject).ok_or("no such subject")?;
    let now: jiff::Timestamp = case.now.parse().map_err(|_| "now is not a time")?;
    let judgment = judge(&snapshot, subject, rules, WallTime(now.as_millisecond()), None);
    let reason = judgment.reason.map(ReasonCode::as_str);
    let fault = judgment.fault.map(|fault| fault.as_str());
    let right = judgment.verdict.as_str() == case.verdict
        && reason == case.reason.as_deref()
        && (case.fault.is_none() || fault == case.fault.as_deref())
        && case.message.as_ref().is_none_or(|part| judgment.message.contains(part));
    if right {
        Ok(())
    } else {
        Err(format!("{} ({reason:?}, {fault:?}): {}", judgment.verdict.as_str(), judgment.message))
    }
}

#[test]
fn every_bundle_is_judged_as_it_says_in_any_order() {
    let rules = RuleSet::builtin();
    let cases = cases();
    assert!(cases.len() >= 12);
    let mut wrong = Vec::new();
    for (name, case) in &cases {
        let mut documents = case.documents.clone();
        for _ in 0..2 {
            if let Err(error) = check(case, &documents, &rules) {
                wrong.push(format!("{name}: {}: {error}", case.what));
            }
            documents.reverse();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
