//! Enrolment and renewal: one bounded request and its reply on ALPN `trimaran-enroll/1`.
//!
//! An agent relays the requests of its runners unchanged to its coordinator.

use bincode::{Decode, Encode};

use crate::codec::{Message, kind};

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum EnrollRequest {
    /// The token's text and a signing request (DER) made with the new key.
    Token { token: String, csr: Vec<u8> },
    /// The old chain (DER, leaf first) and a signing request made with the same key.
    Renew { chain: Vec<Vec<u8>>, csr: Vec<u8> },
}

impl Message for EnrollRequest {
    const KIND: u16 = kind::ENROLL_REQUEST;
    const VERSION: u16 = 1;
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum EnrollReply {
    Issued {
        /// Leaf and issuing certificates, PEM.
        cert: String,
        /// The root certificate, PEM.
        ca: String,
        cluster: String,
        name: String,
        /// `agent`, `runner`, `operator` or `coordinator`.
        role: String,
        /// The coordinators that an operator or agent may dial, `HOST:PORT`.
        endpoints: Vec<String>,
    },
    Refused {
        code: u16,
        message: String,
    },
}

impl Message for EnrollReply {
    const KIND: u16 = kind::ENROLL_REPLY;
    const VERSION: u16 = 1;
}
