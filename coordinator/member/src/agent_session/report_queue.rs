//! Reports of one agent on their way to the log, bounded in number and bytes: those that wait, and those in flight.
//!
//! What the log does not accept now (a full queue, a full disk) waits here and is proposed again; the session
//! stays. Above the bound the session is not read, so that the rest waits in the agent.
//!
//! Not here: how a report is read and answered (`reports`).

use std::collections::VecDeque;

use trimaran_model::limits::{
    AGENT_REPORTS_BYTES_MAX, AGENT_REPORTS_IN_FLIGHT_MAX, AGENT_REPORTS_WAITING_MAX,
};
use trimaran_wire::codec::encoded_len;
use trimaran_wire::v1::command::CommandBody;
use trimaran_wire::v1::common::WireInstallation;

/// What the agent is answered once its report is in the log.
#[derive(Debug)]
pub(super) enum Report {
    Result { assignment: u64, fence: u64 },
    Commit { assignment: u64, n: u32 },
    Verdict { installation: WireInstallation },
}

/// One report with its command, which is kept until the log has answered.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) report: Report,
    pub(super) body: CommandBody,
    bytes: usize,
    /// Its place among all reports of the session.
    order: u64,
}

#[derive(Debug, Default)]
pub(super) struct ReportQueue {
    waiting: VecDeque<Queued>,
    /// With the numbers of their proposals.
    in_flight: Vec<(u64, Queued)>,
    /// Of both.
    bytes: usize,
    pushed: u64,
    /// The log was busy: nothing is proposed before the next retry.
    paused: bool,
}

impl ReportQueue {
    /// Whether another message of the agent may be read.
    pub(super) fn has_capacity(&self) -> bool {
        self.waiting.len() < AGENT_REPORTS_WAITING_MAX && self.bytes < AGENT_REPORTS_BYTES_MAX
    }

    pub(super) fn push(&mut self, report: Report, body: CommandBody) {
        let bytes = encoded_len(&body);
        self.bytes += bytes;
        self.pushed += 1;
        self.waiting.push_back(Queued { report, body, bytes, order: self.pushed });
    }

    /// Whether a report for which `same` holds has not been answered.
    pub(super) fn contains(&self, same: impl Fn(&Report) -> bool) -> bool {
        let in_flight = self.in_flight.iter().map(|(_, it)| it);
        in_flight.chain(&self.waiting).any(|it| same(&it.report))
    }

    /// The next one to propose, if one may be proposed now.
    pub(super) fn next(&mut self) -> Option<Queued> {
        if self.paused || self.in_flight.len() >= AGENT_REPORTS_IN_FLIGHT_MAX {
            return None;
        }
        self.waiting.pop_front()
    }

    /// It is proposed under a number.
    pub(super) fn proposed(&mut self, number: u64, queued: Queued) {
        self.in_flight.push((number, queued));
    }

    /// The report whose proposal of this number is answered.
    pub(super) fn answered(&mut self, number: u64) -> Option<Queued> {
        let place = self.in_flight.iter().position(|(it, _)| *it == number)?;
        let (_, queued) = self.in_flight.remove(place);
        self.bytes -= queued.bytes;
        Some(queued)
    }

    /// The log was busy or lost its leader: the report waits in front of those that came after it, until
    /// [`Self::resume`].
    pub(super) fn requeue(&mut self, queued: Queued) {
        self.bytes += queued.bytes;
        let place = self.waiting.partition_point(|it| it.order < queued.order);
        self.waiting.insert(place, queued);
        self.paused = true;
    }

    /// Proposals may be tried again.
    pub(super) fn resume(&mut self) {
        self.paused = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &mut ReportQueue, assignment: u64, bytes: usize) {
        let verb = "x".repeat(bytes);
        let body = CommandBody::Refusals { verb, object: String::new(), count: 0 };
        queue.push(Report::Commit { assignment, n: 0 }, body);
    }

    fn number(queued: &Queued) -> u64 {
        match queued.report {
            Report::Commit { assignment, .. } => assignment,
            Report::Result { .. } | Report::Verdict { .. } => unreachable!("only commits are pushed"),
        }
    }

    /// Proposes so many, under the numbers from 1.
    fn propose(queue: &mut ReportQueue, count: u64) {
        for it in 1..=count {
            let next = queue.next().expect("one waits");
            queue.proposed(it, next);
        }
    }

    fn order(queue: &mut ReportQueue) -> Vec<u64> {
        std::iter::from_fn(|| queue.next()).map(|it| number(&it)).collect()
    }

    #[test]
    fn what_the_log_is_too_busy_for_is_proposed_again_before_the_rest() {
        let mut queue = ReportQueue::default();
        (1..=3).for_each(|it| push(&mut queue, it, 10));
        propose(&mut queue, 2);
        for it in 1..=2 {
            let busy = queue.answered(it).expect("it is in flight");
            queue.requeue(busy);
        }
        assert!(queue.next().is_none(), "not before a retry");
        queue.resume();
        assert_eq!(order(&mut queue), [1, 2, 3]);
    }

    #[test]
    fn several_that_the_log_was_too_busy_for_keep_their_order() {
        let mut queue = ReportQueue::default();
        (1..=5).for_each(|it| push(&mut queue, it, 10));
        propose(&mut queue, 4);
        // The third one was accepted between two that were not, and the answers came in another order.
        for it in [2, 3, 4, 1] {
            let answered = queue.answered(it).expect("it is in flight");
            if it != 3 {
                queue.requeue(answered);
            }
        }
        queue.resume();
        assert_eq!(order(&mut queue), [1, 2, 4, 5]);
    }

    #[test]
    fn bytes_in_flight_and_waiting_are_bounded_together() {
        let mut queue = ReportQueue::default();
        push(&mut queue, 1, AGENT_REPORTS_BYTES_MAX / 2);
        assert!(queue.has_capacity());
        propose(&mut queue, 1);
        push(&mut queue, 2, AGENT_REPORTS_BYTES_MAX / 2);
        assert!(!queue.has_capacity(), "one in flight, one waits");
        assert!(queue.answered(1).is_some() && queue.answered(1).is_none(), "it is answered once");
        assert!(queue.has_capacity());
        for it in 0..AGENT_REPORTS_WAITING_MAX as u64 {
            push(&mut queue, it, 0);
        }
        assert!(!queue.has_capacity(), "many small ones");
    }
}
