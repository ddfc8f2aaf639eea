//! What an agent reports: leases, runners, progress, results, verdicts; and the answers to it.

use std::collections::BTreeMap;

use trimaran_engine::Outcome;
use trimaran_model::id::InstallationId;
use trimaran_model::limits::{AGENT_LOST_AFTER, INSTANCES_REPORTED_MAX, RUNNER_SEEN_INTERVAL};
use trimaran_query as query;
use trimaran_wire::v1::agent::{
    AgentDown, AgentUp, AgentVerdict, Progress, RefusedCounts, ResultAnswer, RunnerState,
};
use trimaran_wire::v1::assignment::WireCommit;
use trimaran_wire::v1::command::CommandBody;

use super::Link;
use super::report_queue::{Queued, Report};
use crate::damaged::Damaged;
use crate::raft_loop::Proposed;
use crate::rows::View;

impl Link {
    /// Handles a message; false ends the session.
    pub(super) async fn on_message(&mut self, message: AgentUp) -> bool {
        self.touch();
        match message {
            AgentUp::Hello { .. } => {
                self.session.refuse_frame("a second hello");
                false
            }
            AgentUp::Ping { sent_ms, refused } => self.pong(sent_ms, refused).await,
            AgentUp::Runners(states) => self.runners(states),
            AgentUp::Unknown(held) => {
                self.server.hold(&self.name, held);
                true
            }
            AgentUp::Progress(progress) => {
                if self.has(progress.assignment, progress.fence) {
                    self.server.publish_progress(&progress);
                    self.server.soft_state.lock().progress.insert(progress.assignment, progress);
                }
                true
            }
            AgentUp::ProgressChanges(changes) => {
                self.progress_changes(changes);
                true
            }
            AgentUp::Commit { commit, progress } => {
                self.commit(commit, progress);
                true
            }
            AgentUp::Refused(refused) => {
                self.server.note_refused(&self.name, refused);
                true
            }
            AgentUp::Result { assignment, fence, outcome, progress } => {
                if let Some(sent) = self.sent.get_mut(&assignment) {
                    sent.ended = true;
                }
                let body = CommandBody::Result { assignment, fence, outcome, progress };
                self.reports.push(Report::Result { assignment, fence }, body);
                true
            }
            AgentUp::Verdicts(verdicts) => {
                self.verdicts.extend(verdicts);
                true
            }
        }
    }

    /// Who is connected is soft state; that a runner was ever seen, and about when, is kept in its row.
    fn runners(&mut self, states: Vec<RunnerState>) -> bool {
        let mine = View::new(&self.server.node).read(|rows| query::runners_of(rows, &self.agent));
        let Ok(mine) = mine else { return false };
        let mine: BTreeMap<&str, Option<i64>> =
            mine.iter().map(|row| (row.name.as_str(), row.seen.map(|seen| seen.0))).collect();
        let mut runners = BTreeMap::new();
        {
            let mut soft_state = self.server.soft_state.lock();
            for state in states {
                let Some(noted) = mine.get(state.name.as_str()) else { continue };
                let every = if state.connected { RUNNER_SEEN_INTERVAL } else { AGENT_LOST_AFTER };
                if noted.is_none_or(|noted| state.last_seen_ms - noted > every.0.cast_signed()) {
                    runners.insert(state.name.clone(), state.last_seen_ms);
                }
                soft_state.runners.insert(state.name.clone(), state);
            }
        }
        if !runners.is_empty() && !self.server.disk_space.is_full() {
            // No one waits for it: what is not accepted now is noted with the next message.
            drop(self.server.node.submit(self.command(CommandBody::RunnersSeen { runners })));
        }
        true
    }

    /// Only what the log does not have yet is written to it. Called when the rows have everything that the agent
    /// was answered; a verdict waits while an earlier one on its installation, or a result, is still on its way: a
    /// result may say that nothing works on the installation any more, and only then its health counts.
    /// False ends the session.
    pub(super) fn compare_verdicts(&mut self) -> bool {
        for _ in 0..self.verdicts.len() {
            let Some(verdict) = self.verdicts.pop_front() else { return true };
            let Ok(verdict) = self.of_last_assignment(verdict) else { return false };
            let goes_before = |report: &Report| match report {
                Report::Result { .. } => true,
                Report::Verdict { installation } => *installation == verdict.installation,
                Report::Commit { .. } => false,
            };
            if self.reports.contains(goes_before) || !self.reports.has_capacity() {
                self.verdicts.push_back(verdict);
                continue;
            }
            let known = View::new(&self.server.node).read(|rows| query::is_known(rows, &verdict));
            let Ok(known) = known else { return false };
            if !known {
                let installation = verdict.installation.clone();
                self.reports.push(Report::Verdict { installation }, CommandBody::Verdict(verdict));
            }
        }
        true
    }

    /// The verdict under the fence of the installation's last assignment, when that ended before this session
    /// began. An agent that lost its directory knows fences from its hosts alone, and an assignment that changed
    /// no host left its fence on none.
    fn of_last_assignment(&self, verdict: AgentVerdict) -> Result<AgentVerdict, Damaged> {
        let Ok(id) = InstallationId::try_from(verdict.installation.clone()) else { return Ok(verdict) };
        if self.worked.contains(&id) {
            return Ok(verdict);
        }
        let here = View::new(&self.server.node).read(|rows| query::installation(rows, &id))?;
        Ok(match here.filter(|it| it.assignment.is_none() && verdict.fence < it.fence.0) {
            Some(it) => AgentVerdict { fence: it.fence.0, ..verdict },
            None => verdict,
        })
    }

    /// Whether the agent was sent this assignment and may speak of it.
    fn has(&self, assignment: u64, fence: u64) -> bool {
        self.sent.get(&assignment).is_some_and(|sent| sent.fence == fence && !sent.held)
    }

    fn touch(&self) {
        let wall = self.server.node.wall();
        if let Some(agent) = self.server.soft_state.lock().agents.get_mut(&self.name) {
            agent.last_seen = wall;
        }
    }

    /// Proposes what waits, as far as the log and the disk take it now.
    pub(super) fn propose_reports(&mut self) {
        if !self.reports.is_waiting() || self.server.disk_space.is_full() {
            return;
        }
        while let Some(queued) = self.reports.next() {
            let answer = self.server.node.submit(self.command(queued.body.clone()));
            self.reports.proposed(queued, answer);
        }
    }

    /// Keeps the agent's lease; without a leader this coordinator can't know what is true.
    async fn pong(&mut self, sent_ms: u64, refused: RefusedCounts) -> bool {
        if let Some(agent) = self.server.soft_state.lock().agents.get_mut(&self.name) {
            agent.refused = refused;
        }
        if !self.server.node.member_status().borrow().leads() {
            return true;
        }
        self.send(AgentDown::Pong { sent_ms, wall_ms: self.server.node.wall().0 }).await
    }

    /// Changes of progress, taken over into what this session's last whole one said.
    fn progress_changes(&mut self, changes: Progress) {
        if !self.has(changes.assignment, changes.fence) {
            return;
        }
        let now = {
            let mut soft = self.server.soft_state.lock();
            let Some(progress) = soft.progress.get_mut(&changes.assignment) else { return };
            progress.apply_changes(changes);
            progress.instances.truncate(INSTANCES_REPORTED_MAX);
            progress.failed.truncate(INSTANCES_REPORTED_MAX);
            progress.clone()
        };
        self.server.publish_progress(&now);
    }

    /// What an agent must not forget is in the log before it continues: it survives the loss of the agent.
    fn commit(&mut self, commit: WireCommit, progress: Progress) {
        let (assignment, n) = (progress.assignment, commit.n);
        if self.has(assignment, progress.fence) {
            self.server.publish_progress(&progress);
            self.server.soft_state.lock().progress.insert(assignment, progress.clone());
        }
        let body = CommandBody::Commit { n, body: commit.body, progress };
        self.reports.push(Report::Commit { assignment, n }, body);
    }

    /// The log has answered a report; the agent is answered. What the log was too busy for is proposed again; what
    /// may be lost, the agent repeats on its next session.
    pub(super) async fn on_answer(&mut self, queued: Queued, proposed: Proposed) -> bool {
        if let Proposed::Done { revision, .. } = &proposed {
            self.answered = *revision;
        }
        if let Proposed::Busy(_) = &proposed {
            self.reports.requeue(queued);
            return true;
        }
        match (queued.report, proposed) {
            (_, Proposed::NotLeader | Proposed::Busy(_) | Proposed::Indeterminate) => false,
            (Report::Commit { assignment, n }, Proposed::Done { .. }) => {
                self.send(AgentDown::Committed { assignment, n }).await
            }
            (Report::Verdict { .. }, Proposed::Done { .. }) => true,
            (Report::Result { assignment, fence }, Proposed::Done { outcome, .. }) => {
                let answer = match outcome {
                    Outcome::ReportApplied => ResultAnswer::Applied,
                    Outcome::ResultSuperseded { by } => ResultAnswer::Superseded { by: by.0 },
                    _ => ResultAnswer::Unknown,
                };
                self.server.soft_state.lock().progress.remove(&assignment);
                self.sent.remove(&assignment);
                self.send(AgentDown::Answer { assignment, fence, answer }).await
            }
        }
    }
}
