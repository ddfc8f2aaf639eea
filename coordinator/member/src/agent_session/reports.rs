//! What an agent reports: leases, runners, progress, results, verdicts; and the answers to it.
//!
//! Not here: the order in which reports wait (`report_queue`, `verdict_queue`).

use std::collections::BTreeMap;

use trimaran_engine::Outcome;
use trimaran_engine::state::agent::Runner;
use trimaran_model::id::AssignmentId;
use trimaran_model::limits::{AGENT_LOST_AFTER, QUORUM_LOST_AFTER, RUNNER_SEEN_INTERVAL};
use trimaran_model::time::Millis;
use trimaran_wire::v1::agent::{
    AgentDown, AgentUp, AgentVerdict, Progress, RefusedCounts, ResultAnswer, RunnerState,
};
use trimaran_wire::v1::assignment::WireCommit;
use trimaran_wire::v1::command::{CommandBody, RunnerNews};

use super::AgentSession;
use super::io::{Close, Moment, Note, Output};
use super::questions::Question;
use super::report_queue::{Queued, Report};
use super::verdict_queue::has_to_wait;
use crate::io::Proposed;

/// After this pause, reports that the log did not accept are proposed again.
const RETRY_PAUSE: Millis = Millis(200);

impl AgentSession {
    /// Handles a message that passed the border.
    pub(super) fn on_message(&mut self, moment: Moment<'_>, message: AgentUp, out: &mut Vec<Output>) {
        match message {
            AgentUp::Hello { .. } => self.end(Close::Protocol, "a second hello", out),
            AgentUp::Ping { sent_ms, refused } => self.on_ping(moment, sent_ms, refused, out),
            AgentUp::Runners(states) => {
                out.push(Output::Ask { revision: 0, question: Question::Runners(states) });
            }
            AgentUp::Unknown(held) => out.push(Output::Note(Note::Held(held))),
            AgentUp::Progress(progress) => {
                if self.has(&progress) {
                    out.push(Output::Note(Note::Progress(progress)));
                }
            }
            AgentUp::ProgressChanges(changes) => {
                if self.has(&changes) {
                    out.push(Output::Note(Note::ProgressChanges(changes)));
                }
            }
            AgentUp::Commit { commit, progress } => self.on_commit(commit, progress, out),
            AgentUp::Refused(refused) => out.push(Output::Note(Note::Refused(refused))),
            AgentUp::Result { assignment, fence, outcome, progress } => {
                if let Some(sent) = self.sent.get_mut(&assignment) {
                    sent.ended = true;
                }
                if mutant!(AnswerEarly) {
                    let answer = ResultAnswer::Applied;
                    out.push(Output::Send(AgentDown::Answer { assignment, fence, answer }));
                }
                let body = CommandBody::Result { assignment, fence, outcome, progress };
                self.reports.push(Report::Result { assignment, fence }, body);
            }
            AgentUp::Verdicts(verdicts) => self.verdicts.extend(verdicts),
        }
    }

    /// Keeps the agent's lease; without a leader this coordinator can't know what is true.
    fn on_ping(&mut self, moment: Moment<'_>, sent_ms: u64, refused: RefusedCounts, out: &mut Vec<Output>) {
        out.push(Output::Note(Note::RefusedCounts(refused)));
        let (boot, member) = (moment.boot, moment.member);
        if member.keeps_leases(boot) {
            return out.push(Output::Send(AgentDown::Pong { sent_ms, wall_ms: moment.wall.0 }));
        }
        let lost = member.quorum_at.is_some_and(|at| boot - at > QUORUM_LOST_AFTER);
        if lost && member.voters.len() > 1 {
            // Another coordinator may be on the side of the majority.
            self.end(Close::Busy, "this coordinator knows no leader", out);
        }
    }

    /// Who is connected is soft state; that a runner was ever seen, and about when, is kept in its row.
    pub(super) fn on_runners(&mut self, states: Vec<(RunnerState, Runner)>, out: &mut Vec<Output>) {
        let mut runners = BTreeMap::new();
        let mut seen = Vec::new();
        for (state, noted) in states {
            runners.extend(news(&noted, &state).map(|news| (state.name.clone(), news)));
            // One that was not seen since its agent began has nothing to show.
            if state.incarnation != 0 {
                seen.push(state);
            }
        }
        out.push(Output::Note(Note::Runners(seen)));
        if !runners.is_empty() {
            // No one waits for it: what is not accepted now is noted with the next message.
            self.propose(CommandBody::RunnersSeen { runners }, out);
        }
    }

    /// What an agent must not forget is in the log before it continues: it survives the loss of the agent.
    fn on_commit(&mut self, commit: WireCommit, progress: Progress, out: &mut Vec<Output>) {
        let (assignment, n) = (progress.assignment, commit.n);
        if self.has(&progress) {
            out.push(Output::Note(Note::Progress(progress.clone())));
        }
        let body = CommandBody::Commit { n, body: commit.body, progress };
        self.reports.push(Report::Commit { assignment, n }, body);
    }

    /// Whether the agent was sent the assignment of a progress and may speak of it.
    fn has(&self, progress: &Progress) -> bool {
        let sent = self.sent.get(&progress.assignment);
        sent.is_some_and(|sent| sent.fence == progress.fence && !sent.held)
    }

    /// Asks which verdicts the state has, when the rows have everything that the agent was answered.
    pub(super) fn compare_verdicts(&mut self, out: &mut Vec<Output>) {
        let worked = |verdict: AgentVerdict| {
            let installation = verdict.installation.clone().try_into();
            let worked = installation.is_ok_and(|it| self.worked.contains(&it));
            (verdict, worked)
        };
        let verdicts = self.verdicts.begin_comparison().into_iter().map(worked).collect();
        out.push(Output::Ask { revision: self.answered, question: Question::Verdicts(verdicts) });
    }

    /// Writes what the state does not have.
    pub(super) fn on_compared(&mut self, verdicts: Vec<(AgentVerdict, bool)>) {
        for (verdict, known) in verdicts {
            if has_to_wait(&self.reports, &verdict.installation) {
                self.verdicts.defer(verdict);
            } else if !known {
                let installation = verdict.installation.clone();
                self.reports.push(Report::Verdict { installation }, CommandBody::Verdict(verdict));
            }
        }
    }

    /// Proposes what waits.
    pub(super) fn propose_reports(&mut self, out: &mut Vec<Output>) {
        while let Some(queued) = self.reports.next() {
            let number = self.propose(queued.body.clone(), out);
            self.reports.proposed(number, queued);
        }
    }

    /// The log has answered a report; the agent is answered. What the log was too busy or the disk too full for, or what
    /// may be lost with a leader, is proposed again.
    pub(super) fn on_report_answered(
        &mut self,
        moment: Moment<'_>,
        number: u64,
        answer: Proposed,
        out: &mut Vec<Output>,
    ) {
        // Of what is not here any more no one waits for the answer.
        let Some(queued) = self.reports.answered(number) else { return };
        self.verdicts.on_progress();
        match answer {
            Proposed::Done { revision, outcome } => {
                self.answered = self.answered.max(revision);
                self.answer(queued.report, &outcome, out);
            }
            Proposed::Busy(_) | Proposed::NoSpace | Proposed::NotLeader | Proposed::Indeterminate => {
                self.propose_again(moment, queued);
            }
            Proposed::Refused(why) => {
                let why = format!("the leader refused a report of the agent: {why}");
                self.end(Close::Done, &why, out);
            }
        }
    }

    /// What the leader may have is the same when it comes again: results and commits are numbered. A verdict is not, so an
    /// older one must not come behind a newer one.
    fn propose_again(&mut self, moment: Moment<'_>, queued: Queued) {
        if let Report::Verdict { installation: of } = &queued.report {
            let newer = |it: &Report| matches!(it, Report::Verdict { installation } if installation == of);
            if self.reports.contains(newer) {
                return;
            }
        }
        self.reports.requeue(queued);
        self.retry_at.get_or_insert(moment.boot + RETRY_PAUSE);
    }

    fn answer(&mut self, report: Report, outcome: &Outcome, out: &mut Vec<Output>) {
        match report {
            Report::Commit { assignment, n } => {
                out.push(Output::Send(AgentDown::Committed { assignment, n }));
            }
            Report::Verdict { .. } => {}
            Report::Result { assignment, fence } => {
                let answer = match outcome {
                    Outcome::ReportApplied => ResultAnswer::Applied,
                    Outcome::ResultSuperseded { by } => ResultAnswer::Superseded { by: by.0 },
                    _ => ResultAnswer::Unknown,
                };
                out.push(Output::Note(Note::ForgetProgress(AssignmentId(assignment))));
                self.sent.remove(&assignment);
                out.push(Output::Send(AgentDown::Answer { assignment, fence, answer }));
            }
        }
    }
}

/// What the log has to know of a runner that it does not know yet.
fn news(noted: &Runner, state: &RunnerState) -> Option<RunnerNews> {
    let was_seen = state.incarnation != 0;
    let seen = was_seen.then_some(state.last_seen_ms);
    let every = if state.connected { RUNNER_SEEN_INTERVAL } else { AGENT_LOST_AFTER };
    let is_later = |seen: i64| noted.seen.is_none_or(|noted| seen - noted.0 > every.0.cast_signed());
    let facts = (was_seen && state.connected && state.facts != noted.facts).then(|| state.facts.clone());
    let changed = noted.away.is_none() != state.connected || facts.is_some();
    let news = RunnerNews { connected: state.connected, seen_ms: seen, facts };
    (changed || seen.is_some_and(is_later)).then_some(news)
}
