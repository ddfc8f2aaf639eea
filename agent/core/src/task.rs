//! One assignment in the executor: its driver's phase, and the effects that wait for the disk.

use std::collections::{BTreeSet, VecDeque};

use trimaran_model::action::{Outcome, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::time::Timestamp;
use trimaran_wire::v1::agent::{self, AgentUp, HeldAssignment};

use crate::driver::Journaled;
use crate::driver::{CallId, EffectOf, Input};

/// What a driver takes.
pub(crate) type DriverInput<D> =
    Input<<D as crate::driver::Driver>::Reply, <D as crate::driver::Driver>::Snapshot>;

pub(crate) struct Task<D: Journaled> {
    pub(crate) assignment: Assignment,
    pub(crate) state: State<D>,
    /// Effects in the order of the driver, none of them performed yet.
    pub(crate) queue: VecDeque<Queued<D>>,
    /// The queue rests until this write is durable.
    pub(crate) blocked: u64,
    /// Calls that were made and not answered.
    pub(crate) calls: BTreeSet<CallId>,
    pub(crate) wake: Option<Timestamp>,
    /// The latest progress, and whether it was sent.
    pub(crate) progress: Progress,
    pub(crate) unsent: bool,
    pub(crate) sent_at: Option<Timestamp>,
    /// Failures that are not known to be in the log.
    pub(crate) commit: Option<Progress>,
    /// The coordinators asked for its end.
    pub(crate) canceled: bool,
    /// The driver is done; effects before that may still wait for the disk.
    pub(crate) finished: bool,
}

pub(crate) enum State<D: Journaled> {
    /// Written down, not begun.
    Taken {
        found: Option<D::Phase>,
    },
    Working {
        phase: D::Phase,
    },
    /// A larger fence waits: no further effect, only calls in flight are waited for.
    Retiring {
        phase: Option<D::Phase>,
    },
    /// Its result is sent as soon as `durable` is on_written, until it is answered.
    Ended {
        outcome: Outcome,
        durable: u64,
    },
    /// The coordinators don't know it; kept for a user's decision.
    Held {
        outcome: Outcome,
    },
}

pub(crate) enum Queued<D: Journaled> {
    Begin,
    /// The phase as it was when the driver asked for it.
    Persist(Vec<u8>),
    Effect(EffectOf<D>),
}

impl<D: Journaled<Progress = Progress>> Task<D> {
    /// A task that begins when `write` is durable.
    pub(crate) fn new(assignment: Assignment, found: Option<D::Phase>, write: u64) -> Self {
        Self {
            assignment,
            state: State::Taken { found },
            queue: VecDeque::from([Queued::Begin]),
            blocked: write,
            calls: BTreeSet::new(),
            wake: None,
            progress: Progress::default(),
            unsent: false,
            sent_at: None,
            commit: None,
            canceled: false,
            finished: false,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, State::Taken { .. } | State::Working { .. } | State::Retiring { .. })
    }

    pub(crate) fn phase(&self) -> Option<&D::Phase> {
        match &self.state {
            State::Taken { found } => found.as_ref(),
            State::Working { phase } => Some(phase),
            State::Retiring { phase } => phase.as_ref(),
            State::Ended { .. } | State::Held { .. } => None,
        }
    }
    /// As a session's greeting and the status of the agent show it.
    pub(crate) fn held(&self) -> HeldAssignment {
        HeldAssignment {
            assignment: self.assignment.id.0,
            fence: self.assignment.fence.0,
            installation: (&self.assignment.installation).into(),
            run: (&self.assignment.run).into(),
        }
    }

    /// The frozen form of its progress.
    pub(crate) fn to_wire(&self, progress: &Progress) -> agent::Progress {
        agent::Progress::new(self.assignment.id, self.assignment.fence, progress)
    }

    /// The latest progress, which is then sent.
    pub(crate) fn take_progress(&mut self, now: Timestamp) -> AgentUp {
        (self.unsent, self.sent_at) = (false, Some(now));
        AgentUp::Progress(self.to_wire(&self.progress))
    }

    /// Its result; `None` while it has none.
    pub(crate) fn result(&self) -> Option<AgentUp> {
        let State::Ended { outcome, .. } = &self.state else { return None };
        Some(AgentUp::Result {
            assignment: self.assignment.id.0,
            fence: self.assignment.fence.0,
            outcome: outcome.into(),
            progress: self.to_wire(&self.progress),
        })
    }
}
