//! Every case gives the verdict that it says, and the same verdict holds until the time that it names.

use serde_json::{Value, json};
use trimaran_kubernetes_core::judgment::Judgment;
use trimaran_model::time::WallTime;
use trimaran_model::verdict::Verdict;

use crate::bundle::{Bundle, all, text_of, wall};

/// What differs from what the case expects; empty when nothing does.
fn differences(bundle: &Bundle, judgment: &Judgment) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, wanted: &Value, found: Value| {
        if *wanted != found {
            differences.push(format!("{what} is {found}, expected {wanted}"));
        }
    };
    let expect = &bundle.expect;
    compare("verdict", &expect["verdict"], json!(judgment.verdict.as_str()));
    compare("reason", &expect["reason"], json!(judgment.reason.map(|reason| reason.as_str())));
    if let Some(fault) = expect.get("fault") {
        compare("fault", fault, json!(judgment.fault.map(|fault| fault.as_str())));
    }
    let next = wall(&expect["next_check_at"]).map(|at| at.0);
    compare("next_check_at", &json!(next), json!(judgment.next_check_at.map(|at| at.0)));
    for word in expect["message"].as_array().into_iter().flatten().map(text_of) {
        if !judgment.message.contains(&word) {
            differences.push(format!("the message lacks `{word}`"));
        }
    }
    for word in expect["warnings"].as_array().into_iter().flatten().map(text_of) {
        if !judgment.warnings.iter().any(|warning| warning.contains(&word)) {
            differences.push(format!("no warning has `{word}`: {:?}", judgment.warnings));
        }
    }
    let healthy = judgment.verdict == Verdict::Healthy;
    if healthy != judgment.reason.is_none() || (!healthy && judgment.message.is_empty()) {
        differences.push("only a healthy verdict has no reason and message".to_owned());
    }
    differences
}

#[test]
fn every_case_gives_its_verdict() {
    let bundles = all();
    assert!(bundles.len() >= 120, "{} cases", bundles.len());
    let mut wrong = String::new();
    for bundle in &bundles {
        let judgment = bundle.judge();
        let differences = differences(bundle, &judgment);
        if !differences.is_empty() {
            wrong.push_str(&format!(
                "{}: {}\n    {}\n",
                bundle.name,
                differences.join("; "),
                judgment.message
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn a_verdict_changes_at_the_time_that_it_names_and_not_before() {
    for bundle in all() {
        let judgment = bundle.judge();
        let Some(next) = judgment.next_check_at else { continue };
        assert!(next > bundle.now, "{}: looks back", bundle.name);
        let before = bundle.judge_at(&bundle.objects, WallTime(next.0 - 1));
        assert_eq!(before.verdict, judgment.verdict, "{}", bundle.name);
        let after = bundle.judge_at(&bundle.objects, next);
        assert_ne!(after.verdict, judgment.verdict, "{}: {after:?}", bundle.name);
    }
}

#[test]
fn evidence_names_objects_of_the_case() {
    for bundle in all() {
        let names: Vec<String> = bundle
            .objects
            .iter()
            .map(|object| {
                format!(
                    "{}/{}",
                    object["kind"].as_str().unwrap_or("?"),
                    object["metadata"]["name"].as_str().unwrap_or("?")
                )
            })
            .collect();
        for evidence in bundle.judge().evidence {
            assert!(names.contains(&evidence.object), "{}: {evidence:?}", bundle.name);
        }
    }
}
