//! Who may work with a state, decided from what the Lease shows: the rules of client-go's leader election.
//!
//! No clock of another machine counts. Who waits measures with its own clock how long the Lease has not changed; who holds it
//! counts from the moment at which it sent the renewal that was answered, and stops earlier than anyone may take it.

use trimaran_model::time::{Millis, Timestamp};

use crate::api::{LeaseRecord, Version};

/// How long a Lease is good for after it was renewed (`spec.leaseDurationSeconds`; client-go's default).
pub(crate) const LEASE_SECONDS: u64 = 15;
/// How long its holder acts after it sent a renewal; the rest is a margin for clocks that run differently and for requests
/// that are on their way (client-go's `RenewDeadline`).
pub(crate) const OWNED_FOR: Millis = Millis::seconds(10);
const _: () = assert!(OWNED_FOR.0 + 5000 <= LEASE_SECONDS * 1000, "its holder stops before anyone takes it");

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is no Lease: make it.
    Create,
    /// No one holds it: take it, as the holder of this number.
    Take { version: Version, transitions: u32 },
    /// It is ours.
    Renew { version: Version },
    /// Another one holds it, at least until then.
    Wait { holder: String, until: Timestamp },
    /// It was ours, and another one took it.
    Lost { holder: String },
}

/// One candidate.
#[derive(Debug)]
pub(crate) struct Election {
    me: String,
    /// Whether the Lease was ever ours.
    held: bool,
    /// The version that was seen last, and when it was seen first.
    seen: Option<(Version, Timestamp)>,
}

impl Election {
    /// `me` is the name of one process, which no other one ever has.
    pub(crate) fn new(me: String) -> Self {
        Self { me, held: false, seen: None }
    }

    pub(crate) fn me(&self) -> &str {
        &self.me
    }

    /// The Lease was read, by a request that was answered at `now`.
    pub(crate) fn observe(&mut self, now: Timestamp, found: Option<&LeaseRecord>) -> Step {
        let Some(found) = found else { return Step::Create };
        let version = found.version.clone();
        if found.holder == self.me {
            self.held = true;
            return Step::Renew { version };
        }
        if self.held && !found.holder.is_empty() {
            return Step::Lost { holder: found.holder.clone() };
        }
        let take = Step::Take { version: version.clone(), transitions: found.transitions + 1 };
        if found.holder.is_empty() {
            return take;
        }
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => now,
        };
        self.seen = Some((version, since));
        // A holder of another build may have asked for longer.
        let until = since + Millis::seconds(found.seconds.max(LEASE_SECONDS));
        if now >= until { take } else { Step::Wait { holder: found.holder.clone(), until } }
    }

    /// The Lease is ours by a request that was answered.
    pub(crate) fn won(&mut self) {
        self.held = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: u32, holder: &str) -> LeaseRecord {
        let version = Version(version.to_string());
        LeaseRecord { version, holder: holder.to_owned(), seconds: LEASE_SECONDS, transitions: 4 }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    #[test]
    fn it_is_taken_when_it_has_not_changed_for_its_duration_by_the_own_clock() {
        let mut election = Election::new("b".to_owned());
        assert_eq!(election.observe(at(0), None), Step::Create);
        // When the holder renewed it last by its own clock is not asked.
        let wait = |until| Step::Wait { holder: "a".to_owned(), until: at(until) };
        assert_eq!(election.observe(at(100), Some(&record(1, "a"))), wait(115));
        assert_eq!(election.observe(at(114), Some(&record(1, "a"))), wait(115));
        assert_eq!(election.observe(at(114), Some(&record(2, "a"))), wait(129));
        let take = Step::Take { version: Version("2".to_owned()), transitions: 5 };
        assert_eq!(election.observe(at(129), Some(&record(2, "a"))), take);
        let long = LeaseRecord { seconds: 60, ..record(3, "a") };
        assert_eq!(election.observe(at(130), Some(&long)), wait(190));
    }

    #[test]
    fn a_released_one_is_taken_at_once() {
        let mut election = Election::new("b".to_owned());
        let take = Step::Take { version: Version("1".to_owned()), transitions: 5 };
        assert_eq!(election.observe(at(100), Some(&record(1, ""))), take);
    }

    #[test]
    fn who_held_it_and_finds_another_one_never_takes_it_again() {
        let mut election = Election::new("a".to_owned());
        election.won();
        let renew = Step::Renew { version: Version("1".to_owned()) };
        assert_eq!(election.observe(at(1), Some(&record(1, "a"))), renew);
        let lost = Step::Lost { holder: "b".to_owned() };
        assert_eq!(election.observe(at(100), Some(&record(2, "b"))), lost);
        assert_eq!(election.observe(at(1000), Some(&record(2, "b"))), lost);
        // Deleted by someone: whether another one worked meanwhile shows the state itself.
        assert_eq!(election.observe(at(1001), None), Step::Create);
    }
}
