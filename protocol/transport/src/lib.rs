//! Sessions, streams and identities over QUIC: who may talk to whom, and how frames cross the network.
//!
//! A process binds one [`Endpoint`]: one UDP socket that serves the ALPNs its role serves and dials the
//! others. A [`Session`] is one verified connection; it carries streams of [`trimaran_wire::frame::Frame`]s,
//! whose bodies are opaque here.
//!
//! Architecture invariants:
//! - the only user of quinn and rustls (besides HTTP clients); aws-lc-rs is the only cryptography;
//! - a session reaches the caller only after its certificate chain, cluster, validity, role and revocation
//!   were checked; nothing an unverified peer sent is read before that;
//! - certificates are judged by the clock that the caller passes in, never by the system's;
//! - every buffer has a bound; a frame's length is checked before anything is allocated.
//!
//! Deliberately not here: the meaning of frames (`trimaran-wire`), who may do what (`authorize` of the
//! coordinator), when a token is spent and which certificates are revoked (replicated state), and when to
//! reconnect (callers; [`backoff`] computes the delay).
//!
//! Names: [`authority`] makes certificates, [`trust`] judges them, [`enroll`] holds what passes between a
//! newcomer and a coordinator, [`files`] is the identity directory, [`CertificateStore`] the certificate in
//! use, which can be replaced while connections run.
//!
//! In use: [`files::load_identity`], [`CertificateStore::new`] and [`Trust::from_pem`] give an
//! [`EndpointConfig`]; [`Endpoint::bind`] starts to accept; [`Endpoint::accept`] and [`Endpoint::connect`] give
//! sessions; [`Session::request_one`] asks, [`Session::accept_stream`] serves. A program that ends calls
//! [`Endpoint::shutdown`], so that the other sides are notified.
#![forbid(unsafe_code)]

pub mod alpn;
pub mod backoff;
pub mod close;
pub mod counters;
pub mod pki;
pub mod quic;
pub mod random;

pub use alpn::{Alpn, Role};
pub use close::{CloseCode, CloseReason};
pub use counters::{Counters, Refused};
pub use pki::certificate_store::CertificateStore;
pub use pki::identity::CertificateInfo;
pub use pki::revoked_keys::RevokedKeys;
pub use pki::trust::Trust;
pub use pki::{authority, enroll, files};
pub use quic::endpoint::{BindError, ConnectError, Endpoint, EndpointConfig};
pub use quic::limits::EndpointLimits;
pub use quic::session::{RequestError, Session};
pub use quic::streams::{FrameReceiver, FrameSender, RecvError, SendError};
pub use quic::tls::{Clock, Revoked};

/// Installs aws-lc-rs as the process's cryptography. Each `main` calls it first; a repetition does nothing.
///
/// Libraries that look for the process default (HTTP clients) would otherwise panic at their first use.
pub fn install_crypto_provider() {
    // An error means that a provider is installed already, and aws-lc-rs is the only one compiled in.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}
