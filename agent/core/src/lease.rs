//! The session as a lease, and the view of it that platforms check at the socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use trimaran_model::limits::LEASE;
use trimaran_model::time::{Millis, Timestamp};

use crate::driver::Guard;

/// When a coordinator is known to have received a sign of this agent: the sending of the last ping that was answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lease {
    renewed_at: Option<Timestamp>,
    view: LeaseView,
    ownership: Ownership,
}

impl Lease {
    /// A ping sent at `sent` was answered. Answers may come late and out of order.
    pub(crate) fn renew(&mut self, sent: Timestamp) {
        self.renewed_at = self.renewed_at.max(Some(sent));
        self.view.set(self.ends());
    }

    pub(crate) fn end(&mut self) {
        self.renewed_at = None;
        self.view.set(None);
    }

    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.ends().is_some_and(|end| now < end || mutant!(EndlessLease))
    }

    pub(crate) fn ends(&self) -> Option<Timestamp> {
        self.renewed_at.map(|at| at + LEASE)
    }

    pub(crate) fn permit(&self, guard: Guard, now: Timestamp, deadline: Millis) -> Permit {
        let (lease, ownership) = (self.view.clone(), self.ownership.clone());
        Permit { guard, until: now + deadline, lease, ownership }
    }

    pub(crate) fn set_ownership(&mut self, ownership: Ownership) {
        self.ownership = ownership;
    }
}

/// Until when this process is the only one that works with its state, on the clock of `Executor::step`: for ever where the
/// state is a locked directory, and for a while where it lies where others reach it, too. Clones are the same.
#[derive(Debug, Clone)]
pub struct Ownership(Arc<AtomicU64>);

impl Default for Ownership {
    /// For ever.
    fn default() -> Self {
        Self::until(Timestamp(u64::MAX))
    }
}

impl Ownership {
    pub fn until(end: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(end.0)))
    }

    /// It is ours until then, whatever was said before.
    pub fn set(&self, end: Timestamp) {
        self.0.store(end.0, Ordering::Release);
    }

    pub fn is_live(&self, now: Timestamp) -> bool {
        now.0 < self.0.load(Ordering::Acquire)
    }
}

/// The end of the lease as it is now, readable from every thread: 0 while there is none.
#[derive(Debug, Clone, Default)]
struct LeaseView(Arc<AtomicU64>);

impl LeaseView {
    fn set(&self, end: Option<Timestamp>) {
        self.0.store(end.map_or(0, |end| end.0), Ordering::Release);
    }

    fn is_live(&self, now: Timestamp) -> bool {
        now.0 < self.0.load(Ordering::Acquire)
    }
}

/// Under which conditions a call may be made. A platform asks it again directly before bytes leave, because a call may
/// have waited in a queue since the executor let it go.
#[derive(Debug, Clone)]
pub struct Permit {
    guard: Guard,
    until: Timestamp,
    lease: LeaseView,
    ownership: Ownership,
}

impl Permit {
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// When the call is lost unless it was answered, on the clock of `Executor::step`.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Whether the call may still be sent. One that may not is answered with `Unmade`.
    pub fn allows(&self, now: Timestamp) -> bool {
        let is_ours = self.guard == Guard::Read || self.ownership.is_live(now);
        now < self.until && is_ours && (self.guard != Guard::Unguarded || self.lease.is_live(now))
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
        // The process was paused for an hour and now reads an answer that waited in its socket.
        lease.renew(Timestamp(2000));
        assert!(!lease.is_live(Timestamp(3_600_000)));
        lease.end();
        assert!(!lease.is_live(Timestamp(0)));
    }

    #[test]
    fn without_ownership_of_the_state_only_reads_are_allowed() {
        let mut lease = Lease::default();
        let ownership = Ownership::until(Timestamp(5000));
        lease.set_ownership(ownership.clone());
        lease.renew(Timestamp(1000));
        let permit = |guard| lease.permit(guard, Timestamp(1000), Millis::seconds(10));
        let (read, guarded) = (permit(Guard::Read), [permit(Guard::CompareAndSet), permit(Guard::Unguarded)]);
        assert!(guarded.iter().all(|permit| permit.allows(Timestamp(4999))));
        assert!(guarded.iter().all(|permit| !permit.allows(Timestamp(5000))) && read.allows(Timestamp(5000)));
        ownership.set(Timestamp(7000));
        assert!(guarded.iter().all(|permit| permit.allows(Timestamp(5000))), "renewed meanwhile");
        assert!(guarded.iter().all(|permit| !permit.allows(Timestamp(7000))));
    }

    #[test]
    fn a_permit_ends_with_its_time_and_an_unguarded_one_with_the_lease() {
        let mut lease = Lease::default();
        lease.renew(Timestamp(1000));
        let unguarded = lease.permit(Guard::Unguarded, Timestamp(1000), Millis::seconds(10));
        let read = lease.permit(Guard::Read, Timestamp(1000), Millis::seconds(10));
        assert!(unguarded.allows(Timestamp(1001)) && read.allows(Timestamp(1001)));
        assert!(!unguarded.allows(Timestamp(1000) + LEASE), "it waited in a queue until the lease was over");
        lease.renew(Timestamp(8000));
        assert!(unguarded.allows(Timestamp(1000) + LEASE), "renewed meanwhile");
        assert!(!unguarded.allows(Timestamp(11_000)) && !read.allows(Timestamp(11_000)), "too late");
        lease.end();
        assert!(!unguarded.allows(Timestamp(8001)) && read.allows(Timestamp(8001)));
    }
}
