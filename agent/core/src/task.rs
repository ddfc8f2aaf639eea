//! One assignment in the executor: its driver's phase, the effects that wait for the disk, and what was sent of it.

use std::collections::{BTreeSet, VecDeque};

use trimaran_model::action::{Commit, Outcome, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::limits::PROGRESS_INTERVAL;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;
use trimaran_wire::v1::agent::{self, AgentUp, HeldAssignment};

use crate::driver::{CallId, Driver, EffectOf, Found, FoundOf, Input, Journaled};

/// What a driver is fed.
pub(crate) type DriverInput<D> = Input<<D as Driver>::Reply, <D as Driver>::Snapshot>;

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
    /// What the session has received, so that only changes follow.
    sent: Option<agent::Progress>,
    /// What is not known to be in the log.
    pub(crate) commit: Option<Commit>,
    /// The last reason for which its driver was, or will be, asked to end.
    pub(crate) abort: Option<ReasonCode>,
    /// A larger fence waits: until then its driver has time to come to a safe point.
    pub(crate) superseded_until: Option<Timestamp>,
    /// That time is over: no further effect, only the calls in flight are waited for.
    pub(crate) frozen: bool,
    /// The driver is done; effects before that may still wait for the disk.
    pub(crate) finished: bool,
}

pub(crate) enum State<D: Journaled> {
    /// Written down, not begun.
    Accepted {
        found: Option<FoundOf<D>>,
    },
    Working {
        phase: D::Phase,
    },
    /// Its result is sent as soon as `durable` is written, until it is answered.
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

impl<D: Journaled<Order = Assignment, Progress = Progress>> Task<D> {
    /// A task that begins when `write` is durable.
    pub(crate) fn new(assignment: Assignment, found: Option<FoundOf<D>>, write: u64) -> Self {
        Self {
            assignment,
            state: State::Accepted { found },
            queue: VecDeque::from([Queued::Begin]),
            blocked: write,
            calls: BTreeSet::new(),
            wake: None,
            progress: Progress::default(),
            unsent: false,
            sent_at: None,
            sent: None,
            commit: None,
            abort: None,
            superseded_until: None,
            frozen: false,
            finished: false,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, State::Accepted { .. } | State::Working { .. })
    }

    /// What a later order finds of this one; `None` when nothing was done for it.
    pub(crate) fn into_found(self) -> Option<FoundOf<D>> {
        let phase = match self.state {
            State::Accepted { found: Some(Found::Resumed(phase)) } | State::Working { phase } => phase,
            // It never began: what it would have found is found by the next one.
            State::Accepted { found } => return found,
            State::Ended { .. } | State::Held { .. } => return None,
        };
        Some(Found::Superseded { order: self.assignment, phase })
    }

    /// As the greeting of a session and the status of the agent show it.
    pub(crate) fn held(&self) -> HeldAssignment {
        HeldAssignment {
            assignment: self.assignment.id.0,
            fence: self.assignment.fence.0,
            installation: (&self.assignment.installation).into(),
            run: (&self.assignment.run).into(),
        }
    }

    /// The frozen form of its progress.
    pub(crate) fn wire_progress(&self) -> agent::Progress {
        agent::Progress::new(self.assignment.id, self.assignment.fence, &self.progress)
    }

    /// Whether progress may be sent again.
    pub(crate) fn is_rested(&self, now: Timestamp) -> bool {
        self.sent_at.is_none_or(|at| at + PROGRESS_INTERVAL <= now)
    }

    /// A new session has received nothing.
    pub(crate) fn forget_sent(&mut self) {
        (self.sent, self.sent_at) = (None, None);
    }

    /// The latest progress, which is then sent: what changed since the last time on this session.
    pub(crate) fn take_progress(&mut self, now: Timestamp) -> Option<AgentUp> {
        if !self.is_live() {
            return None;
        }
        (self.unsent, self.sent_at) = (false, Some(now));
        let whole = self.wire_progress();
        let changes = self.sent.as_ref().and_then(|sent| whole.changes_since(sent));
        self.sent = Some(whole.clone());
        Some(match changes {
            Some(changes) => AgentUp::ProgressChanges(changes),
            None => AgentUp::Progress(whole),
        })
    }

    /// What is to be in the log, while it is not.
    pub(crate) fn commit_message(&self) -> Option<AgentUp> {
        let commit = self.commit.as_ref().filter(|_| self.is_live())?;
        Some(AgentUp::Commit { commit: commit.into(), progress: self.wire_progress() })
    }

    /// Its result; `None` while it has none.
    pub(crate) fn result(&self) -> Option<AgentUp> {
        let State::Ended { outcome, .. } = &self.state else { return None };
        Some(AgentUp::Result {
            assignment: self.assignment.id.0,
            fence: self.assignment.fence.0,
            outcome: outcome.into(),
            progress: self.wire_progress(),
        })
    }
}
