//! A leader with little disk space gives leadership to a voter that has more: the leader's disk decides what is
//! accepted for all.
//!
//! Not here: the end of a process, which hands over whatever its disk has (the server).

use trimaran_model::time::{Millis, Timestamp};

use crate::disk_level::DiskLevel;
use crate::io::Output;
use crate::member::{Member, Waits};
use crate::state_machine::EngineMachine;

/// From one attempt to the next: one that fails keeps proposals waiting for an election timeout.
const ATTEMPT_INTERVAL: Millis = Millis::seconds(10);

impl<M: EngineMachine, P, R> Member<M, P, R> {
    /// As the leader, gives leadership away where another voter has more space. Called from time to time.
    pub(crate) fn leave_low_disk(&mut self, now: Timestamp, out: &mut Vec<Output<P, R>>) {
        if self.disk == DiskLevel::Enough || now < self.next_hand_over {
            return;
        }
        let status = self.replica.status();
        let found = self.disks.better(self.disk, &status.members.voters, &status.matched, now);
        let Some(to) = found else { return };
        self.next_hand_over = now + ATTEMPT_INTERVAL;
        let waiter = self.wait(Waits::HandOver);
        self.step_replica(now, trimaran_replica::Input::TransferLeader { waiter, to }, out);
    }
}
