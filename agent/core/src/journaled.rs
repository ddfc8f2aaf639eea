//! Drivers whose phases survive a crash.

use trimaran_wire::codec::CodecError;

use crate::driver::Driver;

/// A driver that can write its phase down and read it back.
pub trait Journaled: Driver {
    /// The phase as bytes in an envelope of `trimaran_wire`. What the order says need not be in it.
    fn save(&self, phase: &Self::Phase) -> Vec<u8>;

    /// Reads what [`Journaled::save`] wrote for the same order.
    fn load(&self, order: &Self::Order, bytes: &[u8]) -> Result<Self::Phase, CodecError>;
}
