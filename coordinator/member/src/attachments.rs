//! Which session of an agent is attached on a coordinator, and which one comes or goes: one at a time, so that the log and
//! this change together. Otherwise the end of an old session could be written behind the beginning of the next one of the same
//! incarnation, and a connected agent would count as away for ever.
//!
//! Not here: what a session writes to the log meanwhile (`agent_session`), and which attach the state accepts
//! (`trimaran-engine`).

use std::collections::{BTreeMap, VecDeque};

use trimaran_model::id::AgentName;

use crate::agent_session::Attachment;

/// What a session of an agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<S> {
    /// It wants to come or to go: granted now, or when those before it are done.
    Acquire(S),
    /// It has come or gone.
    Release(S),
    /// It is attached from now on, in the place of another one. It has acquired the attachment.
    Attached(S),
    /// It is not any more.
    Detached(S),
    /// Nothing is left of it.
    Gone(S),
}

/// An attachment is granted to a session that acquires it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted<S> {
    pub session: S,
    pub whose: Attachment,
}

/// The attachments of all agents, `S` being a session.
#[derive(Debug)]
pub struct Attachments<S>(BTreeMap<AgentName, Turns<S>>);

#[derive(Debug)]
struct Turns<S> {
    attached: Option<S>,
    /// The one that comes or goes now.
    acquired: Option<S>,
    waiting: VecDeque<S>,
}

impl<S> Default for Attachments<S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<S: Copy + PartialEq> Attachments<S> {
    /// Handles what a session of an agent does; the answer says to whom the attachment is granted now.
    pub fn step(&mut self, agent: &AgentName, input: Input<S>) -> Option<Granted<S>> {
        let nothing = || Turns { attached: None, acquired: None, waiting: VecDeque::new() };
        let turns = self.0.entry(agent.clone()).or_insert_with(nothing);
        let granted = turns.step(input);
        if turns.attached.is_none() && turns.acquired.is_none() {
            self.0.remove(agent);
        }
        granted
    }
}

impl<S: Copy + PartialEq> Turns<S> {
    fn step(&mut self, input: Input<S>) -> Option<Granted<S>> {
        match input {
            Input::Acquire(session) => self.waiting.push_back(session),
            Input::Release(session) => {
                self.acquired.take_if(|it| *it == session);
            }
            Input::Attached(session) => self.attached = Some(session),
            Input::Detached(session) => {
                self.attached.take_if(|it| *it == session);
            }
            Input::Gone(session) => {
                self.waiting.retain(|it| *it != session);
                self.acquired.take_if(|it| *it == session);
                self.attached.take_if(|it| *it == session);
            }
        }
        self.grant()
    }

    fn grant(&mut self) -> Option<Granted<S>> {
        if self.acquired.is_some() && !mutant!(TwoTurns) {
            return None;
        }
        let session = self.waiting.pop_front()?;
        self.acquired = Some(session);
        let whose = match self.attached {
            Some(attached) if attached == session => Attachment::This,
            Some(_) => Attachment::Another,
            None => Attachment::Free,
        };
        Some(Granted { session, whose })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(session: u64, whose: Attachment) -> Option<Granted<u64>> {
        Some(Granted { session, whose })
    }

    #[test]
    fn sessions_of_one_agent_come_and_go_one_behind_the_other() {
        let (lab, other) = (AgentName::new("lab").expect("a name"), AgentName::new("other").expect("a name"));
        let mut attachments = Attachments::default();
        assert_eq!(attachments.step(&lab, Input::Acquire(1)), granted(1, Attachment::Free));
        assert_eq!(attachments.step(&lab, Input::Acquire(2)), None);
        assert_eq!(attachments.step(&other, Input::Acquire(3)), granted(3, Attachment::Free));
        assert_eq!(attachments.step(&lab, Input::Attached(1)), None);
        assert_eq!(attachments.step(&lab, Input::Acquire(1)), None, "it goes, behind the one that comes");
        assert_eq!(attachments.step(&lab, Input::Release(1)), granted(2, Attachment::Another));
        assert_eq!(attachments.step(&lab, Input::Attached(2)), None);
        assert_eq!(attachments.step(&lab, Input::Release(2)), granted(1, Attachment::Another));
        assert_eq!(attachments.step(&lab, Input::Release(1)), None);
        assert_eq!(attachments.step(&lab, Input::Acquire(2)), granted(2, Attachment::This));
        assert_eq!(attachments.step(&lab, Input::Detached(2)), None);
        assert_eq!(attachments.step(&lab, Input::Acquire(4)), None);
        assert_eq!(attachments.step(&lab, Input::Release(2)), granted(4, Attachment::Free));
    }

    #[test]
    fn what_is_gone_is_waited_for_by_no_one() {
        let lab = AgentName::new("lab").expect("a name");
        let mut attachments = Attachments::default();
        assert_eq!(attachments.step(&lab, Input::Acquire(1)), granted(1, Attachment::Free));
        assert_eq!(attachments.step(&lab, Input::Attached(1)), None);
        assert_eq!(attachments.step(&lab, Input::Acquire(2)), None);
        assert_eq!(attachments.step(&lab, Input::Acquire(3)), None);
        assert_eq!(attachments.step(&lab, Input::Gone(2)), None);
        assert_eq!(attachments.step(&lab, Input::Gone(1)), granted(3, Attachment::Free));
        assert_eq!(attachments.step(&lab, Input::Gone(3)), None);
        assert!(attachments.0.is_empty(), "nothing is kept of those that are gone");
    }
}
