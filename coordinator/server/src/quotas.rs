//! How many changes one identity may have: in progress at once, and per second. What stops, undoes or decides something
//! has a reserve of its own, so that whoever fills a quota can still end what fills it.
//!
//! Not here: the share of an identity in the table of request ids (the engine), and reads (`reads`).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use trimaran_model::error_code;
use trimaran_model::id::Identity;
use trimaran_model::limits::{
    CHANGES_IN_PROGRESS_MAX, CHANGES_IN_PROGRESS_RESERVED, CHANGES_PER_SECOND_RESERVED,
};
use trimaran_model::time::{Millis, Timestamp};
use trimaran_wire::v1::operator::Refusal;

/// Thousandths of a change.
const CHANGE: u64 = 1000;

/// The quotas of all identities. A clone is another handle.
#[derive(Debug, Clone)]
pub(crate) struct Quotas(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    per_second: u64,
    /// Of those who have changes in progress, or had some within the last seconds.
    identities: Mutex<BTreeMap<Identity, Usage>>,
}

#[derive(Debug)]
struct Usage {
    in_progress: usize,
    changes: Bucket,
    reserve: Bucket,
}

/// A change in progress; counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    quotas: Quotas,
    identity: Identity,
}

/// Why a change may not begin now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverQuota {
    InProgress { max: usize },
    PerSecond { max: u64, retry_in: Millis },
}

impl OverQuota {
    pub(crate) fn refusal(self, identity: &Identity) -> Refusal {
        let (message, help) = match self {
            Self::InProgress { max } => (
                format!("{identity} has {max} changes in progress, which is the most"),
                "Wait for their answers, then try again; cancel, rollback, approve and resume have a reserve."
                    .to_owned(),
            ),
            Self::PerSecond { max, retry_in } => (
                format!("{identity} makes more than {max} changes a second"),
                format!(
                    "Try again in {} ms; cancel, rollback, approve and resume have a reserve. `--changes-per-second` \
                     of the coordinators is the limit.",
                    retry_in.0
                ),
            ),
        };
        Refusal { code: error_code::QUOTA.0, message, cause: None, help: Some(help), diagnostics: Vec::new() }
    }
}

impl Quotas {
    pub(crate) fn new(per_second: u64) -> Self {
        Self(Arc::new(Shared { per_second: per_second.max(1), identities: Mutex::default() }))
    }

    /// A slot for a change of `identity`, or why there is none.
    pub(crate) fn begin(
        &self,
        identity: &Identity,
        has_reserve: bool,
        now: Timestamp,
    ) -> Result<Slot, OverQuota> {
        let per_second = self.0.per_second;
        let mut identities = self.lock();
        identities.retain(|_, usage| usage.in_progress > 0 || !usage.changes.is_full(now));
        let usage = identities.entry(identity.clone()).or_insert_with(|| Usage {
            in_progress: 0,
            changes: Bucket::full(per_second, now),
            reserve: Bucket::full(CHANGES_PER_SECOND_RESERVED, now),
        });
        let max = CHANGES_IN_PROGRESS_MAX + if has_reserve { CHANGES_IN_PROGRESS_RESERVED } else { 0 };
        if usage.in_progress >= max {
            return Err(OverQuota::InProgress { max });
        }
        let mut taken = usage.changes.remove_one(now);
        if has_reserve {
            taken = taken.or_else(|_| usage.reserve.remove_one(now));
        }
        taken.map_err(|retry_in| OverQuota::PerSecond { max: per_second, retry_in })?;
        usage.in_progress += 1;
        Ok(Slot { quotas: self.clone(), identity: identity.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Identity, Usage>> {
        self.0.identities.lock()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(usage) = self.quotas.lock().get_mut(&self.identity) {
            usage.in_progress -= 1;
        }
    }
}

/// Fills with time, at most two seconds' worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    per_second: u64,
    /// In thousandths.
    level: u64,
    at: Timestamp,
}

impl Bucket {
    fn full(per_second: u64, now: Timestamp) -> Self {
        Self { per_second, level: Self::capacity(per_second), at: now }
    }

    fn capacity(per_second: u64) -> u64 {
        per_second.saturating_mul(2 * CHANGE)
    }

    /// A thousandth a millisecond for each change a second.
    fn level_at(&self, now: Timestamp) -> u64 {
        let filled = (now - self.at).0.saturating_mul(self.per_second);
        self.level.saturating_add(filled).min(Self::capacity(self.per_second))
    }

    fn is_full(&self, now: Timestamp) -> bool {
        self.level_at(now) == Self::capacity(self.per_second)
    }

    /// Removes one change, or says when there is one.
    fn remove_one(&mut self, now: Timestamp) -> Result<(), Millis> {
        let level = self.level_at(now);
        let Some(rest) = level.checked_sub(CHANGE) else {
            return Err(Millis((CHANGE - level).div_ceil(self.per_second)));
        };
        (self.level, self.at) = (rest, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(name: &str) -> Identity {
        Identity::Operator(name.parse().expect("a name"), trimaran_model::id::OperatorRole::Operator)
    }

    #[test]
    fn changes_in_progress_are_bounded_and_what_undoes_them_passes() {
        let quotas = Quotas::new(1_000_000);
        let (ci, other, now) = (operator("ci"), operator("kana"), Timestamp(1));
        let begin = |who: &Identity, has_reserve| quotas.begin(who, has_reserve, now);
        let mut slots: Vec<Slot> =
            (0..CHANGES_IN_PROGRESS_MAX).map(|_| begin(&ci, false).expect("a slot")).collect();
        let over = begin(&ci, false).expect_err("the last one is used");
        assert_eq!(over, OverQuota::InProgress { max: CHANGES_IN_PROGRESS_MAX });
        drop(begin(&other, false).expect("no one else is concerned"));
        for _ in 0..CHANGES_IN_PROGRESS_RESERVED {
            slots.push(begin(&ci, true).expect("the reserve"));
        }
        assert!(begin(&ci, true).is_err(), "the reserve has an end");
        let refusal = over.refusal(&ci);
        assert_eq!(refusal.code, error_code::QUOTA.0);
        assert!(refusal.help.expect("a hint").contains("reserve"));
        slots.clear();
        drop(begin(&ci, false).expect("they are answered"));
    }

    #[test]
    fn changes_per_second_are_bounded_and_the_refusal_says_when_to_retry() {
        let quotas = Quotas::new(10);
        let ci = operator("ci");
        let at = |ms, has_reserve| quotas.begin(&ci, has_reserve, Timestamp(ms)).map(drop);
        for _ in 0..20 {
            at(1000, false).expect("two seconds' worth at once");
        }
        let over = at(1000, false).expect_err("no more");
        assert_eq!(over, OverQuota::PerSecond { max: 10, retry_in: Millis(100) });
        assert!(over.refusal(&ci).help.expect("a hint").contains("in 100 ms"));
        for _ in 0..2 * CHANGES_PER_SECOND_RESERVED {
            at(1000, true).expect("the reserve");
        }
        assert!(at(1000, true).is_err(), "the reserve has an end");
        assert!(at(1099, false).is_err());
        at(1100, false).expect("when it was said");
        assert!(at(1100, false).is_err(), "and one only");
        at(9000, false).expect("later");
        assert_eq!(quotas.lock().len(), 1);
        drop(quotas.begin(&operator("kana"), false, Timestamp(60_000)));
        assert_eq!(quotas.lock().len(), 1, "those who rest are forgotten");
    }
}
