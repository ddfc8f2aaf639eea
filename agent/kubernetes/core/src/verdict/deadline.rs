//! The deadline of objects whose rule has none of its own: nothing progresses for ever.
//!
//! It runs from the start of the deploy, so there is one only where the caller gives that start. Deliberately not
//! here: the deadlines of workloads, which follow their pods (`progress`), and those that a spec gives (Jobs).

use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Wall};
use trimaran_model::verdict::{Fault, Verdict};

use super::cause::{Cause, EffectiveFrom, event_evidence, quote};
use super::context::Context;
use super::grace;
use crate::judgment::Judgment;
use crate::object::Object;

/// What still progresses at its deadline has failed, with the words of what it waits for. `allowance` is the time
/// that its pods may take to start.
pub(super) fn apply<'a>(
    context: Context<'a>,
    object: Object<'a>,
    judgment: Judgment,
    allowance: Millis,
) -> Judgment {
    if judgment.verdict != Verdict::Progressing || judgment.is_held {
        return judgment;
    }
    let Some(began) = began(context, object) else { return judgment };
    let deadline = began + grace::PROGRESS + allowance;
    if deadline > context.now {
        return judgment.recheck_at(deadline);
    }
    missed(context, object, judgment)
}

/// The start of the deploy, or the creation or deletion of the object when that came later.
fn began(context: Context<'_>, object: Object<'_>) -> Option<Wall> {
    let since = context.since?;
    let changes = [object.created(), object.time("metadata.deletionTimestamp")];
    Some(changes.into_iter().flatten().fold(since, Wall::max))
}

/// What a platform's fault delayed is still the platform's fault.
fn missed<'a>(context: Context<'a>, object: Object<'a>, judgment: Judgment) -> Judgment {
    let of_platform = judgment.reason.filter(|_| judgment.suspected_fault == Some(Fault::Platform));
    let reason = of_platform.unwrap_or(ReasonCode::ProgressDeadline);
    let name = object.display();
    let waits = judgment.message.strip_prefix(&format!("{name}: ")).unwrap_or(&judgment.message);
    let mut message = format!("{name} made no progress before its deadline: {waits}");
    let warning = context.events(object, context.since).rev().find(|event| event.is_warning);
    let warning = warning.filter(|warning| !message.contains(&quote(warning.message)));
    if let Some(warning) = &warning {
        message = format!("{message}; {}: {}", warning.reason, quote(warning.message));
    }
    let cause = Cause::new(reason, EffectiveFrom::IMMEDIATELY, message)
        .with_all(judgment.evidence)
        .with_all(warning.map(|warning| event_evidence(object, &warning)));
    let cause = if of_platform.is_some() { cause.blame(Fault::Platform) } else { cause };
    Judgment { warnings: judgment.warnings, ..cause.degraded() }
}
