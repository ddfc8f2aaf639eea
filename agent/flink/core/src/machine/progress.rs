//! What is reported of an order while it is worked on: one instance, named by the job's id.

use trimaran_agent_core::driver::Effect;
use trimaran_model::action::{BeganFrom, InstanceReport, Progress};
use trimaran_model::limits::INSTANCE_MESSAGE_BYTES_MAX;
use trimaran_model::run::InstanceStatus;
use trimaran_model::text::cut;

use super::Effects;
use super::phase::{Phase, Step};
use crate::ledger::{JarFrom, Start, StateKind, StateRef};

/// The instance before there is a job.
const NO_JOB: &str = "job";

impl Phase {
    pub(super) fn report(&mut self, out: &mut Effects) {
        let progress = self.progress();
        if self.reported.as_ref() != Some(&progress) {
            self.reported = Some(progress.clone());
            out.push(Effect::Report(progress));
        }
    }

    pub(super) fn progress(&self) -> Progress {
        let job = self.kept.ledger.job.as_ref();
        let name = job.map_or_else(|| NO_JOB.to_owned(), |job| job.id.to_string());
        let is_wanted = job.is_some_and(|job| self.is_wanted(job.release) && !job.is_submitting());
        let is_done = self.ended && is_wanted && self.window.is_some();
        let (status, words) = self.describe();
        let more = match &self.unavailable {
            Some((_, why)) => Some(why),
            None => self.note.as_ref(),
        };
        // Of a job that was begun the ledger knows it, whoever has brought the jar.
        let jar_from = job.filter(|job| self.is_wanted(job.release)).map(|job| &job.jar_from);
        let jar = jar_from.or(self.prepared.jar_from.as_ref()).map(JarFrom::describe);
        let parts = match is_done {
            true => [None, self.note.as_deref(), jar.as_deref()],
            false => [Some(words), more.map(String::as_str), jar.as_deref()],
        };
        let message = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
        let instance = InstanceReport {
            name: name.parse().expect("hex digits are a name"),
            status: if is_done { InstanceStatus::Healthy } else { status },
            release: job.map(|job| job.release),
            code: None,
            message: cut(message, INSTANCE_MESSAGE_BYTES_MAX),
            began_from: job.map(|job| began_from(&job.from)),
            steps: self.sent.clone(),
        };
        Progress {
            done: u32::from(is_done),
            total: 1,
            failed: Vec::new(),
            lost: Vec::new(),
            failure: None,
            instances: vec![instance],
        }
    }

    fn describe(&self) -> (InstanceStatus, &'static str) {
        match self.step {
            Step::Observe if self.kept.ledger.ending.is_some() => {
                (InstanceStatus::Updating, "waiting for the job to end")
            }
            Step::Observe => (InstanceStatus::Waiting, "asking what runs"),
            Step::Cluster | Step::Upload => {
                (InstanceStatus::Preparing, "bringing the jar and its files to the JobManager")
            }
            Step::Plan | Step::Topology | Step::LastCheckpoint if self.replaces_same() => {
                (InstanceStatus::Preparing, "finding out what the job needs before it is stopped")
            }
            Step::Plan | Step::Topology | Step::LastCheckpoint => {
                (InstanceStatus::Preparing, "comparing the new version with the running job")
            }
            Step::Measure => (InstanceStatus::Preparing, "choosing the state to go back to"),
            Step::Stop | Step::StopStatus => (InstanceStatus::Updating, "stopping the job with a savepoint"),
            Step::Tasks => {
                (InstanceStatus::Updating, "waiting for all tasks to run, so that the job can be stopped")
            }
            Step::List => (InstanceStatus::Updating, "looking for the savepoint in its directory"),
            Step::ListCheckpoints => {
                (InstanceStatus::Updating, "looking for the last checkpoint in its directory")
            }
            Step::Cancel | Step::FinalCheckpoint => (InstanceStatus::Updating, "canceling the job"),
            Step::Run => (InstanceStatus::Updating, "starting the job"),
            Step::Verify => (InstanceStatus::Updating, "verifying the health of the job"),
            Step::Before => (InstanceStatus::Updating, "asking whether the job before has ended for good"),
            Step::CancelBefore => {
                (InstanceStatus::Updating, "canceling the job before, which is there again")
            }
            Step::Count => (InstanceStatus::Updating, "counting what the job that was left has processed"),
        }
    }
}

/// What the job began from, or is about to.
fn began_from(start: &Start) -> BeganFrom {
    match start {
        Start::Empty => BeganFrom::Nothing,
        Start::From(StateRef { kind: StateKind::Savepoint, path, at, .. }) => {
            BeganFrom::Savepoint { path: path.clone(), at: *at }
        }
        Start::From(StateRef { kind: StateKind::Checkpoint, path, at, .. }) => {
            BeganFrom::Checkpoint { path: path.clone(), at: *at }
        }
    }
}
