//! Wakes the tasks of the sessions of agents that an applied entry concerns.
//!
//! Not here: which sessions those are (`trimaran_member::Wakeups`), and what an event changes for one
//! (`trimaran_member::agent_session`).

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use trimaran_member::agent_session::Changes;
use trimaran_member::{StateChange, Wakeups};
use trimaran_model::id::AgentName;

/// How the task of one session is woken. Equal is the same one.
#[derive(Debug, Clone)]
struct Waker(Arc<Notify>);

impl PartialEq for Waker {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The mailboxes of all sessions here.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentWakeups(Arc<Mutex<Wakeups<Waker>>>);

impl AgentWakeups {
    /// A mailbox that gets everything from now on, until it is dropped.
    pub(crate) fn register(&self, agent: AgentName, incarnation: u64) -> Mailbox {
        let waker = Waker(Arc::new(Notify::new()));
        self.0.lock().register(agent.clone(), incarnation, waker.clone());
        Mailbox { all: self.clone(), agent, waker }
    }

    /// Wakes the sessions that a change of the state concerns.
    pub(crate) fn on_change(&self, change: StateChange<'_>) {
        let mut woken = Vec::new();
        self.0.lock().step(change, &mut woken);
        for Waker(notify) in woken {
            notify.notify_one();
        }
    }
}

/// The mailbox of one session.
#[derive(Debug)]
pub(crate) struct Mailbox {
    all: AgentWakeups,
    agent: AgentName,
    waker: Waker,
}

impl Mailbox {
    /// Waits until something changed and takes it. May be dropped and called again.
    pub(crate) async fn changed(&self) -> Changes {
        loop {
            let notified = self.waker.0.notified();
            let changes = self.all.0.lock().take(&self.agent, &self.waker);
            if changes != Changes::default() {
                return changes;
            }
            notified.await;
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.agent, &self.waker);
    }
}

#[cfg(test)]
mod tests {
    use trimaran_engine::Event;
    use trimaran_member::Applied;
    use trimaran_model::time::WallTime;

    use super::*;

    #[tokio::test]
    async fn a_session_that_waits_is_woken_until_its_mailbox_is_dropped() {
        let (wakeups, lab) = (AgentWakeups::default(), AgentName::new("lab").expect("a name"));
        let mailbox = wakeups.register(lab.clone(), 1);
        let work = Event::AgentWork { agent: lab.clone(), assignment: None };
        let applied = Applied { revision: 3, wall: WallTime(0), events: vec![work] };
        let (changes, ()) = tokio::join!(mailbox.changed(), async {
            tokio::task::yield_now().await;
            wakeups.on_change(StateChange::Applied(&applied));
        });
        assert!(changes.everything && changes.revision == 3);
        let waker = mailbox.waker.clone();
        drop(mailbox);
        wakeups.on_change(StateChange::Applied(&applied));
        assert_eq!(wakeups.0.lock().take(&lab, &waker), Changes::default());
    }
}
