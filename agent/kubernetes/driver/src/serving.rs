//! What a stop does not end automatically: instances that still serve, where nothing comes back in their place.

use trimaran_model::action::Failure;
use trimaran_model::reason::ReasonCode;

use crate::apply::{Target, decide_target, taken_over};
use crate::decide::{Decision, deletable, failure};
use crate::object_key::ObjectKey;
use crate::order::Goal;
use crate::phase::Phase;
use crate::platform::{Live, LiveObject};
use crate::prune::leftovers;

/// Why a stop has to wait for a user; asked when everything was read and before anything is changed. A workload of others
/// that was taken over serves again as it did, so its release goes back whole: that is no end of a service.
pub(crate) fn paused(phase: &Phase) -> Option<Failure> {
    if !phase.keep_serving || !matches!(phase.goal, Goal::Stop(_)) {
        return None;
    }
    let comes_back = |target: &Target| {
        let runs = present(phase, &target.key).is_some_and(|object| object.serving.is_some());
        runs && matches!(decide_target(phase, target), Decision::PutBack { .. })
    };
    if taken_over(phase).any(|target| comes_back(&target)) {
        return None;
    }
    let created = leftovers(&phase.goal, &phase.before);
    let serving = created.iter().filter_map(|receipt| {
        let object = present(phase, &receipt.key)?;
        deletable(receipt, object, &phase.author)?;
        object.serving.filter(|count| *count > 0).map(|count| (&receipt.key, count))
    });
    let serving: Vec<(&ObjectKey, u32)> = serving.collect();
    if serving.is_empty() {
        return None;
    }
    let names: Vec<String> = serving.iter().map(|(key, _)| key.to_string()).collect();
    let count = match serving.iter().map(|(_, count)| count).sum::<u32>() {
        1 => "1 instance still serves".to_owned(),
        count => format!("{count} instances still serve"),
    };
    let names = names.join(", ");
    let message = format!("{count} ({names}), and there is no earlier good release to go back to");
    Some(failure(ReasonCode::PausedTraffic, message))
}

fn present<'a>(phase: &'a Phase, key: &ObjectKey) -> Option<&'a LiveObject> {
    match phase.work.live.get(key) {
        Some(Live::Present(object)) => Some(object),
        Some(Live::Absent | Live::NotServed) | None => None,
    }
}
