//! Which sessions of agents an applied entry concerns: each is woken by name and no other is, so
//! that an idle agent costs nothing while the log moves.
//!
//! Not here: what a woken session sends (`agent_session::assignments`), which it reads from the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use trimaran_engine::Event;
use trimaran_engine::state::token::{Audience, Revoked};
use trimaran_member::Applied;
use trimaran_model::id::{AssignmentId, InstallationId};
use trimaran_model::limits::AGENT_ASSIGNMENTS_MAX;

/// What changed for one session since it asked last.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The rows say it from this revision on.
    pub(crate) revision: u64,
    pub(crate) assignments: BTreeSet<AssignmentId>,
    /// Installations that are others now.
    pub(crate) installations: BTreeSet<InstallationId>,
    /// More than these, or too many to name; the inventory, too.
    pub(crate) everything: bool,
    /// The inventory.
    pub(crate) runners: bool,
    /// A later incarnation has attached.
    pub(crate) superseded: bool,
    /// Keys were revoked that the agent has to refuse.
    pub(crate) revoked: bool,
}

/// The mailbox of one session. It is registered until `AgentWakeups::remove`.
#[derive(Debug)]
pub(crate) struct Wakeup {
    incarnation: u64,
    changes: Mutex<Changes>,
    notify: Notify,
}

impl Wakeup {
    /// Waits until something changed and takes it. May be dropped and called again.
    pub(crate) async fn changed(&self) -> Changes {
        loop {
            let notified = self.notify.notified();
            let changes = std::mem::take(&mut *self.lock());
            if changes != Changes::default() {
                return changes;
            }
            notified.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock()
    }

    fn update(&self, revision: u64, update: impl FnOnce(&mut Changes)) {
        let mut changes = self.lock();
        changes.revision = changes.revision.max(revision);
        update(&mut changes);
        drop(changes);
        self.notify.notify_one();
    }
}

/// The mailboxes of all sessions, by the agent's name: two while one incarnation takes over from another.
#[derive(Debug, Default)]
pub(crate) struct AgentWakeups(Mutex<BTreeMap<String, Vec<Arc<Wakeup>>>>);

impl AgentWakeups {
    /// A mailbox that gets everything from now on, until it is dropped by [`Self::remove`].
    pub(crate) fn register(&self, agent: &str, incarnation: u64) -> Arc<Wakeup> {
        let made = Arc::new(Wakeup { incarnation, changes: Mutex::default(), notify: Notify::new() });
        self.lock().entry(agent.to_owned()).or_default().push(made.clone());
        made
    }

    pub(crate) fn remove(&self, agent: &str, wakeup: &Arc<Wakeup>) {
        let mut all = self.lock();
        let Some(list) = all.get_mut(agent) else { return };
        list.retain(|it| !Arc::ptr_eq(it, wakeup));
        if list.is_empty() {
            all.remove(agent);
        }
    }

    /// Wakes the sessions that an entry concerns.
    pub(crate) fn route(&self, applied: &Applied) {
        let all = self.lock();
        let sessions = |agent: &str| all.get(agent).into_iter().flatten();
        for event in &applied.events {
            match event {
                Event::AgentWork { agent, assignment } => {
                    for session in sessions(agent.as_str()) {
                        session.update(applied.revision, |changes| match assignment {
                            Some(it) if changes.assignments.len() < AGENT_ASSIGNMENTS_MAX => {
                                changes.assignments.insert(*it);
                            }
                            Some(_) | None => changes.everything = true,
                        });
                    }
                }
                Event::AgentRunners { agent } => {
                    for session in sessions(agent.as_str()) {
                        session.update(applied.revision, |changes| changes.runners = true);
                    }
                }
                Event::AgentStanding { agent, installation } => {
                    for session in sessions(agent.as_str()) {
                        session.update(applied.revision, |changes| {
                            if changes.installations.len() < AGENT_ASSIGNMENTS_MAX {
                                changes.installations.insert(installation.clone());
                            } else {
                                changes.everything = true;
                            }
                        });
                    }
                }
                Event::Superseded { agent, incarnation } => {
                    for session in sessions(agent.as_str()).filter(|it| it.incarnation == incarnation.0) {
                        session.update(applied.revision, |changes| changes.superseded = true);
                    }
                }
                Event::Run { .. } | Event::Stage { .. } | Event::Progress { .. } => {}
                Event::Revoked(Revoked { audience, .. }) => {
                    let concerned: Vec<_> = match audience {
                        Audience::Coordinators => Vec::new(),
                        Audience::Agent { name } | Audience::Runners { agent: name } => {
                            sessions(name.as_str()).collect()
                        }
                        Audience::Agents | Audience::Issuer => all.values().flatten().collect(),
                    };
                    for session in concerned {
                        session.update(applied.revision, |changes| changes.revoked = true);
                    }
                }
                Event::Installation { .. } | Event::Agent { .. } => {}
            }
        }
    }

    /// Entries were missed: every session compares everything with the rows.
    pub(crate) fn wake_all(&self, revision: u64) {
        for session in self.lock().values().flatten() {
            session.update(revision, |changes| (changes.everything, changes.revoked) = (true, true));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Arc<Wakeup>>>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use trimaran_model::id::{AgentName, Incarnation};
    use trimaran_model::time::WallTime;

    use super::*;

    fn named(agent: &str) -> AgentName {
        AgentName::new(agent).expect("a name")
    }

    fn work(agent: &str, assignment: Option<u64>) -> Event {
        Event::AgentWork { agent: named(agent), assignment: assignment.map(AssignmentId) }
    }

    #[tokio::test]
    async fn an_entry_wakes_the_sessions_it_concerns_and_no_other() {
        let wakeups = AgentWakeups::default();
        let (lab, idle) = (wakeups.register("lab", 1), wakeups.register("idle", 1));
        let events = vec![work("lab", Some(7)), work("lab", Some(9)), work("gone", None)];
        wakeups.route(&Applied { revision: 3, wall: WallTime(0), events });
        let changes = lab.changed().await;
        assert_eq!((changes.revision, changes.everything, changes.superseded), (3, false, false));
        assert_eq!(changes.assignments, BTreeSet::from([7, 9].map(AssignmentId)));
        assert!(!changes.runners);
        assert_eq!(*idle.lock(), Changes::default());

        let events = vec![Event::AgentRunners { agent: named("lab") }];
        wakeups.route(&Applied { revision: 3, wall: WallTime(0), events });
        let changes = lab.changed().await;
        assert!(changes.runners && !changes.everything);

        let later = wakeups.register("lab", 2);
        let events = vec![Event::Superseded { agent: named("lab"), incarnation: Incarnation(1) }];
        wakeups.route(&Applied { revision: 4, wall: WallTime(0), events });
        assert!(lab.changed().await.superseded);
        assert_eq!(*later.lock(), Changes::default(), "the new incarnation stays");
        wakeups.remove("lab", &lab);
        wakeups.wake_all(5);
        assert!(later.changed().await.everything && idle.changed().await.everything);
        assert_eq!(*lab.lock(), Changes::default());
    }

    #[tokio::test]
    async fn more_assignments_than_an_agent_can_hold_are_everything() {
        let wakeups = AgentWakeups::default();
        let lab = wakeups.register("lab", 1);
        let events = (0..=AGENT_ASSIGNMENTS_MAX as u64).map(|it| work("lab", Some(it))).collect();
        wakeups.route(&Applied { revision: 3, wall: WallTime(0), events });
        let changes = lab.changed().await;
        assert!(changes.everything && changes.assignments.len() == AGENT_ASSIGNMENTS_MAX);
    }
}
