//! The transport over QUIC (RFC 9000): endpoint, handshakes, sessions and streams.

pub mod endpoint;
mod garbage;
mod handshake;
pub mod limits;
pub mod session;
pub mod streams;
pub mod tls;
