//! Verdicts of one agent that wait until they can be compared with the state: only what the state does not have yet is
//! written to the log.
//!
//! A verdict waits while a result is on its way to the log, because the result may say that nothing works on the
//! installation any more, and only then its health counts; and while an earlier verdict on its installation is on its
//! way. It is compared again as soon as an answer came, and not only with the agent's next message.
//!
//! Not here: the comparison itself (`questions`), which reads rows.

use std::collections::VecDeque;

use trimaran_model::limits::AGENT_VERDICTS_WAITING_MAX;
use trimaran_wire::v1::agent::AgentVerdict;
use trimaran_wire::v1::common::WireInstallation;

use super::report_queue::{Report, ReportQueue};

#[derive(Debug, Default)]
pub(super) struct VerdictQueue {
    waiting: VecDeque<AgentVerdict>,
    /// All of them were compared, and nothing happened since.
    compared: bool,
}

impl VerdictQueue {
    /// Whether another message of the agent may be read.
    pub(super) fn has_capacity(&self) -> bool {
        self.waiting.len() < AGENT_VERDICTS_WAITING_MAX
    }

    pub(super) fn extend(&mut self, verdicts: Vec<AgentVerdict>) {
        self.waiting.extend(verdicts);
    }

    /// Whether a comparison may find one that does not have to wait.
    pub(super) fn is_due(&self) -> bool {
        !self.compared && !self.waiting.is_empty()
    }

    /// A message or an answer came: those that wait may go on.
    pub(super) fn on_progress(&mut self) {
        self.compared = false;
    }

    /// Those to compare now; the ones that still have to wait come back by [`Self::defer`].
    pub(super) fn begin_comparison(&mut self) -> VecDeque<AgentVerdict> {
        self.compared = true;
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn defer(&mut self, verdict: AgentVerdict) {
        self.waiting.push_back(verdict);
    }
}

/// Whether a verdict on an installation has to wait for a report that is on its way.
pub(super) fn has_to_wait(reports: &ReportQueue, installation: &WireInstallation) -> bool {
    let goes_before = |report: &Report| match report {
        Report::Result { .. } => !mutant!(VerdictOvertakes),
        Report::Verdict { installation: other } => other == installation,
        Report::Commit { .. } => false,
    };
    !reports.has_capacity() || reports.contains(goes_before)
}

#[cfg(test)]
mod tests {
    use trimaran_wire::v1::command::CommandBody;

    use super::*;

    fn verdict(pipeline: &str) -> AgentVerdict {
        let installation = WireInstallation { pipeline: pipeline.to_owned(), target: "lab".to_owned() };
        AgentVerdict {
            installation,
            fence: 1,
            verdict: "healthy".to_owned(),
            failure: None,
            down: 0,
            hosts: None,
            blind_since_ms: None,
        }
    }

    /// Compares as a session does: what need not wait goes, in order.
    fn compare(queue: &mut VerdictQueue, reports: &ReportQueue) -> Vec<String> {
        let mut gone = Vec::new();
        for verdict in queue.begin_comparison() {
            match has_to_wait(reports, &verdict.installation) {
                true => queue.defer(verdict),
                false => gone.push(verdict.installation.pipeline),
            }
        }
        gone
    }

    #[test]
    fn a_verdict_behind_a_result_is_compared_when_the_log_has_answered_it() {
        let (mut reports, mut verdicts) = (ReportQueue::default(), VerdictQueue::default());
        reports.push(Report::Result { assignment: 1, fence: 1 }, CommandBody::Advance);
        verdicts.extend(vec![verdict("web"), verdict("api")]);
        assert!(verdicts.is_due());
        assert!(compare(&mut verdicts, &reports).is_empty(), "the result is not proposed yet");
        assert!(!verdicts.is_due(), "nothing happened since: no busy loop");

        let queued = reports.next().expect("one waits");
        reports.proposed(1, queued);
        verdicts.on_progress();
        assert!(verdicts.is_due());
        assert!(compare(&mut verdicts, &reports).is_empty(), "nor answered");

        assert!(reports.answered(1).is_some());
        verdicts.on_progress();
        assert!(verdicts.is_due(), "without another message of the agent");
        assert_eq!(compare(&mut verdicts, &reports), ["web", "api"]);
        assert!(!verdicts.is_due());
    }

    #[test]
    fn verdicts_on_one_installation_keep_their_order_and_others_pass() {
        let (mut reports, mut verdicts) = (ReportQueue::default(), VerdictQueue::default());
        let installation = verdict("web").installation;
        reports.push(Report::Verdict { installation }, CommandBody::Advance);
        reports.push(Report::Commit { assignment: 1, n: 1 }, CommandBody::Advance);
        verdicts.extend(vec![verdict("web"), verdict("api")]);
        assert_eq!(compare(&mut verdicts, &reports), ["api"]);
        for _ in 0..AGENT_VERDICTS_WAITING_MAX {
            assert!(verdicts.has_capacity());
            verdicts.defer(verdict("web"));
            if verdicts.waiting.len() == AGENT_VERDICTS_WAITING_MAX {
                break;
            }
        }
        assert!(!verdicts.has_capacity(), "then the agent is not read");
    }
}
