//! The application protocols and the roles that speak them.

use trimaran_model::id::Identity;
use trimaran_model::limits;

/// What a certificate makes of its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Coordinator,
    Agent,
    Runner,
    Operator,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Coordinator, Self::Agent, Self::Runner, Self::Operator];

    /// As written in certificates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Agent => "agent",
            Self::Runner => "runner",
            Self::Operator => "operator",
        }
    }

    /// The role of an identity; Trimaran itself has none and never a certificate.
    pub fn of(identity: &Identity) -> Option<Self> {
        match identity {
            Identity::System => None,
            Identity::Coordinator(_) => Some(Self::Coordinator),
            Identity::Agent(_) => Some(Self::Agent),
            Identity::Runner(_) => Some(Self::Runner),
            Identity::Operator(..) => Some(Self::Operator),
        }
    }
}

/// `trimaran-{peer,agent,runner,operator,enroll}/1` (INTERFACE 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alpn {
    /// Coordinator to coordinator.
    Peer,
    /// Agent to coordinator.
    Agent,
    /// Runner to agent.
    Runner,
    /// Operator to coordinator; a coordinator that forwards uses [`Alpn::Peer`].
    Operator,
    /// A newcomer, or a holder of an expired certificate, to a coordinator or to a relaying agent.
    Enroll,
}

impl Alpn {
    pub const ALL: [Self; 5] = [Self::Peer, Self::Agent, Self::Runner, Self::Operator, Self::Enroll];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Peer => "trimaran-peer/1",
            Self::Agent => "trimaran-agent/1",
            Self::Runner => "trimaran-runner/1",
            Self::Operator => "trimaran-operator/1",
            Self::Enroll => "trimaran-enroll/1",
        }
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|alpn| alpn.as_str().as_bytes() == bytes)
    }

    /// The role that a client's certificate must have; `None`: no certificate is asked for.
    pub fn client_role(self) -> Option<Role> {
        match self {
            Self::Peer => Some(Role::Coordinator),
            Self::Agent => Some(Role::Agent),
            Self::Runner => Some(Role::Runner),
            Self::Operator => Some(Role::Operator),
            Self::Enroll => None,
        }
    }

    /// The roles that a server's certificate may have.
    pub fn server_roles(self) -> &'static [Role] {
        match self {
            Self::Peer | Self::Agent | Self::Operator => &[Role::Coordinator],
            Self::Runner => &[Role::Agent],
            Self::Enroll => &[Role::Coordinator, Role::Agent],
        }
    }

    /// Largest body of a frame from client to server.
    pub fn request_bytes_max(self) -> usize {
        match self {
            Self::Peer => limits::FRAME_BYTES_MAX,
            Self::Agent => limits::AGENT_FRAME_BYTES_MAX,
            Self::Runner => limits::RUNNER_FRAME_BYTES_MAX,
            Self::Operator => limits::OPERATOR_REQUEST_BYTES_MAX,
            Self::Enroll => limits::ENROLL_FRAME_BYTES_MAX,
        }
    }

    /// Largest body of a frame from server to client.
    pub fn reply_bytes_max(self) -> usize {
        match self {
            Self::Operator => limits::OPERATOR_REPLY_BYTES_MAX,
            Self::Peer | Self::Agent | Self::Runner | Self::Enroll => self.request_bytes_max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_reads_back_what_it_prints() {
        for alpn in Alpn::ALL {
            assert_eq!(Alpn::from_bytes(alpn.as_str().as_bytes()), Some(alpn));
        }
        for other in ["", "h3", "trimaran-peer", "trimaran-peer/2", "trimaran-peer/1 "] {
            assert_eq!(Alpn::from_bytes(other.as_bytes()), None, "{other}");
        }
    }
}
