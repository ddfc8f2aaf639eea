//! Orders that an agent refused: an alarm, and a reason beside the stage that waits for them.
//!
//! Soft state like everything that agents report of themselves: reported again with each session, and shown only
//! while the order is live. Not here: why an agent refuses (`trimaran-agent-core`).

use trimaran_model::limits::AGENT_ASSIGNMENTS_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::WallTime;
use trimaran_query as query;
use trimaran_wire::document::{AlarmDocument, ReasonDocument, Why, rfc3339};
use trimaran_wire::v1::agent::RefusedAssignment;
use trimaran_wire::v1::common::WireRun;

use crate::rows::Rows;
use crate::server::Server;

/// Alarms shown at once.
const ALARMS_MAX: usize = 32;

/// A refused order that is live, with the run that waits for it.
struct Refused {
    agent: String,
    order: RefusedAssignment,
    run: WireRun,
    since: WallTime,
}

impl Refused {
    fn message(&self) -> String {
        format!("agent `{}` refused the order: {}", self.agent, self.order.message)
    }

    fn clears(&self) -> String {
        format!("trimaran cancel {}#{}", self.run.pipeline, self.run.number)
    }
}

impl Server {
    /// Notes that an agent refused an order.
    pub(crate) fn note_refused(&self, agent: &str, order: RefusedAssignment) {
        let now = self.node.wall();
        let mut soft = self.soft_state.lock();
        let orders = soft.refused.entry(agent.to_owned()).or_default();
        let since = orders.get(&order.assignment).map_or(now, |(_, since)| *since);
        orders.insert(order.assignment, (order, since));
        // Assignments count upwards: the lowest is the one that is over.
        while orders.len() > AGENT_ASSIGNMENTS_MAX {
            orders.pop_first();
        }
    }

    /// Refused orders that are live and belong to the agent that refused them.
    fn refused(&self, rows: &Rows<'_>) -> Vec<Refused> {
        let known: Vec<_> = {
            let soft = self.soft_state.lock();
            let of_agent =
                |(agent, orders): (&String, &std::collections::BTreeMap<_, (RefusedAssignment, _)>)| {
                    let one = |(order, since): &(RefusedAssignment, WallTime)| {
                        (agent.clone(), order.clone(), *since)
                    };
                    orders.values().map(one).collect::<Vec<_>>()
                };
            soft.refused.iter().flat_map(of_agent).collect()
        };
        let live = known.into_iter().filter_map(|(agent, order, since)| {
            let row = query::assignment(rows, order.assignment)?;
            let mine = row.agent == agent && row.assignment.fence == order.fence;
            mine.then_some(Refused { agent, order, run: row.assignment.run, since })
        });
        live.collect()
    }
}

/// For `cluster status`.
pub(super) fn alarms(server: &Server, rows: &Rows<'_>) -> Vec<AlarmDocument> {
    let alarm = |refused: &Refused| AlarmDocument {
        code: ReasonCode::OrderRefused.as_str().to_owned(),
        message: refused.message(),
        since: rfc3339(refused.since),
        clears: refused.clears(),
    };
    server.refused(rows).iter().take(ALARMS_MAX).map(alarm).collect()
}

/// `why` of the run whose stage waits for the refused order.
pub(super) fn why(server: &Server, rows: &Rows<'_>, run: &WireRun, mut why: Why) -> Why {
    for refused in server.refused(rows).into_iter().filter(|refused| refused.run == *run) {
        let target = &refused.order.installation.target;
        let on_target = |name: &str| name.rsplit_once('/').is_some_and(|(_, on)| on == target);
        let Some(stage) = why.stages.iter_mut().find(|stage| on_target(&stage.name)) else { continue };
        stage.reasons.push(ReasonDocument {
            code: ReasonCode::OrderRefused.as_str().to_owned(),
            message: refused.message(),
            since: rfc3339(refused.since),
            clears: refused.clears(),
            who: vec!["operator".to_owned(), "admin".to_owned()],
            next_check: None,
        });
    }
    why
}
