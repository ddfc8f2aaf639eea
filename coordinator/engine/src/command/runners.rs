//! What users change of runners: who is taken out of its targets, who comes back, who is removed, and labels.
//!
//! A host that leaves a target keeps what runs there until it is asked to end it: the installations there get a new fence, so
//! that its agent may ask.

use std::collections::BTreeSet;

use trimaran_model::id::{AgentName, HostName, InstallationId, TargetName, label_error};
use trimaran_model::limits::{LABELS_MAX, REFUSAL_TEXT_BYTES_MAX};
use trimaran_model::text::cut;
use trimaran_wire::v1::command::RunnerChange;

use super::convert::{named, record};
use crate::audit::Record;
use crate::event::Event;
use crate::refusal::Refusal;
use crate::revocation;
use crate::settle::new_fence;
use crate::state::State;
use crate::state::agent::Runner;
use crate::state::request::Outcome;

/// All of them, or none.
pub(super) fn run(state: &mut State, names: &[String], change: &RunnerChange) -> Result<Outcome, Refusal> {
    let names: BTreeSet<HostName> = names.iter().map(|name| named(name)).collect::<Result<_, _>>()?;
    let mut agents: BTreeSet<AgentName> = BTreeSet::new();
    let mut left: BTreeSet<TargetName> = BTreeSet::new();
    for name in &names {
        let Some(before) = state.runners.get(name).cloned() else {
            return Err(Refusal::NoRunner { runner: name.clone() });
        };
        agents.insert(before.agent.clone());
        let was = targets_of(state, &before);
        match change {
            RunnerChange::Remove => {
                revocation::of_removed(state, &before);
                state.runners.remove(name);
                left.extend(was);
            }
            RunnerChange::Cordon
            | RunnerChange::Uncordon
            | RunnerChange::Drain
            | RunnerChange::Label { .. } => {
                let mut runner = before;
                apply(&mut runner, change)?;
                let is = targets_of(state, &runner);
                left.extend(was.into_iter().filter(|target| !is.contains(target)));
                state.runners.put(runner);
            }
        }
    }
    for agent in agents {
        state.events.push(Event::AgentRunners { agent: agent.clone() });
        state.wake_agent(&agent);
    }
    for target in left {
        let here: Vec<InstallationId> = state.installations.index().by_target.of(&target).cloned().collect();
        here.iter().for_each(|id| new_fence(state, id));
    }
    let names = names.iter().map(ToString::to_string).collect();
    Ok(Outcome::Runners { names, change: word(change).to_owned() })
}

fn apply(runner: &mut Runner, change: &RunnerChange) -> Result<(), Refusal> {
    match change {
        RunnerChange::Cordon => runner.cordoned = true,
        RunnerChange::Uncordon => (runner.cordoned, runner.drained) = (false, false),
        RunnerChange::Drain => runner.drained = true,
        RunnerChange::Label { set, remove } => {
            for key in remove {
                runner.labels.remove(key);
            }
            for (key, value) in set {
                if label_error(key, value).is_some() {
                    return Err(Refusal::NotAName { text: cut(key.clone(), REFUSAL_TEXT_BYTES_MAX) });
                }
                runner.labels.insert(key.clone(), value.clone());
            }
            if runner.labels.len() > LABELS_MAX {
                return Err(Refusal::Malformed);
            }
        }
        RunnerChange::Remove => unreachable!("nothing is left to change"),
    }
    Ok(())
}

/// The targets whose selector a runner fits.
fn targets_of(state: &State, runner: &Runner) -> BTreeSet<TargetName> {
    let here = state.targets.index().by_agent.of(&runner.agent);
    let fits = |name: &&TargetName| state.target(name).is_some_and(|target| runner.is_host_of(target));
    here.filter(fits).cloned().collect()
}

/// As the audit log and the answer have it.
fn word(change: &RunnerChange) -> &'static str {
    match change {
        RunnerChange::Remove => "removed",
        RunnerChange::Cordon => "cordoned",
        RunnerChange::Uncordon => "uncordoned",
        RunnerChange::Drain => "drained",
        RunnerChange::Label { .. } => "labeled",
    }
}

pub(super) fn audit(names: &[String], change: &RunnerChange) -> Record {
    let mut object = format!("{} {}", word(change), names.join(" "));
    if let RunnerChange::Label { set, remove } = change {
        let set = set.iter().map(|(key, value)| format!("{key}={value}"));
        let words: Vec<String> = set.chain(remove.iter().map(|key| format!("{key}-"))).collect();
        object = format!("{object}: {}", words.join(" "));
    }
    record("runner", cut(object, trimaran_model::limits::COMMENT_BYTES_MAX))
}
