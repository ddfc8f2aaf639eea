//! What applied entries change for one session. An event only says that something changed: what is sent is read from the
//! rows, again and each time, since they are the one truth and an event may be lost or be older than the row.
//!
//! Not here: what a session sends then (`orders`), and how it is woken (the server).

use std::collections::BTreeSet;

use trimaran_engine::Event;
use trimaran_engine::state::token::{Audience, Revoked};
use trimaran_model::id::{AgentName, AssignmentId, InstallationId};
use trimaran_model::limits::AGENT_ASSIGNMENTS_MAX;

/// What changed for one session since it was asked last.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The rows say it from this revision on.
    pub revision: u64,
    pub assignments: BTreeSet<AssignmentId>,
    /// Installations that are others now.
    pub installations: BTreeSet<InstallationId>,
    /// More than these, or too many to name; the inventory, too.
    pub everything: bool,
    /// Settings of its targets, or which ones it has.
    pub targets: bool,
    /// The inventory.
    pub runners: bool,
    /// A later incarnation has attached.
    pub superseded: bool,
    /// Keys were revoked that the agent has to refuse.
    pub revoked: bool,
}

/// Whose sessions an event concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concerned<'a> {
    None,
    One(&'a AgentName),
    All,
}

/// The agents whose sessions are woken by an event.
pub fn concerned(event: &Event) -> Concerned<'_> {
    match event {
        Event::AgentWork { agent, .. }
        | Event::AgentTargets { agent }
        | Event::AgentRunners { agent }
        | Event::AgentStanding { agent, .. }
        | Event::Superseded { agent, .. } => Concerned::One(agent),
        Event::Revoked(Revoked { audience, .. }) => match audience {
            Audience::Coordinators => Concerned::None,
            Audience::Agent { name } | Audience::Runners { agent: name } => Concerned::One(name),
            Audience::Agents | Audience::Issuer => Concerned::All,
        },
        Event::Run { .. }
        | Event::Stage { .. }
        | Event::Progress { .. }
        | Event::Installation { .. }
        | Event::Agent { .. } => Concerned::None,
    }
}

impl Changes {
    /// Adds an event of the entry of this revision that concerns the agent, whose session is of an incarnation.
    pub fn add(&mut self, revision: u64, incarnation: u64, event: &Event) {
        match event {
            Event::AgentWork { assignment: Some(it), .. }
                if self.assignments.len() < AGENT_ASSIGNMENTS_MAX =>
            {
                self.assignments.insert(*it);
            }
            Event::AgentStanding { installation, .. } if self.installations.len() < AGENT_ASSIGNMENTS_MAX => {
                self.installations.insert(installation.clone());
            }
            Event::AgentWork { .. } | Event::AgentStanding { .. } => self.everything = true,
            Event::AgentTargets { .. } => self.targets = true,
            Event::AgentRunners { .. } => self.runners = true,
            Event::Superseded { incarnation: it, .. } if it.0 != incarnation => return,
            Event::Superseded { .. } => self.superseded = true,
            Event::Revoked(_) => self.revoked = true,
            Event::Run { .. }
            | Event::Stage { .. }
            | Event::Progress { .. }
            | Event::Installation { .. }
            | Event::Agent { .. } => return,
        }
        self.revision = self.revision.max(revision);
    }

    /// Entries were missed up to this revision: everything is compared with the rows.
    pub fn add_everything(&mut self, revision: u64) {
        (self.everything, self.revoked) = (true, true);
        self.revision = self.revision.max(revision);
    }
}

#[cfg(test)]
mod tests {
    use trimaran_model::id::Incarnation;

    use super::*;

    #[test]
    fn only_the_incarnation_that_was_followed_is_superseded() {
        let agent = AgentName::new("lab").expect("a name");
        let event = Event::Superseded { agent, incarnation: Incarnation(1) };
        let (mut earlier, mut later) = (Changes::default(), Changes::default());
        earlier.add(4, 1, &event);
        later.add(4, 2, &event);
        assert!(earlier.superseded && earlier.revision == 4);
        assert_eq!(later, Changes::default(), "the new incarnation stays");
    }

    #[test]
    fn more_assignments_than_an_agent_can_hold_are_everything() {
        let mut changes = Changes::default();
        for it in 0..=AGENT_ASSIGNMENTS_MAX as u64 {
            let agent = AgentName::new("lab").expect("a name");
            changes.add(3, 1, &Event::AgentWork { agent, assignment: Some(AssignmentId(it)) });
        }
        assert!(changes.everything && changes.assignments.len() == AGENT_ASSIGNMENTS_MAX);
    }
}
