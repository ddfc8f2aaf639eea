//! What the words mean that controllers use in phases and reasons, whatever their spelling.
//!
//! `ImagePullBackOff`, `SUBMISSION_FAILED` and `Cluster in healthy state` are read as lists of words.
//! Deliberately not here: where a word was found and what that is worth.

/// What a word says about the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Good,
    Waiting,
    Bad,
    Suspended,
}

/// A try that goes on: it takes the weight from a word of failure beside it.
const GOES_ON: &[&str] = &[
    "retry",
    "retrying",
    "retries",
    "waiting",
    "wait",
    "pending",
    "recovering",
    "requeued",
    "progressing",
    "checking",
];

const BAD: &[&str] = &[
    "fail",
    "fails",
    "failed",
    "failure",
    "failures",
    "failing",
    "error",
    "errors",
    "errored",
    "err",
    "invalid",
    "denied",
    "deny",
    "forbidden",
    "missing",
    "nonexistent",
    "conflict",
    "conflicts",
    "conflicted",
    "conflicting",
    "exceeded",
    "exceeds",
    "reject",
    "rejected",
    "timeout",
    "unauthorized",
    "unauthenticated",
    "unsupported",
    "unrecoverable",
    "degraded",
    "unhealthy",
    "mismatch",
    "mismatched",
    "expired",
    "broken",
    "fatal",
    "crash",
    "crashed",
    "crashing",
    "backoff",
    "stalled",
    "aborted",
    "corrupt",
    "corrupted",
    "unable",
    "cannot",
    "lost",
    "killed",
    "refused",
    "illegal",
    "malformed",
    "misconfigured",
    "duplicate",
    "duplicated",
    "red",
    "critical",
];

/// Two words that say together what neither says alone.
const BAD_PAIRS: &[(&str, &str)] = &[
    ("not", "found"),
    ("not", "exist"),
    ("not", "permitted"),
    ("not", "allowed"),
    ("timed", "out"),
    ("back", "off"),
    ("could", "not"),
    ("can", "not"),
    ("rolled", "back"),
];

const WAITING: &[&str] = &[
    "new",
    "pending",
    "queued",
    "submitted",
    "scheduled",
    "scheduling",
    "creating",
    "provisioning",
    "updating",
    "upgrading",
    "deploying",
    "progressing",
    "initializing",
    "initialising",
    "bootstrapping",
    "starting",
    "waiting",
    "reconciling",
    "scaling",
    "resizing",
    "installing",
    "uninstalling",
    "deleting",
    "terminating",
    "restarting",
    "restoring",
    "rebooting",
    "rolling",
    "syncing",
    "processing",
    "validating",
    "verifying",
    "preparing",
    "building",
    "pulling",
    "configuring",
    "modifying",
    "migrating",
    "rebalancing",
    "balancing",
    "recovering",
    "booting",
    "draining",
    "stopping",
    "retrying",
    "applying",
    "planning",
    "importing",
    "exporting",
    "cloning",
    "joining",
    "finalizing",
    "finalising",
    "promoting",
    "pausing",
    "suspending",
    "resuming",
    "attaching",
    "detaching",
    "binding",
    "acquiring",
    "allocating",
    "expanding",
    "switching",
    "switchover",
    "failover",
    "elected",
    "electing",
    "partial",
    "partially",
    "yellow",
    "warning",
    "warn",
    "unavailable",
    "unready",
    "unbound",
    "unknown",
    "requested",
    "delayed",
];

const WAITING_PAIRS: &[(&str, &str)] = &[
    ("not", "ready"),
    ("not", "available"),
    ("not", "healthy"),
    ("not", "running"),
    ("not", "synced"),
    ("not", "deployed"),
    ("not", "started"),
    IN_PROGRESS,
    ("out", "of"),
    ("scale", "up"),
    ("scale", "down"),
    ("failing", "over"),
    ("backing", "up"),
    ("setting", "up"),
];

const IN_PROGRESS: (&str, &str) = ("in", "progress");

const GOOD_PAIRS: &[(&str, &str)] = &[("in", "sync"), ("up", "to")];

const GOOD: &[&str] = &[
    "ready",
    "running",
    "active",
    "healthy",
    "available",
    "succeeded",
    "success",
    "successful",
    "successfully",
    "complete",
    "completed",
    "done",
    "finished",
    "bound",
    "established",
    "deployed",
    "ok",
    "green",
    "online",
    "installed",
    "applied",
    "synced",
    "synchronized",
    "reconciled",
    "operational",
    "valid",
    "provisioned",
    "serving",
    "connected",
    "enabled",
    "normal",
    "stable",
    "accepted",
    "registered",
    "attached",
    "programmed",
    "steady",
];

const SUSPENDED: &[&str] =
    &["suspended", "paused", "stopped", "hibernated", "hibernating", "halted", "shutdown", "disabled"];

/// Good words that say of a job that it is not done yet.
const STILL_RUNNING: &[&str] =
    &["running", "active", "enabled", "connected", "online", "serving", "healthy", "accepted"];

/// Good words that end a job.
const ENDED_WELL: &[&str] =
    &["succeeded", "success", "successful", "complete", "completed", "done", "finished"];

/// Last words of kinds that run once and end.
const JOB_KINDS: &[&str] = &[
    "run",
    "job",
    "workflow",
    "task",
    "backup",
    "restore",
    "snapshot",
    "migration",
    "request",
    "operation",
    "build",
    "test",
    "upgrade",
    "experiment",
    "import",
    "export",
    "execution",
    "scan",
    "rebalance",
    "order",
    "challenge",
];

/// The words of a phase, reason or type: lower case, split where letters change their case or end.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().take(256).collect();
    let mut words = Vec::new();
    let mut word = String::new();
    for (index, &c) in chars.iter().enumerate() {
        if !c.is_alphanumeric() {
            words.extend(non_empty(&mut word));
            continue;
        }
        let before = index.checked_sub(1).map(|before| chars[before]);
        let after = chars.get(index + 1);
        let hump = c.is_uppercase()
            && (before.is_some_and(|before| before.is_lowercase() || before.is_numeric())
                || (before.is_some_and(char::is_uppercase)
                    && after.is_some_and(|after| after.is_lowercase())));
        if hump {
            words.extend(non_empty(&mut word));
        }
        word.extend(c.to_lowercase());
    }
    words.extend(non_empty(&mut word));
    words
}

fn non_empty(word: &mut String) -> Option<String> {
    (!word.is_empty()).then(|| std::mem::take(word))
}

fn any(words: &[String], list: &[&str]) -> bool {
    words.iter().any(|word| list.contains(&word.as_str()))
}

fn any_pair(words: &[String], list: &[(&str, &str)]) -> bool {
    words.windows(2).any(|pair| list.contains(&(pair[0].as_str(), pair[1].as_str())))
}

/// Whether the words speak of a failure and do not deny it (`NoErrors`).
fn fails(words: &[String]) -> bool {
    let denied = words.first().is_some_and(|word| word == "no" || word == "not");
    any_pair(words, BAD_PAIRS) || (any(words, BAD) && !denied)
}

/// Whether a reason speaks of a failure without another try.
pub(super) fn is_failure(reason: &str) -> bool {
    let words = tokens(reason);
    fails(&words) && !any(&words, GOES_ON) && !any_pair(&words, &[IN_PROGRESS])
}

/// Whether a reason says that what went on is over and went well (`NewReplicaSetAvailable`, `AsExpected`).
pub(super) fn is_settled(reason: &str) -> bool {
    let words: Vec<String> = tokens(reason).into_iter().filter(|word| word != "new").collect();
    let settled = any(&words, &["available", "expected", "idle", "ready"]) || any(&words, ENDED_WELL);
    settled && !any(&words, WAITING) && !any_pair(&words, WAITING_PAIRS) && !any(&words, BAD)
}

/// What a phase says; `None` for words without a known meaning.
pub(super) fn phase(text: &str, job: bool) -> Option<Meaning> {
    let words = tokens(text);
    if any(&words, GOES_ON) || any_pair(&words, WAITING_PAIRS) {
        return Some(Meaning::Waiting);
    }
    if fails(&words) {
        return Some(Meaning::Bad);
    }
    if any(&words, WAITING) {
        return Some(Meaning::Waiting);
    }
    if any(&words, SUSPENDED) {
        return Some(Meaning::Suspended);
    }
    let good = any(&words, GOOD) || any_pair(&words, GOOD_PAIRS);
    if !good || any(&words, &["not", "no", "never", "un"]) {
        return None;
    }
    let still = job && any(&words, STILL_RUNNING) && !any(&words, ENDED_WELL);
    Some(if still { Meaning::Waiting } else { Meaning::Good })
}

/// Whether a phase says that the object ran to its good end.
pub(super) fn ended_well(text: &str) -> bool {
    any(&tokens(text), ENDED_WELL)
}

/// Whether objects of a kind run once and end, so that "running" is not the end.
pub(super) fn is_job_kind(kind: &str) -> bool {
    tokens(kind).last().is_some_and(|last| JOB_KINDS.contains(&last.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_read_alike() {
        assert_eq!(tokens("ImagePullBackOff"), ["image", "pull", "back", "off"]);
        assert_eq!(tokens("SUBMISSION_FAILED"), ["submission", "failed"]);
        assert_eq!(tokens("OOMKilled"), ["oom", "killed"]);
        assert_eq!(tokens("Cluster in healthy state"), ["cluster", "in", "healthy", "state"]);
        assert_eq!(tokens("--"), Vec::<String>::new());
    }

    #[test]
    fn phases_mean_what_controllers_mean() {
        use Meaning::{Bad, Good, Suspended, Waiting};
        for (text, meaning) in [
            ("Running", Some(Good)),
            ("READY", Some(Good)),
            ("in-sync", Some(Good)),
            ("InSync", Some(Good)),
            ("Cluster in healthy state", Some(Good)),
            ("up-to-date", Some(Good)),
            ("DEPLOYED_NOT_READY", Some(Waiting)),
            ("NotReady", Some(Waiting)),
            ("Failing over", Some(Waiting)),
            ("UpdateFailed", Some(Bad)),
            ("FailedRetrying", Some(Waiting)),
            ("ImagePullBackOff", Some(Bad)),
            ("CrashLoopBackOff", Some(Bad)),
            ("RolledBack", Some(Bad)),
            ("Paused", Some(Suspended)),
            ("Pausing", Some(Waiting)),
            ("not running", Some(Waiting)),
            ("Primary", None),
            ("NoErrors", None),
            ("", None),
            ("Unknown", Some(Waiting)),
        ] {
            assert_eq!(phase(text, false), meaning, "{text}");
        }
        assert_eq!(phase("Running", true), Some(Waiting));
        assert_eq!(phase("Succeeded", true), Some(Good));
    }

    #[test]
    fn reasons_that_wait_are_no_failures() {
        for reason in
            ["ReconcileError", "NotFound", "BuildFailed", "QuotaExceeded", "InvalidSpec", "PullBackOff"]
        {
            assert!(is_failure(reason), "{reason}");
        }
        for reason in
            ["DependencyNotReady", "Progressing", "WaitingForMissingSecret", "NoErrors", "Creating", ""]
        {
            assert!(!is_failure(reason), "{reason}");
        }
        assert!(is_settled("NewReplicaSetAvailable") && is_settled("AsExpected"));
        assert!(!is_settled("ReplicaSetUpdated") && !is_settled("NotAvailable"));
    }

    #[test]
    fn kinds_that_end_differ_from_those_that_serve() {
        assert!(is_job_kind("PipelineRun") && is_job_kind("Workflow") && is_job_kind("Backup"));
        assert!(!is_job_kind("Cluster") && !is_job_kind("Jobber"));
    }
}
