//! The seam between decisions and platforms.
//!
//! A [`Driver`] is the decision: one step of one installation (or of one host) as a state machine that does
//! no I/O. Whoever runs it owns journal, clock, retries, lease and the loop, and performs its effects in
//! order.
//!
//! Invariants that every runner of a driver keeps and the conformance suite checks:
//! - [`Effect::Persist`] means that nothing that follows it in `out` happens before the phase is fsynced.
//! - An [`Effect::Call`] with [`Guard::Unguarded`] is made only under a live lease; between `LeaseLost` and
//!   `LeaseBack` a driver asks for none.
//! - After a crash the driver begins with the phase found and observes before it acts.
//! - A superseded order gets `Abort(Fenced)`, comes to a safe point, and its phase is found by the next order.
//! - Every call is answered exactly once: by a reply, by `Lost` when its answer can't come any more, or by
//!   `Unmade` when it was not made.

use trimaran_model::action::Outcome;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_wire::codec::CodecError;

/// The decisions of one platform as a state machine without I/O.
pub trait Driver {
    /// What is asked for.
    type Order;
    /// What survives a crash; converted to and from a frozen struct of `trimaran_wire` by its crate.
    type Phase: Clone;
    type Call;
    type Reply;
    /// What a watch shows of one key: owned, the whole of it each time, cheap to send (an `Arc` where it is large).
    /// Only the latest of a key counts.
    type Snapshot;
    /// What to watch.
    type Query;
    /// What is reported to whoever sent the order, beside the outcome.
    type Progress;

    /// Starts an order. `found` is what an earlier incarnation or an earlier order left: the driver observes first.
    fn begin(
        &self,
        now: Timestamp,
        order: &Self::Order,
        found: Option<FoundOf<Self>>,
        out: &mut Vec<EffectOf<Self>>,
    ) -> Self::Phase;

    /// Handles one input and advances.
    fn step(
        &self,
        phase: &mut Self::Phase,
        now: Timestamp,
        input: Input<Self::Reply, Self::Snapshot>,
        out: &mut Vec<EffectOf<Self>>,
    );

    /// Whether this driver can do what is ordered. Several drivers of one agent share the orders by this
    /// ([`crate::both::Both`]); a driver alone is never asked.
    fn accepts(&self, _order: &Self::Order) -> bool {
        true
    }

    /// How a later order takes over. Asked when it comes and after each input until it has the phase.
    fn handover(&self, _phase: &Self::Phase, _next: &Self::Order) -> Handover {
        Handover::Now
    }
}

/// How a driver makes way for a later order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// What is being done is what the later order needs first: it is left alone until it is done.
    Later,
    /// By `Abort(Interrupted)`: a change that was begun is finished or reverted first.
    AfterChange,
    /// By `Abort(Fenced)`: the later order continues from the middle of what is being done.
    Now,
}

impl Handover {
    /// The reason with which the driver is asked to make way, when it is.
    pub fn abort_reason(self) -> Option<ReasonCode> {
        match self {
            Self::Later => None,
            Self::AfterChange => Some(ReasonCode::Interrupted),
            Self::Now => Some(ReasonCode::Fenced),
        }
    }
}

/// A driver that can write its phase down and read it back.
pub trait Journaled: Driver {
    /// The phase as bytes in an envelope of `trimaran_wire`. What the order says need not be in it.
    fn save(&self, phase: &Self::Phase) -> Vec<u8>;

    /// Reads what [`Journaled::save`] wrote for the same order.
    fn load(&self, order: &Self::Order, bytes: &[u8]) -> Result<Self::Phase, CodecError>;
}

/// The effects of a driver.
pub type EffectOf<D> = Effect<<D as Driver>::Call, <D as Driver>::Query, <D as Driver>::Progress>;

/// Where an order starts from when it is not the first thing that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<O, P> {
    /// The phase of this order, from before a crash.
    Resumed(P),
    /// An earlier order, which this one superseded at a safe point or at the end of its time, and its phase.
    Superseded { order: O, phase: P },
}

impl<O, P> Found<O, P> {
    pub fn phase(&self) -> &P {
        match self {
            Self::Resumed(phase) | Self::Superseded { phase, .. } => phase,
        }
    }

    pub fn into_phase(self) -> P {
        match self {
            Self::Resumed(phase) | Self::Superseded { phase, .. } => phase,
        }
    }
}

/// What a driver finds.
pub type FoundOf<D> = Found<<D as Driver>::Order, <D as Driver>::Phase>;

/// Numbers the calls of one incarnation of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<R, S> {
    Reply(CallId, R),
    /// The answer of a call can't come any more; whether it had its effect is not known.
    Lost(CallId),
    /// The call was not made, because the lease was lost before it was sent.
    Unmade(CallId),
    Observed(S),
    /// The time of a `WakeAt` has come.
    Due,
    /// Start nothing more, finish or revert what is in flight, then be done with `Stopped`. `Fenced`: a later order
    /// waits, so be done at the next safe point, within `limits::SUPERSEDE_TIMEOUT`; it gets the phase. Comes once,
    /// or as `Fenced` after another reason.
    Abort(ReasonCode),
    LeaseLost,
    LeaseBack,
    /// All commits up to this number are in the log.
    Committed(u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<C, Q, P> {
    Persist,
    Call {
        id: CallId,
        call: C,
        deadline: Millis,
        guard: Guard,
    },
    Watch(Q),
    Report(P),
    /// What must survive the loss of this agent, answered by `Input::Committed`: the coordinators keep the body, in an
    /// envelope of the driver, in the assignment's row, and it comes back with the order. Numbers grow by one from
    /// 1; a later one replaces an unanswered one. Also reports the progress, which they understand.
    Commit {
        n: u32,
        body: Vec<u8>,
        progress: P,
    },
    /// Replaces an earlier `WakeAt`.
    WakeAt(Timestamp),
    /// The last effect of a driver.
    Done(Outcome),
}

impl<C, Q, P> Effect<C, Q, P> {
    /// The same effect of a driver with other calls and queries.
    pub fn map<C2, Q2>(
        self,
        call_of: impl FnOnce(C) -> C2,
        query_of: impl FnOnce(Q) -> Q2,
    ) -> Effect<C2, Q2, P> {
        match self {
            Self::Persist => Effect::Persist,
            Self::Call { id, call, deadline, guard } => {
                Effect::Call { id, call: call_of(call), deadline, guard }
            }
            Self::Watch(query) => Effect::Watch(query_of(query)),
            Self::Report(progress) => Effect::Report(progress),
            Self::Commit { n, body, progress } => Effect::Commit { n, body, progress },
            Self::WakeAt(at) => Effect::WakeAt(at),
            Self::Done(outcome) => Effect::Done(outcome),
        }
    }
}

/// What keeps a repeated or late call from doing harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    Read,
    /// The platform compares fence or version and refuses.
    CompareAndSet,
    /// The platform knows the key and does it once.
    Idempotent(String),
    /// Nothing does: needs a live lease.
    Unguarded,
}
