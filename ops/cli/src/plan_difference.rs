//! What a deploy would change in the clusters themselves: their agents compare, and the lines are shown with the plan.
//!
//! A plan is still shown when an agent is away or the user may not upload: the difference is missing then, and why. It is
//! shown, too, when a platform would refuse it, and the command ends with an error.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trimaran_model::error_code;
use trimaran_model::reason::ReasonCode;
use trimaran_wire::v1::operator::{DeployRequest, OperatorBody, OperatorReply};

use crate::error::CliError;
use crate::remote::{Remote, client_error, next_reply};
use crate::ui::{View, printable};
use crate::upload::Upload;

/// Lines of one target that are shown to people; programs get all.
const LINES_MAX: usize = 200;

/// What would change on one target.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    lines: Vec<String>,
    /// Why no more lines came.
    missing: Option<String>,
    /// What the target's agent calls that.
    code: Option<ReasonCode>,
}

impl Difference {
    /// Whether the platform answered, and its answer is no.
    fn is_refused(&self) -> bool {
        self.code.is_some_and(|code| !code.is_no_answer())
    }
}

/// By target.
pub(crate) type Differences = BTreeMap<String, Difference>;

/// Uploads what the release names, if there is anything, and asks the agents of all targets.
pub(crate) fn ask(remote: &Remote, upload: Option<&Upload>, request: DeployRequest) -> Differences {
    let mut found = Differences::new();
    let asked = upload.map_or(Ok(()), |it| it.send(remote)).and_then(|()| {
        let body = OperatorBody::PlanDifference(request);
        remote.block_on(read(remote, body, &mut found))
    });
    if let Err(error) = asked {
        found.entry(String::new()).or_default().missing = Some(error.message);
    }
    found
}

async fn read(remote: &Remote, body: OperatorBody, found: &mut Differences) -> Result<(), CliError> {
    let mut replies = remote.client().stream(body).await.map_err(client_error)?;
    while let Some(reply) = next_reply(&mut replies).await? {
        if let OperatorReply::Difference { target, lines, missing, code } = reply {
            let difference = found.entry(target).or_default();
            difference.lines.extend(lines);
            difference.missing = missing.or(difference.missing.take());
            difference.code = code.and_then(|code| ReasonCode::from_name(&code)).or(difference.code);
        }
    }
    Ok(())
}

/// For programs.
pub(crate) fn add_to(plan: &mut Value, differences: &Differences) {
    let one = |(target, it): (&String, &Difference)| {
        let target = Some(target).filter(|target| !target.is_empty());
        let code = it.code.map(ReasonCode::as_str);
        json!({"target": target, "lines": it.lines, "missing": it.missing, "code": code})
    };
    plan["differences"] = differences.iter().map(one).collect();
}

/// For people.
pub(crate) fn lines(differences: &Differences, view: &View) -> Vec<String> {
    let mut shown = Vec::new();
    for (target, it) in differences {
        if !it.lines.is_empty() {
            shown.push(format!("  what changes on {target}:"));
        }
        for line in it.lines.iter().take(LINES_MAX) {
            let line = printable(line);
            let painted = match line.chars().next() {
                Some('+') => view.paint("succeeded", &line),
                Some('-') => view.paint("failed", &line),
                Some(_) | None => line.to_string(),
            };
            shown.push(format!("    {painted}"));
        }
        if it.lines.len() > LINES_MAX {
            shown.push(format!("    ({} more lines)", it.lines.len() - LINES_MAX));
        }
        if let Some(why) = &it.missing {
            let place = if target.is_empty() { "the targets".to_owned() } else { target.clone() };
            let what = if it.is_refused() {
                format!("{place} would refuse it")
            } else {
                format!("what would change on {place} is not known")
            };
            shown.extend(view.wrap("  ", "    ", &format!("{what}: {}", printable(why))));
        }
    }
    shown
}

/// The error of a plan that a platform would refuse.
pub(crate) fn refusal(differences: &Differences) -> Option<CliError> {
    let refused = differences.iter().filter(|(_, it)| it.is_refused());
    let names: Vec<String> = refused.map(|(target, _)| format!("`{target}`")).collect();
    if names.is_empty() {
        return None;
    }
    let of = if names.len() == 1 { "target" } else { "targets" };
    let message = format!("{of} {} would refuse this plan", names.join(", "));
    Some(CliError::new(error_code::PLATFORM_REFUSES, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(codes: &[(&str, Option<ReasonCode>)]) -> Differences {
        let one = |(target, code): &(&str, Option<ReasonCode>)| {
            let missing = Some("in the words of the agent".to_owned());
            (
                (*target).to_owned(),
                Difference { lines: vec!["+ Service/web".to_owned()], missing, code: *code },
            )
        };
        codes.iter().map(one).collect()
    }

    #[test]
    fn a_no_of_the_platform_is_an_error_and_silence_is_none() {
        let silent = [("a", None), ("b", Some(ReasonCode::ApiUnavailable))];
        assert!(refusal(&answered(&silent)).is_none());
        let denied = [("a", Some(ReasonCode::AdmissionDenied)), ("b", None), ("c", Some(ReasonCode::Quota))];
        let error = refusal(&answered(&denied)).expect("two of them refuse it");
        assert_eq!((error.exit(), error.message.as_str()), (6, "targets `a`, `c` would refuse this plan"));
    }

    #[test]
    fn programs_get_lines_words_and_code() {
        let mut plan = json!({});
        add_to(&mut plan, &answered(&[("a", Some(ReasonCode::Quota)), ("b", None)]));
        let wanted = |target: &str, code: Value| json!({"target": target, "lines": ["+ Service/web"], "missing": "in the words of the agent", "code": code});
        assert_eq!(plan["differences"], json!([wanted("a", json!("quota")), wanted("b", Value::Null)]));
    }
}
