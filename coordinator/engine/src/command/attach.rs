//! An agent's session begins. Two incarnations of one name never work at the same time.

use trimaran_model::id::{AgentName, CoordinatorName, Epoch, Identity, Incarnation, InstallationId};
use trimaran_model::limits::AGENT_LOST_AFTER;
use trimaran_model::target::PlatformKind;

use super::convert::{named, record};
use crate::audit;
use crate::event::{AgentState, Event};
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::cluster::{ALARM_OTHER_INCARNATION, AlarmDetail, AlarmSubject, Cluster};
use crate::state::request::Outcome;

pub(super) struct Session<'a> {
    pub(super) incarnation: u64,
    pub(super) coordinator: &'a str,
    pub(super) address: &'a str,
    pub(super) seen: Seen,
    pub(super) platforms: &'a [String],
}

/// What the agent knows of the cluster: the highest epoch that it has seen, and which incarnation of the cluster had it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) epoch: Epoch,
    pub(super) incarnation: u64,
}

impl Seen {
    /// Whether it is of another incarnation of the cluster than this one, and not of an earlier one: the cluster was restored
    /// from a backup, or this is a copy of it. What the agent has done since is not in this state.
    fn is_other(self, cluster: &Cluster) -> bool {
        let unknown = self.incarnation == 0;
        let same = self.epoch == cluster.epoch && (unknown || self.incarnation == cluster.incarnation);
        self.epoch >= cluster.epoch && !same
    }
}

pub(super) fn run(state: &mut State, name: &AgentName, session: &Session<'_>) -> Result<Outcome, Refusal> {
    let incarnation = Incarnation(session.incarnation);
    let coordinator: CoordinatorName = named(session.coordinator)?;
    let Some(mut agent) = state.agents.get(name).cloned() else {
        return Err(Refusal::NoAgent { agent: name.clone() });
    };
    if agent.is_superseded(incarnation) && !mutant!(ServeSuperseded) {
        return Err(Refusal::Superseded);
    }
    let subject = AlarmSubject::Agent { name: name.clone() };
    if session.seen.is_other(&state.cluster()) && !mutant!(ServeLaterIncarnation) {
        let Seen { epoch, incarnation } = session.seen;
        let detail = AlarmDetail::OtherIncarnation { epoch, incarnation };
        state.raise_alarm(subject, ALARM_OTHER_INCARNATION, detail);
        // Not an error: the alarm stays.
        let refusal =
            Refusal::OtherIncarnation { agent: name.clone(), epoch: state.cluster().epoch, seen: epoch };
        return Ok(Outcome::Refused(refusal));
    }
    state.clear_alarm(subject, ALARM_OTHER_INCARNATION);
    if state.observes() && !mutant!(ServeWhileObserving) {
        // Not an error: what the agent has seen now stays.
        return Ok(Outcome::Refused(Refusal::Observes));
    }
    if let Some(old) = agent.incarnation.filter(|old| *old != incarnation) {
        if let Some(retry_at) = agent.next_takeover(state.wall()) {
            return Err(Refusal::ReplacedTooOften { agent: name.clone(), retry_at });
        }
        agent.supersede(old, state.now(), state.wall());
        state.events.push(Event::Superseded { agent: name.clone(), incarnation: old });
        let superseded = record("supersede", format!("agent/{name} {old} by {incarnation}"));
        audit::append(state, &Identity::Agent(name.clone()), superseded, "ok");
    }
    state.set_cluster(|cluster| cluster.attach += 1);
    let attach = state.cluster().attach;
    agent.attach(incarnation, attach, coordinator);
    agent.address = Some(session.address.to_owned());
    agent.platforms = session.platforms.iter().map(|it| platform(it)).collect::<Result<_, _>>()?;
    agent.changed = state.wall();
    state.agents.put(agent);
    observe_before_stable(state, name);
    state.events.push(Event::Agent { agent: name.clone(), state: AgentState::Connected });
    state.events.push(Event::AgentWork { agent: name.clone(), assignment: None });
    state.wake_agent(name);
    Ok(Outcome::Attached { attach })
}

fn platform(name: &str) -> Result<PlatformKind, Refusal> {
    PlatformKind::from_name(name).ok_or(Refusal::Malformed)
}

/// What ran without an agent that observes it is not stable before the agent had a moment to report.
fn observe_before_stable(state: &mut State, name: &AgentName) {
    let earliest = state.now() + AGENT_LOST_AFTER;
    let due = state.installations_at(name).filter(|it| it.bake_until.is_some_and(|until| until < earliest));
    let due: Vec<InstallationId> = due.map(|it| it.id.clone()).collect();
    for id in due {
        state.installations.update(&id, |it| it.bake_until = Some(earliest));
    }
}
