//! Hosts that a wave goes on without: silent ones, and those that can't do it by a fault of their own.
//!
//! Each spends the budget `lost_left` once; one that an earlier wave of the attempt paid for is free. A host that was
//! silent and is back is asked like any other one.

use trimaran_agent_core::driver::Effect;
use trimaran_model::action::{Action, Failure};
use trimaran_model::id::HostName;
use trimaran_model::limits::{HOST_LOST_AFTER, HOST_SKIPPED_AFTER};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};

use super::host_state::{HostProgress, HostRecord, is_silence};
use super::{Effects, Phase};

impl Phase {
    /// Whether the wave goes on without a host.
    pub(crate) fn is_left_behind(&self, host: &HostName) -> bool {
        let fault = self.lost_of(host);
        fault.is_some_and(|fault| !is_silence(fault.code) || !self.hosts[host].connected)
    }

    /// A fault of one host leaves it behind while the budget lasts; any other one, and one too many, ends the assignment.
    pub(crate) fn leave_behind(&mut self, fault: Failure, out: &mut Effects) {
        self.is_unreported = true;
        // A later order that one host follows is one for all of them.
        let host = fault.host().filter(|_| fault.code != ReasonCode::Fenced);
        if let Some(host) = host {
            if let Some(place) = self.lost_place(&host) {
                let known = &mut self.kept.lost[place];
                // One that was silent came back and can't: it paid before, and is left behind for good now.
                if is_silence(known.code) && !is_silence(fault.code) {
                    *known = fault;
                    self.refresh(&host);
                    out.push(Effect::Persist);
                }
                return;
            }
            self.index.charges.add_lost(&fault, self.kept.lost.len());
            self.kept.lost.push(fault);
            self.refresh(&host);
            out.push(Effect::Persist);
            if !self.is_over_lost() {
                return;
            }
            let fault = self.lost_words();
            self.kept.fault = self.kept.fault.take().or(fault);
        } else if self.kept.fault.is_none() {
            self.kept.fault = Some(fault);
            out.push(Effect::Persist);
        }
    }

    /// More hosts were left behind than the budget allows.
    fn is_over_lost(&self) -> bool {
        self.index.charges.new_lost > self.assignment.wave.lost_left
    }

    /// The first fault, with the names where it took more than one host.
    pub(crate) fn lost_words(&self) -> Option<Failure> {
        let mut first = self.kept.lost.first()?.clone();
        if self.kept.lost.len() > 1 {
            let hosts = self.kept.lost.iter().filter_map(Failure::host);
            let (names, count) = (names(hosts.collect::<Vec<_>>().iter()), self.kept.lost.len());
            first.message.push_str(&format!(" ({count} hosts can't go on: {names})"));
        }
        Some(first)
    }

    /// Hosts that have been silent for too long are left behind.
    pub(crate) fn detect_lost(&mut self, now: Timestamp, out: &mut Effects) {
        for host in self.index.now_silent(now) {
            let progress = self.hosts[&host].progress(&host, self.desired());
            let in_flight = progress == HostProgress::InFlight;
            let (code, message) = match in_flight {
                true => {
                    let words = "the host has not reported for";
                    (ReasonCode::HostLost, format!("{words} {HOST_LOST_AFTER} in the middle of its work"))
                }
                false => {
                    let words = "the host's runner is not connected to its agent";
                    (ReasonCode::HostNotConnected, words.to_owned())
                }
            };
            self.judge(Failure { code, message, instance: Some((&host).into()) }, out);
        }
    }

    /// How long a host that is away is waited for; `None`: it has nothing to do here.
    pub(crate) fn silence(
        &self,
        host: &HostName,
        record: &HostRecord,
        progress: &HostProgress,
    ) -> Option<Millis> {
        match progress {
            HostProgress::InFlight => Some(HOST_LOST_AFTER),
            HostProgress::Absent if self.index.charges.was_lost_before(host) => Some(Millis::ZERO),
            HostProgress::Absent if self.is_urgent() && record.was_connected => Some(HOST_SKIPPED_AFTER),
            HostProgress::Absent => Some(HOST_LOST_AFTER),
            HostProgress::Done | HostProgress::Bad(_) | HostProgress::Elsewhere => None,
            HostProgress::Open | HostProgress::Unprepared(_) => None,
        }
    }

    /// What goes back waits for no host: one that is away gets the order when it returns.
    fn is_urgent(&self) -> bool {
        matches!(self.assignment.action, Action::Restore(_) | Action::Stop(_))
    }
}

/// Names for a message, not more than a line of them.
pub(super) fn names<'a>(hosts: impl ExactSizeIterator<Item = &'a HostName>) -> String {
    const SHOWN: usize = 10;
    let count = hosts.len();
    let mut names: Vec<String> = hosts.take(SHOWN).map(ToString::to_string).collect();
    if count > SHOWN {
        names.push(format!("and {} more", count - SHOWN));
    }
    names.join(", ")
}
