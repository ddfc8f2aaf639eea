//! As the leader, finds agents that are lost and that no coordinator serves: those of a coordinator that is silent, those that
//! this one served in an earlier incarnation, and those whose coordinator ended before it could say so.
//!
//! Not here: agents whose session ends on a coordinator that goes on; that one reports them (`agent_session`), as it
//! reports those that are found here ([`crate::agent_session::AgentSession::of_lost`]).

use trimaran_engine::state::cluster::Member;
use trimaran_model::id::CoordinatorName;
use trimaran_model::limits::{AGENT_LOST_AFTER, COORDINATOR_SILENT_AFTER};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_query::ExpectedAgent;

use crate::io::MemberStatus;

/// How often it is looked.
pub const INTERVAL: Millis = Millis::seconds(2);
/// A coordinator that saw an agent go reports it itself within `AGENT_LOST_AFTER`; another one does a moment later.
const OTHERS_REPORT_AFTER: Millis = Millis(AGENT_LOST_AFTER.0 + 3000);

/// Finds them, while this coordinator leads.
#[derive(Debug, Default)]
pub struct ExpectedAgents {
    leads_since: Option<Timestamp>,
    /// The own earlier sessions were looked for.
    own_done: bool,
}

/// The moment at which it is looked.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    pub boot: Timestamp,
    pub wall: WallTime,
    pub member: &'a MemberStatus,
}

impl ExpectedAgents {
    /// Whether agents are looked for now: only the leader does.
    pub fn is_due(&mut self, moment: Moment<'_>) -> bool {
        if !moment.member.leads() {
            *self = Self::default();
            return false;
        }
        self.leads_since.get_or_insert(moment.boot);
        true
    }

    /// Those that are lost, of the agents that count as attached or away and not as lost. `members`: all that there ever were.
    pub fn lost(
        &mut self,
        moment: Moment<'_>,
        own: &CoordinatorName,
        agents: Vec<ExpectedAgent>,
        members: &[Member],
    ) -> Vec<ExpectedAgent> {
        let Some(since) = self.leads_since else { return Vec::new() };
        let own_due = !self.own_done && moment.boot - since >= AGENT_LOST_AFTER;
        self.own_done |= own_due;
        let others = members.iter().filter(|it| it.raft_id != moment.member.id);
        let sign = |it: &Member| Some((it.name.clone(), *moment.member.last_sign.get(&it.raft_id)?));
        let others = others.filter_map(sign).collect();
        let leading = Leading { since, now: moment.boot, wall: moment.wall, others, own, own_due };
        agents.into_iter().filter(|agent| leading.is_lost(agent)).collect()
    }
}

/// What the leader knows of the coordinators.
struct Leading<'a> {
    since: Timestamp,
    now: Timestamp,
    wall: WallTime,
    /// Coordinators by name with the moment of their last sign, this one excluded.
    others: Vec<(CoordinatorName, Timestamp)>,
    own: &'a CoordinatorName,
    /// Whether this coordinator's own earlier sessions are looked for: once, when it had time to get them back.
    own_due: bool,
}

impl Leading<'_> {
    /// Whether an agent is lost.
    fn is_lost(&self, agent: &ExpectedAgent) -> bool {
        let Some(coordinator) = &agent.attached else {
            return self.wall - agent.changed >= OTHERS_REPORT_AFTER;
        };
        if coordinator == self.own {
            return self.own_due;
        }
        // Who became the leader counts from then: others may have given it no sign before.
        // A member that was removed, and a new one of its name, may both be known.
        let signs = self.others.iter().filter(|(name, _)| name == coordinator).map(|(_, at)| *at);
        let silent = self.now - signs.max().unwrap_or(self.since).max(self.since);
        silent >= COORDINATOR_SILENT_AFTER.max(AGENT_LOST_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> CoordinatorName {
        name.parse().expect("a name")
    }

    #[test]
    fn agents_of_a_silent_coordinator_are_lost_and_others_are_not() {
        let agent = |attached: Option<&str>, changed| ExpectedAgent {
            name: "lab".parse().expect("a name"),
            attach: 1,
            attached: attached.map(named),
            changed: WallTime(changed),
        };
        let own = named("c1");
        let at = |now: u64, own_due| Leading {
            since: Timestamp(1000),
            now: Timestamp(now),
            wall: WallTime(100_000),
            others: vec![(named("c2"), Timestamp(500)), (named("c3"), Timestamp(29_900))],
            own: &own,
            own_due,
        };
        assert!(!at(12_000, false).is_lost(&agent(Some("c2"), 0)), "the leader is new");
        assert!(at(13_000, false).is_lost(&agent(Some("c2"), 0)));
        assert!(!at(30_000, false).is_lost(&agent(Some("c3"), 0)), "it gave a sign");
        assert!(at(13_000, false).is_lost(&agent(Some("c9"), 0)), "no member has the name");
        assert!(!at(30_000, false).is_lost(&agent(Some("c1"), 0)));
        assert!(at(30_000, true).is_lost(&agent(Some("c1"), 0)));
        assert!(!at(30_000, false).is_lost(&agent(None, 90_000)), "its coordinator will say so");
        assert!(at(30_000, false).is_lost(&agent(None, 80_000)), "its coordinator is gone");
    }
}
