//! Which sessions of agents an applied entry concerns: each is woken by name and no other is, so
//! that an idle agent costs nothing while the log moves.
//!
//! Not here: what an event changes for a session, and what that sends (`trimaran_member::agent_session`).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use trimaran_member::Applied;
use trimaran_member::agent_session::{Changes, Concerned, concerned};

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

    fn update(&self, update: impl FnOnce(&mut Changes)) {
        update(&mut self.lock());
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
        for event in &applied.events {
            let sessions: Vec<_> = match concerned(event) {
                Concerned::None => continue,
                Concerned::One(agent) => all.get(agent.as_str()).into_iter().flatten().collect(),
                Concerned::All => all.values().flatten().collect(),
            };
            for session in sessions {
                session.update(|changes| changes.add(applied.revision, session.incarnation, event));
            }
        }
    }

    /// Entries were missed: every session compares everything with the rows.
    pub(crate) fn wake_all(&self, revision: u64) {
        for session in self.lock().values().flatten() {
            session.update(|changes| changes.add_everything(revision));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Arc<Wakeup>>>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use trimaran_engine::Event;
    use trimaran_model::id::{AgentName, AssignmentId, Incarnation};
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
        assert_eq!(*idle.lock(), Changes::default());

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
}
