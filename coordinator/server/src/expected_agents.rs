//! As the leader, reports agents as lost that no coordinator serves: those of a coordinator that is silent, those that this
//! one served in an earlier incarnation, and those whose coordinator ended before it could say so.
//!
//! Not here: agents whose session ends on a coordinator that goes on; that one reports them (`agent_session`).

use trimaran_model::id::Identity;
use trimaran_model::limits::{AGENT_LOST_AFTER, COORDINATOR_SILENT_AFTER};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_process::clock;
use trimaran_query::{self as query, ExpectedAgent};

use crate::agent_session::report_lost;
use crate::rows::View;
use crate::server::Server;

/// How often it is looked.
const INTERVAL: std::time::Duration = std::time::Duration::from_secs(2);
/// A coordinator that saw an agent go reports it itself within `AGENT_LOST_AFTER`; another one does a moment later.
const OTHERS_REPORT_AFTER: Millis = Millis(AGENT_LOST_AFTER.0 + 3000);

/// What the leader knows of the coordinators.
struct Leading {
    since: Timestamp,
    now: Timestamp,
    wall: WallTime,
    /// Coordinators by name with the moment of their last sign, this one excluded.
    others: Vec<(String, Timestamp)>,
    own: String,
    /// Whether this coordinator's own earlier sessions are looked for: once, when it had time to get them back.
    own_due: bool,
}

impl Leading {
    /// Whether an agent is lost.
    fn is_lost(&self, agent: &ExpectedAgent) -> bool {
        let Some(coordinator) = &agent.attached else {
            return self.wall - agent.changed >= OTHERS_REPORT_AFTER;
        };
        if coordinator.as_str() == self.own {
            return self.own_due;
        }
        // Who became the leader counts from then: others may have given it no sign before.
        // A member that was removed, and a new one of its name, may both be known.
        let signs = self.others.iter().filter(|(name, _)| name == coordinator.as_str()).map(|(_, at)| *at);
        let sign = signs.max();
        let silent = self.now - sign.unwrap_or(self.since).max(self.since);
        silent >= COORDINATOR_SILENT_AFTER.max(AGENT_LOST_AFTER)
    }
}

/// Looks for agents that no coordinator serves, as long as the process runs.
pub(crate) async fn watch(server: Server) {
    let (mut since, mut own_done) = (None, false);
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = clock::boot_time();
        let status = server.node.member_status().borrow().clone();
        if !status.leads() {
            (since, own_done) = (None, false);
            continue;
        }
        let since = *since.get_or_insert(now);
        let own_due = !own_done && now - since >= AGENT_LOST_AFTER;
        own_done |= own_due;
        let read = {
            let reader = server.clone();
            move || {
                View::new(&reader.node)
                    .read(|rows| (query::agents_to_expect(rows), query::members_ever(rows)))
            }
        };
        let Ok((agents, members)) = server.agent_reads.run(&Identity::System, read).await else { return };
        let others = members.into_iter().filter(|member| member.raft_id != status.id);
        let sign = |id: &u64| status.last_sign.get(id).copied();
        let others = others.filter_map(|it| Some((it.name.to_string(), sign(&it.raft_id)?))).collect();
        let (wall, own) = (server.node.wall(), server.name.to_string());
        let leading = Leading { since, now, wall, others, own, own_due };
        for agent in agents.iter().filter(|agent| leading.is_lost(agent)) {
            report_lost(&server, agent.name.clone(), agent.attach).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_of_a_silent_coordinator_are_lost_and_others_are_not() {
        let agent = |attached: Option<&str>, changed| ExpectedAgent {
            name: "lab".parse().expect("a name"),
            attach: 1,
            attached: attached.map(|name| name.parse().expect("a name")),
            changed: WallTime(changed),
        };
        let at = |now: u64, own_due| Leading {
            since: Timestamp(1000),
            now: Timestamp(now),
            wall: WallTime(100_000),
            others: vec![("c2".to_owned(), Timestamp(500)), ("c3".to_owned(), Timestamp(29_900))],
            own: "c1".to_owned(),
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
