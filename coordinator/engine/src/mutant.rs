//! Defects of the engine that can be switched on for the tests that must find them.

trimaran_model::mutants! {
    /// A failed release is followed by the one that ran last, baked or not.
    BackToUnbaked = "back_to_unbaked",
    /// An installation may have two live assignments.
    TwoAssignments = "two_assignments",
    /// A new assignment gets the fence of the last one.
    SameFence = "same_fence",
    /// The end of a run does not wake the runs that wait behind it.
    NoWakeAfterRun = "no_wake_after_run",
    /// A request id is forgotten at once.
    ForgetRequests = "forget_requests",
    /// A request id is forgotten once it is older than a moment.
    ForgetSoon = "forget_soon",
    /// What is due at this very moment is left for the next one.
    TimerLate = "timer_late",
    /// An approval is taken after its time.
    LateApproval = "late_approval",
    /// The hosts that failed before a new order are forgotten.
    ForgetFailures = "forget_failures",
    /// An agent is served whatever it has seen of later incarnations of the cluster.
    ServeLaterIncarnation = "serve_later_incarnation",
    /// An incarnation of an agent that was followed by another one attaches again.
    ServeSuperseded = "serve_superseded",
    /// An agent is served by a cluster that only observes.
    ServeWhileObserving = "serve_while_observing",
    /// Settling a run panics when it is to be canceled.
    PanicInSettle = "panic_in_settle",
    /// Asking for a rollback panics after it changed the state.
    PanicInCommand = "panic_in_command",
}
