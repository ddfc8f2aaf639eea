//! Defects that can be switched on, so that the tests that must find them are themselves tested.
//!
//! Compiled only with the feature `mutants`, which no binary enables. A mutant is set for one thread.

use std::cell::Cell;

/// A defect, named by what goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A failed release is followed by the one that ran last, baked or not.
    BackToUnbaked,
    /// An installation may have two live assignments.
    TwoAssignments,
    /// A new assignment gets the fence of the last one.
    SameFence,
    /// The end of a run does not wake the runs that wait behind it.
    NoWakeAfterRun,
    /// A request id is forgotten at once.
    ForgetRequests,
    /// An approval is taken after its time.
    LateApproval,
    /// The hosts that failed before a new order are forgotten.
    ForgetFailures,
    /// Settling a run panics when it is to be canceled.
    PanicInSettle,
    /// Asking for a rollback panics after it changed the state.
    PanicInCommand,
}

impl Mutant {
    pub const ALL: [Self; 9] = [
        Self::BackToUnbaked,
        Self::TwoAssignments,
        Self::SameFence,
        Self::NoWakeAfterRun,
        Self::ForgetRequests,
        Self::LateApproval,
        Self::ForgetFailures,
        Self::PanicInSettle,
        Self::PanicInCommand,
    ];

    /// As `--mutant` spells it: `back_to_unbaked`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BackToUnbaked => "back_to_unbaked",
            Self::TwoAssignments => "two_assignments",
            Self::SameFence => "same_fence",
            Self::NoWakeAfterRun => "no_wake_after_run",
            Self::ForgetRequests => "forget_requests",
            Self::LateApproval => "late_approval",
            Self::ForgetFailures => "forget_failures",
            Self::PanicInSettle => "panic_in_settle",
            Self::PanicInCommand => "panic_in_command",
        }
    }
}

thread_local! {
    static SET: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Switches a defect on for this thread, or all off.
pub fn set(mutant: Option<Mutant>) {
    SET.set(mutant);
}

/// Whether a defect is on.
pub(crate) fn is(mutant: Mutant) -> bool {
    SET.get() == Some(mutant)
}
