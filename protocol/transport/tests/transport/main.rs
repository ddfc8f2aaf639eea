//! The transport with real sockets on the loopback device.
//!
//! The clocks of these tests stand at a date of their own, so that a look at the system's clock fails them.

mod certificates;
mod enrollment;
mod garbage;
mod hostile;
mod raw;
mod restart;
mod roles;
mod sessions;
mod world;
