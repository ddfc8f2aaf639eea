//! Two drivers as one, and their platforms likewise: how one agent drives several platforms.
//!
//! One executor over a sum of drivers is simpler than an executor for each: the journal stays one file with one order of
//! writes, fences of installations and the lease stay in one place, and an installation whose target moves to another
//! platform is superseded like any other. Sums nest: `Both<A, Both<B, C>>` drives three.
//!
//! Invariant: a call, a watch and a phase stay on the side that made them. A phase that a later order of the other side
//! finds is dropped: it speaks of another platform.

use either::Either::{self, Left, Right};
use trimaran_model::assignment::Assignment;
use trimaran_model::target::Target;
use trimaran_model::time::Timestamp;
use trimaran_wire::codec::CodecError;

use crate::driver::{Driver, Effect, EffectOf, Found, FoundOf, Handover, Input, Journaled};
use crate::lease::Permit;
use crate::platform::{
    Answer, Connect, JudgmentSink, PartSink, Platform, PlatformError, Question, SnapshotSink, Standing,
};

/// An order is for the first that accepts it; the second gets what is left.
#[derive(Debug, Clone, Copy, Default)]
pub struct Both<A, B> {
    pub first: A,
    pub second: B,
}

impl<A, B> Driver for Both<A, B>
where
    A: Driver,
    B: Driver<Order = A::Order, Progress = A::Progress>,
{
    type Order = A::Order;
    type Phase = Either<A::Phase, B::Phase>;
    type Call = Either<A::Call, B::Call>;
    type Reply = Either<A::Reply, B::Reply>;
    type Snapshot = Either<A::Snapshot, B::Snapshot>;
    type Query = Either<A::Query, B::Query>;
    type Progress = A::Progress;

    fn begin(
        &self,
        now: Timestamp,
        order: &Self::Order,
        found: Option<FoundOf<Self>>,
        out: &mut Vec<EffectOf<Self>>,
    ) -> Self::Phase {
        if self.first.accepts(order) {
            let found = found.and_then(|found| one_side(found, Either::left));
            let mut effects = Vec::new();
            let phase = self.first.begin(now, order, found, &mut effects);
            out.extend(effects.into_iter().map(left::<A, B>));
            Left(phase)
        } else {
            let found = found.and_then(|found| one_side(found, Either::right));
            let mut effects = Vec::new();
            let phase = self.second.begin(now, order, found, &mut effects);
            out.extend(effects.into_iter().map(right::<A, B>));
            Right(phase)
        }
    }

    fn step(
        &self,
        phase: &mut Self::Phase,
        now: Timestamp,
        input: Input<Self::Reply, Self::Snapshot>,
        out: &mut Vec<EffectOf<Self>>,
    ) {
        match phase {
            Left(phase) => {
                let mut effects = Vec::new();
                self.first.step(phase, now, sided(input, Either::left, Either::left), &mut effects);
                out.extend(effects.into_iter().map(left::<A, B>));
            }
            Right(phase) => {
                let mut effects = Vec::new();
                self.second.step(phase, now, sided(input, Either::right, Either::right), &mut effects);
                out.extend(effects.into_iter().map(right::<A, B>));
            }
        }
    }

    fn accepts(&self, order: &Self::Order) -> bool {
        self.first.accepts(order) || self.second.accepts(order)
    }

    fn handover(&self, phase: &Self::Phase, next: &Self::Order) -> Handover {
        match (phase, self.first.accepts(next)) {
            (Left(phase), true) => self.first.handover(phase, next),
            (Right(phase), false) => self.second.handover(phase, next),
            // The other side can't go on from the middle of a change.
            (Left(_), false) | (Right(_), true) => Handover::AfterChange,
        }
    }
}

fn left<A, B>(effect: EffectOf<A>) -> EffectOf<Both<A, B>>
where
    A: Driver,
    B: Driver<Order = A::Order, Progress = A::Progress>,
{
    Effect::map(effect, Left, Left)
}

fn right<A, B>(effect: EffectOf<B>) -> EffectOf<Both<A, B>>
where
    A: Driver,
    B: Driver<Order = A::Order, Progress = A::Progress>,
{
    Effect::map(effect, Right, Right)
}

/// What one side finds; nothing when the phase is of the other one.
fn one_side<O, P, Q>(found: Found<O, P>, side: impl Fn(P) -> Option<Q>) -> Option<Found<O, Q>> {
    match found {
        Found::Resumed(phase) => Some(Found::Resumed(side(phase)?)),
        Found::Superseded { order, phase } => Some(Found::Superseded { order, phase: side(phase)? }),
    }
}

/// An input for the side that it is of.
fn sided<R, S, R2, S2>(
    input: Input<R, S>,
    reply: impl Fn(R) -> Option<R2>,
    snapshot: impl Fn(S) -> Option<S2>,
) -> Input<R2, S2> {
    match input {
        Input::Reply(id, it) => {
            Input::Reply(id, reply(it).expect("the platform of the side that called answers"))
        }
        Input::Observed(it) => {
            Input::Observed(snapshot(it).expect("the platform of the side that watches shows"))
        }
        Input::Lost(id) => Input::Lost(id),
        Input::Unmade(id) => Input::Unmade(id),
        Input::Due => Input::Due,
        Input::Abort(reason) => Input::Abort(reason),
        Input::LeaseLost => Input::LeaseLost,
        Input::LeaseBack => Input::LeaseBack,
        Input::Committed(n) => Input::Committed(n),
    }
}

impl<A, B> Journaled for Both<A, B>
where
    A: Journaled<Order = Assignment>,
    B: Journaled<Order = Assignment, Progress = A::Progress>,
{
    fn save(&self, phase: &Self::Phase) -> Vec<u8> {
        match phase {
            Left(phase) => self.first.save(phase),
            Right(phase) => self.second.save(phase),
        }
    }

    fn load(&self, order: &Assignment, bytes: &[u8]) -> Result<Self::Phase, CodecError> {
        if self.first.accepts(order) {
            self.first.load(order, bytes).map(Left)
        } else {
            self.second.load(order, bytes).map(Right)
        }
    }
}

/// A snapshot sink of one side.
struct SideSink<K, F> {
    sink: K,
    side: F,
}

impl<K: Clone, F: Clone> Clone for SideSink<K, F> {
    fn clone(&self) -> Self {
        Self { sink: self.sink.clone(), side: self.side.clone() }
    }
}

impl<S, T, K, F> SnapshotSink<S> for SideSink<K, F>
where
    K: SnapshotSink<T>,
    F: Fn(S) -> T + Clone + Send + Sync + 'static,
{
    fn show(&self, key: &str, snapshot: S) {
        self.sink.show(key, (self.side)(snapshot));
    }
}

/// The platform of a target is of one side. A call or watch of the other one is of a time before the target moved to
/// another platform: it is not made, and shows nothing.
impl<A, B, P, Q> Platform<Both<A, B>> for Either<P, Q>
where
    A: Driver<Call: Send, Reply: Send, Query: Send, Snapshot: 'static> + 'static,
    B: Driver<
            Order = A::Order,
            Progress = A::Progress,
            Call: Send,
            Reply: Send,
            Query: Send,
            Snapshot: 'static,
        > + 'static,
    P: Platform<A>,
    Q: Platform<B>,
{
    async fn call(
        &self,
        call: Either<A::Call, B::Call>,
        permit: Permit,
    ) -> Answer<Either<A::Reply, B::Reply>> {
        match (self, call) {
            (Left(platform), Left(call)) => platform.call(call, permit).await.map(Left),
            (Right(platform), Right(call)) => platform.call(call, permit).await.map(Right),
            (Left(_), Right(_)) | (Right(_), Left(_)) => Answer::Unmade,
        }
    }

    async fn watch(
        &self,
        query: Either<A::Query, B::Query>,
        sink: impl SnapshotSink<Either<A::Snapshot, B::Snapshot>>,
    ) {
        match (self, query) {
            (Left(platform), Left(query)) => platform.watch(query, SideSink { sink, side: Left }).await,
            (Right(platform), Right(query)) => platform.watch(query, SideSink { sink, side: Right }).await,
            (Left(_), Right(_)) | (Right(_), Left(_)) => std::future::pending().await,
        }
    }

    async fn observe(&self, standing: Standing, sink: impl JudgmentSink) {
        match self {
            Left(platform) => platform.observe(standing, sink).await,
            Right(platform) => platform.observe(standing, sink).await,
        }
    }

    async fn query(&self, question: Question, answer: impl PartSink) -> Result<(), PlatformError> {
        match self {
            Left(platform) => platform.query(question, answer).await,
            Right(platform) => platform.query(question, answer).await,
        }
    }
}

impl<A, B, P, Q> Connect<Both<A, B>> for (P, Q)
where
    A: Driver,
    B: Driver<Order = A::Order, Progress = A::Progress>,
    P: Connect<A>,
    Q: Connect<B>,
    Either<P::Platform, Q::Platform>: Platform<Both<A, B>>,
{
    type Platform = Either<P::Platform, Q::Platform>;

    fn connect(&self, target: &Target) -> Option<Result<Self::Platform, PlatformError>> {
        match self.0.connect(target) {
            Some(platform) => Some(platform.map(Left)),
            None => Some(self.1.connect(target)?.map(Right)),
        }
    }
}
