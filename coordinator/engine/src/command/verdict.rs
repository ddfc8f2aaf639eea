//! How an installation is after the end of its assignment; a bad verdict in its bake goes back.

use trimaran_model::action::Failure;
use trimaran_model::id::{AgentName, InstallationId};
use trimaran_model::verdict::{Fault, Verdict};
use trimaran_wire::v1::agent::AgentVerdict;

use super::agent_report;
use super::convert::checked;
use crate::event::Event;
use crate::refusal::Refusal;
use crate::settle::rollback;
use crate::state::State;
use crate::state::installation::Installation;
use crate::state::request::Outcome;

pub(super) fn run(state: &mut State, agent: &AgentName, reported: &AgentVerdict) -> Result<Outcome, Refusal> {
    let AgentVerdict { installation, fence, verdict, failure, down } = reported;
    let id: InstallationId = checked(installation.clone())?;
    let Some(before) = state.installations.get(&id).cloned() else {
        return Ok(Outcome::ReportUnknown);
    };
    if state.target(&id.target).is_none_or(|target| target.agent != *agent) {
        return Err(Refusal::OtherAgentServes);
    }
    let verdict = Verdict::from_name(verdict).ok_or(Refusal::Malformed)?;
    let idle = verdict == Verdict::Healthy && !before.can_be_healthy();
    if before.fence.0 != *fence || before.assignment.is_some() || idle {
        return Ok(Outcome::ReportUnknown);
    }
    let health = judge(&before, verdict, *down);
    let failure = failure.as_ref().filter(|_| health != Verdict::Healthy);
    let failure = failure.map(agent_report::failure).transpose()?;
    state.installations.update(&id, |it| {
        (it.health, it.failure) = (health, failure.clone());
        it.down = (*down).min(it.desired);
    });
    if before.health != health {
        state.events.push(Event::Installation { installation: id, health });
    }
    let fails = matches!(health, Verdict::Degraded | Verdict::Missing);
    if fails && !is_platform_fault(failure.as_ref()) && before.bake_until.is_some() {
        rollback::after_success(state, &before, failure.as_ref());
    }
    Ok(Outcome::ReportApplied)
}

/// A host that failed within its stage's budget makes nothing degraded; where the stage did not succeed it does.
fn judge(before: &Installation, reported: Verdict, down: u32) -> Verdict {
    let was_healthy = before.health == Verdict::Healthy;
    match reported {
        Verdict::Healthy if down > 0 && !was_healthy => Verdict::Degraded,
        other => other,
    }
}

/// Whether what made an installation unhealthy is no fault of its release: nothing goes back for it.
fn is_platform_fault(failure: Option<&Failure>) -> bool {
    failure.and_then(|failure| failure.code.fault()) == Some(Fault::Platform)
}
