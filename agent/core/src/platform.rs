//! The seam between the executor's outputs and the outside: what performs calls, watches and queries.
//!
//! Invariants that every platform keeps:
//! - a call asks its [`Permit`] directly before bytes leave, and answers `Unmade` when that does not allow it;
//! - a watch shows what is there at first and then each change, until it is dropped; only the latest snapshot of a
//!   key counts, so a slow reader misses states and never the last one;
//! - a query changes nothing and needs no fence.
//!
//! Deliberately not here: deadlines, concurrency and queues, which whoever drives a platform keeps for each target.

use std::future::Future;

use crate::driver::Driver;
use crate::lease::Permit;

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<R> {
    Reply(R),
    /// Whether it had its effect is not known.
    Lost,
    /// It was not sent.
    Unmade,
}

/// Where a watch puts what it sees.
pub trait SnapshotSink<S>: Send + Sync {
    /// Replaces the snapshot of the same key that was not read yet. A platform that shows the whole at once uses one
    /// key.
    fn show(&self, key: &str, snapshot: S);
}

/// A page of an answer to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// What to ask with for the next page; `None` on the last one.
    pub next: Option<String>,
}

/// The I/O of one driver's platform.
pub trait Platform<D: Driver>: Send + Sync + 'static {
    /// A question without effect: output, a plan, a sealing key.
    type Question: Send;
    type Part: Send;
    type Error: std::error::Error + Send;

    /// Performs one call. May be dropped at its deadline.
    fn call(&self, call: D::Call, permit: Permit) -> impl Future<Output = Answer<D::Reply>> + Send;

    /// Watches until it is dropped.
    fn watch(&self, query: D::Query, sink: impl SnapshotSink<D::Snapshot>)
    -> impl Future<Output = ()> + Send;

    /// Answers one page; `from` is the `next` of the page before.
    fn query(
        &self,
        question: Self::Question,
        from: Option<String>,
    ) -> impl Future<Output = Result<Page<Self::Part>, Self::Error>> + Send;
}
