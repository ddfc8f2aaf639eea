//! What it means that a condition is true, from the words of its type.
//!
//! Deliberately not here: what the reason and message of a condition add.

use super::status_vocabulary::tokens;

/// What it means that a condition is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Polarity {
    /// Good, and enough to be healthy.
    Proof,
    /// Good, but only a part.
    Part,
    Bad,
    /// It is being worked on.
    Waiting,
    Suspended,
    /// Not known here; a failure in its reason is no good news all the same.
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
    "conflicted",
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
pub(crate) fn polarity(name: &str) -> Option<Polarity> {
    let own = name.rsplit('/').next().unwrap_or(name);
    let words = tokens(own);
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
    Some(if is(SUSPENDED) || words == ["stopped"] { Polarity::Suspended } else { Polarity::Open })
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
            ("Stopped", Some(Polarity::Suspended)),
            ("ContainersStopped", Some(Polarity::Open)),
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
