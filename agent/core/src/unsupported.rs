//! What an agent does with orders that it has no driver for: it ends them at once with a fault that says so, so that the
//! stage pauses with a reason and a newer agent can take it up.

use std::convert::Infallible;

use trimaran_model::action::{Failure, Outcome, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::{PlatformKind, Target};
use trimaran_model::time::Timestamp;
use trimaran_wire::codec::CodecError;

use crate::driver::{Driver, Effect, EffectOf, FoundOf, Input, Journaled};
use crate::lease::Permit;
use crate::platform::{
    Answer, Connect, JudgmentSink, PartSink, Platform, PlatformError, Question, SnapshotSink, Standing,
};

/// The last of an agent's drivers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unsupported;

/// The words for a platform without a driver.
fn why(platform: PlatformKind) -> String {
    format!("this agent has no driver for workloads of `{}`", platform.as_str())
}

impl Driver for Unsupported {
    type Order = Assignment;
    /// It ends where it begins: nothing of it is ever written down.
    type Phase = ();
    type Call = Infallible;
    type Reply = Infallible;
    type Snapshot = Infallible;
    type Query = Infallible;
    type Progress = Progress;

    fn begin(
        &self,
        _: Timestamp,
        order: &Assignment,
        _: Option<FoundOf<Self>>,
        out: &mut Vec<EffectOf<Self>>,
    ) {
        let failure =
            Failure { code: ReasonCode::UnsupportedWorkload, message: why(order.platform), instance: None };
        out.push(Effect::Done(Outcome::Fault(failure)));
    }

    fn step(&self, (): &mut (), _: Timestamp, _: Input<Infallible, Infallible>, _: &mut Vec<EffectOf<Self>>) {
    }
}

impl Journaled for Unsupported {
    fn save(&self, (): &()) -> Vec<u8> {
        Vec::new()
    }

    /// Also bytes of a driver that an agent of another version had: what it left is not understood, and not touched.
    fn load(&self, _: &Assignment, _: &[u8]) -> Result<(), CodecError> {
        Ok(())
    }
}

/// A target that nothing drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPlatform(PlatformKind);

impl Platform<Unsupported> for NoPlatform {
    async fn call(&self, call: Infallible, _: Permit) -> Answer<Infallible> {
        match call {}
    }

    async fn watch(&self, query: Infallible, _: impl SnapshotSink<Infallible>) {
        match query {}
    }

    /// It sees nothing and says nothing.
    async fn observe(&self, _: Standing, _: impl JudgmentSink) {
        std::future::pending().await
    }

    async fn query(&self, _: Question, _: impl PartSink) -> Result<(), PlatformError> {
        Err(PlatformError { code: ReasonCode::UnsupportedWorkload, message: why(self.0) })
    }
}

impl Connect<Unsupported> for Unsupported {
    type Platform = NoPlatform;

    fn connect(&self, target: &Target) -> Option<Result<NoPlatform, PlatformError>> {
        Some(Ok(NoPlatform(target.platform.kind())))
    }
}
