//! What an agent reports: leases, runners, progress, results, verdicts; and the answers to it.

use std::collections::BTreeMap;

use trimaran_engine::Outcome;
use trimaran_engine::state::agent::Runner;
use trimaran_member::Proposed;
use trimaran_model::id::{HostName, InstallationId};
use trimaran_model::limits::{
    AGENT_LOST_AFTER, INSTANCES_REPORTED_MAX, QUORUM_LOST_AFTER, RUNNER_SEEN_INTERVAL,
};
use trimaran_process::clock;
use trimaran_query as query;
use trimaran_transport::CloseCode;
use trimaran_wire::v1::agent::{
    AgentDown, AgentUp, AgentVerdict, Progress, RefusedCounts, ResultAnswer, RunnerState,
};
use trimaran_wire::v1::assignment::WireCommit;
use trimaran_wire::v1::command::{CommandBody, RunnerNews};

use super::Link;
use super::report_queue::{Queued, Report};
use super::verdict_queue::has_to_wait;
use crate::damaged::Damaged;
use crate::rows::View;

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
            AgentUp::Runners(states) => self.runners(states).await,
            AgentUp::Unknown(held) => {
                self.server.hold(&self.name, held);
                true
            }
            AgentUp::Progress(progress) => {
                if self.has(progress.assignment, progress.fence) {
                    self.server.publish_progress(&progress);
                    self.server.soft_state.lock().note_progress(progress, self.server.node.wall());
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
    async fn runners(&mut self, states: Vec<RunnerState>) -> bool {
        let agent = self.agent.clone();
        let names: Vec<HostName> = states.iter().filter_map(|state| state.name.parse().ok()).collect();
        let read = self.read_rows(move |rows| query::runners_among(rows, &agent, &names));
        let Ok(mine) = read.await else { return false };
        let mine: BTreeMap<&str, &Runner> = mine.iter().map(|row| (row.name.as_str(), row)).collect();
        let mut runners = BTreeMap::new();
        {
            let mut soft_state = self.server.soft_state.lock();
            for state in states {
                let Some(noted) = mine.get(state.name.as_str()) else { continue };
                runners.extend(news(noted, &state).map(|news| (state.name.clone(), news)));
                // One that was not seen since its agent began has nothing to show.
                if state.incarnation != 0 {
                    soft_state.runners.insert(state.name.clone(), state);
                }
            }
        }
        if !runners.is_empty() {
            // No one waits for it: what is not accepted now is noted with the next message.
            drop(self.server.node.submit(self.command(CommandBody::RunnersSeen { runners })));
        }
        true
    }

    /// Compares what waits, when the rows have everything that the agent was answered. False ends the session.
    pub(super) fn compare_verdicts(&mut self) -> bool {
        for verdict in self.verdicts.begin_comparison() {
            let Ok(verdict) = self.of_last_assignment(verdict) else { return false };
            if has_to_wait(&self.reports, &verdict.installation) {
                self.verdicts.defer(verdict);
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

    /// Proposes what waits.
    pub(super) fn propose_reports(&mut self) {
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
        let (boot, node) = (clock::boot_time(), &self.server.node);
        let (keeps, alone, lost) = {
            let status = node.member_status();
            let status = status.borrow();
            let lost = status.quorum_at.is_some_and(|at| boot - at > QUORUM_LOST_AFTER);
            (status.keeps_leases(boot), status.voters.len() < 2, lost)
        };
        if !keeps {
            if lost && !alone {
                // Another coordinator may be on the side of the majority.
                self.session.close(CloseCode::Busy, "this coordinator knows no leader");
            }
            return alone || !lost;
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
            let Some(mut progress) = soft.progress.get(&changes.assignment).cloned() else { return };
            progress.apply_changes(changes);
            progress.instances.truncate(INSTANCES_REPORTED_MAX);
            progress.failed.truncate(INSTANCES_REPORTED_MAX);
            progress.lost.truncate(INSTANCES_REPORTED_MAX);
            soft.note_progress(progress.clone(), self.server.node.wall());
            progress
        };
        self.server.publish_progress(&now);
    }

    /// What an agent must not forget is in the log before it continues: it survives the loss of the agent.
    fn commit(&mut self, commit: WireCommit, progress: Progress) {
        let (assignment, n) = (progress.assignment, commit.n);
        if self.has(assignment, progress.fence) {
            self.server.publish_progress(&progress);
            self.server.soft_state.lock().note_progress(progress.clone(), self.server.node.wall());
        }
        let body = CommandBody::Commit { n, body: commit.body, progress };
        self.reports.push(Report::Commit { assignment, n }, body);
    }

    /// The log has answered a report; the agent is answered. What the log was too busy or the disk too full for, or what
    /// may be lost with a leader, is proposed again.
    pub(super) async fn on_answer(&mut self, queued: Queued, proposed: Proposed) -> bool {
        if let Proposed::Done { revision, .. } = &proposed {
            self.answered = *revision;
        }
        // What the leader may have is the same when it comes again: results and commits are numbered. A verdict is not,
        // so an older one must not come behind a newer one.
        if let Proposed::Busy(_) | Proposed::NoSpace | Proposed::NotLeader | Proposed::Indeterminate =
            &proposed
        {
            if let Report::Verdict { installation: of } = &queued.report
                && self
                    .reports
                    .contains(|it| matches!(it, Report::Verdict { installation } if installation == of))
            {
                return true;
            }
            self.reports.requeue(queued);
            return true;
        }
        match (queued.report, proposed) {
            (_, Proposed::NotLeader | Proposed::Busy(_) | Proposed::NoSpace | Proposed::Indeterminate) => {
                unreachable!("it is proposed again")
            }
            (_, Proposed::Refused(why)) => {
                tracing::error!(agent = self.name, why, "the leader refused a report of the agent");
                false
            }
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
                self.server.soft_state.lock().forget_progress(assignment);
                self.sent.remove(&assignment);
                self.send(AgentDown::Answer { assignment, fence, answer }).await
            }
        }
    }
}
