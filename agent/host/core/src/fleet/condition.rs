//! What one host is for an installation while nothing works on it: a total function of whether it belongs there, whether it
//! is connected, and what it said last.
//!
//! Evidence counts for the installation, release and fence that it speaks of, from a member of its target. Everything else
//! is a finding for people.

use std::collections::BTreeSet;

use trimaran_model::assignment::{HostReport, HostState};
use trimaran_model::id::{Digest, Fence};
use trimaran_model::reason::ReasonCode;
use trimaran_model::verdict::Fault;

/// A host in the eyes of an installation that nothing works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    /// It has nothing of the installation, and nothing is wanted of it.
    Nothing,
    /// It has not spoken yet, or speaks of an order that this agent does not know yet.
    Unknown,
    /// The release is healthy there.
    Serving,
    /// It belongs to the target and has nothing of the release, or works on it.
    Lacking,
    /// The process ended, and its restart policy is about to have it back.
    Mending,
    /// The release was healthy there and is not any more.
    Degraded,
    /// An order failed there and nothing healthy runs.
    Broken,
    /// It does not serve, by a fault of the platform.
    Faulty,
    /// Another release serves there.
    Diverged,
    /// Another release is there and does not serve.
    DivergedDown,
    /// It joined, and could not bring the release up.
    JoinFailed,
    /// Its runner is not connected.
    Away,
    /// As `Away`, for so long that it counts as no member any more.
    Gone,
    /// It does not belong to the target and runs something of the installation.
    Orphan,
}

/// What a host is to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    Member,
    /// Not selected, or taken out by a user.
    Outside,
}

/// Whether the runner of a host is connected, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It was not seen by this process, which has just begun.
    NotYet,
    Connected,
    Away,
    Gone,
}

/// What reports are measured against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure<'a> {
    pub(crate) fence: Fence,
    /// The releases that may run; `None`: any.
    pub(crate) releases: Option<&'a BTreeSet<Digest>>,
    /// It was asked to join since the release is there, and was no part of the deploy.
    pub(crate) joined: bool,
}

pub(crate) fn condition(
    membership: Membership,
    presence: Presence,
    report: Option<&HostReport>,
    measure: Measure<'_>,
) -> Condition {
    if membership == Membership::Outside {
        let runs = report.is_some_and(runs_something) && presence == Presence::Connected;
        return if runs { Condition::Orphan } else { Condition::Nothing };
    }
    match presence {
        Presence::NotYet => return Condition::Unknown,
        Presence::Away => return Condition::Away,
        Presence::Gone => return Condition::Gone,
        Presence::Connected => {}
    }
    let wants = measure.releases.is_none_or(|releases| !releases.is_empty());
    match report {
        None if wants => Condition::Lacking,
        None => Condition::Nothing,
        Some(report) if report.fence > measure.fence => Condition::Unknown,
        Some(report) => of_member(report, wants, measure),
    }
}

fn of_member(report: &HostReport, wants: bool, measure: Measure<'_>) -> Condition {
    let is_other = |digest: Digest| measure.releases.is_some_and(|releases| !releases.contains(&digest));
    let other = report.current.is_some_and(is_other);
    let by_platform = report.code.and_then(ReasonCode::fault) == Some(Fault::Platform);
    let failed = if measure.joined && report.fence == measure.fence {
        Condition::JoinFailed
    } else if by_platform {
        Condition::Faulty
    } else {
        Condition::Broken
    };
    match (report.state, report.current) {
        (HostState::Empty | HostState::Stopped, _) | (HostState::Prepared | HostState::Updating, _) => {
            if wants {
                Condition::Lacking
            } else {
                Condition::Nothing
            }
        }
        (HostState::Healthy | HostState::Preparing, None) => Condition::Lacking,
        (HostState::Refused | HostState::Reverted, _) if failed == Condition::JoinFailed => failed,
        (HostState::Healthy | HostState::Preparing | HostState::Reverted | HostState::Refused, Some(_)) => {
            if other {
                Condition::Diverged
            } else {
                Condition::Serving
            }
        }
        (HostState::Refused | HostState::Reverted, None) => failed,
        (HostState::Broken, _) if other => Condition::DivergedDown,
        (HostState::Broken, _) => failed,
        (HostState::Degraded, _) if other => Condition::DivergedDown,
        (HostState::Degraded, _) if failed != Condition::Broken => failed,
        (HostState::Degraded, _) if report.restarting => Condition::Mending,
        (HostState::Degraded, _) => Condition::Degraded,
    }
}

/// Whether a host has a service of the installation that is not ended.
pub(crate) fn runs_something(report: &HostReport) -> bool {
    let ended = matches!(report.state, HostState::Empty | HostState::Stopped | HostState::Prepared);
    !ended && report.current.is_some()
}
