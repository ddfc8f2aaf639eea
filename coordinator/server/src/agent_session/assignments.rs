//! What an agent is sent: its targets, its inventory, its assignments, and their ends.
//!
//! An event only says that something changed. What is sent is read from the rows, again and each time: they are
//! the one truth, and an event may be lost (a full channel) or be older than the row.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_engine::state::agent::Runner;
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_model::hash::spread;
use trimaran_model::id::{AssignmentId, InstallationId};
use trimaran_model::limits::{
    PAGE_BYTES_MAX, PAGE_NAMES_MAX, REVOKED_PER_MESSAGE_MAX, TARGETS_PER_MESSAGE_MAX,
};
use trimaran_query as query;
use trimaran_transport::CloseCode;
use trimaran_wire::codec::encode;
use trimaran_wire::v1::agent::{AgentDown, RunnerEntry, WireStanding};
use trimaran_wire::v1::assignment::WireAssignment;
use trimaran_wire::v1::target::WireTarget;

use super::{Link, Sent};
use crate::agent_wakeups::Changes;

impl Link {
    /// Sends the inventory and what the state has for this agent and was not sent yet.
    pub(super) async fn bring_up_to_date(&mut self) -> bool {
        let (name, known) = (self.agent.clone(), self.known());
        let read = self.read_rows(move |rows| {
            let mine = query::assignments(rows, &name, &|id| known.contains(&id.0));
            let standing = query::standing_of(rows, &name);
            let runners = query::runners_of(rows, &name);
            (rows.revision(), runners, query::targets_served(rows, &name), standing, mine)
        });
        let Ok((revision, runners, targets, standing, assignments)) = read.await else { return false };
        if !self.send_targets(targets.iter().map(WireTarget::from).collect()).await {
            return false;
        }
        let entry = |runner: Runner| RunnerEntry {
            name: runner.name.to_string(),
            labels: runner.selectable(),
            cordoned: runner.cordoned,
            drained: runner.drained,
        };
        let mut pages = pages(runners.into_iter().map(entry).collect(), entry_bytes).into_iter().peekable();
        while let Some(runners) = pages.next() {
            let last = pages.peek().is_none();
            if !self.send(AgentDown::Inventory { revision, runners, last }).await {
                return false;
            }
        }
        if !self.send_all_standing(standing).await {
            return false;
        }
        let known = self.known();
        self.send_assignments(assignments, known).await
    }

    /// Sends all that stands on the agent's targets, unless it has exactly that.
    async fn send_all_standing(&mut self, standing: Vec<WireStanding>) -> bool {
        let now: StandingSent = standing.iter().map(standing_key).collect();
        if self.standing_sent.as_ref() == Some(&now) {
            return true;
        }
        self.standing_sent = Some(now);
        self.send_standing(standing, true).await
    }

    /// Sends what stands of these installations.
    async fn send_changed_standing(&mut self, installations: BTreeSet<InstallationId>) -> bool {
        if installations.is_empty() {
            return true;
        }
        let (name, count) = (self.agent.clone(), installations.len());
        let read = self.read_some(count, move |rows| query::standing_among(rows, &name, &installations));
        let Ok(standing) = read.await else { return false };
        // Before the whole was sent it is among it.
        let Some(sent) = &mut self.standing_sent else { return true };
        let new = |it: &WireStanding| {
            let (installation, what) = standing_key(it);
            sent.insert(installation, what) != Some(what)
        };
        let changed: Vec<WireStanding> = standing.into_iter().filter(new).collect();
        changed.is_empty() || self.send_standing(changed, false).await
    }

    async fn send_standing(&mut self, standing: Vec<WireStanding>, whole: bool) -> bool {
        let mut pages = pages(standing, |it| encode(it).len()).into_iter().peekable();
        while let Some(installations) = pages.next() {
            let last = pages.peek().is_none();
            if !self.send(AgentDown::Installations { installations, whole, last }).await {
                return false;
            }
        }
        true
    }

    /// Sends the agent's targets when they are others than before: orders come behind the settings they need.
    async fn send_targets(&mut self, targets: Vec<WireTarget>) -> bool {
        if self.targets_sent.as_ref() == Some(&targets) {
            return true;
        }
        let mut pages = targets.chunks(TARGETS_PER_MESSAGE_MAX).map(<[_]>::to_vec).collect::<Vec<_>>();
        if pages.is_empty() {
            pages.push(Vec::new());
        }
        let mut pages = pages.into_iter().peekable();
        while let Some(targets) = pages.next() {
            let last = pages.peek().is_none();
            if !self.send(AgentDown::Targets { targets, last }).await {
                return false;
            }
        }
        self.targets_sent = Some(targets);
        true
    }

    /// The numbers of the assignments that the agent has.
    fn known(&self) -> BTreeSet<u64> {
        self.sent.keys().copied().collect()
    }

    /// Sends the revoked keys that the agent does not have.
    pub(super) async fn send_revoked(&mut self) -> bool {
        loop {
            let (up_to, keys) =
                self.server.revocations.after(&self.agent, self.revoked_sent, REVOKED_PER_MESSAGE_MAX);
            if keys.is_empty() {
                return true;
            }
            self.revoked_sent = up_to;
            let issuers = self.server.revocations.keys.issuers();
            if !self.send(AgentDown::Revoked { up_to, keys, issuers }).await {
                return false;
            }
        }
    }

    /// Sends an assignment, with its hosts in pages ahead of it where they are too many for one message.
    async fn assign(&mut self, mut assignment: WireAssignment) -> bool {
        let mut pages = pages(std::mem::take(&mut assignment.hosts), String::len);
        assignment.hosts = pages.pop().unwrap_or_default();
        for hosts in pages {
            if !self.send(AgentDown::AssignHosts { assignment: assignment.id, hosts }).await {
                return false;
            }
        }
        self.send(AgentDown::Assign(assignment)).await
    }

    /// Sends what changed of these assignments.
    async fn send_changed(&mut self, numbers: BTreeSet<AssignmentId>) -> bool {
        if numbers.is_empty() {
            return true;
        }
        let (name, known, wanted) = (self.agent.clone(), self.known(), numbers.clone());
        let read = self.read_some(numbers.len(), move |rows| {
            query::assignments_among(rows, &name, &|id| known.contains(&id.0), &wanted)
        });
        let Ok(assignments) = read.await else { return false };
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
            self.server.soft_state.lock().forget_progress(*assignment);
            if !self.send(AgentDown::Cancel { assignment: *assignment, fence: sent.fence }).await {
                return false;
            }
        }
        for LiveAssignment { order, cancel, .. } in assignments {
            let (id, fence) = (order.id.0, order.fence.0);
            if self.sent.get(&id).is_none_or(|sent| sent.held) {
                self.sent.insert(id, Sent::new(fence));
                self.worked.insert(order.installation.clone());
                if !self.assign(WireAssignment::from(&order)).await {
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

    /// What applied entries change for this session.
    pub(super) async fn on_changes(&mut self, changes: Changes) -> bool {
        if changes.superseded {
            // The close says the same to an agent that does not get this.
            let _ = self.send(AgentDown::Superseded).await;
            self.session.close(CloseCode::Superseded, "a later incarnation of this agent has attached");
            return false;
        }
        if changes.revoked && !self.send_revoked().await {
            return false;
        }
        self.server.node.wait_rows(changes.revision).await;
        if changes.everything {
            self.bring_up_to_date().await
        } else {
            self.send_changed(changes.assignments).await
                && self.send_changed_standing(changes.installations).await
        }
    }
}

/// A hash of what a session was sent of each installation.
pub(super) type StandingSent = BTreeMap<InstallationId, u64>;

/// Of what stands on hosts everything counts. Observers of other platforms begin anew with what they are sent: there it is
/// the fence, with which a commit changes, and the release.
fn standing_key(it: &WireStanding) -> (InstallationId, u64) {
    let installation = InstallationId::try_from(it.installation.clone()).expect("it is of a row");
    let what = if it.hosts.is_some() { encode(it) } else { encode(&(it.fence, it.release)) };
    (installation, spread(&what))
}

/// Key, value and length prefixes, generously.
fn entry_bytes(entry: &RunnerEntry) -> usize {
    let labels: usize = entry.labels.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
    entry.name.len() + labels + 16
}

/// A list in pages within [`PAGE_NAMES_MAX`] and [`PAGE_BYTES_MAX`], unless one member alone is larger; an empty
/// list is one empty page.
fn pages<T>(list: Vec<T>, bytes_of: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut pages, mut bytes) = (vec![Vec::new()], 0);
    for it in list {
        let size = bytes_of(&it) + 8;
        let page = pages.last_mut().expect("there is always one");
        if !page.is_empty() && (page.len() >= PAGE_NAMES_MAX || bytes + size > PAGE_BYTES_MAX) {
            pages.push(vec![it]);
            bytes = size;
        } else {
            page.push(it);
            bytes += size;
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use trimaran_wire::codec::Message as _;

    use super::*;

    #[test]
    fn an_inventory_of_any_size_goes_in_pages_that_fit_a_frame() {
        let labels = |n: usize| (0..n).map(|it| (format!("{it:0>128}"), "v".repeat(128))).collect();
        for (runners, labelled) in [(0, 0), (1, 64), (100_000, 0), (3000, 64)] {
            let entry = |it: usize| RunnerEntry {
                name: format!("host-{it:0>58}"),
                labels: labels(labelled),
                cordoned: false,
                drained: true,
            };
            let list: Vec<_> = (0..runners).map(entry).collect();
            let pages = pages(list.clone(), entry_bytes);
            for page in &pages {
                assert!(runners == 0 || !page.is_empty());
                let message = AgentDown::Inventory { revision: 1, runners: page.clone(), last: true };
                assert!(message.to_frame().body.len() <= trimaran_model::limits::AGENT_FRAME_BYTES_MAX);
            }
            assert_eq!(pages.concat(), list);
        }
    }
}
