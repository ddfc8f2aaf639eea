//! Assignments and targets.

use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AgentName, HostName};
use trimaran_model::target::Target;

/// A live assignment. Its order has no release: the content is in the release's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveAssignment {
    pub agent: AgentName,
    pub order: Assignment,
    /// Its end was asked for; its result still comes.
    pub cancel: bool,
}

impl LiveAssignment {
    /// Charges hosts that failed or were left behind to the wave's budgets, so that a replaced agent can't spend it again. Hosts of others
    /// and hosts that were charged before count nothing.
    pub(crate) fn charge(&mut self, failed: &[HostName], lost: &[HostName]) {
        let wave = &mut self.order.wave;
        for host in failed {
            if self.order.hosts.contains(host) && !wave.failed.contains(host) {
                wave.failures_left = wave.failures_left.saturating_sub(1);
                wave.failed.push(host.clone());
            }
        }
        for host in lost {
            if self.order.hosts.contains(host) && !wave.lost.contains(host) {
                wave.lost_left = wave.lost_left.saturating_sub(1);
                wave.lost.push(host.clone());
            }
        }
    }
}

/// A target by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetEntry {
    pub target: Target,
}
