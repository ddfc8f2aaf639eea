//! What comes in, from coordinators, the disk and the clock, and what it means for the assignments.
//!
//! Deliberately not here: what drivers ask for, which `effects` performs.

use std::collections::BTreeMap;

use trimaran_model::action::{Outcome, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Epoch, Fence, InstallationId};
use trimaran_model::limits::{AGENT_ASSIGNMENTS_MAX, PROGRESS_INTERVAL};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;
use trimaran_wire::v1::agent::{AgentUp, HeldAssignment, ResultAnswer};
use trimaran_wire::v1::agent_journal::JournalRecord;

use crate::driver::Journaled;
use crate::driver::{CallId, Input as Step};
use crate::io::{Input, Output, Refused};
use crate::lease::Lease;
use crate::task::{DriverInput, State, Task};

/// The largest fence of an installation and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HighestFence {
    pub(crate) fence: Fence,
    pub(crate) assignment: AssignmentId,
}

/// The brain of an agent; its invariants are the crate's.
pub struct Executor<D: Journaled<Order = Assignment, Progress = Progress>> {
    pub(crate) driver: D,
    pub(crate) tasks: BTreeMap<AssignmentId, Task<D>>,
    pub(crate) fences: BTreeMap<InstallationId, HighestFence>,
    /// Assignments that wait until the earlier one of their installation has ended.
    next: BTreeMap<InstallationId, Assignment>,
    pub(crate) cluster: String,
    pub(crate) epoch: Epoch,
    pub(crate) attached: bool,
    pub(crate) lease: Lease,
    /// Whether the drivers were last notified of a live lease.
    pub(crate) lease_notified: bool,
    pub(crate) sequence: u64,
    /// The last write that is known to be on the disk.
    pub(crate) durable: u64,
    /// Records in the file.
    pub(crate) records: usize,
}

pub(crate) type Outputs<D> = Vec<Output<D>>;

impl<D: Journaled<Order = Assignment, Progress = Progress>> Executor<D> {
    /// An agent that never worked.
    pub fn new(driver: D) -> Self {
        Self {
            driver,
            tasks: BTreeMap::new(),
            fences: BTreeMap::new(),
            next: BTreeMap::new(),
            cluster: String::new(),
            epoch: Epoch(0),
            attached: false,
            lease: Lease::default(),
            lease_notified: false,
            sequence: 0,
            durable: 0,
            records: 0,
        }
    }

    /// Continues with what the journal held: call it once, before any input.
    pub fn resume(&mut self, now: Timestamp, out: &mut Outputs<D>) {
        for id in self.ids() {
            self.drain(now, id, out);
        }
        for (installation, highest) in &self.fences {
            if !self.tasks.values().any(|task| task.assignment.installation == *installation) {
                out.push(Output::Quiet { installation: installation.clone(), fence: highest.fence });
            }
        }
    }

    /// Handles one input and advances everything that can move.
    pub fn step(&mut self, now: Timestamp, input: Input<D>, out: &mut Outputs<D>) {
        self.notify_lease(now, out);
        match input {
            Input::Attached { cluster, epoch } => self.on_attached(now, cluster, epoch, out),
            Input::Detached => {
                self.attached = false;
                self.lease.end();
            }
            Input::PongReceived { sent } => {
                if self.attached {
                    self.lease.renew(sent);
                }
            }
            Input::Assign(assignment) => self.on_assign(now, assignment, out),
            Input::Cancel { assignment, fence } => self.on_cancel(now, assignment, fence, out),
            Input::Answer { assignment, fence, answer } => self.on_answer(assignment, fence, &answer, out),
            Input::Committed { assignment, failed } => self.on_committed(now, assignment, failed, out),
            Input::Written(sequence) => self.on_written(now, sequence, out),
            Input::Reply { assignment, call, reply } => {
                self.on_call_ended(now, assignment, call, Step::Reply(call, reply), out);
            }
            Input::Lost { assignment, call } => {
                self.on_call_ended(now, assignment, call, Step::Lost(call), out);
            }
            Input::Observed { assignment, snapshot } => {
                self.feed(now, assignment, Step::Observed(snapshot), out);
            }
            Input::Due => self.on_due(now, out),
        }
        self.notify_lease(now, out);
        self.compact_if_worth(out);
    }

    /// When [`Input::Due`] is wanted.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let wakes = self.tasks.values().filter(|task| task.is_live()).filter_map(|task| task.wake);
        let reports = self
            .tasks
            .values()
            .filter(|task| self.attached && task.unsent)
            .map(|task| task.sent_at.map_or(Timestamp(0), |at| at + PROGRESS_INTERVAL));
        let lease = if self.lease_notified { self.lease.ends() } else { None };
        wakes.chain(reports).chain(lease).min()
    }

    /// What the journal holds, for the greeting of a session.
    pub fn held(&self) -> Vec<HeldAssignment> {
        self.tasks.values().map(Task::held).collect()
    }

    /// What is kept for a user's decision, because no coordinator knows it.
    pub fn unknown(&self) -> Vec<HeldAssignment> {
        self.tasks.values().filter(|task| matches!(task.state, State::Held { .. })).map(Task::held).collect()
    }

    /// The highest epoch that was seen.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn ids(&self) -> Vec<AssignmentId> {
        self.tasks.keys().copied().collect()
    }

    fn on_attached(&mut self, now: Timestamp, cluster: String, epoch: Epoch, out: &mut Outputs<D>) {
        self.attached = true;
        if self.cluster != cluster || self.epoch < epoch {
            self.epoch = if self.cluster == cluster { self.epoch.max(epoch) } else { epoch };
            self.cluster = cluster;
            let record = JournalRecord::Epoch { cluster: self.cluster.clone(), epoch: self.epoch.0 };
            self.write(vec![record], out);
        }
        let unknown = self.unknown();
        if !unknown.is_empty() {
            out.push(Output::Send(AgentUp::Unknown(unknown)));
        }
        for task in self.tasks.values_mut() {
            match (&task.state, &task.commit) {
                (State::Ended { durable, .. }, _) if *durable <= self.durable => {
                    out.extend(task.result().map(Output::Send));
                }
                (State::Working { .. } | State::Retiring { .. }, Some(commit)) => {
                    out.push(Output::Send(AgentUp::Failures(task.to_wire(commit))));
                }
                (State::Working { .. }, None) => out.push(Output::Send(task.take_progress(now))),
                (State::Taken { .. } | State::Retiring { .. }, _) => {}
                (State::Ended { .. } | State::Held { .. }, _) => {}
            }
        }
    }

    fn on_assign(&mut self, now: Timestamp, new: Assignment, out: &mut Outputs<D>) {
        let (assignment, installation, fence) = (new.id, new.installation.clone(), new.fence);
        if fence.epoch() < self.epoch {
            let epoch = self.epoch;
            return out.push(Output::Refused(Refused::LowerEpoch { assignment, installation, epoch }));
        }
        let waiting = self.next.get(&installation);
        let waiting = waiting.map(|it| HighestFence { fence: it.fence, assignment: it.id });
        let highest = waiting.or(self.fences.get(&installation).copied());
        if let Some(highest) = highest.filter(|highest| fence <= highest.fence) {
            return self.on_assign_again(new, highest, waiting.is_some(), out);
        }
        if self.tasks.len() + self.next.len() >= AGENT_ASSIGNMENTS_MAX {
            return out.push(Output::Refused(Refused::Full { assignment }));
        }
        let earlier =
            self.tasks.values().find(|it| it.is_live() && it.assignment.installation == installation);
        match earlier.map(|it| it.assignment.id) {
            None => self.start(now, new, out),
            Some(earlier) => {
                self.next.insert(installation, new);
                self.retire(now, earlier, out);
            }
        }
    }

    /// A fence that is not larger than the largest one.
    fn on_assign_again(&mut self, new: Assignment, highest: HighestFence, waits: bool, out: &mut Outputs<D>) {
        let (assignment, installation, fence) = (new.id, new.installation, new.fence);
        if fence < highest.fence {
            let largest = highest.fence;
            let refused = Refused::LowerFence { assignment, installation, fence, largest };
            return out.push(Output::Refused(refused));
        }
        if assignment != highest.assignment {
            let other = highest.assignment;
            let refused = Refused::OtherAssignment { assignment, other, installation, fence };
            return out.push(Output::Refused(refused));
        }
        // The same assignment again: a session was renewed. Its result is sent by `on_attached`.
        if !waits && !self.tasks.contains_key(&assignment) {
            out.push(Output::Refused(Refused::Forgotten { assignment, installation }));
        }
    }

    fn start(&mut self, now: Timestamp, new: Assignment, out: &mut Outputs<D>) {
        let installation = new.installation.clone();
        // What was held for a user's decision makes way for a larger fence.
        let held = |task: &&Task<D>| {
            task.assignment.installation == installation && matches!(task.state, State::Held { .. })
        };
        let mut records: Vec<_> = Vec::new();
        for id in self.tasks.values().filter(held).map(|task| task.assignment.id).collect::<Vec<_>>() {
            self.tasks.remove(&id);
            records.push(JournalRecord::Forgotten { assignment: id.0 });
        }
        if !records.is_empty() && self.attached {
            out.push(Output::Send(AgentUp::Unknown(self.unknown())));
        }
        self.fences.insert(installation.clone(), HighestFence { fence: new.fence, assignment: new.id });
        records.push(JournalRecord::Taken((&new).into()));
        let write = self.write(records, out);
        let id = new.id;
        self.tasks.insert(id, Task::new(new, None, write));
        out.push(Output::Busy { installation });
        self.drain(now, id, out);
    }

    /// The earlier assignment makes no further effect; the next one begins when its calls have ended.
    fn retire(&mut self, now: Timestamp, id: AssignmentId, out: &mut Outputs<D>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let phase = task.phase().cloned();
        task.state = State::Retiring { phase };
        task.queue.clear();
        task.wake = None;
        self.finish_retiring(now, id, out);
    }

    fn finish_retiring(&mut self, now: Timestamp, id: AssignmentId, out: &mut Outputs<D>) {
        let Some(task) = self.tasks.get(&id) else { return };
        if !matches!(task.state, State::Retiring { .. }) || !task.calls.is_empty() {
            return;
        }
        let installation = task.assignment.installation.clone();
        self.end(id, Outcome::Stopped, out);
        if let Some(next) = self.next.remove(&installation) {
            self.start(now, next, out);
        }
    }

    fn on_cancel(&mut self, now: Timestamp, id: AssignmentId, fence: Fence, out: &mut Outputs<D>) {
        let waiting = self.next.iter().find(|(_, it)| it.id == id && it.fence == fence);
        if let Some(installation) = waiting.map(|(installation, _)| installation.clone()) {
            // It never began: written down and ended at once, so that its result is sent like any other.
            let Some(next) = self.next.remove(&installation) else { return };
            self.fences.insert(installation, HighestFence { fence: next.fence, assignment: next.id });
            let write = self.write(vec![JournalRecord::Taken((&next).into())], out);
            self.tasks.insert(id, Task::new(next, None, write));
            return self.end(id, Outcome::Stopped, out);
        }
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.assignment.fence == fence) else {
            return;
        };
        match task.state {
            State::Taken { .. } => task.canceled = true,
            State::Working { .. } if !task.canceled => {
                task.canceled = true;
                self.feed(now, id, Step::Abort(ReasonCode::Canceled), out);
            }
            State::Working { .. } | State::Retiring { .. } => {}
            State::Ended { .. } | State::Held { .. } => {}
        }
    }

    fn on_answer(&mut self, id: AssignmentId, fence: Fence, answer: &ResultAnswer, out: &mut Outputs<D>) {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.assignment.fence == fence) else {
            return;
        };
        let State::Ended { outcome, .. } = &task.state else { return };
        let installation = task.assignment.installation.clone();
        match answer {
            ResultAnswer::Applied | ResultAnswer::Superseded { .. } => {
                self.tasks.remove(&id);
                self.write(vec![JournalRecord::Forgotten { assignment: id.0 }], out);
                let others = self.tasks.values().any(|task| task.assignment.installation == installation);
                if let Some(highest) = self.fences.get(&installation).filter(|_| !others) {
                    out.push(Output::Quiet { installation, fence: highest.fence });
                }
            }
            ResultAnswer::Unknown => {
                task.state = State::Held { outcome: outcome.clone() };
                self.write(vec![JournalRecord::Held { assignment: id.0 }], out);
                out.push(Output::Refused(Refused::Unknown { assignment: id, installation }));
                out.push(Output::Send(AgentUp::Unknown(self.unknown())));
            }
        }
    }

    fn on_committed(&mut self, now: Timestamp, id: AssignmentId, failed: u32, out: &mut Outputs<D>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if task.commit.as_ref().is_some_and(|commit| commit.failed.len() <= failed as usize) {
            task.commit = None;
            self.feed(now, id, Step::Committed, out);
        }
    }

    fn on_written(&mut self, now: Timestamp, sequence: u64, out: &mut Outputs<D>) {
        let before = self.durable;
        self.durable = before.max(sequence);
        for id in self.ids() {
            let Some(task) = self.tasks.get(&id) else { continue };
            match task.state {
                State::Ended { durable, .. } if self.attached && before < durable && durable <= sequence => {
                    out.extend(task.result().map(Output::Send));
                }
                State::Ended { .. } | State::Held { .. } => {}
                State::Taken { .. } | State::Working { .. } | State::Retiring { .. } => {
                    self.drain(now, id, out);
                }
            }
        }
    }

    fn on_call_ended(
        &mut self,
        now: Timestamp,
        id: AssignmentId,
        call: CallId,
        input: DriverInput<D>,
        out: &mut Outputs<D>,
    ) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if task.calls.remove(&call) {
            self.feed(now, id, input, out);
            self.finish_retiring(now, id, out);
        }
    }

    fn on_due(&mut self, now: Timestamp, out: &mut Outputs<D>) {
        for id in self.ids() {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            let rested = task.sent_at.is_none_or(|at| at + PROGRESS_INTERVAL <= now);
            if self.attached && task.unsent && rested && task.is_live() {
                out.push(Output::Send(task.take_progress(now)));
            }
            if task.wake.is_some_and(|at| at <= now) {
                task.wake = None;
                self.feed(now, id, Step::Due, out);
            }
        }
    }

    /// Notifies the drivers when the lease began or ended.
    fn notify_lease(&mut self, now: Timestamp, out: &mut Outputs<D>) {
        let live = self.lease.is_live(now);
        if live == self.lease_notified {
            return;
        }
        self.lease_notified = live;
        for id in self.ids() {
            self.feed(now, id, if live { Step::LeaseBack } else { Step::LeaseLost }, out);
        }
    }

    pub(crate) fn write(&mut self, records: Vec<JournalRecord>, out: &mut Outputs<D>) -> u64 {
        self.sequence += 1;
        self.records += records.len();
        out.push(Output::Write { sequence: self.sequence, records });
        self.sequence
    }
}
