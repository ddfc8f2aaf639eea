//! Agents and runners: who is enrolled, and which incarnation of an agent has the session.

use std::collections::BTreeMap;

use trimaran_model::id::{AgentName, CoordinatorName, Digest, HostName, Incarnation};
use trimaran_model::limits::{AGENT_LOST_AFTER, SUPERSEDED_KEPT, UNGUARDED_CALL};
use trimaran_model::target::{Target, TargetPlatform, selects};
use trimaran_model::time::{Timestamp, WallTime};

/// An agent by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub name: AgentName,
    /// SHA-256 of its public key, once enrolled.
    pub key: Option<Digest>,
    pub incarnation: Option<Incarnation>,
    /// Incarnations that were replaced; they can't come back.
    pub superseded: Vec<Incarnation>,
    /// The number of its last attach: what a coordinator reports of an earlier one changes nothing.
    pub attach: u64,
    /// The coordinator that serves it, by that attach.
    pub attached: Option<CoordinatorName>,
    pub address: Option<String>,
    /// No sign of it for `limits::AGENT_LOST_AFTER`.
    pub lost: bool,
    /// Calls of this incarnation may be in flight until then, now that it is not attached; none after a goodbye.
    pub calls_until: Option<Timestamp>,
    /// Calls of an earlier incarnation may be in flight until then: assignments wait.
    pub handover_until: Option<Timestamp>,
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

    /// A new incarnation takes over: calls of `old` may be in flight for a while, unless it said goodbye.
    pub(crate) fn supersede(&mut self, old: Incarnation, now: Timestamp) {
        self.superseded.push(old);
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
}

impl Runner {
    /// Whether a target of hosts selects this runner, which is enrolled with its agent.
    pub fn is_host_of(&self, target: &Target) -> bool {
        let TargetPlatform::Hosts { select } = &target.platform else { return false };
        self.agent == target.agent && self.key.is_some() && selects(select, &self.labels)
    }
}
