//! What an agent is sent: its inventory, its assignments, and their ends.
//!
//! An event only says that something changed. What is sent is read from the rows, again and each time: they are
//! the one truth, and an event may be lost (a full channel) or be older than the row.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::broadcast;
use trimaran_engine::Event;
use trimaran_engine::state::agent::Runner;
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_model::id::AssignmentId;
use trimaran_query as query;
use trimaran_transport::CloseCode;
use trimaran_wire::v1::agent::{AgentDown, RunnerEntry};
use trimaran_wire::v1::assignment::WireAssignment;

use super::{Link, Sent};
use crate::raft_loop::Applied;
use crate::rows::View;

/// Applied entries that are handled together at most.
const APPLIED_TOGETHER_MAX: usize = 256;

impl Link {
    /// Sends the inventory and what the state has for this agent and was not sent yet.
    pub(super) async fn bring_up_to_date(&mut self) -> bool {
        let name = self.agent.clone();
        let (revision, runners, assignments) = View::new(&self.server.node).read(|rows| {
            let mine = query::assignments(rows, &name, &|id| self.sent.contains_key(&id.0));
            (rows.revision(), query::runners_of(rows, &name), mine)
        });
        let entry = |runner: Runner| RunnerEntry { name: runner.name.to_string(), labels: runner.labels };
        let runners: Vec<RunnerEntry> = runners.into_iter().map(entry).collect();
        if !self.send(AgentDown::Inventory { revision, runners }).await {
            return false;
        }
        let known = self.sent.keys().copied().collect();
        self.send_assignments(assignments, known).await
    }

    /// Sends what changed of these assignments.
    async fn send_changed(&mut self, numbers: BTreeSet<AssignmentId>) -> bool {
        let assignments = View::new(&self.server.node).read(|rows| {
            query::assignments_among(rows, &self.agent, &|id| self.sent.contains_key(&id.0), &numbers)
        });
        self.send_assignments(assignments, numbers.into_iter().map(|id| id.0).collect()).await
    }

    /// Sends live assignments that the agent does not have, and the end of those of `checked` that it has
    /// and that are not live any more.
    async fn send_assignments(&mut self, assignments: Vec<LiveAssignment>, checked: BTreeSet<u64>) -> bool {
        // What the agent has and the state has not any more was answered, or withdrawn while the agent was away.
        let live: BTreeSet<u64> = assignments.iter().map(|live| live.order.id.0).collect();
        for assignment in checked.difference(&live) {
            // The answer to its result covers it.
            if self.sent.get(assignment).is_none_or(|sent| sent.ended) {
                continue;
            }
            let Some(sent) = self.sent.remove(assignment) else { continue };
            self.server.soft_state.lock().progress.remove(assignment);
            if !self.send(AgentDown::Cancel { assignment: *assignment, fence: sent.fence }).await {
                return false;
            }
        }
        for LiveAssignment { order, cancel, .. } in assignments {
            let (id, fence) = (order.id.0, order.fence.0);
            if self.sent.get(&id).is_none_or(|sent| sent.held) {
                self.sent.insert(id, Sent::new(fence));
                self.worked.insert(order.installation.clone());
                if !self.send(AgentDown::Assign(WireAssignment::from(&order))).await {
                    return false;
                }
            }
            let asked = self.sent.get(&id).is_some_and(|sent| sent.canceled || sent.ended);
            if cancel && !asked {
                self.sent.insert(id, Sent { canceled: true, ..Sent::new(fence) });
                if !self.send(AgentDown::Cancel { assignment: id, fence }).await {
                    return false;
                }
            }
        }
        true
    }

    /// What applied entries mean for this session: this one and those that wait behind it are handled
    /// together.
    pub(super) async fn on_applied(
        &mut self,
        first: Arc<Applied>,
        more: &mut broadcast::Receiver<Arc<Applied>>,
    ) -> bool {
        let (mut numbers, mut everything, mut revision) = (BTreeSet::new(), false, first.revision);
        let waiting = std::iter::from_fn(|| match more.try_recv() {
            Ok(applied) => Some(Some(applied)),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(None),
            Err(_) => None,
        });
        for applied in std::iter::once(Some(first)).chain(waiting).take(APPLIED_TOGETHER_MAX) {
            let Some(applied) = applied else {
                everything = true;
                continue;
            };
            revision = applied.revision;
            for event in &applied.events {
                match event {
                    Event::AgentWork { agent, assignment } if *agent == self.agent => {
                        everything |= assignment.is_none();
                        numbers.extend(*assignment);
                    }
                    Event::Superseded { agent, incarnation }
                        if *agent == self.agent && incarnation.0 == self.incarnation =>
                    {
                        let _ = self.send(AgentDown::Superseded).await;
                        let why = "a later incarnation of this agent has attached";
                        self.session.close(CloseCode::Superseded, why);
                        return false;
                    }
                    Event::AgentWork { .. } | Event::Superseded { .. } => {}
                    Event::Run { .. } | Event::Stage { .. } | Event::Progress { .. } => {}
                    Event::Installation { .. } | Event::Agent { .. } | Event::Revoked { .. } => {}
                }
            }
        }
        if !everything && numbers.is_empty() {
            return true;
        }
        self.server.node.wait_rows(revision).await;
        if everything { self.bring_up_to_date().await } else { self.send_changed(numbers).await }
    }
}
