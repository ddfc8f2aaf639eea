//! What a deploy would change in the clusters themselves: their agents compare, and the lines are shown with the plan.
//!
//! A plan is still shown when an agent is away or the user may not upload: the difference is missing then, and why.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trimaran_wire::v1::operator::{DeployRequest, OperatorBody, OperatorReply};

use crate::error::CliError;
use crate::manifest_set::ManifestSet;
use crate::remote::{Remote, client_error, next_reply};
use crate::ui::{View, printable};

/// Lines of one target that are shown to people; programs get all.
const LINES_MAX: usize = 200;

/// What would change on one target.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    lines: Vec<String>,
    /// Why no more lines came.
    missing: Option<String>,
}

/// By target.
pub(crate) type Differences = BTreeMap<String, Difference>;

/// Uploads the manifests, if there are any, and asks the agents of all targets.
pub(crate) fn ask(remote: &Remote, manifests: Option<&ManifestSet>, request: DeployRequest) -> Differences {
    let mut found = Differences::new();
    let asked = manifests.map_or(Ok(()), |set| set.upload(remote)).and_then(|()| {
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
        if let OperatorReply::Difference { target, lines, missing } = reply {
            let difference = found.entry(target).or_default();
            difference.lines.extend(lines);
            difference.missing = missing.or(difference.missing.take());
        }
    }
    Ok(())
}

/// For programs.
pub(crate) fn add_to(plan: &mut Value, differences: &Differences) {
    let one = |(target, it): (&String, &Difference)| {
        let target = Some(target).filter(|target| !target.is_empty());
        json!({"target": target, "lines": it.lines, "missing": it.missing})
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
            let text = format!("what would change on {place} is not known: {}", printable(why));
            shown.extend(view.wrap("  ", "    ", &text));
        }
    }
    shown
}
