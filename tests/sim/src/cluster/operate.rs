//! Who works with the three coordinators: the agent, which has a session with one of them, and the operators, who ask any;
//! and what has to hold of time and at the end.

use trimaran_member::Input;
use trimaran_model::run::Status;
use trimaran_query as query;
use trimaran_wire::codec::encode;
use trimaran_wire::v1::command::Command;

use super::{Cluster, NODES};
use crate::check::Rows;
use crate::trace::variant;
use crate::world::Asker;

/// How far the cluster's wall time may be from the true one, once a member leads and runs for [`SETTLES`].
const WALL_TOLERANCE_MS: u64 = 2500;
const SETTLES: u64 = 6000;
/// Of the time for which a member leads cluster time gets at least so much, in percent: clocks have different rates.
const TIME_PERCENT: u64 = 95;
/// The longest that a request waits for its answer in a world without faults.
const ANSWER_TIMEOUT: u64 = 30_000;

impl Cluster {
    pub(super) fn rows(&self, node: usize) -> Option<&Rows> {
        Some(&self.nodes[node].member.as_ref()?.state_machine().rows)
    }

    pub(super) fn ask(&mut self, node: usize, command: Command, asker: Asker) {
        if self.nodes[node].member.is_some() {
            self.note(format_args!("{asker:?} asks {node} for {}", variant(&command.body)));
            let bytes = encode(&command).len();
            self.input(node, Input::Propose { requester: asker, command, bytes });
        } else if let Asker::Request(number) = asker {
            self.operators.not_accepted(number);
        }
    }

    /// The agent's session ends, and it goes to another member.
    pub(super) fn agent_leaves(&mut self) {
        self.agent.session_lost();
        self.agent_at = ((self.agent_at.0 + 1) % NODES, None);
    }

    /// A process ended: whoever talked to it goes elsewhere and asks again.
    pub(super) fn session_lost(&mut self, node: usize) {
        if self.agent_at.0 == node {
            self.agent_leaves();
        }
        self.operators.session_lost();
    }

    pub(super) fn agent_moves(&mut self) {
        let (node, revision) = self.agent_at;
        if self.random.below(200) == 0 {
            // Its coordinator was silent for too long.
            return self.agent_leaves();
        }
        if self.nodes[node].is_paused() && self.random.below(20) == 0 {
            return self.agent_leaves();
        }
        let Some(member) = &self.nodes[node].member else { return self.agent_leaves() };
        let machine = member.state_machine();
        // Its session begins with rows that have its attach.
        let applied = member.replica_status().applied.index;
        if self.agent.is_attached() && revision.is_none_or(|revision| applied < revision) {
            return;
        }
        for (command, asker) in self.agent.moves(&machine.rows, &mut self.random, self.faults) {
            self.ask(node, command, asker);
        }
    }

    pub(super) fn operators_move(&mut self) {
        let (node, wall) = (self.any_node(), self.wall().0);
        let Some(member) = &self.nodes[node].member else { return };
        let rows = &member.state_machine().rows;
        self.operators.agent_came = self.agent.was_refused();
        let moves = self.operators.moves(rows, (self.now, wall), self.healing);
        for (command, asker) in moves {
            let node = self.any_node();
            self.ask(node, command, asker);
        }
        // A client that has no answer for long asks elsewhere.
        self.operators.give_up(self.now.saturating_sub(5000));
    }

    /// Cluster time goes on, and its wall time is about the true one, whoever leads.
    pub(super) fn check_time(&mut self) {
        let (now, wall) = (self.now, self.wall());
        for node in self.nodes.iter().filter(|node| !node.is_paused()) {
            let (Some(member), Some((since, began))) = (&node.member, node.leads_since) else { continue };
            if now - since < SETTLES {
                continue;
            }
            let boot = node.clock.at(now);
            let status = member.status(boot);
            let (passed, counted) = (now - since, status.now.0 - began.0);
            assert!(
                counted * 100 >= passed * TIME_PERCENT,
                "cluster time grew by {counted} ms in {passed} ms of one leader"
            );
            // A process that stands still compares no clocks, and a stop of everything before its leadership is still to be made up for.
            if now - node.continued_at < SETTLES {
                continue;
            }
            let difference = status.wall_at(boot).0.abs_diff(wall.0);
            assert!(difference <= WALL_TOLERANCE_MS, "the cluster's wall time is {difference} ms wrong");
        }
    }

    pub(super) fn check_end(&mut self) {
        self.check_members();
        self.check_level();
        for node in 0..NODES {
            let rows = self.rows(node).expect("a healed coordinator runs");
            let all = query::runs(rows, None, usize::MAX).runs;
            let live = |status: &str| Status::from_name(status).is_some_and(|status| !status.is_done());
            let left: Vec<_> = all.into_iter().filter(|run| live(&run.status)).map(|run| run.run).collect();
            assert!(left.is_empty(), "{node}: these never end: {left:?}");
            self.operators.check(rows);
        }
        let unanswered = self.operators.unanswered(self.now.saturating_sub(ANSWER_TIMEOUT));
        assert!(unanswered.is_empty(), "these requests are never answered: {unanswered:?}");
        self.seen.runs = self.operators.runs();
    }
}
