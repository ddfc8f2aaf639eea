//! What one host is for the assignment now: a total function of what it said and what was asked of it.

use trimaran_model::action::{Action, Failure};
use trimaran_model::assignment::{Assignment, HostReport, HostState};
use trimaran_model::id::{AssignmentId, Digest, Fence, HostName};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;
use trimaran_model::verdict::Fault;

use super::{Sent, Sight};

/// What is known of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) connected: bool,
    /// Since when it is connected or not, as this life of the machine saw it.
    pub(crate) since: Timestamp,
    /// Shown by the watch at least once in this life of the machine.
    pub(crate) shown: bool,
    /// Was connected at least once in this life of the machine.
    pub(crate) heard: bool,
    pub(crate) report: Option<HostReport>,
    /// Whether what runs there served when it was last heard in a state that tells.
    pub(crate) served: bool,
    /// Was done in this life of the machine: its release failed when it degrades later.
    pub(crate) was_done: bool,
    pub(crate) prepare: Sent,
    /// The order to prepare was refused.
    pub(crate) refused: Option<Failure>,
    pub(crate) act: Sent,
}

/// A host in the eyes of its assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is as the job wants it.
    Done,
    /// It was ordered to act and has not said how that ended: holds a slot.
    InFlight,
    /// Not done, nothing ordered, can be ordered.
    Open,
    /// As `Open`, but the bytes could not be prepared there: counts once it is the host's turn.
    Unprepared(Failure),
    /// Not done, and it can't be reached.
    Absent,
    /// The order failed there.
    Bad(Failure),
}

/// What standings are measured against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim<'a> {
    pub(crate) assignment: AssignmentId,
    pub(crate) fence: Fence,
    pub(crate) action: &'a Action,
    /// From the second wave on a host that has the release got it in this attempt.
    pub(crate) goes_on: bool,
}

impl<'a> Aim<'a> {
    pub(crate) fn of(assignment: &'a Assignment) -> Self {
        let Assignment { id, fence, action, wave, .. } = assignment;
        Self { assignment: *id, fence: *fence, action, goes_on: wave.number > 1 }
    }
}

impl Turn {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            connected: false,
            since: now,
            shown: false,
            heard: false,
            report: None,
            served: false,
            was_done: false,
            prepare: Sent::No,
            refused: None,
            act: Sent::No,
        }
    }

    /// Takes what the host says.
    pub(crate) fn see(&mut self, now: Timestamp, sight: Sight, fence: Fence) {
        self.shown = true;
        let back = sight.connected && !self.connected;
        if sight.connected != self.connected {
            (self.connected, self.since) = (sight.connected, now);
        }
        self.heard |= sight.connected;
        if sight.connected || sight.report.is_some() {
            self.report = sight.report;
        }
        self.served = match self.report.as_ref().map(|report| (report.state, report.current)) {
            Some((HostState::Healthy | HostState::Reverted, _)) => true,
            Some((HostState::Preparing | HostState::Prepared | HostState::Refused, current)) => {
                current.is_some() && (self.served || back)
            }
            Some((HostState::Empty | HostState::Updating | HostState::Degraded, _)) | None => false,
            Some((HostState::Broken | HostState::Stopped, _)) => false,
        };
        // A host that comes back without an order did not take it, and never will: its old session is over.
        if back {
            let ours = self.report.as_ref().filter(|report| report.fence == fence);
            if ours.is_none() {
                (self.prepare, self.refused) = (Sent::No, None);
            }
            if ours.is_none_or(|report| !report.disruptive) {
                self.act = Sent::No;
            }
        }
    }

    /// It serves now: taking it down costs a slot.
    pub(crate) fn is_up(&self) -> bool {
        self.connected && self.served
    }

    pub(crate) fn standing(&self, host: &HostName, aim: Aim<'_>) -> Standing {
        if let Some(report) = &self.report {
            if report.fence > aim.fence || (report.fence == aim.fence && report.assignment != aim.assignment)
            {
                let message = format!("the host follows the order with fence {}", report.fence);
                return Standing::Bad(Failure {
                    code: ReasonCode::Fenced,
                    message,
                    instance: Some(host.clone()),
                });
            }
            let ours = report.fence == aim.fence;
            let found = match aim.action {
                Action::Release(digest) | Action::Restore(digest) => {
                    let tried = ours || aim.goes_on || self.was_done;
                    self.on_release(report, ours, tried, *digest)
                }
                Action::Stop(digest) => on_stop(report, ours, *digest),
                Action::Verify => on_verify(report, ours),
            };
            match found {
                Found::Done => return Standing::Done,
                Found::Bad => return Standing::Bad(failure(host, report)),
                Found::Moves => return Standing::InFlight,
                Found::Astray => return Standing::Bad(astray(host, report)),
                Found::Unprepared if self.connected && self.act == Sent::No => {
                    return Standing::Unprepared(failure(host, report));
                }
                Found::Unprepared | Found::Wants => {}
            }
        } else if self.connected && matches!(aim.action, Action::Stop(_)) {
            return Standing::Done;
        }
        match (self.act, self.connected) {
            (Sent::Calling(_) | Sent::Uncertain | Sent::Taken, _) => Standing::InFlight,
            (Sent::No, true) => self.refused.clone().map_or(Standing::Open, Standing::Unprepared),
            (Sent::No, false) => Standing::Absent,
        }
    }

    /// `tried`: this attempt has brought the release to the host, when it is there.
    fn on_release(&self, report: &HostReport, ours: bool, tried: bool, digest: Digest) -> Found {
        let there = report.current == Some(digest);
        match (report.state, ours) {
            (HostState::Healthy, _) if there => Found::Done,
            (HostState::Reverted, false) if there => Found::Done,
            (HostState::Degraded, _) if there && tried => Found::Bad,
            (HostState::Refused, true) if !report.disruptive => Found::Unprepared,
            (HostState::Refused | HostState::Reverted | HostState::Broken, true) => Found::Bad,
            // It has taken the order, and waits for its turn or works on it.
            (HostState::Updating | HostState::Preparing | HostState::Prepared, true) if report.disruptive => {
                Found::Moves
            }
            (HostState::Healthy | HostState::Degraded | HostState::Stopped | HostState::Empty, true)
                if report.disruptive =>
            {
                Found::Astray
            }
            (HostState::Empty | HostState::Preparing | HostState::Prepared | HostState::Updating, _)
            | (HostState::Healthy | HostState::Degraded | HostState::Stopped, _)
            | (HostState::Refused | HostState::Reverted | HostState::Broken, false) => Found::Wants,
        }
    }
}

/// What a report alone says.
enum Found {
    Done,
    Bad,
    Moves,
    Wants,
    /// The bytes could not be prepared.
    Unprepared,
    /// It took the order, and something else came of it: nothing more can be asked under this fence.
    Astray,
}

fn on_stop(report: &HostReport, ours: bool, digest: Digest) -> Found {
    match (report.state, ours) {
        (HostState::Stopped | HostState::Empty, _) => Found::Done,
        (HostState::Updating | HostState::Preparing, true) => Found::Moves,
        (HostState::Updating, false) => Found::Wants,
        (HostState::Broken | HostState::Refused, true) if report.current == Some(digest) => Found::Bad,
        (_, _) if report.current == Some(digest) => Found::Wants,
        (_, _) => Found::Done,
    }
}

fn on_verify(report: &HostReport, ours: bool) -> Found {
    match (report.state, ours) {
        (_, false) => Found::Wants,
        (HostState::Healthy | HostState::Stopped | HostState::Empty, true) => Found::Done,
        (HostState::Degraded | HostState::Broken | HostState::Refused | HostState::Reverted, true) => {
            Found::Bad
        }
        (HostState::Preparing | HostState::Prepared | HostState::Updating, true) => Found::Moves,
    }
}

/// The cause in the host's words.
pub(crate) fn failure(host: &HostName, report: &HostReport) -> Failure {
    let code = report.code.unwrap_or(match report.state {
        HostState::Degraded => ReasonCode::ProbeFailed,
        HostState::Broken => ReasonCode::RevertFailed,
        _ => ReasonCode::HostInternal,
    });
    Failure { code, message: report.message.clone(), instance: Some(host.clone()) }
}

/// Somebody changed the host by hand after it had taken the order.
fn astray(host: &HostName, report: &HostReport) -> Failure {
    let runs = report.current.map_or("nothing".to_owned(), |digest| digest.short());
    let message = format!("the host is {} with {runs} current, not by this order", report.state.as_str());
    Failure { code: ReasonCode::Interrupted, message, instance: Some(host.clone()) }
}

/// Whether the platform, and not the release, is to blame.
pub(crate) fn is_fault(failure: &Failure) -> bool {
    failure.code.fault() == Some(Fault::Platform)
}
