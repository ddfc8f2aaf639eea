//! A change that happens whole or not at all: what a refused command, one that ran into a defect, or one that made a
//! row too large did is undone.

use std::panic::{AssertUnwindSafe, catch_unwind};

use trimaran_model::limits::ROW_BYTES_MAX;

use crate::state::State;

/// Why a change was undone.
#[derive(Debug)]
pub(crate) enum Undone<E> {
    Refused(E),
    /// A row of this table would be larger than `limits::ROW_BYTES_MAX`.
    TooLarge {
        table: u8,
        bytes: usize,
    },
    /// A defect. What it printed is in the process's log.
    Panicked,
}

/// Runs `change`; an error, a panic or a row that is too large leaves the state as it was.
pub(crate) fn attempt<T, E>(
    state: &mut State,
    change: impl FnOnce(&mut State) -> Result<T, E>,
) -> Result<T, Undone<E>> {
    state.begin();
    let (cold, events) = (state.cold.len(), state.events.len());
    let undone = match catch_unwind(AssertUnwindSafe(|| change(state))) {
        Ok(Ok(done)) => match too_large(state, cold) {
            None => return Ok(done),
            Some((table, bytes)) => Undone::TooLarge { table, bytes },
        },
        Ok(Err(refused)) => Undone::Refused(refused),
        Err(_) => Undone::Panicked,
    };
    state.undo();
    state.cold.truncate(cold);
    state.events.truncate(events);
    Err(undone)
}

/// The table and size of a row that is too large, hot or cold.
fn too_large(state: &mut State, cold_before: usize) -> Option<(u8, usize)> {
    let cold = state.cold[cold_before..].iter().find_map(|(key, value)| {
        let bytes = value.as_ref().map_or(0, Vec::len);
        (bytes > ROW_BYTES_MAX).then(|| (key[0], bytes))
    });
    cold.or_else(|| state.too_large(ROW_BYTES_MAX))
}
