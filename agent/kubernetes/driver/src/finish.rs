//! When a rollout is finished: the objects that were applied are still the ones that are there, all of them are healthy,
//! and have been for the stability window without a new restart.
//!
//! Verdicts are made elsewhere. What is added here is time, and whose objects they are: an object that others deleted,
//! replaced or changed is reported as that, and is neither success nor a failure of the release.

use std::collections::BTreeMap;

use trimaran_model::action::Failure;
use trimaran_model::id::Fence;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_model::verdict::{Fault, Verdict};

use crate::decide::failure;
use crate::fields::edited;
use crate::object_key::ObjectKey;
use crate::platform::{Observation, ObservedObject, Pods};

/// An object that is not there in one observation may be between two of them.
const ABSENCE: Millis = Millis::seconds(5);

/// What has to be remembered between observations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Finish {
    /// Since when everything is healthy, and with how many restarts.
    healthy: Option<(Timestamp, u32)>,
    absent_since: Option<Timestamp>,
    /// When an instance became available last, and how many are.
    progress: Option<(Timestamp, u32)>,
}

/// What an order waits for.
pub(crate) struct Rollout<'a> {
    /// The fence that the objects carry; `None` when nothing was applied and nothing is known of it.
    pub(crate) fence: Option<Fence>,
    pub(crate) expected: &'a BTreeMap<ObjectKey, Expected>,
    pub(crate) stability: Millis,
    pub(crate) progress_deadline: Millis,
    /// Pods of earlier revisions that block their StatefulSet are deleted by the order: they hold it and fail nothing.
    pub(crate) frees: bool,
}

impl Rollout<'_> {
    /// What an object says of the release that is applied.
    fn verdict(&self, object: &ObservedObject) -> Verdict {
        if self.frees && object.stuck.is_some() { Verdict::Progressing } else { object.verdict }
    }
}

/// An object as the order left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) uid: String,
    /// A hash of the fields that Trimaran owned.
    pub(crate) fields: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Assessment {
    /// To be asked again at this time, or at the next observation.
    Wait {
        until: Timestamp,
        why: Option<Failure>,
    },
    Finished,
    /// A failure of the release.
    Failed(Failure),
    /// What the release is not to blame for.
    Fault(Failure),
}

impl Finish {
    pub(crate) fn assess(&mut self, rollout: &Rollout<'_>, seen: &Observation, now: Timestamp) -> Assessment {
        let expected = |object: &&ObservedObject| rollout.expected.contains_key(&object.key);
        let objects: Vec<&ObservedObject> = seen.objects.iter().filter(expected).collect();
        let pods = total(&objects);
        let deadline = self.deadline(rollout, pods, now);
        if let Some(since) = seen.blind_since {
            // Silence is no evidence: the window begins again when the cluster speaks.
            self.healthy = None;
            let why =
                failure(ReasonCode::ApiUnavailable, "nothing is received from the API server".to_owned());
            let until = deadline.max(since + rollout.progress_deadline);
            return if now >= until { Assessment::Fault(why) } else { wait(until, Some(why)) };
        }
        if let Some(end) = self.changed_by_others(rollout, &objects, now) {
            return end;
        }
        let order = |it: &&ObservedObject| badness(rollout.verdict(it), it.fault);
        let worst = objects.iter().copied().filter(|object| holds(object)).max_by_key(order);
        let Some(worst) = worst else { return self.stable(rollout, pods, now, seen) };
        self.healthy = None;
        let why = cause(worst);
        let release = worst.fault != Some(Fault::Platform);
        match rollout.verdict(worst) {
            Verdict::Degraded if release => Assessment::Failed(why),
            Verdict::Suspended => Assessment::Fault(why),
            Verdict::Progressing
            | Verdict::Healthy
            | Verdict::Degraded
            | Verdict::Unknown
            | Verdict::Missing
                if now < deadline =>
            {
                let until = seen.next_check.map_or(deadline, |check| check.min(deadline));
                wait(until.max(now + Millis(1)), Some(why))
            }
            Verdict::Degraded | Verdict::Unknown | Verdict::Missing => Assessment::Fault(why),
            Verdict::Progressing | Verdict::Healthy => {
                let message =
                    format!("no further instance in {}: {}", rollout.progress_deadline, why.message);
                Assessment::Failed(failure(ReasonCode::ProgressDeadline, message))
            }
        }
    }

    /// Moves with each further instance that is available.
    fn deadline(&mut self, rollout: &Rollout<'_>, pods: Pods, now: Timestamp) -> Timestamp {
        let available = pods.available.min(pods.updated);
        let (since, most) = *self.progress.get_or_insert((now, available));
        if available > most {
            self.progress = Some((now, available));
            return now + rollout.progress_deadline;
        }
        since + rollout.progress_deadline
    }

    fn changed_by_others(
        &mut self,
        rollout: &Rollout<'_>,
        objects: &[&ObservedObject],
        now: Timestamp,
    ) -> Option<Assessment> {
        let later = |object: &&&ObservedObject| rollout.fence.is_some() && object.marks.fence > rollout.fence;
        if let Some(object) = objects.iter().find(later) {
            let message = format!("{} carries the mark of a later order", object.key);
            return Some(Assessment::Fault(failure(ReasonCode::Fenced, message)));
        }
        let replaced = |object: &&&ObservedObject| {
            object.uid.is_some() && object.uid.as_ref() != rollout.expected.get(&object.key).map(|it| &it.uid)
        };
        if let Some(object) = objects.iter().find(replaced) {
            let message = format!("{} was deleted and made again by someone else", object.key);
            return Some(Assessment::Fault(failure(ReasonCode::Superseded, message)));
        }
        let unmarked = |object: &&&ObservedObject| {
            object.uid.is_some() && rollout.fence.is_some() && object.marks.fence != rollout.fence
        };
        if let Some(object) = objects.iter().find(unmarked) {
            let message =
                format!("{} was replaced by someone else: it has no mark of this release", object.key);
            return Some(Assessment::Fault(failure(ReasonCode::Superseded, message)));
        }
        let edit =
            objects.iter().find_map(|object| edited(rollout.expected.get(&object.key)?.fields, object));
        if let Some(edit) = edit {
            return Some(Assessment::Fault(edit));
        }
        let Some(object) = objects.iter().find(|object| object.uid.is_none()) else {
            self.absent_since = None;
            return None;
        };
        self.healthy = None;
        let since = *self.absent_since.get_or_insert(now);
        let why = failure(ReasonCode::Missing, format!("{} was deleted by someone else", object.key));
        Some(if now >= since + ABSENCE { Assessment::Fault(why) } else { wait(since + ABSENCE, Some(why)) })
    }

    /// All is healthy; how long has it been?
    fn stable(
        &mut self,
        rollout: &Rollout<'_>,
        pods: Pods,
        now: Timestamp,
        seen: &Observation,
    ) -> Assessment {
        if seen.objects.len() < rollout.expected.len() {
            let message = "not all objects were seen yet".to_owned();
            return wait(now + ABSENCE, Some(failure(ReasonCode::NotReady, message)));
        }
        let (since, restarts) = *self.healthy.get_or_insert((now, pods.restarts));
        let since = if pods.restarts == restarts { since } else { now };
        self.healthy = Some((since, pods.restarts));
        let until = since + rollout.stability;
        if now >= until { Assessment::Finished } else { wait(until, None) }
    }
}

fn wait(until: Timestamp, why: Option<Failure>) -> Assessment {
    Assessment::Wait { until, why }
}

/// Whether the verdict keeps a rollout from being finished. A kind that no rule understands claims nothing, good or bad.
fn holds(object: &ObservedObject) -> bool {
    match object.verdict {
        Verdict::Healthy => false,
        Verdict::Unknown => object.reason != Some(ReasonCode::NoRule),
        Verdict::Progressing | Verdict::Degraded | Verdict::Suspended | Verdict::Missing => true,
    }
}

/// A failure of the release before one of the platform, and that before what only waits.
pub(crate) fn badness(verdict: Verdict, fault: Option<Fault>) -> u8 {
    match verdict {
        Verdict::Healthy => 0,
        Verdict::Progressing => 1,
        Verdict::Unknown => 2,
        Verdict::Missing => 3,
        Verdict::Suspended => 4,
        Verdict::Degraded if fault == Some(Fault::Platform) => 5,
        Verdict::Degraded => 6,
    }
}

pub(crate) fn cause(object: &ObservedObject) -> Failure {
    let message = if object.message.is_empty() { object.key.to_string() } else { object.message.clone() };
    failure(object.reason.unwrap_or(ReasonCode::NotReady), message)
}

/// The instances of all workloads together.
pub(crate) fn total(objects: &[&ObservedObject]) -> Pods {
    objects.iter().fold(Pods::default(), |sum, object| Pods {
        desired: sum.desired.saturating_add(object.pods.desired),
        updated: sum.updated.saturating_add(object.pods.updated),
        available: sum.available.saturating_add(object.pods.available),
        restarts: sum.restarts.saturating_add(object.pods.restarts),
    })
}

#[cfg(test)]
mod tests;
