//! Drivers at work: what they are fed, and their effects, performed in order.
//!
//! Deliberately not here: what coordinators order and answer (`orders`).

use std::collections::VecDeque;

use trimaran_model::action::{Commit, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, TargetName};
use trimaran_model::limits::UNGUARDED_CALL;
use trimaran_model::time::Timestamp;
use trimaran_wire::v1::agent_journal::JournalRecord;

use crate::calls::WaitingCall;
use crate::driver::{Effect, EffectOf, Guard, Input, Journaled};
use crate::executor::{Executor, Outputs};
use crate::io::Output;
use crate::outbox::Outgoing;
use crate::task::{DriverInput, Queued, State};

impl<D: Journaled<Order = Assignment, Progress = Progress>> Executor<D> {
    /// Feeds an input to a driver that works, and performs what it asks for.
    pub(crate) fn feed(
        &mut self,
        now: Timestamp,
        id: AssignmentId,
        input: DriverInput<D>,
        out: &mut Outputs<D>,
    ) {
        self.queue_step(now, id, input);
        self.drain(now, id, out);
        // Twice at most: a later reason is more urgent than the one before.
        self.request_handover(now, id, out);
    }

    /// Feeds an input to a driver that works, and queues its effects.
    fn queue_step(&mut self, now: Timestamp, id: AssignmentId, input: DriverInput<D>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let State::Working { phase } = &mut task.state else { return };
        if task.finished || task.frozen {
            return;
        }
        let mut effects = Vec::new();
        self.driver.step(phase, now, input, &mut effects);
        task.finished = is_done(&effects);
        enqueue(&self.driver, phase, &mut task.queue, effects);
    }

    /// Performs effects in order, up to the first that waits for the disk. What an effect leads to at once is queued
    /// behind the others: the depth of the stack does not grow with the queue.
    pub(crate) fn drain(&mut self, now: Timestamp, id: AssignmentId, out: &mut Outputs<D>) {
        while let Some(task) = self.tasks.get_mut(&id) {
            if task.blocked > self.durable && !mutant!(ActBeforeDurable) {
                return;
            }
            let Some(queued) = task.queue.pop_front() else { return };
            match queued {
                Queued::Begin => self.begin(now, id),
                Queued::Persist(bytes) => {
                    let write = self.write(vec![JournalRecord::Phase { assignment: id.0, bytes }], out);
                    self.tasks.get_mut(&id).expect("it was found just now").blocked = write;
                    self.blocked.insert((write, id));
                }
                Queued::Effect(effect) => self.perform(now, id, effect, out),
            }
        }
    }

    fn begin(&mut self, now: Timestamp, id: AssignmentId) {
        let task = self.tasks.get_mut(&id).expect("its queue says that it begins");
        let State::Accepted { found } = &mut task.state else { unreachable!("a task begins once") };
        let mut effects = Vec::new();
        let mut phase = self.driver.begin(now, &task.assignment, found.take(), &mut effects);
        if let Some(reason) = task.abort
            && !is_done(&effects)
        {
            self.driver.step(&mut phase, now, Input::Abort(reason), &mut effects);
        }
        if self.lease_notified && !is_done(&effects) {
            self.driver.step(&mut phase, now, Input::LeaseBack, &mut effects);
        }
        task.finished = is_done(&effects);
        enqueue(&self.driver, &phase, &mut task.queue, effects);
        task.state = State::Working { phase };
    }

    /// Makes the calls of a known target that wait, as far as its semaphore allows. One whose lease ended while it
    /// waited is not made.
    pub(crate) fn start_calls(&mut self, now: Timestamp, target: &TargetName, out: &mut Outputs<D>) {
        if !self.targets.contains_key(target) {
            return;
        }
        while let Some(WaitingCall { key, call, guard, deadline }) = self.calls.next(target) {
            let (assignment, id) = key;
            if guard == Guard::Unguarded && !self.lease.is_live(now) {
                let task =
                    self.tasks.get_mut(&assignment).expect("a task that ends takes its waiting calls along");
                task.calls.remove(&id);
                self.queue_step(now, assignment, Input::Unmade(id));
                self.stepped.push(assignment);
                continue;
            }
            let permit = self.lease.permit(guard, now, deadline);
            self.calls.start(target, key, permit.until());
            out.push(Output::Call { assignment, target: target.clone(), id, call, permit });
        }
    }

    /// Performs what drivers asked for whose calls were not made, until nothing is left.
    pub(crate) fn drain_stepped(&mut self, now: Timestamp, out: &mut Outputs<D>) {
        while let Some(id) = self.stepped.pop() {
            self.drain(now, id, out);
            self.request_handover(now, id, out);
        }
    }

    fn perform(&mut self, now: Timestamp, id: AssignmentId, effect: EffectOf<D>, out: &mut Outputs<D>) {
        let task = self.tasks.get_mut(&id).expect("its queue is drained");
        match effect {
            Effect::Persist => unreachable!("`enqueue` turned it into bytes"),
            Effect::Call { id: call, guard: Guard::Unguarded, .. } if !self.lease.is_live(now) => {
                self.queue_step(now, id, Input::Unmade(call));
            }
            Effect::Call { id: call_id, call, deadline, guard } => {
                task.calls.insert(call_id);
                let unguarded = guard == Guard::Unguarded;
                let deadline = if unguarded { deadline.min(UNGUARDED_CALL) } else { deadline };
                let target = task.assignment.installation.target.clone();
                self.calls.push(&target, WaitingCall { key: (id, call_id), call, guard, deadline });
                self.start_calls(now, &target, out);
            }
            Effect::Watch(query) => {
                let target = task.assignment.installation.target.clone();
                out.push(Output::Watch { assignment: id, target, query });
            }
            Effect::Report(progress) => {
                (task.progress, task.unsent) = (progress, true);
                self.plan_progress(now, id);
            }
            Effect::Commit { n, body, progress } => {
                task.progress = progress;
                task.commit = Some(Commit { assignment: id, n, body });
                if self.attached {
                    self.outbox.push(Outgoing::Commit(id));
                }
            }
            Effect::WakeAt(at) => {
                task.wake = Some(at);
                self.timers.insert((at, id));
            }
            Effect::Done(outcome) => self.end(now, id, outcome, out),
        }
    }
}

/// Queues the effects of one step; a `Persist` takes the phase as it is now.
fn enqueue<D: Journaled>(
    driver: &D,
    phase: &D::Phase,
    queue: &mut VecDeque<Queued<D>>,
    effects: Vec<EffectOf<D>>,
) {
    // Persists of one step show the same phase: the first one is enough.
    let mut persisted = false;
    for effect in effects {
        match effect {
            Effect::Persist if persisted => {}
            Effect::Persist => {
                persisted = true;
                queue.push_back(Queued::Persist(driver.save(phase)));
            }
            other => queue.push_back(Queued::Effect(other)),
        }
    }
}

fn is_done<C, Q, P>(effects: &[Effect<C, Q, P>]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Done(_)))
}
