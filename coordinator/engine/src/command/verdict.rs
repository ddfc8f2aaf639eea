//! How an installation is after the end of its assignment; a bad verdict in its bake goes back.
//!
//! On hosts a verdict is measured against the deploy's budget: hosts that are down, and hosts whose process ended and is about
//! to be back. What is within it is a warning.

use trimaran_model::action::Failure;
use trimaran_model::id::{AgentName, InstallationId};
use trimaran_model::limits::HOST_FINDINGS_MAX;
use trimaran_model::target::PlatformKind;
use trimaran_model::time::WallTime;
use trimaran_model::verdict::{Fault, Verdict};
use trimaran_wire::v1::agent::{self, AgentVerdict, HostCounts};

use super::agent_report;
use super::convert::{checked, named, reason};
use crate::event::Event;
use crate::refusal::Refusal;
use crate::settle::rollback;
use crate::state::State;
use crate::state::installation::{HostFinding, Installation, WhenHealthy, is_finding};
use crate::state::request::Outcome;

pub(super) fn run(state: &mut State, agent: &AgentName, reported: &AgentVerdict) -> Result<Outcome, Refusal> {
    let AgentVerdict { installation, fence, verdict, failure, down, hosts, blind_since_ms } = reported;
    let id: InstallationId = checked(installation.clone())?;
    let Some(before) = state.installations.get(&id).cloned() else {
        return Ok(Outcome::ReportUnknown);
    };
    let Some(target) = state.target(&id.target).filter(|target| target.agent == *agent) else {
        return Err(Refusal::OtherAgentServes);
    };
    let hosts = hosts.as_ref().filter(|_| target.platform.kind() == PlatformKind::Hosts);
    let verdict = Verdict::from_name(verdict).ok_or(Refusal::Malformed)?;
    // What a restore left undecided is not measured against this state.
    if before.fence.0 != *fence || before.assignment.is_some() || state.is_undecided(&id) {
        return Ok(Outcome::ReportUnknown);
    }
    let health = match hosts {
        Some(hosts) => judge_hosts(&before, verdict, hosts, budget(state, &before)),
        None => judge(&before, verdict, *down),
    };
    // Hosts that are away, or lack the release, say nothing against it.
    let bad = hosts.map_or(*down, |hosts| hosts.degraded.saturating_add(hosts.broken));
    match before.when_healthy(bad) {
        WhenHealthy::Noted if health == Verdict::Healthy => {
            state.installations.update(&id, |it| it.note_healthy(bad));
            return Ok(Outcome::ReportApplied);
        }
        WhenHealthy::Nothing if health == Verdict::Healthy => return Ok(Outcome::ReportUnknown),
        WhenHealthy::Healthy | WhenHealthy::Noted | WhenHealthy::Nothing => {}
    }
    let now = state.wall();
    let blind_since = blind_since_ms.map(|at| WallTime(at).min(now));
    let failure = failure.as_ref().map(agent_report::failure).transpose()?;
    // Of hosts it is a warning beside a health that is good.
    let failure = failure.filter(|failure| hosts.is_some() || is_finding(health, failure.code));
    let hosts = hosts.filter(|hosts| hosts.settled).map(|hosts| counts(hosts, state.wall())).transpose()?;
    state.installations.update(&id, |it| {
        (it.health, it.failure) = (health, failure.clone());
        if let Some(counts) = hosts {
            counts.store(it);
        }
        it.down = (*down).min(it.desired);
        it.blind_since = blind_since;
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

/// Hosts that may be down of the release that the installation has, by the strategy of the deploy that brought it.
fn budget(state: &State, it: &Installation) -> u32 {
    let run = it.run.as_ref();
    let stages = run.into_iter().flat_map(|run| state.stages_of(run));
    let mut deploys = stages.filter_map(crate::state::stage::Stage::deploy);
    let deploy = deploys.find(|deploy| deploy.target == it.id.target);
    deploy.map_or(0, |deploy| deploy.batches.max_failures.floor_of(it.desired))
}

/// More hosts down than the budget is bad, and so are two more when processes that are about to be back count too: one
/// that ends and is brought back within its restart policy never is.
fn judge_hosts(before: &Installation, reported: Verdict, hosts: &HostCounts, budget: u32) -> Verdict {
    let HostCounts { degraded, mending, broken, .. } = *hosts;
    let was_healthy = before.health == Verdict::Healthy;
    let down = if was_healthy { degraded } else { degraded.saturating_add(broken) };
    let over = down > budget || degraded.saturating_add(mending) > budget.saturating_add(1);
    match reported {
        Verdict::Healthy | Verdict::Degraded if over => Verdict::Degraded,
        Verdict::Healthy | Verdict::Degraded => Verdict::Healthy,
        other @ (Verdict::Progressing | Verdict::Suspended | Verdict::Missing | Verdict::Unknown) => other,
    }
}

/// Where the stage did not succeed, an instance that is down makes the installation degraded.
fn judge(before: &Installation, reported: Verdict, down: u32) -> Verdict {
    let was_healthy = before.health == Verdict::Healthy;
    if reported == Verdict::Healthy && down > 0 && !was_healthy { Verdict::Degraded } else { reported }
}

/// Whether what made an installation unhealthy is no fault of its release: nothing goes back for it.
fn is_platform_fault(failure: Option<&Failure>) -> bool {
    failure.and_then(|failure| failure.code.fault()) == Some(Fault::Platform)
}

/// What is stored of the counts.
struct Counts {
    members: u32,
    updated: u32,
    lost: u32,
    diverged: u32,
    crashes: u32,
    crash: Option<Failure>,
    findings: Vec<HostFinding>,
}

fn counts(hosts: &HostCounts, now: WallTime) -> Result<Counts, Refusal> {
    let findings = hosts.findings.iter().take(HOST_FINDINGS_MAX);
    Ok(Counts {
        members: hosts.members,
        updated: hosts.updated,
        lost: hosts.lost,
        diverged: hosts.diverged,
        crashes: hosts.crashes,
        crash: hosts.crash.as_ref().map(agent_report::failure).transpose()?,
        findings: findings.map(|it| finding(it, now)).collect::<Result<_, _>>()?,
    })
}

fn finding(wire: &agent::HostFinding, now: WallTime) -> Result<HostFinding, Refusal> {
    Ok(HostFinding {
        host: named(&wire.host)?,
        code: reason(&wire.code)?,
        message: agent_report::bounded(wire.message.clone()),
        since: WallTime(wire.since_ms).min(now),
    })
}

impl Counts {
    fn store(self, it: &mut Installation) {
        (it.members, it.lost, it.diverged) = (self.members, self.lost, self.diverged);
        (it.crashes, it.crash, it.findings) = (self.crashes, self.crash, self.findings);
        // While some hosts have another release on purpose, the stage's own numbers say more.
        if it.mixed.is_none() && it.current.is_some() {
            it.desired = self.members;
            it.updated = self.updated;
        }
    }
}
