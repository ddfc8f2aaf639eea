//! What coordinators order and answer, and the way from one assignment of an installation to the next.
//!
//! A larger fence supersedes: the earlier driver gets `Abort(Fenced)`, has `limits::SUPERSEDE_TIMEOUT` to come to a
//! safe point, and is stopped where it is after that; in any case its calls in flight end first. The end of the earlier
//! assignment, the acceptance of the next and the phase that it finds are one write, so no crash separates them.

use trimaran_model::action::{Outcome, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Fence};
use trimaran_model::limits::{AGENT_ASSIGNMENTS_MAX, SUPERSEDE_TIMEOUT};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;
use trimaran_wire::v1::agent::ResultAnswer;
use trimaran_wire::v1::agent_journal::JournalRecord;

use crate::driver::{Found, FoundOf, Input as Step, Journaled};
use crate::executor::{Executor, HighestFence, Outputs};
use crate::io::{Output, Refused};
use crate::outbox::Outgoing;
use crate::task::{State, Task};

impl<D: Journaled<Order = Assignment, Progress = Progress>> Executor<D> {
    pub(crate) fn on_assign(&mut self, now: Timestamp, new: Assignment, out: &mut Outputs<D>) {
        let (assignment, installation, fence) = (new.id, new.installation.clone(), new.fence);
        if fence.epoch() < self.epoch {
            let epoch = self.epoch;
            return self.refuse(
                Refused::LowerEpoch { assignment, installation, fence, epoch },
                assignment,
                out,
            );
        }
        let waiting = self.next.get(&installation);
        let waiting = waiting.map(|it| HighestFence { fence: it.fence, assignment: it.id });
        let highest = waiting.or(self.fences.get(&installation).copied());
        if let Some(highest) = highest.filter(|highest| fence <= highest.fence && !mutant!(TakeAnyFence)) {
            return self.on_assign_again(new, highest, waiting.is_some(), out);
        }
        if self.tasks.len() + self.next.len() >= AGENT_ASSIGNMENTS_MAX {
            return self.refuse(Refused::Full { assignment, installation, fence }, assignment, out);
        }
        match self.live_of(&new) {
            None => self.start(now, new, None, Vec::new(), out),
            Some(earlier) => {
                self.next.insert(installation, new);
                self.supersede(now, earlier, out);
            }
        }
    }

    /// The live assignment of the same installation.
    fn live_of(&self, new: &Assignment) -> Option<AssignmentId> {
        let ids = self.by_installation.get(&new.installation)?;
        ids.iter().copied().find(|id| self.tasks[id].is_live())
    }

    fn refuse(&mut self, refused: Refused, id: AssignmentId, out: &mut Outputs<D>) {
        if self.attached {
            self.refused.insert(id, refused.clone());
            self.outbox.push(Outgoing::Refused(id));
        }
        out.push(Output::Refused(refused));
    }

    /// A fence that is not larger than the largest one.
    fn on_assign_again(&mut self, new: Assignment, highest: HighestFence, waits: bool, out: &mut Outputs<D>) {
        let (assignment, installation, fence) = (new.id, new.installation, new.fence);
        let refused = if fence < highest.fence {
            Refused::LowerFence { assignment, installation, fence, largest: highest.fence }
        } else if assignment != highest.assignment {
            Refused::OtherAssignment { assignment, other: highest.assignment, installation, fence }
        } else if !waits && !self.tasks.contains_key(&assignment) {
            Refused::Forgotten { assignment, installation, fence }
        } else {
            // The same assignment again: a session was renewed. Its result is sent by `on_attached`.
            return;
        };
        self.refuse(refused, assignment, out);
    }

    /// Accepts an assignment in one write with the records that belong to it.
    pub(crate) fn start(
        &mut self,
        now: Timestamp,
        new: Assignment,
        found: Option<FoundOf<D>>,
        mut records: Vec<JournalRecord>,
        out: &mut Outputs<D>,
    ) {
        let (id, installation) = (new.id, new.installation.clone());
        // What was held for a user's decision makes way for a larger fence.
        let known = self.by_installation.get(&installation).into_iter().flatten().copied();
        let held: Vec<_> = known.filter(|id| matches!(self.tasks[id].state, State::Held { .. })).collect();
        for held in &held {
            self.remove(*held);
            records.push(JournalRecord::Forgotten { assignment: held.0 });
        }
        if !held.is_empty() && self.attached {
            self.outbox.push(Outgoing::Unknown);
        }
        records.push(JournalRecord::Taken((&new).into()));
        records.extend(found.as_ref().map(|found| found_record(&self.driver, id, found)));
        let write = self.write(records, out);
        self.insert(new, found, write);
        out.push(Output::Busy { installation });
        self.drain(now, id, out);
    }

    /// Adds a task that begins when `write` is durable.
    fn insert(&mut self, new: Assignment, found: Option<FoundOf<D>>, write: u64) {
        let (id, installation) = (new.id, new.installation.clone());
        self.fences.insert(installation.clone(), HighestFence { fence: new.fence, assignment: id });
        self.by_installation.entry(installation).or_default().insert(id);
        self.blocked.insert((write, id));
        self.tasks.insert(id, Task::new(new, found, write));
    }

    /// Removes a task, which is not live.
    pub(crate) fn remove(&mut self, id: AssignmentId) {
        let task = self.tasks.remove(&id).expect("it is known");
        let installation = &task.assignment.installation;
        let ids = self.by_installation.get_mut(installation).expect("each task is in the index");
        ids.remove(&id);
        if ids.is_empty() {
            self.by_installation.remove(installation);
        }
    }

    /// The earlier assignment comes to a safe point; then the next one begins.
    fn supersede(&mut self, now: Timestamp, id: AssignmentId, out: &mut Outputs<D>) {
        let task = self.tasks.get_mut(&id).expect("it is live");
        match &task.state {
            State::Accepted { .. } => return self.end(now, id, Outcome::Stopped, out),
            State::Working { .. } => {}
            State::Ended { .. } | State::Held { .. } => unreachable!("it is live"),
        }
        if task.superseded_until.is_some() {
            return;
        }
        let until = now + SUPERSEDE_TIMEOUT;
        task.superseded_until = Some(until);
        self.timers.insert((until, id));
        self.request_handover(now, id, out);
    }

    /// Asks the driver of a superseded assignment to make way, in the way that its phase allows now.
    pub(crate) fn request_handover(&mut self, now: Timestamp, id: AssignmentId, out: &mut Outputs<D>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let State::Working { phase } = &task.state else { return };
        let Some(next) = self.next.get(&task.assignment.installation) else { return };
        let reason = self.driver.handover(phase, next).abort_reason();
        let is_new = task.abort.is_none() || reason == Some(ReasonCode::Fenced);
        if let Some(reason) = reason.filter(|reason| is_new && task.abort != Some(*reason)) {
            task.abort = Some(reason);
            self.feed(now, id, Step::Abort(reason), out);
        }
    }

    /// The time to come to a safe point is over: nothing that was not done is done any more.
    pub(crate) fn freeze(&mut self, now: Timestamp, id: AssignmentId, out: &mut Outputs<D>) {
        let task = self.tasks.get_mut(&id).expect("it is live");
        task.frozen = true;
        task.queue.clear();
        task.wake = None;
        task.calls.retain(|call| self.calls.is_in_flight((id, *call)));
        self.calls.forget_waiting(&task.assignment.installation.target, id);
        self.end_if_frozen(now, id, out);
    }

    pub(crate) fn end_if_frozen(&mut self, now: Timestamp, id: AssignmentId, out: &mut Outputs<D>) {
        let Some(task) = self.tasks.get(&id) else { return };
        if task.frozen && task.is_live() && task.calls.is_empty() {
            self.end(now, id, Outcome::Stopped, out);
        }
    }

    /// An assignment is over: its result is kept until it is answered, and what waited for its end begins.
    pub(crate) fn end(&mut self, now: Timestamp, id: AssignmentId, outcome: Outcome, out: &mut Outputs<D>) {
        let task = self.tasks.get_mut(&id).expect("it is live");
        let progress = task.wire_progress();
        let records = vec![JournalRecord::Ended { assignment: id.0, outcome: (&outcome).into(), progress }];
        let mut over = Task::new(task.assignment.clone(), None, 0);
        over.progress = task.progress.clone();
        over.queue.clear();
        over.state = State::Ended { outcome, durable: self.sequence + 1 };
        let installation = over.assignment.installation.clone();
        self.calls.forget_waiting(&installation.target, id);
        let found = std::mem::replace(task, over).into_found();
        self.blocked.insert((self.sequence + 1, id));
        out.push(Output::Unwatch { assignment: id });
        match self.next.remove(&installation) {
            Some(next) => self.start(now, next, found, records, out),
            None => drop(self.write(records, out)),
        }
    }

    pub(crate) fn on_cancel(&mut self, now: Timestamp, id: AssignmentId, fence: Fence, out: &mut Outputs<D>) {
        let waiting = self.next.iter().find(|(_, it)| it.id == id && it.fence == fence);
        if let Some(installation) = waiting.map(|(installation, _)| installation.clone()) {
            // It never began: written down and ended at once, so that its result is sent like any other.
            let next = self.next.remove(&installation).expect("it was found just now");
            let write = self.write(vec![JournalRecord::Taken((&next).into())], out);
            self.insert(next, None, write);
            return self.end(now, id, Outcome::Stopped, out);
        }
        if !self.tasks.contains_key(&id) {
            // It was refused, or was done and answered: nothing is done for it, and whoever canceled it waits for that.
            self.unheld.insert(id, fence);
            return self.outbox.push(Outgoing::Result(id));
        }
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.assignment.fence == fence) else {
            return;
        };
        if !task.is_live() || task.abort.is_some() {
            return;
        }
        task.abort = Some(ReasonCode::Canceled);
        // One that has not begun is asked to end as soon as it begins.
        self.feed(now, id, Step::Abort(ReasonCode::Canceled), out);
    }

    pub(crate) fn on_answer(
        &mut self,
        id: AssignmentId,
        fence: Fence,
        answer: &ResultAnswer,
        out: &mut Outputs<D>,
    ) {
        self.unheld.remove(&id);
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.assignment.fence == fence) else {
            return;
        };
        let State::Ended { outcome, .. } = &task.state else { return };
        let installation = task.assignment.installation.clone();
        match answer {
            ResultAnswer::Applied | ResultAnswer::Superseded { .. } => {
                self.remove(id);
                self.write(vec![JournalRecord::Forgotten { assignment: id.0 }], out);
                let others = self.by_installation.contains_key(&installation);
                if let Some(highest) = self.fences.get(&installation).filter(|_| !others) {
                    out.push(Output::Quiet { installation, fence: highest.fence });
                }
            }
            ResultAnswer::Unknown => {
                task.state = State::Held { outcome: outcome.clone() };
                self.write(vec![JournalRecord::Held { assignment: id.0 }], out);
                out.push(Output::Refused(Refused::Unknown { assignment: id, installation, fence }));
                self.outbox.push(Outgoing::Unknown);
            }
        }
    }
}

/// What a task finds, as a record: until its own first phase is written.
pub(crate) fn found_record<D: Journaled<Order = Assignment>>(
    driver: &D,
    id: AssignmentId,
    found: &FoundOf<D>,
) -> JournalRecord {
    let (assignment, bytes) = (id.0, driver.save(found.phase()));
    match found {
        Found::Resumed(_) => JournalRecord::Phase { assignment, bytes },
        Found::Superseded { order, .. } => JournalRecord::Found { assignment, order: order.into(), bytes },
    }
}
