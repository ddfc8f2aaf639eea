//! The transport with real sockets on the loopback device.
//!
//! The clocks of these tests start at a date of their own, so that a use of the system's clock fails them.

mod certificates;
mod enrollment;
mod hostile;
mod raw;
mod restart;
mod roles;
mod sessions;
mod stray_packets;
mod world;
