//! `trimaran cluster resume`: of a cluster that was restored an operator says that it is the one that goes on.
//!
//! It becomes another incarnation, with an epoch above every one that an agent has seen. What agents say is hostile input:
//! a claim that is far above what the cluster had is not believed, and the operator decides what it is worth.

use trimaran_model::id::{AgentName, Epoch};
use trimaran_model::limits::EPOCHS_BELIEVED;

use super::convert::record;
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::cluster::{AlarmDetail, AlarmSubject};
use crate::state::request::Outcome;
use crate::state::undecided::UndecidedSubject;

pub(super) fn run(state: &mut State, chosen: Option<u16>, incarnation: u64) -> Result<Outcome, Refusal> {
    if !state.observes() {
        return Err(Refusal::NotObserving);
    }
    let epoch = next_epoch(state, chosen.map(Epoch))?;
    if incarnation == state.cluster().incarnation {
        return Err(Refusal::Malformed);
    }
    state.set_cluster(|cluster| cluster.begin_incarnation(epoch, incarnation));
    state.decide(&UndecidedSubject::Cluster);
    state.wake_all();
    Ok(Outcome::Resumed { epoch, incarnation: state.cluster().incarnation })
}

/// The epoch that was chosen, or the first one that no agent has seen.
fn next_epoch(state: &State, chosen: Option<Epoch>) -> Result<Epoch, Refusal> {
    let own = state.cluster().epoch;
    let believed = own.0.saturating_add(EPOCHS_BELIEVED);
    let seen = claims(state).map(|(_, epoch)| epoch.0).filter(|epoch| *epoch <= believed).max();
    let lowest = seen.map_or(own.0, |seen| seen.max(own.0)).checked_add(1).ok_or(Refusal::Malformed)?;
    if let Some(chosen) = chosen {
        return if chosen.0 < lowest {
            Err(Refusal::EpochTooLow { lowest: Epoch(lowest) })
        } else {
            Ok(chosen)
        };
    }
    match claims(state).filter(|(_, epoch)| epoch.0 > believed).max_by_key(|(_, epoch)| *epoch) {
        Some((agent, epoch)) => Err(Refusal::EpochClaimed { agent: agent.clone(), epoch }),
        None => Ok(Epoch(lowest)),
    }
}

/// Agents that have seen a later state of the cluster, by the alarm that each of them raised.
fn claims(state: &State) -> impl Iterator<Item = (&AgentName, Epoch)> {
    state.alarms.iter().filter_map(|alarm| match (&alarm.subject, &alarm.detail) {
        (AlarmSubject::Agent { name }, AlarmDetail::OtherIncarnation { epoch, .. }) => Some((name, *epoch)),
        (_, _) => None,
    })
}

pub(super) fn audit(state: &State) -> Record {
    record("resume_cluster", format!("epoch {}", state.cluster().epoch.0))
}
