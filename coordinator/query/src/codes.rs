//! A switch for tests: while it is on, every sentence of this thread is its code alone. What the state stores and hashes
//! must be the same then, and whatever is shown another text.
//!
//! Compiled only with the feature `codes`, which no binary of the product enables.

use std::cell::Cell;

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
}

/// Does something with codes for sentences.
pub fn instead_of_sentences<T>(work: impl FnOnce() -> T) -> T {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            ON.set(false);
        }
    }
    ON.set(true);
    let _off = Off;
    work()
}

pub(crate) fn is_on() -> bool {
    ON.get()
}
