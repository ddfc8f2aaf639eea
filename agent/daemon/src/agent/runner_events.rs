//! What runners send: they arrive, report, answer and leave.

use std::collections::BTreeMap;

use trimaran_agent_core::platform::Answer;
use trimaran_host_core::fleet::GoalAck;
use trimaran_model::action::Failure as HostFailure;
use trimaran_model::assignment::HostReport;
use trimaran_model::id::HostName;
use trimaran_model::limits::MESSAGE_BYTES_MAX;
use trimaran_model::text::cut;
use trimaran_process::clock::boot_time;
use trimaran_transport::CloseCode;
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::assignment::{WireFailure, WireHostReport};
use trimaran_wire::v1::runner::RunnerUp;

use super::event::RunnerEvent;
use super::event_loop::AgentLoop;
use super::hosts::{Arrival, Asked};

impl AgentLoop {
    pub(super) fn on_runner_event(&mut self, host: &HostName, event: RunnerEvent) {
        match event {
            RunnerEvent::Hello { session, incarnation, address, reports, facts, out } => {
                match reports.into_iter().map(bound_report).collect() {
                    Ok(reports) => {
                        self.on_hello(host, Arrival { session, incarnation, address, reports, facts, out })
                    }
                    Err(error) => session.refuse_frame(&error.to_string()),
                }
            }
            RunnerEvent::Message { session, message } => self.on_runner_message(host, session, message),
            RunnerEvent::Unsent { session, sequence } => {
                if let Some(Asked { answer, .. }) = self.hosts.answered(host, session, sequence) {
                    // Who asked may have given up meanwhile.
                    let _ = answer.send(Answer::Unmade);
                }
            }
            RunnerEvent::Gone { session } => {
                if self.hosts.leave(host, session, self.clock.now()) {
                    tracing::info!(runner = host.as_str(), "disconnected");
                    self.observe(host, None);
                    let changes = self.health.on_away(boot_time(), host);
                    self.send_verdicts(changes);
                    self.report_runner(host);
                }
            }
        }
    }

    fn on_hello(&mut self, host: &HostName, new: Arrival) {
        let labels = match &self.inventory {
            None => BTreeMap::new(),
            Some(inventory) => match inventory.get(host) {
                Some(enrolled) => enrolled.labels.clone(),
                // It may have enrolled a moment ago, before this agent is notified.
                None => return new.session.close(CloseCode::Busy, "this agent does not know the runner"),
            },
        };
        if self.hosts.is_superseded(host, new.incarnation) {
            return new
                .session
                .close(CloseCode::Superseded, "a later incarnation of this runner has attached");
        }
        // The old session and its calls end before the new one speaks.
        if self.hosts.close_earlier(host, new.incarnation) {
            self.observe(host, None);
        }
        let reports = new.reports.clone();
        self.hosts.attach(host, new, self.clock.now());
        tracing::info!(runner = host.as_str(), "connected");
        let welcome = self.welcome(labels);
        self.hosts.send(host, welcome);
        for message in self.refused.for_runners() {
            self.hosts.send(host, message);
        }
        // Of issuers it is notified later.
        self.runners_are_behind |= self.refused.refuses_own();
        self.observe(host, None);
        let changes = self.health.on_hello(boot_time(), host, &reports);
        self.send_verdicts(changes);
        self.report_runner(host);
    }

    fn on_runner_message(&mut self, host: &HostName, session: u64, message: RunnerUp) {
        match message {
            RunnerUp::Hello { .. } => self.hosts.refuse(host, session, "a second hello"),
            RunnerUp::Report(report) => self.on_report(host, session, report),
            RunnerUp::Answer { sequence, refused } => {
                let Some(Asked { answer, .. }) = self.hosts.answered(host, session, sequence) else { return };
                match given(host, refused) {
                    // Who asked may have given up meanwhile.
                    Ok(reply) => drop(answer.send(Answer::Reply(reply))),
                    Err(error) => self.hosts.refuse(host, session, &error.to_string()),
                }
            }
        }
    }

    fn on_report(&mut self, host: &HostName, session: u64, report: WireHostReport) {
        let report = match bound_report(report) {
            Ok(report) => report,
            Err(error) => return self.hosts.refuse(host, session, &error.to_string()),
        };
        if self.hosts.on_report(host, session, report.clone(), self.clock.now()) {
            self.observe(host, Some(&report.installation));
            let change = self.health.on_report(boot_time(), host, &report);
            self.send_verdicts(change);
        }
    }
}

/// A report as it is passed on: its texts are bounded, whatever the runner sent.
fn bound_report(report: WireHostReport) -> Result<HostReport, CodecError> {
    let report = HostReport::try_from(report)?;
    Ok(HostReport { message: cut(report.message, MESSAGE_BYTES_MAX), ..report })
}

/// What a runner answered, as the driver takes it.
fn given(host: &HostName, refused: Option<WireFailure>) -> Result<GoalAck, CodecError> {
    Ok(match refused {
        None => GoalAck::Accepted,
        Some(failure) => {
            let HostFailure { code, message, .. } = failure.try_into()?;
            let message = cut(message, MESSAGE_BYTES_MAX);
            GoalAck::Refused(HostFailure { code, message, instance: Some(host.into()) })
        }
    })
}
