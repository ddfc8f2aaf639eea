//! When runners were last seen, as their agent says.

use std::collections::BTreeMap;

use trimaran_model::id::{AgentName, HostName};
use trimaran_model::time::WallTime;

use super::convert::named;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::request::Outcome;

/// Runners of other agents are passed over, and no one is seen in the future.
pub(super) fn run(
    state: &mut State,
    agent: &AgentName,
    runners: &BTreeMap<String, i64>,
) -> Result<Outcome, Refusal> {
    let now = state.wall();
    for (name, seen) in runners {
        let name: HostName = named(name)?;
        if state.runners.get(&name).is_some_and(|runner| runner.agent == *agent) {
            let seen = Some(WallTime(*seen).min(now));
            state.runners.update(&name, |runner| runner.seen = runner.seen.max(seen));
        }
    }
    Ok(Outcome::Nothing)
}
