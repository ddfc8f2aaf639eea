//! Conditions: which types are good when they are true, which are bad, and what their reasons add.

use trimaran_model::reason::ReasonCode;

use super::{Sign, Signs, Weight};
use crate::custom::condition::{Condition, Conditions, Truth};
use crate::custom::status_vocabulary;
use crate::custom::subject::Subject;
use crate::judgment::Evidence;

/// What it means that a condition is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Polarity {
    /// Good, and enough to be healthy.
    Proof,
    /// Good, but only a part.
    Part,
    Bad,
    /// It is being worked on.
    Waiting,
    Suspended,
    /// Nobody here knows; a failure in its reason is no good news all the same.
    Open,
}

const PROOFS: &[&str] = &[
    "ready",
    "available",
    "healthy",
    "succeeded",
    "success",
    "successful",
    "complete",
    "completed",
    "finished",
    "established",
    "programmed",
    "accepted",
    "admitted",
    "deployed",
    "valid",
    "reconciled",
    "applied",
    "synced",
];

/// Last words of types that are good when true.
const PARTS: &[&str] = &[
    "provisioned",
    "configured",
    "installed",
    "bound",
    "resolved",
    "registered",
    "connected",
    "joined",
    "refs",
    "updated",
];

const BAD: &[&str] = &[
    "stalled",
    "failed",
    "failure",
    "failures",
    "failing",
    "degraded",
    "error",
    "errors",
    "errored",
    "invalid",
    "unhealthy",
    "crashed",
    "misconfigured",
    "unrecoverable",
    "rejected",
];

const WAITING: &[&str] = &[
    "reconciling",
    "progressing",
    "updating",
    "upgrading",
    "scaling",
    "deploying",
    "installing",
    "creating",
    "pending",
    "provisioning",
    "restarting",
    "terminating",
    "deleting",
    "initializing",
    "processing",
    "migrating",
    "restoring",
    "starting",
    "waiting",
    "resizing",
    "unavailable",
    "unready",
    "blocked",
    "outdated",
];

const SUSPENDED: &[&str] = &["paused", "suspended", "hibernated", "hibernation"];

/// Words that take the meaning from the last one: history (`LastBackupFailed`) or its opposite.
const ELSEWHERE: &[&str] = &["last", "previous", "never", "no", "non", "can", "able", "auto"];

/// `None` for history and for what is the opposite of its last word.
fn polarity(name: &str) -> Option<Polarity> {
    let own = name.rsplit('/').next().unwrap_or(name);
    let words = status_vocabulary::tokens(own);
    let last = words.last()?.as_str();
    if words.iter().any(|word| ELSEWHERE.contains(&word.as_str())) {
        return None;
    }
    let denied = words.iter().any(|word| word == "not");
    let is = |list: &[&str]| list.contains(&last);
    let failure_word = || words.iter().any(|word| matches!(word.as_str(), "error" | "failure"));
    if denied {
        return Some(if is(PROOFS) { Polarity::Waiting } else { Polarity::Open });
    }
    if words.len() == 1 && is(PROOFS) {
        return Some(Polarity::Proof);
    }
    if is(PROOFS) || is(PARTS) {
        return Some(Polarity::Part);
    }
    if is(BAD) || words == ["invalid", "spec"] || (last == "occurred" && failure_word()) {
        return Some(Polarity::Bad);
    }
    if is(WAITING) || words == ["in", "progress"] {
        return Some(Polarity::Waiting);
    }
    Some(if is(SUSPENDED) { Polarity::Suspended } else { Polarity::Open })
}

/// Whether a condition says that somebody stopped the controller.
pub(super) fn suspends(condition: &Condition<'_>) -> bool {
    let suspended = polarity(&condition.name) == Some(Polarity::Suspended);
    suspended && condition.truth == Truth::True && !condition.stale
}

/// Whether a condition says that the object is done for good.
pub(super) fn ends_well(condition: &Condition<'_>) -> bool {
    let proof = polarity(&condition.name) == Some(Polarity::Proof);
    proof
        && status_vocabulary::ended_well(&condition.name)
        && condition.truth == Truth::True
        && !condition.stale
}

pub(super) fn evidence(subject: &Subject<'_>, place: &str, condition: &Condition<'_>) -> Evidence {
    let path = format!("{place}[{}].status", condition.name);
    subject.evidence(path, &condition.truth.as_str().into(), condition.at)
}

/// Adds what the conditions at `place` say.
pub(super) fn collect(subject: &Subject<'_>, conditions: &Conditions<'_>, place: &str, signs: &mut Signs) {
    if conditions.odd {
        signs.odd.push(place.to_owned());
    }
    // Many controllers write only the summary again when the part did not change.
    let summed_up = conditions.get("Ready").is_some_and(|ready| ready.truth == Truth::True && !ready.stale);
    for condition in conditions.by_name.values() {
        let Some(polarity) = polarity(&condition.name) else { continue };
        // Knative and Cluster API mark what does not count for the whole with this severity.
        if condition.severity == "Info" && polarity != Polarity::Proof {
            continue;
        }
        let evidence = evidence(subject, place, condition);
        let sign = |weight| Sign::new(weight, condition.sentence(), evidence.clone());
        if condition.stale && (polarity == Polarity::Open || summed_up && polarity != Polarity::Proof) {
            continue;
        }
        if condition.stale {
            let sentence = format!("{} describes an earlier generation", condition.name);
            let sign = Sign::new(Weight::Waiting, sentence, evidence.clone());
            signs.add(sign.because(ReasonCode::Generation));
            continue;
        }
        if let Some(weight) = weight(condition, polarity) {
            signs.add(sign(weight));
        }
    }
}

fn weight(condition: &Condition<'_>, polarity: Polarity) -> Option<Weight> {
    let fails = || status_vocabulary::is_failure(condition.reason) || condition.severity == "Error";
    let stopped =
        || status_vocabulary::phase(condition.reason, false) == Some(status_vocabulary::Meaning::Suspended);
    match (polarity, condition.truth) {
        (Polarity::Proof, Truth::True) => Some(Weight::Proof),
        (Polarity::Part, Truth::True) => None,
        (Polarity::Proof | Polarity::Part, Truth::False) if fails() => Some(Weight::Bad),
        (Polarity::Proof, Truth::False) if stopped() => Some(Weight::Suspended),
        (Polarity::Proof | Polarity::Part, Truth::False | Truth::Unknown) => Some(Weight::Waiting),
        (Polarity::Bad, Truth::True) => Some(Weight::Bad),
        (Polarity::Bad, Truth::Unknown) => Some(Weight::Waiting),
        (Polarity::Waiting, Truth::True) if status_vocabulary::is_settled(condition.reason) => None,
        (Polarity::Waiting, Truth::True) => Some(Weight::Waiting),
        // Said by Deployments and what imitates them: no progress, because the deadline passed.
        (Polarity::Waiting, Truth::False) if fails() && condition.name == "Progressing" => Some(Weight::Bad),
        (Polarity::Bad | Polarity::Waiting, Truth::False) | (Polarity::Waiting, Truth::Unknown) => None,
        (Polarity::Open, Truth::False) if fails() => Some(Weight::Waiting),
        (Polarity::Suspended | Polarity::Open, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_meaning_of_their_last_word() {
        for (name, meaning) in [
            ("Ready", Some(Polarity::Proof)),
            ("READY", Some(Polarity::Proof)),
            ("networking.example.com/Ready", Some(Polarity::Proof)),
            ("IngressReady", Some(Polarity::Part)),
            ("ResolvedRefs", Some(Polarity::Part)),
            ("ReconcileSuccess", Some(Polarity::Part)),
            ("NotReady", Some(Polarity::Waiting)),
            ("ReplicaFailure", Some(Polarity::Bad)),
            ("ErrorOccurred", Some(Polarity::Bad)),
            ("InvalidSpec", Some(Polarity::Bad)),
            ("RolloutProgressing", Some(Polarity::Waiting)),
            ("cnpg.io/hibernation", Some(Polarity::Suspended)),
            ("LastBackupFailed", None),
            ("AbleToScale", None),
            ("DiskPressure", Some(Polarity::Open)),
            ("Upgradeable", Some(Polarity::Open)),
            ("Running", Some(Polarity::Open)),
            ("", None),
        ] {
            assert_eq!(polarity(name), meaning, "{name}");
        }
    }
}
