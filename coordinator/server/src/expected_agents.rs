//! As the leader, reports agents as lost that no coordinator serves.
//!
//! Not here: which those are (`trimaran_member::expected_agents`).

use trimaran_member::expected_agents::{ExpectedAgents, INTERVAL, Moment};
use trimaran_model::id::Identity;
use trimaran_process::clock;
use trimaran_query as query;

use crate::agent_session::report_lost;
use crate::rows::View;
use crate::server::Server;

/// Looks for agents that no coordinator serves, as long as the process runs.
pub(crate) async fn watch(server: Server) {
    let mut expected = ExpectedAgents::default();
    loop {
        tokio::time::sleep(INTERVAL.to_std()).await;
        let status = server.node.member_status().borrow().clone();
        let moment = Moment { boot: clock::boot_time(), wall: server.node.wall(), member: &status };
        if !expected.is_due(moment) {
            continue;
        }
        let read = {
            let reader = server.clone();
            move || {
                View::new(&reader.node)
                    .read(|rows| (query::agents_to_expect(rows), query::members_ever(rows)))
            }
        };
        let Ok((agents, members)) = server.agent_reads.run(&Identity::System, read).await else { return };
        for agent in expected.lost(moment, &server.name, agents, &members) {
            report_lost(&server, agent.name, agent.attach).await;
        }
    }
}
