//! Leadership that is given away on command, and who waits for that.

use raft::StateRole;

use crate::io::{Answer, Busy, MembersRefusal, Output, Waiter};
use crate::replica::{Replica, Transfer};
use crate::state_machine::StateMachine;

impl<M: StateMachine> Replica<M> {
    pub(crate) fn transfer_leader(
        &mut self,
        waiter: Waiter,
        to: u64,
        out: &mut Vec<Output<M::Reply, M::Event>>,
    ) {
        let leads = self.raw.raft.state == StateRole::Leader;
        let answer = if self.stopping {
            Answer::Busy(Busy::Shutdown)
        } else if !leads {
            Answer::NotLeader { hint: self.leader_hint() }
        } else if to == self.settings.id {
            Answer::LeaderChanged { leader: to }
        } else if !self.raw.store().conf_state().voters.contains(&to) {
            Answer::MembersRefused(MembersRefusal::NotAVoter(to))
        } else if self.transfer.is_some() || self.raw.raft.lead_transferee.is_some() {
            Answer::Busy(Busy::Transfer)
        } else {
            self.raw.transfer_leader(to);
            self.transfer = Some(Transfer { waiter, term: self.raw.raft.term });
            return;
        };
        out.push(Output::Reply { waiter, answer });
    }

    /// Answers a transfer that is over.
    pub(crate) fn end_transfer(&mut self, out: &mut Vec<Output<M::Reply, M::Event>>) {
        let Some(transfer) = self.transfer else { return };
        let raft = &self.raw.raft;
        let answer = if raft.term > transfer.term && raft.leader_id != 0 {
            Answer::LeaderChanged { leader: raft.leader_id }
        } else if raft.state == StateRole::Leader && raft.lead_transferee.is_none() {
            Answer::Busy(Busy::TransferTimedOut)
        } else {
            return;
        };
        self.transfer = None;
        out.push(Output::Reply { waiter: transfer.waiter, answer });
    }

    /// Who waits for a transfer whose outcome no one awaits any longer.
    pub(crate) fn drop_transfer(&mut self) -> Option<Waiter> {
        self.transfer.take().map(|transfer| transfer.waiter)
    }
}
