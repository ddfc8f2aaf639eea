//! Drivers at work: what they are fed, and their effects, performed in order.
//!
//! Deliberately not here: what coordinators order and on_answer (`executor`).

use std::collections::VecDeque;

use trimaran_model::action::{Outcome, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::AssignmentId;
use trimaran_model::limits::PROGRESS_INTERVAL;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;
use trimaran_wire::v1::agent::AgentUp;
use trimaran_wire::v1::agent_journal::JournalRecord;

use crate::driver::Journaled;
use crate::driver::{Effect, Guard, Input};
use crate::executor::{Executor, Outputs};
use crate::io::Output;
use crate::task::{DriverInput, Queued, State};

impl<D: Journaled<Order = Assignment, Progress = Progress>> Executor<D> {
    /// Feeds an input to a driver that works, and queues its effects.
    pub(crate) fn feed(
        &mut self,
        now: Timestamp,
        id: AssignmentId,
        input: DriverInput<D>,
        out: &mut Outputs<D>,
    ) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let State::Working { phase } = &mut task.state else { return };
        if task.finished {
            return;
        }
        let mut effects = Vec::new();
        self.driver.step(phase, now, input, &mut effects);
        task.finished = is_done(&effects);
        enqueue(&self.driver, phase, &mut task.queue, effects);
        self.drain(now, id, out);
    }

    /// Performs effects in order, up to the first that waits for the disk.
    pub(crate) fn drain(&mut self, now: Timestamp, id: AssignmentId, out: &mut Outputs<D>) {
        while let Some(task) = self.tasks.get_mut(&id) {
            if task.blocked > self.durable {
                return;
            }
            let Some(queued) = task.queue.pop_front() else { return };
            match queued {
                Queued::Begin => self.begin(now, id),
                Queued::Persist(bytes) => {
                    let write = self.write(vec![JournalRecord::Phase { assignment: id.0, bytes }], out);
                    if let Some(task) = self.tasks.get_mut(&id) {
                        task.blocked = write;
                    }
                }
                Queued::Effect(effect) => self.execute(now, id, effect, out),
            }
        }
    }

    fn begin(&mut self, now: Timestamp, id: AssignmentId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let State::Taken { found } = &mut task.state else { return };
        let mut effects = Vec::new();
        let mut phase = self.driver.begin(now, &task.assignment, found.take(), &mut effects);
        if task.canceled && !is_done(&effects) {
            self.driver.step(&mut phase, now, Input::Abort(ReasonCode::Canceled), &mut effects);
        }
        if self.lease_notified && !is_done(&effects) {
            self.driver.step(&mut phase, now, Input::LeaseBack, &mut effects);
        }
        task.finished = is_done(&effects);
        enqueue(&self.driver, &phase, &mut task.queue, effects);
        task.state = State::Working { phase };
    }

    fn execute(
        &mut self,
        now: Timestamp,
        id: AssignmentId,
        effect: Effect<D::Call, D::Query, Progress>,
        out: &mut Outputs<D>,
    ) {
        let live = self.lease.is_live(now);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        match effect {
            Effect::Persist => unreachable!("`enqueue` turned it into bytes"),
            Effect::Call { id: call, guard: Guard::Unguarded, .. } if !live => {
                self.feed(now, id, Input::Unmade(call), out);
            }
            Effect::Call { id: call_id, call, deadline, guard } => {
                task.calls.insert(call_id);
                out.push(Output::Call { assignment: id, id: call_id, call, deadline, guard });
            }
            Effect::Watch(query) => out.push(Output::Watch { assignment: id, query }),
            Effect::Report(progress) => {
                (task.progress, task.unsent) = (progress, true);
                if self.attached && task.sent_at.is_none_or(|at| at + PROGRESS_INTERVAL <= now) {
                    out.push(Output::Send(task.take_progress(now)));
                }
            }
            Effect::Commit(progress) => {
                if self.attached {
                    out.push(Output::Send(AgentUp::Failures(task.to_wire(&progress))));
                }
                task.progress = progress.clone();
                task.commit = Some(progress);
            }
            Effect::WakeAt(at) => task.wake = Some(at),
            Effect::Done(outcome) => self.end(id, outcome, out),
        }
    }

    /// The driver is done: the result is kept until it is answered.
    pub(crate) fn end(&mut self, id: AssignmentId, outcome: Outcome, out: &mut Outputs<D>) {
        let Some(task) = self.tasks.get(&id) else { return };
        let progress = task.to_wire(&task.progress);
        let record = JournalRecord::Ended { assignment: id.0, outcome: (&outcome).into(), progress };
        let durable = self.write(vec![record], out);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.state = State::Ended { outcome, durable };
        task.queue = VecDeque::new();
        (task.wake, task.commit, task.unsent) = (None, None, false);
        out.push(Output::Unwatch { assignment: id });
    }
}

/// Queues the effects of one step; a `Persist` takes the phase as it is now.
fn enqueue<D: Journaled>(
    driver: &D,
    phase: &D::Phase,
    queue: &mut VecDeque<Queued<D>>,
    effects: Vec<Effect<D::Call, D::Query, D::Progress>>,
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
