//! What is told of an assignment while it works: counts, failed hosts, and each instance.

use trimaran_agent_core::driver::Effect;
use trimaran_model::action::{Action, InstanceReport, Progress};
use trimaran_model::assignment::HostState;
use trimaran_model::id::HostName;
use trimaran_model::limits::{INSTANCE_MESSAGE_BYTES_MAX, INSTANCES_REPORTED_MAX};
use trimaran_model::reason::ReasonCode;
use trimaran_model::run::InstanceStatus;
use trimaran_model::text::cut;

use super::standing::{Standing, Turn};
use super::{Effects, Phase};

impl Phase {
    /// Tells progress when it changed; not before every host was looked at, which would look like steps back.
    pub(crate) fn tell(&mut self, out: &mut Effects) {
        if !self.all_shown() {
            return;
        }
        let progress = self.progress();
        if self.told.as_ref() != Some(&progress) {
            self.told = Some(progress.clone());
            out.push(Effect::Report(progress));
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        let mut done = 0;
        let mut instances = Vec::new();
        for (host, turn) in &self.hosts {
            let standing = turn.standing(host, self.aim());
            done += u32::from(standing == Standing::Done && !self.has_failed(host));
            instances.push(self.instance(host, turn, &standing));
        }
        instances.sort_by_key(|instance| weight(instance.status));
        instances.truncate(INSTANCES_REPORTED_MAX);
        let mut failed = self.assignment.wave.failed.clone();
        let new = self.kept.failures.iter().filter_map(|failure| failure.instance.clone());
        for host in new {
            if !failed.contains(&host) {
                failed.push(host);
            }
        }
        failed.truncate(INSTANCES_REPORTED_MAX);
        let failure = self.kept.failures.first().or(self.kept.fault.as_ref()).cloned();
        Progress { done, total: self.total(), failed, failure, instances }
    }

    fn instance(&self, host: &HostName, turn: &Turn, standing: &Standing) -> InstanceReport {
        let report = turn.report.as_ref();
        let state = report.map(|report| report.state);
        let status = match (standing, state) {
            (Standing::InFlight, _) if !turn.connected => InstanceStatus::Lost,
            (Standing::InFlight, _) => InstanceStatus::Updating,
            (_, Some(HostState::Reverted)) if self.has_failed(host) => InstanceStatus::Reverted,
            (_, Some(HostState::Broken)) if self.has_failed(host) => InstanceStatus::Broken,
            _ if self.has_failed(host) => InstanceStatus::Failed,
            (Standing::Bad(_), _) => InstanceStatus::Failed,
            (Standing::Done, _) if matches!(self.assignment.action, Action::Stop(_)) => {
                InstanceStatus::Stopped
            }
            (Standing::Done, _) => InstanceStatus::Healthy,
            (Standing::Open, Some(HostState::Preparing)) => InstanceStatus::Preparing,
            (Standing::Absent, _) => InstanceStatus::Lost,
            (Standing::Open | Standing::Unprepared(_), _) => InstanceStatus::Waiting,
        };
        let (code, message) = match self.failure_of(host) {
            Some(failure) => (Some(failure.code), failure.message.clone()),
            // What it said last is of a time before.
            None if status == InstanceStatus::Lost => {
                let message = "the host's runner is not connected to its agent".to_owned();
                (Some(ReasonCode::HostNotConnected), message)
            }
            None => {
                let said = report.map(|report| report.message.clone()).unwrap_or_default();
                (report.and_then(|report| report.code), said)
            }
        };
        InstanceReport {
            name: host.clone(),
            status,
            release: report.and_then(|report| report.current),
            code,
            message: cut(message, INSTANCE_MESSAGE_BYTES_MAX),
        }
    }
}

/// Failures first, what waits last.
fn weight(status: InstanceStatus) -> u8 {
    match status {
        InstanceStatus::Broken | InstanceStatus::Failed | InstanceStatus::Reverted => 0,
        InstanceStatus::Lost => 1,
        InstanceStatus::Updating | InstanceStatus::Preparing => 2,
        InstanceStatus::Healthy | InstanceStatus::Stopped => 3,
        InstanceStatus::Waiting => 4,
    }
}
