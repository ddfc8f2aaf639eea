//! What an agent reports: leases, runners, progress, results, verdicts; and the answers to it.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;
use trimaran_engine::Outcome;
use trimaran_model::id::InstallationId;
use trimaran_model::limits::{
    AGENT_ASSIGNMENTS_MAX, AGENT_LOST_AFTER, AGENT_REPORTS_IN_FLIGHT_MAX, COMMIT_BYTES_MAX,
    INSTANCES_REPORTED_MAX, RUNNER_SEEN_INTERVAL,
};
use trimaran_query as query;
use trimaran_wire::v1::agent::{
    AgentDown, AgentUp, AgentVerdict, Progress, RefusedCounts, ResultAnswer, RunnerState,
};
use trimaran_wire::v1::assignment::WireCommit;
use trimaran_wire::v1::command::CommandBody;
use trimaran_wire::v1::common::WireInstallation;

use super::Link;
use crate::raft_loop::Proposed;
use crate::rows::View;

/// What the agent is answered once its report is in the log.
pub(super) enum Report {
    Result { assignment: u64, fence: u64 },
    Commit { assignment: u64, n: u32 },
    Verdict { installation: WireInstallation },
}

/// Reports on their way to the log, in its order: an agent of many installations does not wait for one sync
/// after another.
pub(super) type InFlightReports = VecDeque<(Report, oneshot::Receiver<Proposed>)>;

/// The answer to the oldest report; never comes when there is none.
pub(super) async fn first_answer(in_flight: &mut InFlightReports) -> (Report, Proposed) {
    let Some((_, answer)) = in_flight.front_mut() else { return std::future::pending().await };
    let proposed = answer.await.unwrap_or(Proposed::Indeterminate);
    let (report, _) = in_flight.pop_front().expect("it was in front");
    (report, proposed)
}

impl Link {
    /// Handles a message; false ends the session.
    pub(super) async fn on_message(&mut self, message: AgentUp) -> bool {
        self.touch();
        let written =
            matches!(message, AgentUp::Commit { .. } | AgentUp::Result { .. } | AgentUp::Verdicts(_));
        if written && (!self.waiting.is_empty() || self.server.disk_space.is_full()) {
            // An agent that reports more than this repeats it on its next session.
            self.waiting.push_back(message);
            return self.waiting.len() <= AGENT_ASSIGNMENTS_MAX;
        }
        self.handle(message).await
    }

    /// Handles what waited for free disk space, as far as there is some now.
    pub(super) async fn drain_deferred(&mut self) -> bool {
        while !self.server.disk_space.is_full() && self.in_flight.len() < AGENT_REPORTS_IN_FLIGHT_MAX {
            let Some(message) = self.waiting.pop_front() else { return true };
            if !self.handle(message).await {
                return false;
            }
        }
        true
    }

    async fn handle(&mut self, message: AgentUp) -> bool {
        match message {
            AgentUp::Hello { .. } => {
                self.session.refuse_frame("a second hello");
                false
            }
            AgentUp::Ping { sent_ms, refused } => self.pong(sent_ms, refused).await,
            AgentUp::Runners(states) => {
                self.runners(states);
                true
            }
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
                self.report(Report::Result { assignment, fence }, body);
                true
            }
            AgentUp::Verdicts(verdicts) => {
                self.verdicts.extend(verdicts);
                // An agent that reports more than this repeats it on its next session.
                self.verdicts.len() <= 2 * AGENT_ASSIGNMENTS_MAX
            }
        }
    }

    /// Who is connected is soft state; that a runner was ever seen, and about when, is kept in its row.
    fn runners(&mut self, states: Vec<RunnerState>) {
        let mine = View::new(&self.server.node).read(|rows| query::runners_of(rows, &self.agent));
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
    }

    /// Only what the log does not say yet is written to it. Called when the rows have everything that the agent was
    /// answered; where an earlier verdict is still on its way, nothing is known.
    pub(super) fn compare_verdicts(&mut self) {
        while self.in_flight.len() < AGENT_REPORTS_IN_FLIGHT_MAX {
            let Some(verdict) = self.verdicts.pop_front() else { return };
            let verdict = self.of_last_assignment(verdict);
            let same = |report: &Report| matches!(report, Report::Verdict { installation } if *installation == verdict.installation);
            let moves = self.in_flight.iter().any(|(report, _)| same(report));
            if moves || !View::new(&self.server.node).read(|rows| query::is_known(rows, &verdict)) {
                let installation = verdict.installation.clone();
                self.report(Report::Verdict { installation }, CommandBody::Verdict(verdict));
            }
        }
    }

    /// The verdict under the fence of the installation's last assignment, when that ended before this session
    /// began. An agent that lost its directory knows fences from its hosts alone, and an assignment that changed
    /// no host left its fence on none.
    fn of_last_assignment(&self, verdict: AgentVerdict) -> AgentVerdict {
        let Ok(id) = InstallationId::try_from(verdict.installation.clone()) else { return verdict };
        if self.worked.contains(&id) {
            return verdict;
        }
        let here = View::new(&self.server.node).read(|rows| query::installation(rows, &id));
        match here.filter(|it| it.assignment.is_none() && verdict.fence < it.fence.0) {
            Some(it) => AgentVerdict { fence: it.fence.0, ..verdict },
            None => verdict,
        }
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

    /// Sends a report towards the log.
    fn report(&mut self, report: Report, body: CommandBody) {
        let answer = self.server.node.submit(self.command(body));
        self.in_flight.push_back((report, answer));
    }

    /// Keeps the agent's lease; without a leader this coordinator can't know what is true.
    async fn pong(&mut self, sent_ms: u64, refused: RefusedCounts) -> bool {
        if let Some(agent) = self.server.soft_state.lock().agents.get_mut(&self.name) {
            agent.refused = refused;
        }
        if !self.server.node.member_status().borrow().leads() {
            return true;
        }
        let revoked = self.server.revoked.all();
        self.send(AgentDown::Pong { sent_ms, wall_ms: self.server.node.wall().0, revoked }).await
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
        if commit.body.len() > COMMIT_BYTES_MAX {
            return self.session.refuse_frame("the body of a commit is too large");
        }
        if self.has(assignment, progress.fence) {
            self.server.publish_progress(&progress);
            self.server.soft_state.lock().progress.insert(assignment, progress.clone());
        }
        let body = CommandBody::Commit { n, body: commit.body, progress };
        self.report(Report::Commit { assignment, n }, body);
    }

    /// The log has answered a report; the agent is answered. What the log did not accept, it repeats on its next
    /// session.
    pub(super) async fn on_report_answer(&mut self, (report, proposed): (Report, Proposed)) -> bool {
        if let Proposed::Done { revision, .. } = &proposed {
            self.answered = *revision;
        }
        match (report, proposed) {
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
