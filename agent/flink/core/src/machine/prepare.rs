//! What is done before the running job is touched: the jar and its files are brought, planned, and compared with what runs.

use trimaran_model::action::{Action, Failure};
use trimaran_model::limits::FLINK_UPLOADS_LOST_MAX;
use trimaran_model::pipeline::UpgradeMode;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::FlinkFiles;
use trimaran_model::time::{Millis, Timestamp};

use super::Effects;
use super::phase::{Phase, Step};
use super::prepared::Uploaded;
use crate::call::{Call, JobOverview, Refusal, RefusalKind, Reply, Vertex};
use crate::files::{ShippedFiles, jar_name};
use crate::id::{FlinkId, IdStep};
use crate::ledger::{Ending, RunRequest, Start};
use crate::preflight::{Check, check};
use crate::rest::run_request;

/// Behind the start of a JobManager its TaskManagers are registered one after the other: slots are waited for that long.
const SLOTS_WAIT: Millis = Millis::seconds(15);
const SLOTS_RETRY_DELAY: Millis = Millis(500);

impl Phase {
    /// What is missing before a job can begin where none runs; then its step is next.
    pub(super) fn is_prepared_to_begin(&mut self, now: Timestamp, out: &mut Effects) -> bool {
        // In the time between two jobs nothing is asked that is not needed.
        let is_urgent = self.kept.ledger.next.is_some();
        if !is_urgent && self.prepared.cluster.is_none() {
            self.go(Step::Cluster);
            return false;
        }
        if !self.has_uploads() {
            return false;
        }
        if !is_urgent && self.prepared.plan.is_none() {
            self.go(Step::Plan);
            return false;
        }
        is_urgent || self.prepared.is_checked || self.preflight(now, out)
    }

    /// Jar and files; then that step is next.
    pub(super) fn has_uploads(&mut self) -> bool {
        if self.prepared.uploaded.is_none() {
            self.go(Step::Upload);
        }
        self.prepared.uploaded.is_some()
    }

    /// Everything that can be found out about the new version while the old one runs.
    pub(super) fn prepare_upgrade(&mut self, now: Timestamp, out: &mut Effects) {
        if self.prepared.cluster.is_none() {
            return self.go(Step::Cluster);
        }
        if !self.has_uploads() {
            return;
        }
        if self.prepared.plan.is_none() {
            return self.go(Step::Plan);
        }
        if self.prepared.topology.is_none() {
            return self.go(Step::Topology);
        }
        if !self.prepared.is_checked && !self.preflight(now, out) {
            return;
        }
        if !self.prepared.has_last_checkpoint {
            return self.go(Step::LastCheckpoint);
        }
        match self.release().job.upgrade.mode {
            UpgradeMode::Savepoint => self.stop_job(out),
            UpgradeMode::LastCheckpoint => self.end_job(Ending::Cancel { then: None }, out),
            UpgradeMode::Stateless => self.end_job(Ending::Cancel { then: Some(Start::Empty) }, out),
        }
    }

    /// Compares the new version with what runs, if anything does; false when that ends the order, or slots are waited for.
    fn preflight(&mut self, now: Timestamp, out: &mut Effects) -> bool {
        let (Some(cluster), Some(plan)) = (&self.prepared.cluster, &self.prepared.plan) else {
            unreachable!("both were asked for first")
        };
        if let Some(failure) = self.ignored_scale(plan) {
            self.fail(failure, out);
            return false;
        }
        let (topology, upgrade) = (self.prepared.topology.as_ref(), &self.release().job.upgrade);
        match check(&Check { cluster, plan, topology, upgrade }) {
            Ok(warnings) => {
                self.prepared.is_checked = true;
                let is_same = |job: &&JobOverview| topology.is_some_and(|it| it.name == job.name);
                let same = self.prepared.foreign.iter().find(is_same);
                let foreign =
                    same.map(|job| format!("job {} of the same name is not ours and was left alone", job.id));
                let notes: Vec<String> = warnings.into_iter().chain(foreign).collect();
                self.note = (!notes.is_empty()).then(|| notes.join("; "));
                true
            }
            Err(failure) => {
                let since = *self.prepared.refused_since.get_or_insert(now);
                if failure.code == ReasonCode::SlotsMissing && now - since < SLOTS_WAIT {
                    self.note = Some(failure.message);
                    self.go(Step::Cluster);
                    self.pause = Some(now + SLOTS_RETRY_DELAY);
                } else {
                    self.fail(failure, out);
                }
                false
            }
        }
    }

    pub(super) fn upload_call(&self) -> Call {
        let (jar, pipeline) = (self.release().jar.clone(), self.order.installation.pipeline.to_string());
        let name = jar_name(&pipeline, jar.sha256);
        let shipped = |files: &FlinkFiles| ShippedFiles {
            pipeline: pipeline.clone(),
            release: self.digest(),
            files: files.clone(),
        };
        let files = self.release().files.as_ref().map(shipped);
        Call::Upload { name, jar, files, is_fresh: self.prepared.uploads_lost > 0 }
    }

    /// What is planned is what will be run, but for the state. The id is the one that comes next.
    pub(super) fn planned_request(&self) -> RunRequest {
        let Uploaded { jar, files, .. } = self.uploaded();
        let key = self.kept.ledger.attempt.as_ref().expect("an order enters its attempt first");
        let next = self.kept.ledger.number + 1;
        let id = FlinkId::derive(&self.order.installation, key, IdStep::Run, next);
        run_request(jar, id, &self.to_run(), &files, &Start::Empty)
    }

    pub(super) fn on_prepared(&mut self, now: Timestamp, reply: Reply, out: &mut Effects) {
        match (self.step, reply) {
            (Step::Cluster, Reply::Cluster(cluster)) => {
                if !cluster.accepts_jars {
                    let message = "the cluster accepts no jars: its `web.submit.enable` is false".to_owned();
                    return self.fault(ReasonCode::OrderRefused, message, out);
                }
                self.prepared.cluster = Some(cluster);
            }
            (Step::Upload, Reply::Uploaded { jar, from, files, at }) => {
                self.prepared.jar_from = Some(from);
                return self.on_uploaded(now, Uploaded { jar, files, at }, out);
            }
            (Step::Plan, Reply::Planned(plan)) => return self.on_planned(now, plan, out),
            (Step::Topology, Reply::Topology(topology)) => self.prepared.topology = Some(topology),
            (Step::LastCheckpoint, Reply::Checkpoint(seen)) => {
                self.prepared.has_last_checkpoint = true;
                if let Some(state) = seen.and_then(|seen| self.checkpoint_ref(&seen)) {
                    self.kept.ledger.checkpoint = Some(state);
                    self.uncommitted = true;
                }
            }
            (Step::Plan, Reply::Refused(Refusal { kind: RefusalKind::UploadGone, .. })) => {
                return self.on_uploads_gone(now, out);
            }
            // It ended, or was lost with its JobManager.
            (Step::Topology, Reply::Gone) => return self.observe_again(now),
            (_, Reply::Refused(refusal)) => return self.fail(refusal.failure, out),
            (step, reply) => unreachable!("{reply:?} is no answer to {step:?}"),
        }
        self.decide(now, out);
    }

    fn on_uploaded(&mut self, now: Timestamp, uploaded: Uploaded, out: &mut Effects) {
        self.prepared.uploaded = Some(uploaded.clone());
        self.prepared.uploads_are_gone = false;
        let is_submitting = self.kept.ledger.job.as_ref().is_some_and(|job| job.is_submitting());
        if is_submitting { self.resubmit(uploaded, out) } else { self.decide(now, out) }
    }

    /// Brings them again; where they go again and again, people are asked.
    pub(super) fn on_uploads_gone(&mut self, now: Timestamp, out: &mut Effects) {
        self.prepared.forget_uploads();
        let times = self.prepared.uploads_lost;
        if times > FLINK_UPLOADS_LOST_MAX {
            let message = format!("the JobManager has lost what was uploaded to it {times} times");
            return self.fault(ReasonCode::UploadsLost, message, out);
        }
        self.decide(now, out);
    }

    /// What was uploaded. A run and its plan are made of what is there.
    pub(super) fn uploaded(&self) -> Uploaded {
        self.prepared.uploaded.clone().expect("the uploads come first")
    }

    fn on_planned(&mut self, now: Timestamp, plan: Vec<Vertex>, out: &mut Effects) {
        self.prepared.plan = Some(plan);
        self.decide(now, out);
    }

    /// Whether the order can be worked on at all.
    pub(super) fn impossible(&self) -> Option<Failure> {
        let begins = match self.order.action {
            Action::Release(_) | Action::Restore(_) | Action::Scale { .. } | Action::Restart(_) => true,
            Action::Verify | Action::Stop(_) => false,
        };
        if let Some(failure) = self.bad_scale() {
            return Some(failure);
        }
        let (code, message) = match self.ordered() {
            None if begins => {
                (ReasonCode::OrderRefused, "the order came without the content of its release".to_owned())
            }
            Some(_) if begins && !self.is_small_enough() => {
                let message = "arguments and configuration of the job are over 32 KiB".to_owned();
                (ReasonCode::JarRefused, message)
            }
            _ => return None,
        };
        Some(Failure { code, message, instance: None })
    }
}
