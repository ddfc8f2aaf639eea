//! The state of an agent, and the inputs that concern all of its assignments: the session, the lease, the disk, the
//! clock.
//!
//! Deliberately not here: orders and answers of coordinators (`orders`), what drivers ask for (`effects`).

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::action::{Outcome, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Epoch, Fence, InstallationId, TargetName};
use trimaran_model::limits::{JOURNAL_COMPACT_BYTES, PROGRESS_INTERVAL, TARGETS_PER_MESSAGE_MAX};
use trimaran_model::target::Target;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_wire::codec::encode;
use trimaran_wire::v1::agent::{self, AgentUp, HeldAssignment};
use trimaran_wire::v1::agent_journal::JournalRecord;

use crate::calls::Calls;
use crate::driver::{CallId, Guard, Input as Step, Journaled};
use crate::io::{Input, Output, Refused};
use crate::lease::{Lease, Ownership, Permit};
use crate::outbox::{Outbox, Outgoing};
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
    /// The tasks of each installation; at most one of them is live.
    pub(crate) by_installation: BTreeMap<InstallationId, BTreeSet<AssignmentId>>,
    pub(crate) fences: BTreeMap<InstallationId, HighestFence>,
    /// Assignments that wait until the earlier one of their installation is at a safe point.
    pub(crate) next: BTreeMap<InstallationId, Assignment>,
    /// What this agent serves.
    pub(crate) targets: BTreeMap<TargetName, Target>,
    pub(crate) cluster: String,
    pub(crate) epoch: Epoch,
    /// Of the cluster, when it had this epoch; 0: unknown.
    pub(crate) incarnation: u64,
    pub(crate) attached: bool,
    pub(crate) lease: Lease,
    /// Whether the drivers were last notified of a live lease.
    pub(crate) lease_notified: bool,
    pub(crate) calls: Calls<D::Call>,
    /// Tasks whose driver was fed while another one's effects were performed.
    pub(crate) stepped: Vec<AssignmentId>,
    pub(crate) outbox: Outbox,
    /// Orders of this session that were refused and not reported yet.
    pub(crate) refused: BTreeMap<AssignmentId, Refused>,
    /// Orders of this session that were canceled and that this agent does not hold: they are answered as stopped.
    pub(crate) unheld: BTreeMap<AssignmentId, Fence>,
    /// Tasks that wait for a write.
    pub(crate) blocked: BTreeSet<(u64, AssignmentId)>,
    /// When a task has to be checked; entries that are not due any more do no harm.
    pub(crate) timers: BTreeSet<(Timestamp, AssignmentId)>,
    pub(crate) sequence: u64,
    /// The last write that is known to be on the disk.
    pub(crate) durable: u64,
    /// Bytes of the records in the file.
    pub(crate) journal_bytes: usize,
    /// From this size on a compaction may be worth it.
    pub(crate) compact_at: usize,
}

pub(crate) type Outputs<D> = Vec<Output<D>>;

impl<D: Journaled<Order = Assignment, Progress = Progress>> Executor<D> {
    /// An agent that never worked.
    pub fn new(driver: D) -> Self {
        Self {
            driver,
            tasks: BTreeMap::new(),
            by_installation: BTreeMap::new(),
            fences: BTreeMap::new(),
            next: BTreeMap::new(),
            targets: BTreeMap::new(),
            cluster: String::new(),
            epoch: Epoch(0),
            incarnation: 0,
            attached: false,
            lease: Lease::default(),
            lease_notified: false,
            calls: Calls::new(),
            stepped: Vec::new(),
            outbox: Outbox::default(),
            refused: BTreeMap::new(),
            unheld: BTreeMap::new(),
            blocked: BTreeSet::new(),
            timers: BTreeSet::new(),
            sequence: 0,
            durable: 0,
            journal_bytes: 0,
            compact_at: JOURNAL_COMPACT_BYTES,
        }
    }

    /// Calls but for reads are allowed only while the state is owned; call it before any input.
    pub fn set_ownership(&mut self, ownership: Ownership) {
        self.lease.set_ownership(ownership);
    }

    /// Continues with what the journal held: call it once, before any input.
    pub fn resume(&mut self, now: Timestamp, out: &mut Outputs<D>) {
        out.push(Output::Targets(self.targets.values().cloned().collect()));
        for id in self.ids() {
            self.drain(now, id, out);
        }
        self.drain_stepped(now, out);
        for (installation, highest) in &self.fences {
            if !self.by_installation.contains_key(installation) {
                out.push(Output::Quiet { installation: installation.clone(), fence: highest.fence });
            }
        }
    }

    /// Handles one input and advances everything that can move.
    pub fn step(&mut self, now: Timestamp, input: Input<D>, out: &mut Outputs<D>) {
        self.notify_lease(now, out);
        match input {
            Input::Attached { cluster, epoch, incarnation } => {
                self.on_attached(cluster, epoch, incarnation, out);
            }
            Input::Detached => self.on_detached(),
            Input::PongReceived { sent } => {
                if self.attached {
                    self.lease.renew(if mutant!(LeaseFromReceipt) { now } else { sent });
                }
            }
            Input::Targets(targets) => self.on_targets(now, targets, out),
            Input::Assign(assignment) => self.on_assign(now, assignment, out),
            Input::Cancel { assignment, fence } => self.on_cancel(now, assignment, fence, out),
            Input::Answer { assignment, fence, answer } => self.on_answer(assignment, fence, &answer, out),
            Input::Committed { assignment, n } => self.on_committed(now, assignment, n, out),
            Input::Written(sequence) => self.on_written(now, sequence, out),
            Input::Reply { assignment, call, reply } => {
                self.on_call_ended(now, assignment, call, Step::Reply(call, reply), out);
            }
            Input::Lost { assignment, call } => {
                self.on_call_ended(now, assignment, call, Step::Lost(call), out);
            }
            Input::Unmade { assignment, call } => {
                self.on_call_ended(now, assignment, call, Step::Unmade(call), out);
            }
            Input::Observed { assignment, snapshot } => {
                self.feed(now, assignment, Step::Observed(snapshot), out);
            }
            Input::Due => self.on_due(now, out),
        }
        self.notify_lease(now, out);
        self.drain_stepped(now, out);
        self.compact_if_worth(out);
    }

    /// A target that this agent serves, with its settings.
    pub fn target(&self, name: &TargetName) -> Option<&Target> {
        self.targets.get(name)
    }

    /// When [`Input::Due`] is wanted.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let lease = if self.lease_notified { self.lease.ends() } else { None };
        timer.into_iter().chain(self.calls.next_deadline()).chain(lease).min()
    }

    /// The next message for the attached session; ask when it has room for one.
    pub fn next_message(&mut self, now: Timestamp) -> Option<AgentUp> {
        loop {
            let message = match self.outbox.pop()? {
                Outgoing::Unknown => Some(AgentUp::Unknown(self.unknown())),
                Outgoing::Refused(id) => {
                    self.refused.remove(&id).map(|refused| AgentUp::Refused(refused.to_wire()))
                }
                Outgoing::Result(id) => match self.tasks.get(&id) {
                    Some(task) => task.result(),
                    None => self.unheld.get(&id).map(|fence| stopped(id, *fence)),
                },
                Outgoing::Commit(id) => self.tasks.get(&id).and_then(Task::commit_message),
                Outgoing::Progress(id) => self.tasks.get_mut(&id).and_then(|task| task.take_progress(now)),
            };
            // What moved on since it was queued has nothing to send any more.
            if message.is_some() {
                return message;
            }
        }
    }

    /// Whether [`Executor::next_message`] may have one.
    pub fn has_messages(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// For a call outside of assignments, while the lease is live.
    pub fn permit(&self, now: Timestamp, deadline: Millis) -> Option<Permit> {
        self.lease.is_live(now).then(|| self.lease.permit(Guard::Unguarded, now, deadline))
    }

    /// What the journal holds, for the greeting of a session.
    pub fn held(&self) -> Vec<HeldAssignment> {
        self.tasks.values().map(Task::held).collect()
    }

    /// What is kept for a user's decision, because no coordinator knows it.
    pub fn unknown(&self) -> Vec<HeldAssignment> {
        self.tasks.values().filter(|task| matches!(task.state, State::Held { .. })).map(Task::held).collect()
    }

    /// The highest epoch that was seen, and the incarnation of the cluster that had it.
    pub fn epoch(&self) -> (Epoch, u64) {
        (self.epoch, self.incarnation)
    }

    /// Whether a session may begin: not with an earlier incarnation of this cluster than one that was seen, nor with another of
    /// the same epoch. It was restored from a backup, or is a copy, and does not know what was ordered since.
    pub fn is_attachable(&self, cluster: &str, epoch: Epoch, incarnation: u64) -> bool {
        let same = self.incarnation == 0 || self.incarnation == incarnation;
        self.cluster != cluster || epoch > self.epoch || (epoch == self.epoch && same)
    }

    /// What the journal keeps of the cluster.
    pub(crate) fn epoch_record(&self) -> JournalRecord {
        let (cluster, incarnation) = (self.cluster.clone(), self.incarnation);
        JournalRecord::Epoch { cluster, epoch: self.epoch.0, incarnation }
    }

    fn ids(&self) -> Vec<AssignmentId> {
        self.tasks.keys().copied().collect()
    }

    fn on_attached(&mut self, cluster: String, epoch: Epoch, incarnation: u64, out: &mut Outputs<D>) {
        assert!(self.is_attachable(&cluster, epoch, incarnation), "it is asked before");
        self.attached = true;
        self.forget_session();
        if self.cluster != cluster || self.epoch != epoch || self.incarnation != incarnation {
            (self.cluster, self.epoch, self.incarnation) = (cluster, epoch, incarnation);
            let record = self.epoch_record();
            self.write(vec![record], out);
        }
        for (id, task) in &mut self.tasks {
            task.forget_sent();
            match &task.state {
                State::Ended { .. } if mutant!(ResultOnce) => {}
                State::Ended { durable, .. } if *durable <= self.durable => {
                    self.outbox.push(Outgoing::Result(*id));
                }
                State::Working { .. } if task.commit.is_some() => self.outbox.push(Outgoing::Commit(*id)),
                State::Working { .. } => self.outbox.push(Outgoing::Progress(*id)),
                State::Held { .. } => self.outbox.push(Outgoing::Unknown),
                State::Accepted { .. } | State::Ended { .. } => {}
            }
        }
    }

    fn on_detached(&mut self) {
        self.attached = false;
        self.lease.end();
        self.forget_session();
    }

    /// A session is greeted with everything: what waited for the one before is of no use.
    fn forget_session(&mut self) {
        self.outbox.clear();
        self.refused.clear();
        self.unheld.clear();
    }

    /// What is new or different is written down; calls that waited for their target start.
    fn on_targets(&mut self, now: Timestamp, targets: Vec<Target>, out: &mut Outputs<D>) {
        let targets: BTreeMap<TargetName, Target> =
            targets.into_iter().map(|target| (target.name.clone(), target)).collect();
        if targets == self.targets {
            return;
        }
        let gone = self.targets.keys().filter(|name| !targets.contains_key(*name));
        let gone = gone.map(|name| JournalRecord::TargetRemoved { name: name.to_string() });
        let changed = targets.values().filter(|target| self.targets.get(&target.name) != Some(*target));
        let changed = changed.map(|target| JournalRecord::Target(target.into()));
        let records: Vec<JournalRecord> = gone.chain(changed).collect();
        for records in records.chunks(TARGETS_PER_MESSAGE_MAX) {
            self.write(records.to_vec(), out);
        }
        self.targets = targets;
        out.push(Output::Targets(self.targets.values().cloned().collect()));
        for name in self.targets.keys().cloned().collect::<Vec<_>>() {
            self.start_calls(now, &name, out);
        }
    }

    fn on_committed(&mut self, now: Timestamp, id: AssignmentId, n: u32, out: &mut Outputs<D>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if task.commit.as_ref().is_some_and(|commit| commit.n <= n) {
            task.commit = None;
            self.feed(now, id, Step::Committed(n), out);
        }
    }

    fn on_written(&mut self, now: Timestamp, sequence: u64, out: &mut Outputs<D>) {
        self.durable = self.durable.max(sequence);
        while let Some((write, id)) = self.blocked.first().copied().filter(|(write, _)| *write <= sequence) {
            self.blocked.remove(&(write, id));
            // What was forgotten meanwhile waits for nothing.
            let Some(task) = self.tasks.get(&id) else { continue };
            match task.state {
                State::Ended { durable, .. } if self.attached && durable <= self.durable => {
                    self.outbox.push(Outgoing::Result(id));
                }
                State::Ended { .. } | State::Held { .. } => {}
                State::Accepted { .. } | State::Working { .. } => self.drain(now, id, out),
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
        let freed = self.calls.end((id, call));
        // A repeated answer, or one behind its deadline, finds no call.
        if self.tasks.get_mut(&id).is_some_and(|task| task.calls.remove(&call)) {
            self.feed(now, id, input, out);
            self.end_if_frozen(now, id, out);
        }
        if let Some(target) = freed {
            self.start_calls(now, &target, out);
        }
    }

    fn on_due(&mut self, now: Timestamp, out: &mut Outputs<D>) {
        while let Some((id, call)) = self.calls.overdue(now) {
            self.on_call_ended(now, id, call, Step::Lost(call), out);
        }
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            let Some(task) = self.tasks.get_mut(&id).filter(|task| task.is_live()) else { continue };
            if task.unsent && self.attached && task.is_rested(now) {
                self.outbox.push(Outgoing::Progress(id));
            }
            if task.superseded_until.is_some_and(|until| until <= now) {
                self.freeze(now, id, out);
            } else if task.wake.is_some_and(|at| at <= now) {
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

    /// Progress goes out now, or when the interval since the last one is over.
    pub(crate) fn plan_progress(&mut self, now: Timestamp, id: AssignmentId) {
        let task = self.tasks.get(&id).expect("its driver reports");
        if self.attached && task.is_rested(now) {
            self.outbox.push(Outgoing::Progress(id));
        } else if let Some(at) = task.sent_at {
            self.timers.insert((at + PROGRESS_INTERVAL, id));
        }
    }

    pub(crate) fn write(&mut self, records: Vec<JournalRecord>, out: &mut Outputs<D>) -> u64 {
        self.sequence += 1;
        self.journal_bytes += size(&records);
        out.push(Output::Write { sequence: self.sequence, records });
        self.sequence
    }
}

/// Bytes of records in the file, without the headers of their frames.
pub(crate) fn size(records: &[JournalRecord]) -> usize {
    records.iter().map(|record| encode(record).len()).sum()
}

/// The result of an order for which nothing was done.
fn stopped(id: AssignmentId, fence: Fence) -> AgentUp {
    let progress = agent::Progress::new(id, fence, &Progress::default());
    AgentUp::Result { assignment: id.0, fence: fence.0, outcome: (&Outcome::Stopped).into(), progress }
}
