//! Orders that an agent refused: an alarm, and a reason beside the stage that waits for them.
//!
//! Soft state like everything that agents report of themselves: reported again with each session, and shown only
//! while the order is live. Not here: why an agent refuses (`trimaran-agent-core`).

use std::collections::BTreeMap;

use trimaran_model::id::{AssignmentId, RunId};
use trimaran_model::limits::AGENT_ASSIGNMENTS_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::WallTime;
use trimaran_query as query;
use trimaran_wire::document::{AlarmDocument, ReasonDocument, Why, rfc3339};
use trimaran_wire::v1::agent::RefusedAssignment;

use crate::rows::Rows;
use crate::server::Server;

/// Runs that have an alarm of their own at once.
const ALARMS_MAX: usize = 32;

/// A refused order that is live, with the run that waits for it.
struct Refused {
    agent: String,
    order: RefusedAssignment,
    run: RunId,
    since: WallTime,
}

impl Refused {
    fn message(&self) -> String {
        format!("agent `{}` refused the order: {}", self.agent, self.order.message)
    }

    fn clears(&self) -> String {
        format!("trimaran cancel {}", self.run)
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
            let of_agent = |(agent, orders): (&String, &BTreeMap<_, (RefusedAssignment, _)>)| {
                let one =
                    |(order, since): &(RefusedAssignment, WallTime)| (agent.clone(), order.clone(), *since);
                orders.values().map(one).collect::<Vec<_>>()
            };
            let elsewhere = soft.elsewhere.values().flat_map(|it| &it.refused);
            soft.refused.iter().chain(elsewhere).flat_map(of_agent).collect()
        };
        let live = known.into_iter().filter_map(|(agent, order, since)| {
            let live = query::assignment(rows, AssignmentId(order.assignment))?;
            let mine = live.agent.as_str() == agent && live.order.fence.0 == order.fence;
            mine.then_some(Refused { agent, order, run: live.order.run, since })
        });
        live.collect()
    }
}

/// For `cluster status`: one for the orders of a run that one agent refused.
pub(super) fn alarms(server: &Server, rows: &Rows<'_>) -> Vec<AlarmDocument> {
    grouped(server.refused(rows))
}

fn grouped(refused: Vec<Refused>) -> Vec<AlarmDocument> {
    let mut groups: BTreeMap<(String, RunId), Vec<Refused>> = BTreeMap::new();
    for one in refused {
        groups.entry((one.agent.clone(), one.run.clone())).or_default().push(one);
    }
    let count = groups.len();
    let mut alarms: Vec<AlarmDocument> = groups.into_values().take(ALARMS_MAX).map(alarm).collect();
    if let (Some(last), more @ 1..) = (alarms.last_mut(), count.saturating_sub(ALARMS_MAX)) {
        last.message.push_str(&format!("; orders of {more} more runs were refused"));
    }
    alarms
}

/// Of the orders of one run, in the order of their numbers.
fn alarm(refused: Vec<Refused>) -> AlarmDocument {
    let first = refused.first().expect("a group has one");
    let message = match refused.len() {
        1 => first.message(),
        count => format!(
            "agent `{}` refused {count} orders of {}, the first of target `{}`: {}",
            first.agent, first.run, first.order.installation.target, first.order.message
        ),
    };
    let since = refused.iter().map(|one| one.since).min().unwrap_or(first.since);
    AlarmDocument {
        code: ReasonCode::OrderRefused.as_str().to_owned(),
        message,
        since: rfc3339(since),
        clears: first.clears(),
    }
}

/// `why` of the run whose stage waits for the refused order.
pub(super) fn why(server: &Server, rows: &Rows<'_>, run: &RunId, mut why: Why) -> Why {
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
            first: None,
            cause: None,
            instance: None,
            run: None,
        });
    }
    why
}

#[cfg(test)]
mod tests {
    use trimaran_wire::v1::common::WireInstallation;

    use super::*;

    fn refused(run: u64, assignment: u64) -> Refused {
        let installation = WireInstallation { pipeline: "web".into(), target: format!("t-{assignment}") };
        Refused {
            agent: "lab".to_owned(),
            order: RefusedAssignment {
                assignment,
                fence: assignment,
                installation,
                code: "order_refused".to_owned(),
                message: "it holds the most".to_owned(),
            },
            run: format!("web#{run}").parse().expect("a run"),
            since: WallTime(1000 + assignment.cast_signed()),
        }
    }

    #[test]
    fn every_refused_order_is_counted_by_the_alarm_of_its_run() {
        let alarms = grouped((1..=64).map(|number| refused(1 + number / 64, number)).collect());
        let messages: Vec<&str> = alarms.iter().map(|alarm| alarm.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "agent `lab` refused 63 orders of web#1, the first of target `t-1`: it holds the most",
                "agent `lab` refused the order: it holds the most",
            ]
        );
        assert_eq!(
            (alarms[0].since.as_str(), alarms[0].clears.as_str()),
            (&*rfc3339(WallTime(1001)), "trimaran cancel web#1")
        );
        let many = grouped((1..=40).map(|number| refused(number, number)).collect());
        assert_eq!(many.len(), ALARMS_MAX);
        assert!(many[ALARMS_MAX - 1].message.ends_with("; orders of 8 more runs were refused"));
    }
}
