//! Making way for a later goal.
//!
//! [`ReasonCode::Fenced`] hands over where the machine is, as soon as no call is in flight that changes
//! something. Any other reason first finishes or reverts a change that was begun.

use trimaran_executor::driver::Effect;
use trimaran_model::assignment::{HostAction, HostGoal};
use trimaran_model::job::Outcome;
use trimaran_model::limits;
use trimaran_model::reason::ReasonCode;

use super::call::Call;
use super::journal::{Phase, Step};
use super::machine::{Act, Move};

impl Phase {
    /// Whether `next` can go on from the middle of what is being done, so that the host need not finish first.
    pub fn hands_over_to(&self, next: &HostGoal) -> bool {
        let Step::Changing { to, .. } = self.journal.step else {
            return !self.journal.step.is_disruptive();
        };
        match &next.action {
            HostAction::Apply(order) | HostAction::Restore(order) => {
                let on_host = self.life.facts.as_ref().map(|it| it.releases.contains_key(&order.digest));
                to == order.digest || on_host.unwrap_or(false)
            }
            HostAction::Stop { only } => to == *only,
            HostAction::Prepare(_) | HostAction::Verify => false,
        }
    }
}

impl Move<'_> {
    pub(super) fn goes_on_after(&self, reason: ReasonCode) -> bool {
        reason != ReasonCode::Fenced && self.journal.step.is_disruptive()
    }

    /// Ends the machine once no call is in flight that changes something.
    pub(super) fn end_by_abort(&mut self) {
        let changes = self.life.restart.is_some()
            || match self.life.act {
                Some((_, Act::Look | Act::Fetch | Act::TakeTurn | Act::CheckPort)) | None => false,
                Some((_, Act::Unpack | Act::MakeRoom | Act::Stop | Act::Switch | Act::Start | Act::Tidy)) => {
                    true
                }
            };
        if changes {
            return;
        }
        if self.life.turn {
            self.life.turn = false;
            self.call(Call::EndTurn, limits::HOST_CALL, trimaran_executor::driver::Guard::Read);
        }
        self.life.done = true;
        self.out.push(Effect::Done(Outcome::Stopped));
    }
}
