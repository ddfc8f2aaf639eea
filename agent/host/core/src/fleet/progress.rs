//! What is reported of an assignment while it works: counts, failed hosts, and each instance.

use trimaran_agent_core::driver::Effect;
use trimaran_model::action::{Action, Failure, InstanceReport, Progress};
use trimaran_model::assignment::HostState;
use trimaran_model::id::HostName;
use trimaran_model::limits::{INSTANCE_MESSAGE_BYTES_MAX, INSTANCES_REPORTED_MAX, PROGRESS_INTERVAL};
use trimaran_model::reason::ReasonCode;
use trimaran_model::run::InstanceStatus;
use trimaran_model::text::cut;
use trimaran_model::time::Timestamp;

use super::host_state::{HostProgress, HostRecord};
use super::{Effects, Phase};

impl Phase {
    /// Reports progress when it changed, not more often than it is sent; not before every host was observed, which would
    /// seem to go backwards.
    pub(crate) fn report_progress(&mut self, now: Timestamp, out: &mut Effects) {
        if self.report_at().is_some_and(|at| at <= now) {
            self.reported_at = Some(now);
            self.report_now(out);
        }
    }

    /// When progress is to be reported; `None`: nothing happened.
    pub(crate) fn report_at(&self) -> Option<Timestamp> {
        let unreported = self.is_unreported && self.index.all_observed();
        unreported.then(|| self.reported_at.map_or(Timestamp(0), |at| at + PROGRESS_INTERVAL))
    }

    /// What stands at the end is reported whenever that is.
    pub(crate) fn report_end(&mut self, out: &mut Effects) {
        if self.report_at().is_some() {
            self.report_now(out);
        }
    }

    fn report_now(&mut self, out: &mut Effects) {
        self.is_unreported = false;
        let progress = self.progress();
        if self.reported.as_ref() != Some(&progress) {
            self.reported = Some(progress.clone());
            out.push(Effect::Report(progress));
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        let shown = self.index.shown.iter().take(INSTANCES_REPORTED_MAX);
        let instances = shown.map(|(_, host)| self.instance(host)).collect();
        let charges = &self.index.charges;
        let mut failed = self.assignment.wave.failed.clone();
        let new = self.kept.failures.iter().filter_map(Failure::host);
        failed.extend(new.filter(|host| !charges.had_failed_before(host)));
        failed.truncate(INSTANCES_REPORTED_MAX);
        let mut lost = self.assignment.wave.lost.clone();
        let new = self.kept.lost.iter().filter_map(Failure::host);
        lost.extend(new.filter(|host| !charges.was_lost_before(host)));
        lost.truncate(INSTANCES_REPORTED_MAX);
        let failure = self.kept.failures.first().or(self.kept.fault.as_ref()).cloned();
        Progress { done: self.index.done, total: self.total(), failed, lost, failure, instances }
    }

    pub(super) fn status(
        &self,
        host: &HostName,
        record: &HostRecord,
        progress: &HostProgress,
    ) -> InstanceStatus {
        let state = record.report.as_ref().map(|report| report.state);
        let left_behind = self.lost_of(host).filter(|_| self.is_left_behind(host));
        match (progress, state) {
            (HostProgress::Done, _) if left_behind.is_some() => InstanceStatus::Healthy,
            _ if left_behind.is_some() && record.connected => InstanceStatus::Failed,
            _ if left_behind.is_some() => InstanceStatus::Lost,
            (HostProgress::InFlight, _) if !record.connected => InstanceStatus::Lost,
            (HostProgress::InFlight, _) => InstanceStatus::Updating,
            (_, Some(HostState::Reverted)) if self.has_failed(host) => InstanceStatus::Reverted,
            (_, Some(HostState::Broken)) if self.has_failed(host) => InstanceStatus::Broken,
            _ if self.has_failed(host) => InstanceStatus::Failed,
            (HostProgress::Bad(_), _) => InstanceStatus::Failed,
            (HostProgress::Done, _) if matches!(self.assignment.action, Action::Stop(_)) => {
                InstanceStatus::Stopped
            }
            (HostProgress::Done, _) => InstanceStatus::Healthy,
            // What runs there instead is what it is.
            (HostProgress::Elsewhere, _) if record.has_nothing() => InstanceStatus::Stopped,
            (HostProgress::Elsewhere, _) if record.is_up() => InstanceStatus::Healthy,
            (HostProgress::Elsewhere, _) if !record.connected => InstanceStatus::Lost,
            (HostProgress::Elsewhere, _) => InstanceStatus::Failed,
            (HostProgress::Open, Some(HostState::Preparing)) => InstanceStatus::Preparing,
            (HostProgress::Absent, _) => InstanceStatus::Lost,
            (HostProgress::Open | HostProgress::Unprepared(_), _) => InstanceStatus::Waiting,
        }
    }

    fn instance(&self, host: &HostName) -> InstanceReport {
        let record = &self.hosts[host];
        let report = record.report.as_ref();
        let progress = record.progress(host, self.desired());
        let status = self.status(host, record, &progress);
        let left_behind = self.lost_of(host).filter(|_| self.is_left_behind(host));
        let why = left_behind.filter(|_| progress != HostProgress::Done);
        let (code, message) = match why.or_else(|| self.failure_of(host)) {
            Some(failure) => (Some(failure.code), failure.message.clone()),
            // What it said last is of a time before.
            None if status == InstanceStatus::Lost => {
                let message = "the host's runner is not connected to its agent".to_owned();
                (Some(ReasonCode::HostNotConnected), message)
            }
            None => {
                let message = report.map(|report| report.message.clone()).unwrap_or_default();
                (report.and_then(|report| report.code), message)
            }
        };
        InstanceReport {
            name: host.into(),
            status,
            release: report.and_then(|report| report.current),
            code,
            message: cut(message, INSTANCE_MESSAGE_BYTES_MAX),
            began_from: None,
            steps: Vec::new(),
        }
    }
}

/// Failures first, what waits last.
pub(super) fn weight(status: InstanceStatus) -> u8 {
    match status {
        InstanceStatus::Broken | InstanceStatus::Failed | InstanceStatus::Reverted => 0,
        InstanceStatus::Lost => 1,
        InstanceStatus::Updating | InstanceStatus::Preparing => 2,
        InstanceStatus::Healthy | InstanceStatus::Stopped => 3,
        InstanceStatus::Waiting => 4,
    }
}
