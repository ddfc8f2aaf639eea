//! What one host is for the assignment now: a total function of what it said and what was asked of it.

use trimaran_agent_core::driver::CallId;
use trimaran_model::action::{Action, Failure};
use trimaran_model::assignment::{Assignment, HostReport, HostState};
use trimaran_model::id::{AssignmentId, Digest, Fence, HostName};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;
use trimaran_model::verdict::Fault;

use super::{HostObservation, Sent};

/// What is known of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostRecord {
    pub(crate) connected: bool,
    /// The number of the session that was observed last.
    pub(crate) session: u64,
    /// Since when it is connected or not, as this process saw it.
    pub(crate) since: Timestamp,
    /// Shown by the watch at least once by this process.
    pub(crate) observed: bool,
    /// Was connected at least once by this process.
    pub(crate) was_connected: bool,
    pub(crate) report: Option<HostReport>,
    /// Whether what runs there served when it last reported a state that shows it.
    pub(crate) served: bool,
    /// Was seen done by this process: its release failed when it degrades later.
    pub(crate) was_done: bool,
    /// The order has failed there, and the host reverts it.
    pub(crate) fails: bool,
    pub(crate) prepare: Sent,
    /// The order to prepare was refused.
    pub(crate) refused: Option<Failure>,
    pub(crate) execute: Sent,
}

/// A host in the eyes of its assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostProgress {
    /// It is as the job wants it.
    Done,
    /// It was ordered to execute and has not said how that ended: holds a slot.
    InFlight,
    /// Not done, nothing ordered, can be ordered.
    Open,
    /// As `Open`, but the bytes could not be prepared there: counts once the host is next.
    Unprepared(Failure),
    /// Not done, and it can't be reached.
    Absent,
    /// The order is about a release, and nothing of it runs there: it is neither asked nor waited for.
    Elsewhere,
    /// The order failed there.
    Bad(Failure),
}

/// What standings are measured against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Desired<'a> {
    pub(crate) assignment: AssignmentId,
    pub(crate) fence: Fence,
    pub(crate) action: &'a Action,
    /// From the second wave on a host that has the release got it in this attempt.
    pub(crate) continues_attempt: bool,
    /// The fence of the attempt's first assignment: from then on a host's failure is one of this attempt.
    pub(crate) since: Fence,
    /// What serves is not ended.
    pub(crate) keep_serving: bool,
}

impl<'a> Desired<'a> {
    pub(crate) fn of(assignment: &'a Assignment) -> Self {
        let Assignment { id, fence, action, wave, .. } = assignment;
        Self {
            assignment: *id,
            fence: *fence,
            action,
            continues_attempt: wave.number > 1,
            since: wave.since,
            keep_serving: wave.keep_serving,
        }
    }
}

impl HostRecord {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            connected: false,
            session: 0,
            since: now,
            observed: false,
            was_connected: false,
            report: None,
            served: false,
            was_done: false,
            fails: false,
            prepare: Sent::No,
            refused: None,
            execute: Sent::No,
        }
    }

    /// Takes what the host says.
    pub(crate) fn observe(&mut self, now: Timestamp, observation: HostObservation, fence: Fence) {
        let is_first = !std::mem::replace(&mut self.observed, true);
        let is_new = observation.session != self.session;
        self.session = observation.session;
        let back = observation.connected && (!self.connected || is_new);
        if observation.connected != self.connected || is_first {
            (self.connected, self.since) = (observation.connected, observation.since.min(now));
        }
        self.was_connected |= observation.connected || observation.session != 0;
        if observation.connected || observation.report.is_some() {
            self.report = observation.report;
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
                self.execute = Sent::No;
            }
        }
    }

    /// The calls of its orders that have no answer yet.
    pub(crate) fn calls(&self) -> impl Iterator<Item = CallId> + use<> {
        [self.prepare, self.execute].into_iter().filter_map(Sent::call)
    }

    /// It serves now: taking it down costs a slot.
    pub(crate) fn is_up(&self) -> bool {
        self.connected && self.served
    }

    /// Nothing of the installation was ever there, or it was ended on purpose: nothing is missing where it does not serve.
    pub(crate) fn has_nothing(&self) -> bool {
        let ended = |report: &HostReport| matches!(report.state, HostState::Stopped | HostState::Empty);
        self.report.as_ref().is_none_or(ended)
    }

    pub(crate) fn progress(&self, host: &HostName, desired: Desired<'_>) -> HostProgress {
        if let Some(report) = &self.report {
            if report.fence > desired.fence
                || (report.fence == desired.fence && report.assignment != desired.assignment)
            {
                let message = format!("the host follows the order with fence {}", report.fence);
                return HostProgress::Bad(Failure {
                    code: ReasonCode::Fenced,
                    message,
                    instance: Some(host.into()),
                });
            }
            let ours = report.fence == desired.fence;
            if !ours && failed_in_attempt(report, desired) {
                return HostProgress::Bad(failure(host, report));
            }
            let finding = match desired.action {
                Action::Release(digest) | Action::Restore(digest) => {
                    let tried = ours || desired.continues_attempt || self.was_done;
                    self.on_release(report, ours, tried, *digest)
                }
                Action::Stop(digest) if desired.keep_serving && serves(report, *digest) => Finding::Done,
                Action::Stop(digest) => on_stop(report, ours, *digest),
                Action::Verify => on_verify(report, ours),
                Action::Restart(digest) => on_restart(report, desired, ours, *digest),
                // No host is asked for it: the phase ends by its fault.
                Action::Scale { .. } => Finding::Pending,
            };
            match finding {
                Finding::Done => return HostProgress::Done,
                Finding::Bad => return HostProgress::Bad(failure(host, report)),
                Finding::InProgress => return HostProgress::InFlight,
                Finding::Diverged => return HostProgress::Bad(diverged(host, report)),
                Finding::Unprepared if self.connected && self.execute == Sent::No => {
                    return HostProgress::Unprepared(failure(host, report));
                }
                Finding::Elsewhere if ours || self.execute == Sent::No => return HostProgress::Elsewhere,
                Finding::Unprepared | Finding::Pending | Finding::Elsewhere => {}
            }
        } else if self.connected && matches!(desired.action, Action::Stop(_)) {
            return HostProgress::Done;
        } else if self.connected && matches!(desired.action, Action::Restart(_)) && self.execute == Sent::No {
            return HostProgress::Elsewhere;
        }
        match (self.execute, self.connected) {
            (Sent::Calling(_) | Sent::Uncertain | Sent::Accepted, _) => HostProgress::InFlight,
            (Sent::No, true) => self.refused.clone().map_or(HostProgress::Open, HostProgress::Unprepared),
            (Sent::No, false) => HostProgress::Absent,
        }
    }

    /// `tried`: this attempt has brought the release to the host, when it is there.
    /// The order has failed on the host, which still reverts it: it holds its slot, and no other host may follow it
    /// meanwhile. A fault of the platform counts at the end, when the host needs no slot any more.
    pub(crate) fn failure_in_flight(&self, host: &HostName, desired: Desired<'_>) -> Option<Failure> {
        let report = self.report.as_ref()?;
        let ours = report.fence == desired.fence && report.assignment == desired.assignment;
        let is_release = matches!(desired.action, Action::Release(_));
        let fails = report.state == HostState::Updating && report.disruptive && report.code.is_some();
        (ours && is_release && fails).then(|| failure(host, report)).filter(|failure| !is_fault(failure))
    }

    fn on_release(&self, report: &HostReport, ours: bool, tried: bool, digest: Digest) -> Finding {
        let there = report.current == Some(digest);
        match (report.state, ours) {
            (HostState::Healthy, _) if there => Finding::Done,
            (HostState::Reverted, false) if there => Finding::Done,
            (HostState::Degraded, _) if there && tried => Finding::Bad,
            (HostState::Refused, true) if !report.disruptive => Finding::Unprepared,
            (HostState::Refused | HostState::Reverted | HostState::Broken, true) => Finding::Bad,
            // It has accepted the order, and waits for its slot or works on it.
            (HostState::Updating | HostState::Preparing | HostState::Prepared, true) if report.disruptive => {
                Finding::InProgress
            }
            (HostState::Healthy | HostState::Degraded | HostState::Stopped | HostState::Empty, true)
                if report.disruptive =>
            {
                Finding::Diverged
            }
            (HostState::Empty | HostState::Preparing | HostState::Prepared | HostState::Updating, _)
            | (HostState::Healthy | HostState::Degraded | HostState::Stopped, _)
            | (HostState::Refused | HostState::Reverted | HostState::Broken, false) => Finding::Pending,
        }
    }
}

/// Whether the release failed there in an earlier wave of the attempt: a host that the list of failed ones was too short for.
fn failed_in_attempt(report: &HostReport, desired: Desired<'_>) -> bool {
    let release = matches!(desired.action, Action::Release(_) | Action::Restart(_));
    let in_attempt = desired.continues_attempt && report.disruptive && report.fence >= desired.since;
    let failed = matches!(report.state, HostState::Refused | HostState::Reverted | HostState::Broken);
    let fault = report.code.and_then(ReasonCode::fault);
    release && in_attempt && failed && fault != Some(Fault::Platform)
}

/// What a report alone says.
enum Finding {
    Done,
    Bad,
    InProgress,
    Pending,
    /// The bytes could not be prepared.
    Unprepared,
    /// It took the order, and something else came of it: nothing more can be asked under this fence.
    Diverged,
    /// What the order is about does not run there.
    Elsewhere,
}

fn on_stop(report: &HostReport, ours: bool, digest: Digest) -> Finding {
    match (report.state, ours) {
        (HostState::Stopped | HostState::Empty, _) => Finding::Done,
        (HostState::Updating | HostState::Preparing, true) => Finding::InProgress,
        (HostState::Updating, false) => Finding::Pending,
        (HostState::Broken | HostState::Refused, true) if report.current == Some(digest) => Finding::Bad,
        (_, _) if report.current == Some(digest) => Finding::Pending,
        (_, _) => Finding::Done,
    }
}

/// The report says itself whether the host was restarted in this attempt: by the fence of the last order that it took. So an
/// agent that knows nothing any more restarts no host twice.
fn on_restart(report: &HostReport, desired: Desired<'_>, ours: bool, digest: Digest) -> Finding {
    let of_attempt = desired.since != Fence::default() && report.fence >= desired.since;
    let restarted = ours || (of_attempt && report.disruptive);
    let there = report.current == Some(digest);
    match report.state {
        // What an earlier order has begun is waited for: a restart in its middle would judge that order's change.
        HostState::Updating => Finding::InProgress,
        HostState::Preparing | HostState::Prepared if report.disruptive => Finding::InProgress,
        HostState::Healthy if there && restarted => Finding::Done,
        // Where a user lets the attempt go on, it is restarted once more.
        HostState::Degraded if there && (ours || restarted && desired.continues_attempt) => Finding::Bad,
        HostState::Refused | HostState::Reverted | HostState::Broken if ours => Finding::Bad,
        HostState::Healthy | HostState::Degraded if ours => Finding::Diverged,
        HostState::Stopped | HostState::Empty => Finding::Elsewhere,
        _ if there => Finding::Pending,
        _ => Finding::Elsewhere,
    }
}

/// Whether a host serves with the release.
pub(crate) fn serves(report: &HostReport, digest: Digest) -> bool {
    let healthy = matches!(report.state, HostState::Healthy | HostState::Prepared | HostState::Preparing);
    healthy && report.current == Some(digest)
}

fn on_verify(report: &HostReport, ours: bool) -> Finding {
    match (report.state, ours) {
        (_, false) => Finding::Pending,
        (HostState::Healthy | HostState::Stopped | HostState::Empty, true) => Finding::Done,
        (HostState::Degraded | HostState::Broken | HostState::Refused | HostState::Reverted, true) => {
            Finding::Bad
        }
        (HostState::Preparing | HostState::Prepared | HostState::Updating, true) => Finding::InProgress,
    }
}

/// The cause in the host's words.
pub(crate) fn failure(host: &HostName, report: &HostReport) -> Failure {
    let code = report.code.map(of_present_host).unwrap_or(match report.state {
        HostState::Degraded => ReasonCode::ProbeFailed,
        HostState::Broken => ReasonCode::RevertFailed,
        _ => ReasonCode::HostInternal,
    });
    Failure { code, message: report.message.clone(), instance: Some(host.into()) }
}

/// A user changed the host by hand after it had accepted the order.
fn diverged(host: &HostName, report: &HostReport) -> Failure {
    let runs = report.current.map_or("nothing".to_owned(), |digest| digest.short());
    let message = format!("the host is {} with {runs} current, not by this order", report.state.as_str());
    Failure { code: ReasonCode::Interrupted, message, instance: Some(host.into()) }
}

/// Whether the platform, and not the release, is to blame.
pub(crate) fn is_fault(failure: &Failure) -> bool {
    failure.code.fault() == Some(Fault::Platform)
}

/// The cause that a host gives: that it is silent only others can say of it.
pub(crate) fn of_present_host(code: ReasonCode) -> ReasonCode {
    if is_silence(code) { ReasonCode::HostInternal } else { code }
}

/// Whether a host is away, and may be back.
pub(crate) fn is_silence(code: ReasonCode) -> bool {
    matches!(code, ReasonCode::HostLost | ReasonCode::HostNotConnected)
}
