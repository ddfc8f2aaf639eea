//! Making way for a later goal.
//!
//! [`ReasonCode::Fenced`] hands over where the machine is, as soon as no call is in flight that changes
//! something. Any other reason first finishes or reverts a change that was begun.

use trimaran_agent_core::driver::{Effect, Handover};
use trimaran_model::action::Outcome;
use trimaran_model::assignment::{HostAction, HostGoal};
use trimaran_model::limits;
use trimaran_model::reason::ReasonCode;

use super::call::Call;
use super::driver::Transition;
use super::journal::Step;
use super::phase::{Operation, Phase};

impl Phase {
    pub(super) fn handover(&self, next: &HostGoal) -> Handover {
        let runs = match &next.action {
            HostAction::Apply(order) | HostAction::Restore(order) => Some(order.digest),
            HostAction::Prepare(_) | HostAction::Stop { .. } | HostAction::Verify | HostAction::Restart => {
                None
            }
        };
        match (self.journal.step, &self.journal.goal.action) {
            (Step::Accepted, HostAction::Prepare(order))
                if next.action.order().is_some_and(|next| next.digest == order.digest) =>
            {
                Handover::Later
            }
            (Step::Changing { to, .. }, _) => {
                let ends_it = matches!(next.action, HostAction::Stop { only } if only == to);
                let direct = runs.is_some_and(|digest| digest == to || self.stored(digest).is_some());
                if direct || ends_it { Handover::Now } else { Handover::AfterChange }
            }
            (Step::Ending { .. }, _) => Handover::AfterChange,
            _ => Handover::Now,
        }
    }
}

impl Transition<'_> {
    pub(super) fn continues_after(&self, reason: ReasonCode) -> bool {
        reason != ReasonCode::Fenced && self.journal.step.is_disruptive()
    }

    /// Ends the machine once no call is in flight that changes something.
    pub(super) fn end_by_abort(&mut self) {
        let changes = self.volatile.service_call.is_some()
            || match self.volatile.operation {
                Some((
                    _,
                    Operation::Inspect
                    | Operation::Fetch
                    | Operation::AcquireSlot
                    | Operation::Preflight
                    | Operation::MayStop,
                ))
                | None => false,
                Some((
                    _,
                    Operation::Unpack
                    | Operation::FreeSpace
                    | Operation::Errand(_)
                    | Operation::Stop
                    | Operation::Switch
                    | Operation::Start
                    | Operation::CollectGarbage,
                )) => true,
            };
        if changes {
            return;
        }
        // From the middle of a change the next goal continues in the same slot: the service is down meanwhile.
        if self.volatile.slot && !self.journal.step.is_disruptive() {
            self.volatile.slot = false;
            self.call(Call::ReleaseSlot, limits::HOST_CALL, trimaran_agent_core::driver::Guard::Read);
        }
        self.volatile.done = true;
        self.out.push(Effect::Done(Outcome::Stopped));
    }
}
