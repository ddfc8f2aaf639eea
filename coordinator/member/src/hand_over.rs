//! A leader with little disk space gives leadership to a voter that has more: the leader's disk decides what is
//! accepted for all. So does one whose disk does not answer: it applies nothing before it has written it, and answers no one.
//!
//! Not here: the end of a process, which hands over whatever its disk has (the server).

use trimaran_model::time::{Millis, Timestamp};

use crate::disk_level::DiskLevel;
use crate::io::Output;
use crate::member::{Member, Waits};
use crate::state_machine::EngineMachine;

/// A disk that has one write for so long hangs.
const DISK_HANGS: Millis = Millis(2500);
/// From one attempt to the next: one that fails keeps proposals waiting for an election timeout.
const ATTEMPT_INTERVAL: Millis = Millis::seconds(10);

impl<M: EngineMachine, P, R> Member<M, P, R> {
    /// As the leader, gives leadership away where another voter has a better disk. Called from time to time.
    pub(crate) fn leave_bad_disk(&mut self, now: Timestamp, out: &mut Vec<Output<P, R>>) {
        let hangs = self.writes.front().is_some_and(|(_, since)| now - *since >= DISK_HANGS);
        if now < self.next_hand_over || !hangs && self.disk == DiskLevel::Enough {
            return;
        }
        let found = if hangs {
            self.successor(now)
        } else {
            let status = self.replica.status();
            self.disks.better(self.disk, &status.members.voters, &status.matched, now)
        };
        let Some(to) = found else { return };
        self.next_hand_over = now + ATTEMPT_INTERVAL;
        let waiter = self.wait(Waits::HandOver);
        self.step_replica(now, trimaran_replica::Input::TransferLeader { waiter, to }, out);
    }
}
