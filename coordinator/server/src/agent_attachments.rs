//! Lets the tasks of an agent's sessions come and go one behind the other.
//!
//! Not here: who is next, and which session is attached (`trimaran_member::attachments`).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use trimaran_member::agent_session::Attachment;
use trimaran_member::attachments::{Attachments, Granted, Input};
use trimaran_model::id::AgentName;

/// The attachments of all agents here. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentAttachments(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    attachments: Attachments<u64>,
    /// Sessions that wait for their turn.
    waiting: BTreeMap<u64, oneshot::Sender<Attachment>>,
    /// The number of the last session.
    last: u64,
}

impl Waiting {
    fn step(&mut self, agent: &AgentName, input: Input<u64>) {
        if let Some(Granted { session, whose }) = self.attachments.step(agent, input)
            && let Some(waiting) = self.waiting.remove(&session)
        {
            // A task that went away meanwhile says so by dropping its session.
            let _ = waiting.send(whose);
        }
    }
}

impl AgentAttachments {
    /// A session of an agent, until it is dropped.
    pub(crate) fn session(&self, agent: AgentName) -> SessionTurn {
        let mut all = self.0.lock();
        all.last += 1;
        SessionTurn { all: self.clone(), agent, number: all.last }
    }
}

/// What one session may do with its agent's attachment.
#[derive(Debug)]
pub(crate) struct SessionTurn {
    all: AgentAttachments,
    agent: AgentName,
    number: u64,
}

impl SessionTurn {
    /// Waits until the session may come or go.
    pub(crate) async fn acquire(&self) -> Attachment {
        let (granted, turn) = oneshot::channel();
        {
            let mut all = self.all.0.lock();
            all.waiting.insert(self.number, granted);
            all.step(&self.agent, Input::Acquire(self.number));
        }
        turn.await.expect("it waits until it is granted or the session is dropped")
    }

    pub(crate) fn release(&self) {
        self.step(Input::Release(self.number));
    }

    pub(crate) fn attached(&self) {
        self.step(Input::Attached(self.number));
    }

    pub(crate) fn detached(&self) {
        self.step(Input::Detached(self.number));
    }

    fn step(&self, input: Input<u64>) {
        self.all.0.lock().step(&self.agent, input);
    }
}

impl Drop for SessionTurn {
    fn drop(&mut self) {
        let mut all = self.all.0.lock();
        all.waiting.remove(&self.number);
        all.step(&self.agent, Input::Gone(self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_granted_when_the_one_before_is_done_or_dropped() {
        let (all, lab) = (AgentAttachments::default(), AgentName::new("lab").expect("a name"));
        let [first, second, third] = [(); 3].map(|()| all.session(lab.clone()));
        assert_eq!(first.acquire().await, Attachment::Free);
        first.attached();
        let (whose, ()) = tokio::join!(second.acquire(), async { first.release() });
        assert_eq!(whose, Attachment::Another);
        let (whose, ()) = tokio::join!(third.acquire(), async {
            tokio::task::yield_now().await;
            drop(first);
            drop(second);
        });
        assert_eq!(whose, Attachment::Free, "nothing is left of the others");
    }
}
