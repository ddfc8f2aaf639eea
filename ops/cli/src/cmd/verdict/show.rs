//! Verdicts as documents for programs and as lines for people.

use serde_json::{Value, json};
use trimaran_kubernetes_core::judgment::{Evidence, Source};
use trimaran_wire::document::rfc3339;

use super::Judged;
use crate::ui::{View, printable};

/// One entry of the array of INTERFACE 5.
pub(super) fn document(it: &Judged) -> Value {
    let judgment = &it.judgment;
    let evidence: Vec<Value> = judgment.evidence.iter().map(evidence_document).collect();
    json!({
        "subject": it.subject,
        "namespace": it.namespace,
        "verdict": judgment.verdict.as_str(),
        "reason": judgment.reason.map(|reason| reason.as_str()),
        "message": judgment.message,
        "evidence": evidence,
        "fault": judgment.fault.map(|fault| fault.as_str()),
        "warnings": judgment.warnings,
        "next_check_at": judgment.next_check_at.map(rfc3339),
    })
}

fn evidence_document(it: &Evidence) -> Value {
    let at = it.at.map(rfc3339);
    match &it.source {
        Source::Field(path) => json!({"object": it.object, "field": path, "value": it.value, "at": at}),
        Source::Event(reason) => json!({"object": it.object, "event": reason, "value": it.value, "at": at}),
    }
}

/// A line with the verdict, then why, what it rests on and when it is worth looking again.
pub(super) fn lines(verdicts: &[Judged], view: &View) -> Vec<String> {
    if verdicts.is_empty() {
        return vec!["nothing to judge".to_owned()];
    }
    let width = verdicts.iter().map(|it| it.subject.chars().count()).max().unwrap_or(0).min(48);
    verdicts.iter().flat_map(|it| one(it, width, view)).collect()
}

fn one(it: &Judged, width: usize, view: &View) -> Vec<String> {
    let judgment = &it.judgment;
    let verdict = judgment.verdict.as_str();
    let namespace = it.namespace.as_deref().unwrap_or("-");
    let reason = judgment.reason.map(|reason| format!("  {}", reason.as_str())).unwrap_or_default();
    let fault = judgment.fault.map(|fault| format!(" (fault of the {})", fault.as_str())).unwrap_or_default();
    let verdict = view.paint(verdict, &format!("{verdict:<11}"));
    let mut lines = vec![format!(
        "{:<width$}  {:<12}  {verdict}{reason}{fault}",
        printable(&it.subject),
        printable(namespace)
    )];
    let mut add = |mark: &str, text: &str| lines.push(format!("    {mark} {}", printable(text)));
    if judgment.reason.is_some() && !judgment.message.is_empty() {
        add(">", &judgment.message);
        for evidence in &judgment.evidence {
            add("-", &evidence_line(evidence));
        }
    }
    for warning in &judgment.warnings {
        add("!", warning);
    }
    if let Some(next) = judgment.next_check_at {
        add("~", &format!("time alone changes it at {}", rfc3339(next)));
    }
    lines
}

fn evidence_line(it: &Evidence) -> String {
    let at = it.at.map(|at| format!("  since {}", rfc3339(at))).unwrap_or_default();
    match &it.source {
        Source::Field(path) => format!("{} {path}: {}{at}", it.object, it.value),
        Source::Event(reason) => {
            let at = it.at.map(|at| format!("  at {}", rfc3339(at))).unwrap_or_default();
            format!("{} event {reason}: {}{at}", it.object, it.value)
        }
    }
}
