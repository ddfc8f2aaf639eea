//! What a phase keeps over a crash, and the bytes of it.

use std::collections::BTreeSet;

use trimaran_model::action::Failure;
use trimaran_model::assignment::Assignment;
use trimaran_model::id::HostName;
use trimaran_model::limits::INSTANCES_REPORTED_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::v1::agent_journal::FleetPhase;
use trimaran_wire::v1::common::{name, reason_code};

/// What survives a crash. Everything else the hosts say again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) abort: Option<ReasonCode>,
    /// Hosts that were ordered to execute: in flight until they report again.
    pub(crate) ordered: BTreeSet<HostName>,
    /// Failures of the release in this assignment, one a host, in the order in which they were seen.
    pub(crate) failures: Vec<Failure>,
    /// How often failures were committed: the number of the last commit.
    pub(crate) commits: u32,
    /// The fault of the platform that ends the assignment.
    pub(crate) fault: Option<Failure>,
    /// Hosts that were left behind in this assignment, each with its fault.
    pub(crate) lost: Vec<Failure>,
}

impl Kept {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let Self { abort, ordered, failures, commits, fault, lost } = self;
        FleetPhase {
            abort: abort.map(|code| code.as_str().to_owned()),
            ordered: ordered.iter().map(ToString::to_string).collect(),
            failures: failures.iter().map(Into::into).collect(),
            fault: fault.as_ref().map(Into::into),
            lost: lost.iter().map(Into::into).collect(),
            commits: *commits,
        }
        .to_bytes()
    }

    /// What the coordinators keep: the failures alone, in bounds. Which hosts were ordered the hosts report
    /// themselves.
    pub(crate) fn committed_bytes(&self) -> Vec<u8> {
        let failures = self.failures.iter().take(INSTANCES_REPORTED_MAX);
        let named = |(index, failure): (usize, &Failure)| match index {
            0 => failure.into(),
            _ => (&Failure { message: String::new(), ..failure.clone() }).into(),
        };
        let failures = failures.enumerate().map(named).collect();
        let (commits, ordered, lost) = (self.commits, Vec::new(), Vec::new());
        FleetPhase { abort: None, ordered, failures, fault: None, lost, commits }.to_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let FleetPhase { abort, ordered, failures, fault, lost, commits } = FleetPhase::from_bytes(bytes)?;
        Ok(Self {
            abort: abort.as_deref().map(reason_code).transpose()?,
            ordered: ordered.iter().map(|host| name(host)).collect::<Result<_, _>>()?,
            failures: failures.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            fault: fault.map(TryInto::try_into).transpose()?,
            lost: lost.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            commits,
        })
    }

    /// What an agent that lost its directory had committed for this same order. Bytes of a later version are not
    /// found: hosts are the truth.
    pub(crate) fn committed(order: &Assignment) -> Option<Self> {
        let commit = order.committed.as_ref().filter(|commit| commit.assignment == order.id)?;
        Self::from_bytes(&commit.body).ok()
    }
}
