//! A change that happens whole or not at all: what a refused command, or one that ran into a defect, did is undone.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::state::State;

/// Why a change was undone.
#[derive(Debug)]
pub(crate) enum Undone<E> {
    Refused(E),
    /// A defect. What it printed is in the process's log.
    Panicked,
}

/// Runs `change`; an error or a panic leaves the state as it was.
pub(crate) fn attempt<T, E>(
    state: &mut State,
    change: impl FnOnce(&mut State) -> Result<T, E>,
) -> Result<T, Undone<E>> {
    state.begin();
    let marks = (state.cold.len(), state.events.len());
    let undone = match catch_unwind(AssertUnwindSafe(|| change(state))) {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(refused)) => Undone::Refused(refused),
        Err(_) => Undone::Panicked,
    };
    state.take_back();
    state.cold.truncate(marks.0);
    state.events.truncate(marks.1);
    Err(undone)
}
