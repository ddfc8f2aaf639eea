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
    let padded = if reason.is_empty() && fault.is_empty() { 0 } else { 11 };
    let verdict = view.paint(verdict, &format!("{verdict:<padded$}"));
    let head =
        format!("{:<width$}  {:<12}  {verdict}{reason}{fault}", printable(&it.subject), printable(namespace));
    let mut lines = view.fit("", "    ", &head);
    let mut add = |mark: &str, text: &str| {
        lines.extend(view.wrap(&format!("    {mark} "), "      ", &printable(text)));
    };
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

#[cfg(test)]
mod tests {
    use trimaran_kubernetes_core::judgment::Judgment;
    use trimaran_model::reason::ReasonCode;
    use trimaran_model::time::WallTime;
    use trimaran_model::verdict::Fault;

    use super::*;
    use crate::samples;

    fn judged(subject: &str, judgment: Judgment) -> Judged {
        Judged { subject: subject.to_owned(), namespace: Some("shop".to_owned()), judgment }
    }

    #[test]
    fn verdicts_with_their_evidence_fit_any_terminal() {
        let evidence = |source: Source, value: &str| Evidence {
            object: "Pod/web-7d4b9c6f5d-abcde".to_owned(),
            source,
            value: value.to_owned(),
            at: Some(WallTime(1_767_225_600_000)),
        };
        let message =
            "container web of pod web-7d4b9c6f5d-abcde crashes again and again: exit code 137 (4 restarts)";
        let field = "status.containerStatuses[web].lastState.terminated.exitCode";
        let mut bad = Judgment::degraded(ReasonCode::CrashLoop, message)
            .with(evidence(Source::Field(field.to_owned()), "137"))
            .with(evidence(Source::Event("BackOff".to_owned()), "Back-off restarting failed container web"));
        bad.fault = Some(Fault::Release);
        let waits = Judgment::progressing(ReasonCode::NotReady, "0 of 3 replicas are ready")
            .warn("old_pods_terminating: pods of an earlier revision that are still ending: 2")
            .recheck_at(WallTime(1_767_226_200_000));
        let verdicts = [
            judged("Deployment/web", bad),
            judged("StatefulSet/carts-database", waits),
            judged("ConfigMap/web", Judgment::healthy()),
        ];
        insta::assert_snapshot!(samples::at_widths(|view| lines(&verdicts, view).join("\n")));
        assert_eq!(lines(&[], &View::pipe()), ["nothing to judge"]);
    }
}
