//! The transport over QUIC (RFC 9000): endpoint, handshakes, sessions and streams.

mod connection;
pub mod endpoint;
mod handshake;
pub mod limits;
mod server_tls;
pub mod session;
mod stray_packets;
pub mod streams;
pub mod tls;
