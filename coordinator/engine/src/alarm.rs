//! Alarms that the state itself raises. Members add their own (`disk_low`).

/// The member of alarms that concern all of them.
pub(crate) const CLUSTER: &str = "cluster";
/// A defect stopped a command, a timer or a run.
pub(crate) const BUG: &str = "bug";
/// The wall clock jumped.
pub(crate) const CLOCK_JUMP: &str = "clock_jump";
