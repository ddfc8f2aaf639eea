//! Which goals are taken: decided by the fence alone.

use trimaran_model::assignment::HostGoal;
use trimaran_model::id::{AssignmentId, Fence};

/// The answer to a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Larger than everything seen, or the act that an assignment has prepared.
    Take,
    /// The goal that is known already: nothing has to be done.
    Same,
    /// A larger fence was seen.
    Lower { largest: Fence },
    /// The same fence with another assignment: somebody counts wrong, or speaks for another cluster.
    Mismatch { assignment: AssignmentId },
}

/// Compares a goal with the last one accepted.
pub fn admit(known: Option<&HostGoal>, goal: &HostGoal) -> Admission {
    let Some(known) = known else { return Admission::Take };
    match goal.fence.cmp(&known.fence) {
        std::cmp::Ordering::Greater => Admission::Take,
        std::cmp::Ordering::Less => Admission::Lower { largest: known.fence },
        std::cmp::Ordering::Equal if goal.assignment == known.assignment => {
            if goal.action.acts() && !known.action.acts() { Admission::Take } else { Admission::Same }
        }
        std::cmp::Ordering::Equal => Admission::Mismatch { assignment: known.assignment },
    }
}
