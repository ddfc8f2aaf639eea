//! The session as a lease.

use trimaran_model::limits::LEASE;
use trimaran_model::time::Timestamp;

/// When a coordinator is known to have renew this agent: the sending of the last ping that was answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lease {
    renewed_at: Option<Timestamp>,
}

impl Lease {
    /// A ping sent at `sent` was answered. Answers may come late and out of order.
    pub(crate) fn renew(&mut self, sent: Timestamp) {
        self.renewed_at = self.renewed_at.max(Some(sent));
    }

    pub(crate) fn end(&mut self) {
        self.renewed_at = None;
    }

    pub(crate) fn is_live(self, now: Timestamp) -> bool {
        self.ends().is_some_and(|end| now < end)
    }

    pub(crate) fn ends(self) -> Option<Timestamp> {
        self.renewed_at.map(|at| at + LEASE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_the_sending_of_the_answered_ping() {
        let mut lease = Lease::default();
        assert!(!lease.is_live(Timestamp(0)));
        lease.renew(Timestamp(1000));
        assert!(lease.is_live(Timestamp(1000 + LEASE.0 - 1)) && !lease.is_live(Timestamp(1000 + LEASE.0)));
        lease.renew(Timestamp(500));
        assert_eq!(lease.ends(), Some(Timestamp(1000) + LEASE), "a late answer takes nothing away");
        // The process was paused for an hour and now reads an on_answer that waited in its socket.
        lease.renew(Timestamp(2000));
        assert!(!lease.is_live(Timestamp(3_600_000)));
        lease.end();
        assert!(!lease.is_live(Timestamp(0)));
    }
}
