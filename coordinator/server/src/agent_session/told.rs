//! What an agent tells of itself and its hosts beside results: verdicts, runners, and all that waits for room on the
//! disk.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use trimaran_engine::query;
use trimaran_model::limits::{AGENT_LOST_AFTER, AGENT_REPORTS_UNDER_WAY_MAX, RUNNER_SEEN_EVERY};
use trimaran_wire::v1::agent::{AgentUp, RunnerState};
use trimaran_wire::v1::command::CommandBody;

use super::{Link, Report};
use crate::rows::View;

/// Where peers reach the agent: what it listens on, or, where that is every address of its host, the one that
/// it came from.
pub(super) fn seen_address(listen: Option<String>, remote: SocketAddr) -> String {
    // A socket of both families shows IPv4 in the form of IPv6.
    let from = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    match listen.as_deref().map(str::parse::<SocketAddr>) {
        Some(Ok(listen)) if listen.ip().is_unspecified() => {
            SocketAddr::new(from.ip(), listen.port()).to_string()
        }
        Some(_) => listen.unwrap_or_default(),
        None => from.to_string(),
    }
}

impl Link {
    /// Whether a message becomes an entry for which the disk has no room, or comes behind one.
    pub(super) fn has_to_wait(&self, message: &AgentUp) -> bool {
        let written = matches!(message, AgentUp::Failures(_) | AgentUp::Result { .. } | AgentUp::Verdicts(_));
        written && (!self.waiting.is_empty() || self.server.room.is_full())
    }

    /// Takes what waited, as far as there is room now.
    pub(super) async fn take_waiting(&mut self) -> bool {
        while !self.server.room.is_full() && self.under_way.len() < AGENT_REPORTS_UNDER_WAY_MAX {
            let Some(message) = self.waiting.pop_front() else { return true };
            if !self.take(message).await {
                return false;
            }
        }
        true
    }

    /// Only what the log does not say yet is written to it. The rows have everything that was answered; where an
    /// earlier verdict is still on its way, nothing is known.
    pub(super) fn compare_verdicts(&mut self) {
        while self.under_way.len() < AGENT_REPORTS_UNDER_WAY_MAX {
            let Some(verdict) = self.verdicts.pop_front() else { return };
            let same = |report: &Report| matches!(report, Report::Verdict { installation } if *installation == verdict.installation);
            let moves = self.under_way.iter().any(|(report, _)| same(report));
            if moves || !View::new(&self.server.node).read(|rows| query::says(rows, &verdict)) {
                let installation = verdict.installation.clone();
                self.report(Report::Verdict { installation }, CommandBody::Verdict(verdict));
            }
        }
    }

    /// Who is connected is soft state; that a runner was ever seen, and about when, outlives everybody.
    pub(super) fn runners(&mut self, states: Vec<RunnerState>) {
        let mine = View::new(&self.server.node).read(|rows| query::runners_of(rows, &self.name));
        let mine: BTreeMap<&str, Option<i64>> =
            mine.iter().map(|row| (row.name.as_str(), row.seen_ms)).collect();
        let mut runners = BTreeMap::new();
        {
            let mut soft = self.server.soft.lock();
            for state in states {
                let Some(noted) = mine.get(state.name.as_str()) else { continue };
                let every = if state.connected { RUNNER_SEEN_EVERY } else { AGENT_LOST_AFTER };
                if noted.is_none_or(|noted| state.last_seen_ms - noted > every.0.cast_signed()) {
                    runners.insert(state.name.clone(), state.last_seen_ms);
                }
                soft.runners.insert(state.name.clone(), state);
            }
        }
        if !runners.is_empty() && !self.server.room.is_full() {
            // Nobody waits for it: what is not taken now is noted with the next message.
            drop(self.server.node.submit(self.command(CommandBody::RunnersSeen { runners })));
        }
    }
}
