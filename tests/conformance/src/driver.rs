//! One conformance suite for every driver.
//!
//! A [`Model`] is a driver with a platform in memory. [`check`] runs its order without a fault to count what happens,
//! and then again and again with one fault or two: a crash at each persist and call, with and without the loss of the
//! journal; each reply dropped, delayed and repeated; the lease lost at each point and back later; the order canceled
//! at each point; superseded at each point, with a crash at each point after it.
//!
//! What must hold in every run, besides what the model itself demands of the end:
//! - a call that changes something is made after the phase that names it is durable;
//! - a call that needs the lease is unguarded, and none is asked for without a lease;
//! - nothing that had its effect is done a second time;
//! - after an abort nothing new is started, and the driver is done;
//! - whatever was committed or persisted is known to whoever continues.
//!
//! [`check`] has a runner of its own, so that a driver is judged by the contract and not by one implementation of it;
//! [`agent::check`] plays the same through the real executor, which is judged with it.
//!
//! Deliberately not here: the worker of a host, which has tests of its own.

pub mod agent;
pub mod assigned;
pub mod fleet;
pub mod flink;
pub mod host;
pub mod job;
pub mod kubernetes;
mod run;
pub mod samples;

use trimaran_agent_core::driver::{Driver, EffectOf, Found};
use trimaran_model::action::{Commit, Outcome};
use trimaran_model::time::{Millis, Timestamp};

pub use run::{Fault, Faults, Finished, play};

/// Which of the two orders of a run: the second supersedes the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    First,
    Second,
}

/// A driver with a platform in memory. The platform outlives crashes of the driver.
pub trait Model {
    type Driver: Driver<Reply: Clone>;

    fn driver(&self) -> &Self::Driver;

    /// An order, with the last commit that is in the log.
    fn order(&self, which: Which, committed: Option<Commit>) -> <Self::Driver as Driver>::Order;

    fn save(&self, phase: &<Self::Driver as Driver>::Phase) -> Vec<u8>;

    fn load(&self, order: &<Self::Driver as Driver>::Order, bytes: &[u8]) -> <Self::Driver as Driver>::Phase;

    /// Bytes of a phase are durable now.
    fn persisted(&mut self, _phase: &<Self::Driver as Driver>::Phase) {}

    /// Performs a call; an error is a violation, such as an effect that was there already.
    fn call(
        &mut self,
        now: Timestamp,
        which: Which,
        call: <Self::Driver as Driver>::Call,
    ) -> Result<(<Self::Driver as Driver>::Reply, Millis), String>;

    fn watch(&mut self, query: <Self::Driver as Driver>::Query);

    /// What a watch shows at `now` and was not shown before; after a crash everything.
    fn observations(&mut self, now: Timestamp) -> Vec<<Self::Driver as Driver>::Snapshot>;

    /// When the platform changes next.
    fn next_change(&self, now: Timestamp) -> Option<Timestamp>;

    /// The driver crashed: watches are gone.
    fn crashed(&mut self);

    /// What the platform itself shows of the phase when the journal is lost.
    fn found_without_journal(&mut self) -> Option<<Self::Driver as Driver>::Phase> {
        None
    }

    /// Whether the durable phase names what the call changes; true for a call that changes nothing.
    fn is_covered(
        &self,
        durable: Option<&<Self::Driver as Driver>::Phase>,
        call: &<Self::Driver as Driver>::Call,
    ) -> bool;

    /// Whether only a lease keeps the call from harm.
    fn needs_lease(&self, call: &<Self::Driver as Driver>::Call) -> bool;

    /// Whether the call starts something new, which an aborted order must not.
    fn starts(&self, call: &<Self::Driver as Driver>::Call) -> bool;

    /// A driver that never ends on its own is over when this holds.
    fn is_settled(&self, _phase: &<Self::Driver as Driver>::Phase) -> bool {
        false
    }

    /// Whether a user's cancel is one of this driver's inputs.
    fn can_cancel(&self) -> bool {
        true
    }

    /// What must be true at the end, and of the phase that the driver ended with.
    fn verify(&self, finished: &Finished, phase: &<Self::Driver as Driver>::Phase) -> Result<(), String>;
}

/// The phase that a driver of a model finds.
pub(crate) type FoundIn<M> =
    Found<<<M as Model>::Driver as Driver>::Order, <<M as Model>::Driver as Driver>::Phase>;

pub(crate) type EffectIn<M> = EffectOf<<M as Model>::Driver>;

/// How much a suite tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// Persists and calls of the order without a fault, before and behind each.
    pub points: u64,
    pub calls: u64,
    pub runs: u64,
}

/// Runs everything; the first violation with the faults that lead to it.
pub fn check<M: Model>(make: impl Fn() -> M) -> Result<Tried, String> {
    try_all(make, run::play)
}

/// Plays an order without a fault, and then with each.
fn try_all<M: Model>(
    make: impl Fn() -> M,
    play: impl Fn(M, &Faults) -> Result<Finished, String>,
) -> Result<Tried, String> {
    let mut runs = 0;
    let mut play = |faults: Faults| {
        runs += 1;
        play(make(), &faults).map_err(|why| format!("{faults:?}: {why}"))
    };
    let quiet = play(Faults::default())?;
    if quiet.outcome != Some(Outcome::Done) && quiet.outcome.is_some() {
        return Err(format!("without a fault it ends with {:?}", quiet.outcome));
    }
    let (points, calls) = (quiet.points, quiet.calls);
    let both = [false, true];
    for at in 1..=points {
        for lose_journal in both {
            play(Faults { crash: Some((at, lose_journal)), ..Faults::default() })?;
        }
        for back_after in [Millis::seconds(1), Millis::seconds(30)] {
            play(Faults { lease_lost: Some((at, back_after)), ..Faults::default() })?;
        }
        if make().can_cancel() {
            play(Faults { cancel: Some(at), ..Faults::default() })?;
        }
    }
    for at in 1..=calls {
        for fault in [Fault::Dropped, Fault::Delayed(Millis::seconds(3)), Fault::Repeated(Millis(700))] {
            play(Faults { reply: Some((at, fault)), ..Faults::default() })?;
            // And the process dies while it waits for that answer.
            play(Faults { reply: Some((at, fault)), crash: Some((2 * at + 1, false)), ..Faults::default() })?;
        }
    }
    for at in 1..=points {
        let both_orders = play(Faults { supersede: Some(at), ..Faults::default() })?.points;
        for crash in at..=both_orders {
            for lose_journal in both {
                play(Faults {
                    supersede: Some(at),
                    crash: Some((crash, lose_journal)),
                    ..Faults::default()
                })?;
            }
        }
    }
    Ok(Tried { points, calls, runs })
}
