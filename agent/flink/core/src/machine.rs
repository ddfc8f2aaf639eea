//! The machine of one job: deploy, upgrade, rollback, restart and scale as one.
//!
//! It has no script of steps. Whatever happens, the next step follows from three things: the ledger, which says what was
//! begun; what the JobManager shows; and what was prepared. So there is one way to continue after an answer, a crash, the
//! loss of a directory and the takeover by a later order: compare and go on.
//!
//! ```text
//! prepare: cluster, upload, plan, topology, check      the running job is untouched
//! end:     stop with a savepoint, or cancel            committed before the call
//! begin:   run with the id of this attempt             committed before the call, in one with the end of the old job
//! verify:  until the window has judged
//! ```
//!
//! Architecture invariants, checked by the tests of the crate and the conformance suite:
//! - I1: no run is sent while the installation's earlier job may still process a record;
//! - I2: one run at a time may be sent, and it is never sent again once its job was seen;
//! - I3: a state becomes the installation's only when the job that wrote it has ended;
//! - I4: a savepoint is never claimed and never deleted;
//! - I5: who continues uses the same ids, so that two agents at once make one job; and what changes something is sent under
//!   a live lease only, so that an agent that was replaced does not undo what its successor did.
//!
//! An order that failed leaves the job to the next order: the rollback is an order for the earlier release.

mod before;
mod begin;
mod decide;
mod end;
mod phase;
mod prepare;
mod prepared;
mod progress;
mod replace;
mod verify;

use trimaran_agent_core::driver::{Driver, EffectOf, FoundOf, Input, Journaled};
use trimaran_model::action::Progress;
use trimaran_model::assignment::Assignment;
use trimaran_model::target::PlatformKind;
use trimaran_model::time::Timestamp;
use trimaran_wire::codec::CodecError;

use crate::call::{Call, Reply};
use crate::journal::{kept_from_bytes, kept_to_bytes};

pub use phase::Phase;

/// Effects of this driver.
type Effects = Vec<EffectOf<Flink>>;

/// The driver.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flink;

impl Driver for Flink {
    type Order = Assignment;
    type Phase = Phase;
    type Call = Call;
    type Reply = Reply;
    /// A job is asked, never watched: Flink has no watches.
    type Snapshot = ();
    type Query = ();
    type Progress = Progress;

    fn begin(
        &self,
        now: Timestamp,
        order: &Assignment,
        found: Option<FoundOf<Self>>,
        out: &mut Vec<EffectOf<Self>>,
    ) -> Phase {
        Phase::begin(now, order, found, out)
    }

    fn step(
        &self,
        phase: &mut Phase,
        now: Timestamp,
        input: Input<Reply, ()>,
        out: &mut Vec<EffectOf<Self>>,
    ) {
        phase.step(now, input, out);
    }

    fn accepts(&self, order: &Assignment) -> bool {
        order.platform == PlatformKind::Flink
    }
}

impl Journaled for Flink {
    fn save(&self, phase: &Phase) -> Vec<u8> {
        kept_to_bytes(&phase.kept)
    }

    fn load(&self, order: &Assignment, bytes: &[u8]) -> Result<Phase, CodecError> {
        Ok(Phase::new(order.clone(), kept_from_bytes(bytes)?))
    }
}
