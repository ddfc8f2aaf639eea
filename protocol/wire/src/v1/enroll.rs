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
    /// A coordinator becomes a member.
    Join(JoinRequest),
}

/// What a coordinator brings that joins.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JoinRequest {
    /// The token's text.
    pub token: String,
    /// Signing requests (DER) of its own key and of its issuing key.
    pub csr: Vec<u8>,
    pub issuer_csr: Vec<u8>,
    /// Random, and bound to each other for ever.
    pub raft_id: u64,
    pub disk_id: [u8; 16],
    /// Where others dial it, `HOST:PORT`.
    pub address: String,
    /// The lowest and the highest feature level that its build supports.
    pub levels: (u16, u16),
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
        /// Of a runner: its agent, and it dials no other one.
        agent: Option<String>,
    },
    Refused {
        code: u16,
        message: String,
    },
    Joined(Joined),
}

/// What a coordinator starts with that joined.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Joined {
    /// The root certificate, PEM.
    pub ca: String,
    /// The chain of its own issuing key, PEM.
    pub issuer: String,
    pub cluster_id: [u8; 16],
    /// The members by raft id, itself among the learners.
    pub voters: Vec<u64>,
    pub learners: Vec<u64>,
}

impl Message for EnrollReply {
    const KIND: u16 = kind::ENROLL_REPLY;
    const VERSION: u16 = 1;
}
