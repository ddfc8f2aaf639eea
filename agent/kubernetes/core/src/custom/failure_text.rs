//! What reasons and messages say of a failure: whether there is one, and whether the next try may overcome it.
//!
//! Objects of one release are applied together and depend on each other, so a controller that can't resolve a
//! reference yet reports a failure that its next try overcomes. A refusal stays one, however often it is retried.
//! Lists of reasons are open: a word that is not known here is no failure.

use super::status_vocabulary::{is_failure, tokens};

/// Something is not there yet.
const NOT_YET: &[&str] = &[
    "not yet",
    "not ready",
    "not be ready",
    "isn't ready",
    "aren't ready",
    "has not become",
    "to become ready",
    "to be ready",
    "being created",
    "being provisioned",
    "starting up",
    "not been created",
    "not been synced",
    "waiting for",
    "waiting on",
    "waiting until",
    "wait for",
    "wait until",
    "awaiting",
    "in progress",
    "metrics unavailable",
    "cannot get referenced",
    "cannot resolve references",
    "can not resolve references",
    "can't resolve references",
];

/// It is tried again.
const RETRIED: &[&str] = &[
    "retrying",
    "will retry",
    "be retried",
    "retry in",
    "retry after",
    "try again",
    "trying again",
    "tried again",
    "requeue",
    "object has been modified",
    "operation cannot be fulfilled on",
    "rate limit",
    "rate exceeded",
    "too many requests",
    "throttled",
    "throttling",
    "rebalances",
    "rebalancing",
    "temporarily",
];

/// The controller has waited for long enough: what was not there is not awaited any more.
const WAITED: &[&str] = &["timed out", "timeout", "time out", "deadline exceeded"];

/// The way to another system was interrupted.
const NETWORK: &[&str] = &[
    "connection refused",
    "connection reset",
    "no such host",
    "no route to host",
    "network is unreachable",
    "i/o timeout",
    "timeout",
    "timed out",
    "deadline exceeded",
    "temporary failure",
    "service unavailable",
    "bad gateway",
    "unexpected eof",
    "broken pipe",
];

/// A refusal, or the end of all tries.
const FINAL: &[&str] = &[
    "denied",
    "forbidden",
    "unauthorized",
    "unauthenticated",
    "not authorized",
    "not permitted",
    "not allowed",
    "invalid",
    "malformed",
    "unsupported",
    "not supported",
    "rejected",
    "quota exceeded",
    "exceeded quota",
    "exhausted",
    "gave up",
    "giving up",
    "given up",
    "not be retried",
    "not retry",
    "no retries",
    "no more retries",
    "maximum number of retries",
    "max retries",
    "retry limit",
    "retries exceeded",
    "stopped retrying",
    "stop retrying",
    "permanent",
];

/// Phrases with which a message reports an error of its own.
const ERRORS: &[&str] = &[
    "error:",
    "error ",
    "err:",
    "failed to ",
    "failed: ",
    "has failed",
    "cannot ",
    "can not ",
    "can't ",
    "could not ",
    "couldn't ",
    "unable to ",
    "denied",
    "forbidden",
    "unauthorized",
    "unauthenticated",
    "manifest_unknown",
    "manifest unknown",
    "name_unknown",
    "panic:",
    "exception",
];

/// A count of failures that is zero, or their absence.
const DENIED: &[&str] =
    &["0 failed", "failed: 0", "failed=0", "no error", "without error", "errors: 0", "0 error"];

/// Whether the text speaks of something that the next try may overcome.
pub(crate) fn is_transient(reason: &str, message: &str) -> bool {
    is_tried_again(&joined(reason, message))
}

fn is_tried_again(text: &str) -> bool {
    (has(text, RETRIED) || (has(text, NOT_YET) && !has(text, WAITED))) && !has(text, FINAL)
}

/// The same, also for a connection that broke.
pub(crate) fn is_transient_or_network(reason: &str, message: &str) -> bool {
    let text = joined(reason, message);
    let has_waited = has(&text, WAITED) && has(&text, NOT_YET);
    is_tried_again(&text) || (has(&text, NETWORK) && !has_waited && !has(&text, FINAL))
}

/// Whether the reason is a failure that no further try is expected to overcome.
pub(crate) fn is_final(reason: &str, message: &str) -> bool {
    is_failure(reason) && !is_transient(reason, message)
}

/// Whether a message reports an error although its reason only names the step (`ApplyingSchema`).
pub(crate) fn message_fails(reason: &str, message: &str) -> bool {
    let text = message.to_lowercase();
    has(&text, ERRORS) && !has(&text, DENIED) && !is_transient_or_network(reason, message)
}

/// Whether a message only points to where the cause is.
pub(crate) fn only_points_elsewhere(message: &str) -> bool {
    let text = message.to_lowercase();
    let points = ["see ", "check ", "refer to ", "look at "].iter().any(|verb| text.contains(verb));
    points
        && ["detail", "error", "condition", "log", "event", "more info"]
            .iter()
            .any(|noun| text.contains(noun))
}

/// The reason as words, then the message: `SourceNotReady` says the same as `source not ready`.
fn joined(reason: &str, message: &str) -> String {
    format!("{} ; {}", tokens(reason).join(" "), message.to_lowercase())
}

fn has(text: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| text.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_again_is_transient() {
        for (reason, message) in [
            ("ReconcileError", "referenced field was empty (referenced resource may not yet be ready)"),
            ("ReconcileError", "cannot resolve references: mg.Spec.VPCID: \"main\" not found"),
            ("ConnectRestException", "the worker rebalances, the request should be retried (409)"),
            ("ArtifactFailed", "the artifact of the source is not there, retrying in 30s"),
            ("HPAMetricsUnavailable", "FailedGetResourceMetric"),
            ("DependencyNotReady", ""),
            ("UpdateError", "Operation cannot be fulfilled on x: the object has been modified"),
            ("SyncFailed", "429 Too Many Requests"),
            ("FetchFailed", "i/o timeout, retrying in 10s"),
        ] {
            assert!(is_transient(reason, message) && !is_final(reason, message), "{reason}: {message}");
        }
    }

    #[test]
    fn refusals_and_the_end_of_tries_are_final() {
        for (reason, message) in [
            ("ReconcileError", "create failed: AccessDenied: not authorized, retrying in 30s"),
            ("UpgradeFailed", "timed out waiting for the condition"),
            ("InstallFailed", "install retries exhausted"),
            ("ReconcileError", "spec is invalid: waiting for a correction"),
            ("BuildFailed", "exit status 1"),
            ("TimeoutException", "Exceeded timeout of 300000ms while waiting for StatefulSet db to be ready"),
        ] {
            assert!(!is_transient(reason, message) && is_final(reason, message), "{reason}: {message}");
        }
        assert!(!is_final("ProxiesStarting", ""), "an unknown word is no failure");
    }

    #[test]
    fn errors_in_messages_of_busy_reasons() {
        assert!(message_fails("ApplyingSchema", "Error: executing statement: table orders exists"));
        assert!(message_fails(
            "UnpackingPackage",
            "cannot unpack package: failed to fetch: MANIFEST_UNKNOWN"
        ));
        for message in [
            "Issuing certificate as Secret does not exist",
            "dial tcp 10.0.0.1:5432: connect: connection refused, error: no connection",
            "3 succeeded, 0 failed to start",
            "",
        ] {
            assert!(!message_fails("Applying", message), "{message}");
        }
    }

    #[test]
    fn pointers_are_no_causes() {
        assert!(only_points_elsewhere("At least one error present, see Errors for details"));
        assert!(!only_points_elsewhere("service shop/cart not found"));
    }
}
