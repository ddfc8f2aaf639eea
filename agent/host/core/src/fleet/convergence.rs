//! What hosts are asked outside of runs: one that joins a target, or was away, gets the release that its installation has;
//! one that leaves has its services ended where its target or a user says so.
//!
//! Orders carry the fence of the installation's last assignment, which a host that took part in it has already: nothing
//! that a deploy decided is undone, and the next assignment supersedes all of it. At most `join_parallel` hosts are at work
//! at once. More hosts that fail than the deploy's budget allows stop it, and nothing is rolled back for them.

use std::sync::Arc;

use trimaran_agent_core::platform::Standing;
use trimaran_model::assignment::{HostAction, HostGoal, HostReport, HostStanding};
use trimaran_model::id::{Attempt, Fence, HostName, ServiceName};
use trimaran_model::limits::HOST_LOST_AFTER;
use trimaran_model::target::{OnLeave, TargetPlatform};
use trimaran_model::time::Timestamp;

use super::SendGoal;
use super::condition::Condition;
use super::health::{Enrolled, Health, Installation, Place};

impl Health {
    /// Orders for hosts that are not as they should be. Only with a live lease.
    pub fn converge(&mut self, now: Timestamp) -> Vec<SendGoal> {
        let mut orders = Vec::new();
        for id in std::mem::take(&mut self.unsettled) {
            let (Some(place), Some(it)) = (self.targets.get(&id.target), self.installations.get_mut(&id))
            else {
                continue;
            };
            it.forget_unanswered(now);
            let Some(standing) = it.standing.as_ref().filter(|_| it.speaks(true)) else { continue };
            let Some(hosts) = &standing.hosts else { continue };
            let mut asks = it.joins(place, hosts);
            asks.extend(it.leaves(place, |host| self.enrolled.get(host)));
            if asks.is_empty() {
                continue;
            }
            for (host, action) in asks {
                it.asked.insert(host.clone(), now);
                if !matches!(action, HostAction::Stop { .. }) {
                    it.joined.insert(host.clone());
                }
                let goal = Arc::new(goal(standing, hosts, action));
                orders.push(SendGoal { host, goal });
            }
            // Looked at again when an answer is late.
            self.retry_at =
                Some(self.retry_at.map_or(now + HOST_LOST_AFTER, |at| at.min(now + HOST_LOST_AFTER)));
        }
        orders
    }

    /// Everything is looked at again.
    pub(super) fn reconsider(&mut self, now: Timestamp) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
        self.unsettled.extend(self.installations.keys().cloned());
    }
}

impl Installation {
    /// Who did not take an order in time may be asked again.
    fn forget_unanswered(&mut self, now: Timestamp) {
        let (hosts, fence) = (&self.hosts, self.fence);
        self.asked.retain(|host, at| {
            let report = hosts.get(host).and_then(|known| known.report.as_ref());
            follows(report, fence) || now < *at + HOST_LOST_AFTER
        });
    }

    /// Hosts that lack the release and may get it now.
    fn joins(&self, place: &Place, hosts: &HostStanding) -> Vec<(HostName, HostAction)> {
        let Some(order) = &hosts.goal else { return Vec::new() };
        let failed = self.of(Condition::JoinFailed).count();
        if failed > hosts.max_failures as usize {
            return Vec::new();
        }
        let other = [Condition::Diverged, Condition::DivergedDown].into_iter();
        // While the release is bad somewhere, no host is taken down for it.
        let other = other.filter(|_| !self.is_degraded()).flat_map(|condition| self.of(condition));
        let lacking = self.of(Condition::Lacking).chain(other);
        let members = u32::try_from(place.members.len()).unwrap_or(u32::MAX);
        let at_once = place.settings().map_or(1, |it| it.join_parallel.ceil_of(members).max(1)) as usize;
        let lacks = |host: &&HostName| match self.hosts.get(*host).map(|known| known.condition) {
            Some(Condition::Lacking) => true,
            Some(Condition::Diverged | Condition::DivergedDown) => !self.is_degraded(),
            _ => false,
        };
        let at_work = self.asked.keys().filter(lacks).count();
        let is_open = |host: &&HostName| {
            let report = self.hosts.get(*host).and_then(|known| known.report.as_ref());
            !self.asked.contains_key(*host) && !follows(report, self.fence)
        };
        let next = lacking.filter(is_open).take(at_once.saturating_sub(at_work));
        next.map(|host| (host.clone(), HostAction::Apply(order.clone()))).collect()
    }

    /// Hosts that left and whose services are to be ended.
    fn leaves<'a>(
        &self,
        place: &Place,
        enrolled: impl Fn(&HostName) -> Option<&'a Enrolled>,
    ) -> Vec<(HostName, HostAction)> {
        let on_leave = place.settings().and_then(|settings| settings.on_leave);
        let mut asks = Vec::new();
        for host in self.of(Condition::Orphan).filter(|host| !self.asked.contains_key(*host)) {
            let ends = match enrolled(host) {
                Some(it) if it.drained => on_leave != Some(OnLeave::Keep),
                Some(it) => !it.cordoned && on_leave == Some(OnLeave::Stop),
                None => false,
            };
            let report = self.hosts.get(host).and_then(|known| known.report.as_ref());
            let current = report.and_then(|report| report.current).filter(|_| ends);
            if let Some(only) = current.filter(|_| !follows(report, self.fence)) {
                asks.push((host.clone(), HostAction::Stop { only }));
            }
        }
        asks
    }
}

/// Whether a host has taken an order of this fence: it takes no other one.
fn follows(report: Option<&HostReport>, fence: Fence) -> bool {
    report.is_some_and(|report| report.fence >= fence && report.disruptive)
}

fn goal(standing: &Standing, hosts: &HostStanding, action: HostAction) -> HostGoal {
    HostGoal {
        installation: standing.installation.clone(),
        service: ServiceName::from(&standing.installation.pipeline),
        assignment: hosts.assignment,
        fence: standing.fence,
        run: hosts.run.clone(),
        attempt: Attempt(1),
        action,
        retained: standing.retained.clone(),
    }
}

impl Place {
    fn settings(&self) -> Option<&trimaran_model::target::HostSettings> {
        match &self.target.platform {
            TargetPlatform::Hosts { settings, .. } => Some(settings),
            TargetPlatform::Kubernetes { .. } | TargetPlatform::Flink { .. } => None,
        }
    }
}
