//! What applied entries change for the sessions of agents on a coordinator: each is woken by its agent's name and no other
//! is, so that an idle agent costs nothing while the log moves.
//!
//! Not here: what an event changes for a session, and what that sends (`agent_session`).

use std::collections::BTreeMap;

use trimaran_model::id::AgentName;

use crate::agent_session::{Changes, Concerned, concerned};
use crate::io::StateChange;

/// The mailboxes of all sessions by the agent's name, `S` being a session: two while one incarnation takes over from another.
#[derive(Debug)]
pub struct Wakeups<S>(BTreeMap<AgentName, Vec<Mailbox<S>>>);

#[derive(Debug)]
struct Mailbox<S> {
    session: S,
    incarnation: u64,
    changes: Changes,
}

impl<S> Default for Wakeups<S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<S: Clone + PartialEq> Wakeups<S> {
    /// The session gets everything that is applied from now on, until [`Self::remove`].
    pub fn register(&mut self, agent: AgentName, incarnation: u64, session: S) {
        let mailbox = Mailbox { session, incarnation, changes: Changes::default() };
        self.0.entry(agent).or_default().push(mailbox);
    }

    pub fn remove(&mut self, agent: &AgentName, session: &S) {
        let Some(mailboxes) = self.0.get_mut(agent) else { return };
        mailboxes.retain(|it| it.session != *session);
        if mailboxes.is_empty() {
            self.0.remove(agent);
        }
    }

    /// What changed for a session since this was asked last.
    pub fn take(&mut self, agent: &AgentName, session: &S) -> Changes {
        let mut mailboxes = self.0.get_mut(agent).into_iter().flatten();
        let mailbox = mailboxes.find(|it| it.session == *session);
        mailbox.map(|it| std::mem::take(&mut it.changes)).unwrap_or_default()
    }

    /// Appends the sessions that a change of the state concerns: they have something to take.
    pub fn step(&mut self, change: StateChange<'_>, out: &mut Vec<S>) {
        let applied = match change {
            StateChange::Applied(applied) => applied,
            StateChange::Missed { revision } => {
                return self.0.values_mut().flatten().for_each(|mailbox| {
                    mailbox.changes.add_everything(revision);
                    out.push(mailbox.session.clone());
                });
            }
        };
        for event in &applied.events {
            let mut wake = |mailbox: &mut Mailbox<S>| {
                mailbox.changes.add(applied.revision, mailbox.incarnation, event);
                out.push(mailbox.session.clone());
            };
            match concerned(event) {
                Concerned::None => {}
                Concerned::One(agent) => self.0.get_mut(agent).into_iter().flatten().for_each(&mut wake),
                Concerned::All => self.0.values_mut().flatten().for_each(&mut wake),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use trimaran_engine::Event;
    use trimaran_model::id::{AssignmentId, Incarnation};
    use trimaran_model::time::WallTime;

    use super::*;
    use crate::io::Applied;

    fn named(agent: &str) -> AgentName {
        AgentName::new(agent).expect("a name")
    }

    fn work(agent: &str, assignment: Option<u64>) -> Event {
        Event::AgentWork { agent: named(agent), assignment: assignment.map(AssignmentId) }
    }

    fn step(wakeups: &mut Wakeups<u64>, revision: u64, events: Vec<Event>) -> BTreeSet<u64> {
        let mut woken = Vec::new();
        wakeups.step(StateChange::Applied(&Applied { revision, wall: WallTime(0), events }), &mut woken);
        woken.into_iter().collect()
    }

    #[test]
    fn an_entry_wakes_the_sessions_it_concerns_and_no_other() {
        let (lab, idle) = (named("lab"), named("idle"));
        let mut wakeups = Wakeups::default();
        wakeups.register(lab.clone(), 1, 1);
        wakeups.register(idle.clone(), 1, 2);
        let events = vec![work("lab", Some(7)), work("lab", Some(9)), work("gone", None)];
        assert_eq!(step(&mut wakeups, 3, events), BTreeSet::from([1]));
        let changes = wakeups.take(&lab, &1);
        assert_eq!((changes.revision, changes.everything, changes.superseded), (3, false, false));
        assert_eq!(changes.assignments, BTreeSet::from([7, 9].map(AssignmentId)));
        assert_eq!(wakeups.take(&idle, &2), Changes::default());

        wakeups.register(lab.clone(), 2, 3);
        step(&mut wakeups, 4, vec![Event::Superseded { agent: lab.clone(), incarnation: Incarnation(1) }]);
        assert!(wakeups.take(&lab, &1).superseded);
        assert_eq!(wakeups.take(&lab, &3), Changes::default(), "the new incarnation stays");
        wakeups.remove(&lab, &1);
        let mut woken = Vec::new();
        wakeups.step(StateChange::Missed { revision: 5 }, &mut woken);
        assert_eq!(BTreeSet::from_iter(woken), BTreeSet::from([2, 3]));
        assert!(wakeups.take(&lab, &3).everything && wakeups.take(&idle, &2).everything);
        assert_eq!(wakeups.take(&lab, &1), Changes::default());
    }
}
