//! Agents and runners: who is enrolled, and which incarnation of an agent has the session.

use std::collections::BTreeMap;

use trimaran_model::id::{AgentName, CoordinatorName, Digest, HostName, Incarnation};
use trimaran_model::limits::{AGENT_LOST_AFTER, SUPERSEDED_KEPT, SUPERSEDED_PER_HOUR_MAX, UNGUARDED_CALL};
use trimaran_model::target::{PlatformKind, Target, TargetPlatform};
use trimaran_model::time::{Millis, Timestamp, WallTime};

use super::token::RevokedId;

/// An agent by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub name: AgentName,
    /// SHA-256 of its public key, once enrolled.
    pub key: Option<Digest>,
    pub incarnation: Option<Incarnation>,
    /// Incarnations that were replaced, the last ones behind; they can't come back.
    pub superseded: Vec<Superseded>,
    /// The number of its last attach: what a coordinator reports of an earlier one changes nothing.
    pub attach: u64,
    /// The coordinator that serves it, by that attach.
    pub attached: Option<CoordinatorName>,
    pub address: Option<String>,
    /// What it has drivers for, by that attach; empty before the first.
    pub platforms: Vec<PlatformKind>,
    /// No sign of it for `limits::AGENT_LOST_AFTER`.
    pub lost: bool,
    /// Calls of this incarnation may be in flight until then, now that it is not attached; none after a goodbye.
    pub calls_until: Option<Timestamp>,
    /// Calls of an earlier incarnation may be in flight until then: assignments wait.
    pub handover_until: Option<Timestamp>,
    /// It was connected or enrolled then, or was seen last.
    pub changed: WallTime,
}

impl Agent {
    pub(crate) fn new(name: AgentName, now: WallTime) -> Self {
        Self {
            name,
            key: None,
            incarnation: None,
            superseded: Vec::new(),
            attach: 0,
            attached: None,
            address: None,
            platforms: Vec::new(),
            lost: false,
            calls_until: None,
            handover_until: None,
            changed: now,
        }
    }

    /// The session of attach `number` begins.
    pub(crate) fn attach(&mut self, incarnation: Incarnation, number: u64, coordinator: CoordinatorName) {
        assert!(number > self.attach, "attaches are numbered in order");
        (self.incarnation, self.attach) = (Some(incarnation), number);
        self.attached = Some(coordinator);
        (self.lost, self.calls_until) = (false, None);
    }

    /// Whether this incarnation was replaced.
    pub(crate) fn is_superseded(&self, incarnation: Incarnation) -> bool {
        self.superseded.iter().any(|it| it.incarnation == incarnation)
    }

    /// When the next incarnation may take over, where so many did within an hour that none may now.
    pub(crate) fn next_takeover(&self, wall: WallTime) -> Option<WallTime> {
        let oldest = self.superseded.len().checked_sub(SUPERSEDED_PER_HOUR_MAX)?;
        let next = self.superseded[oldest].at + Millis::hours(1);
        (next > wall).then_some(next)
    }

    /// A new incarnation takes over: calls of `old` may be in flight for a while, unless it said goodbye.
    pub(crate) fn supersede(&mut self, old: Incarnation, now: Timestamp, wall: WallTime) {
        self.superseded.push(Superseded { incarnation: old, at: wall });
        if self.superseded.len() > SUPERSEDED_KEPT {
            self.superseded.remove(0);
        }
        let until = match self.attached {
            Some(_) => Some(now + AGENT_LOST_AFTER + UNGUARDED_CALL),
            None => self.calls_until,
        };
        self.handover_until = self.handover_until.max(until).filter(|until| *until > now);
    }

    pub(crate) fn detach(&mut self, goodbye: bool, now: Timestamp) {
        self.attached = None;
        self.calls_until = (!goodbye).then_some(now + AGENT_LOST_AFTER + UNGUARDED_CALL);
    }

    pub(crate) fn lose(&mut self, now: Timestamp) {
        if self.attached.take().is_some() {
            self.calls_until = Some(now + UNGUARDED_CALL);
        }
        self.lost = true;
    }

    /// Until when an earlier incarnation may have calls in flight.
    pub(crate) fn handover(&self, now: Timestamp) -> Option<Timestamp> {
        self.handover_until.filter(|until| *until > now)
    }
}

/// An incarnation that was replaced, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superseded {
    pub incarnation: Incarnation,
    pub at: WallTime,
}

/// A runner by name: the host of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    pub name: HostName,
    pub agent: AgentName,
    pub labels: BTreeMap<String, String>,
    /// SHA-256 of its public key.
    pub key: Option<Digest>,
    /// When it was connected, noted from time to time; `None`: never.
    pub seen: Option<WallTime>,
    /// What its host is, as it says itself. A label of the same name counts instead.
    pub facts: BTreeMap<String, String>,
    /// A user took it out of its targets.
    pub cordoned: bool,
    /// As `cordoned`, and its services are to be ended.
    pub drained: bool,
    /// Since when it is not connected; `None`: it is, or its agent has not said.
    pub away: Option<WallTime>,
    /// Its earlier keys that its agent alone refuses, as far as they are not forgotten; at most
    /// `limits::RUNNER_REVOKED_MAX`.
    pub revoked: Vec<RevokedId>,
}

impl Runner {
    /// Whether a target of hosts selects this runner, which is enrolled with its agent.
    pub fn is_host_of(&self, target: &Target) -> bool {
        let TargetPlatform::Hosts { select, .. } = &target.platform else { return false };
        let enrolled = self.agent == target.agent && self.key.is_some();
        let selected = || select.iter().all(|(key, value)| self.label(key) == Some(value));
        enrolled && !self.cordoned && !self.drained && selected()
    }

    /// One of [`Self::selectable`].
    fn label(&self, key: &str) -> Option<&String> {
        self.labels.get(key).or_else(|| self.facts.get(key))
    }

    /// Labels, and facts that no label stands for.
    pub fn selectable(&self) -> BTreeMap<String, String> {
        let mut all = self.facts.clone();
        all.extend(self.labels.clone());
        all
    }

    /// Whether it has been away for so long that it is out of a target until it returns.
    pub fn is_out_of(&self, target: &Target, now: WallTime) -> bool {
        let TargetPlatform::Hosts { settings, .. } = &target.platform else { return false };
        self.away.is_some_and(|away| away + settings.lost_after <= now)
    }
}
