//! One small process per service, which outlives the runner: it holds the service's output and sees its end.
//!
//! The runner starts `BINARY shim --dir DIR` (the same binary), which leaves the runner's session and
//! parentage, starts the service and stays. Everything that the service starts falls to the shim, so `stop`
//! reaches all of it. State, lock and control socket are in DIR; a later process of the runner finds out there,
//! and from the process table, what is true.
//!
//! Invariant: while a service of DIR is being started, runs or is being ended by its shim, the lock of DIR is
//! held. It is taken by the runner before the start and handed over, so there is no moment without it.
//!
//! A service manager that ends the runner must end it alone (systemd: `KillMode=process`), otherwise it ends the
//! services too.
//!
//! Deliberately not here: when to restart a service, and health.

mod confine;
mod connections;
mod control;
mod detach;
mod group;
mod handle;
mod launch;
mod lock;
mod output;
mod process;
mod removed;
mod service;
mod signals;
mod spec;
mod start;
mod state;
mod supervisor;
mod sweep;

pub use confine::{Confinement, Credentials, Rlimit};
pub(crate) use confine::{default_rlimits, may_raise_rlimits, own_rlimit};
pub use detach::main;
pub use group::{Controllers, GroupLimits, prepare_groups};
pub use handle::{Attached, Shim, StopError, attach};
pub(crate) use removed::is_shim;
pub use removed::{Removed, removed};
pub(crate) use service::{Seen, Service, inspect};
pub use spec::{BadSpec, OutputPlace, ShimSpec};
pub use start::{OWN_BINARY, StartError, start};
pub(crate) use state::TAIL;
