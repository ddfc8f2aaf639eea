//! What an agent says of its runners: who was seen, who is away, and what their hosts are.

use std::collections::BTreeMap;

use trimaran_model::id::{AgentName, HostName};
use trimaran_model::time::WallTime;
use trimaran_wire::v1::command::RunnerNews;

use super::convert::named;
use crate::event::Event;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::request::Outcome;

/// Runners of other agents are passed over, and no one is seen in the future.
pub(super) fn run(
    state: &mut State,
    agent: &AgentName,
    runners: &BTreeMap<String, RunnerNews>,
) -> Result<Outcome, Refusal> {
    let now = state.wall();
    let (mut selects_others, mut is_back) = (false, false);
    for (name, news) in runners {
        let name: HostName = named(name)?;
        let Some(before) = state.runners.get(&name).filter(|runner| runner.agent == *agent).cloned() else {
            continue;
        };
        let mut runner = before.clone();
        let seen = news.seen_ms.map(|seen| WallTime(seen).min(now));
        runner.seen = runner.seen.max(seen);
        runner.away = (!news.connected).then(|| runner.away.unwrap_or(now));
        if let Some(facts) = &news.facts {
            runner.facts.clone_from(facts);
        }
        selects_others |= runner.facts != before.facts;
        is_back |= before.away.is_some() && runner.away.is_none();
        state.runners.put(runner);
    }
    if selects_others {
        state.events.push(Event::AgentRunners { agent: agent.clone() });
    }
    if selects_others || is_back {
        state.wake_agent(agent);
    }
    Ok(Outcome::Nothing)
}
