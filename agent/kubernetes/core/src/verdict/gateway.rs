//! Gateways and routes of the Gateway API (HTTP, GRPC, TLS, TCP, UDP).
//!
//! Their conditions are below `status.parents[]` and `status.listeners[]`, one set for each, and carry the generation
//! that they describe. Some must be there; every other one of the latest generation is read as well, because
//! implementations write more of them (`Programmed` on a route). Reasons are open, so only one that is known to be
//! final, or that is a word of failure, fails at once: everything else waits for the deadline.

use serde_json::Value;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Millis;
use trimaran_model::verdict::Verdict;

use super::cause::{Cause, EffectiveFrom, field_evidence, quote};
use super::context::Context;
use super::grace;
use crate::custom::failure_text;
use crate::custom::polarity::{Polarity, polarity};
use crate::judgment::{Evidence, Judgment};
use crate::object::{Condition, Object, at, condition_of, list_of};

/// Reasons with which a condition stays False until an object is changed.
const FINAL: &[&str] = &[
    "AddressNotUsable",
    "BackendNotFound",
    "HostnameConflict",
    "IncompatibleFilters",
    "Invalid",
    "InvalidCACertificateKind",
    "InvalidKind",
    "InvalidParameters",
    "InvalidRouteKinds",
    "ListenersNotResolved",
    "ListenersNotValid",
    "NoMatchingListenerHostname",
    "NoMatchingParent",
    "NoValidCACertificate",
    "NotAllowedByListeners",
    "PortUnavailable",
    "ProtocolConflict",
    "RefNotPermitted",
    "UnsupportedAddress",
    "UnsupportedExtension",
    "UnsupportedProtocol",
    "UnsupportedValue",
];

/// Whether a reason stays until an object is changed: `InvalidCertificateRef`, `NoControllerFound`,
/// `ListenerNotAccepted`.
fn is_final(reason: &str) -> bool {
    let is_refused = |refusal: &&str| reason.ends_with(*refusal);
    FINAL.contains(&reason)
        || (reason.starts_with("Invalid") && reason.ends_with("Ref"))
        || (reason.starts_with("No") && reason.ends_with("Found"))
        || ["NotAccepted", "NotAllowed", "NotPermitted", "NotSupported", "NotValid"].iter().any(is_refused)
}

/// What one condition says.
enum Answer {
    Good,
    Waits(ReasonCode, String, Evidence),
    Bad(Cause),
}

/// One set of conditions: of the object, of a listener or of a parent.
struct Place<'a> {
    object: Object<'a>,
    /// As evidence names it: `status.listeners[web]`.
    name: String,
    conditions: &'a [Value],
}

impl<'a> Place<'a> {
    /// What the conditions say: each of `required`, and every other one of the latest generation.
    fn answers(&self, required: &[&str]) -> Vec<Answer> {
        let others = self.conditions.iter().map(Condition::read);
        let others = others.filter(|it| !required.contains(&it.kind) && !self.is_stale(it, false));
        let others = others.filter_map(|it| self.other(&it));
        required.iter().map(|kind| self.required(kind)).chain(others).collect()
    }

    fn required(&self, kind: &str) -> Answer {
        let place = &self.name;
        let Some(it) = condition_of(self.conditions, kind) else {
            let evidence = field_evidence(self.object, self.path(kind), "absent", None);
            let message = format!("{place} has no condition {kind} yet");
            return Answer::Waits(ReasonCode::NotReady, message, evidence);
        };
        if self.is_stale(&it, true) {
            let message = format!("{kind} of {place} describes an earlier generation");
            return Answer::Waits(ReasonCode::Generation, message, self.evidence(&it));
        }
        if it.is_true() { Answer::Good } else { self.not_true(&it) }
    }

    /// A condition that is not required: a good one that is not True, or a bad one that is.
    fn other(&self, it: &Condition<'a>) -> Option<Answer> {
        // Part of the route was dropped, or an earlier version of it is still served.
        let is_bad = it.kind == "PartiallyInvalid" || polarity(it.kind) == Some(Polarity::Bad);
        let is_good = matches!(polarity(it.kind), Some(Polarity::Proof | Polarity::Part));
        if is_bad {
            return it.is_true().then(|| self.bad(it, grace::CONFIRMATION));
        }
        (is_good && !it.is_true()).then(|| self.not_true(it))
    }

    fn not_true(&self, it: &Condition<'a>) -> Answer {
        let is_final = is_final(it.reason) || failure_text::is_final(it.reason, it.message);
        if it.is_false() && is_final {
            return self.bad(it, grace::CONFIRMATION);
        }
        if failure_text::message_fails(it.reason, it.message) {
            return self.bad(it, grace::BUSY_REASON);
        }
        Answer::Waits(ReasonCode::NotReady, self.message(it), self.evidence(it))
    }

    fn bad(&self, it: &Condition<'a>, grace: Millis) -> Answer {
        let effective = EffectiveFrom::after(it.at, grace);
        let cause = Cause::new(ReasonCode::ConditionFailed, effective, self.message(it));
        Answer::Bad(cause.with(self.evidence(it)))
    }

    /// Whether it describes an earlier generation. The Gateway API demands the generation in its own conditions;
    /// others that name none are of today.
    fn is_stale(&self, it: &Condition<'a>, demanded: bool) -> bool {
        let generation = self.object.count("metadata.generation").unwrap_or(0);
        match it.observed_generation {
            Some(observed) => observed < generation,
            None => demanded && generation > 0,
        }
    }

    fn path(&self, kind: &str) -> String {
        format!("{}.conditions[{kind}]", self.name)
    }

    fn evidence(&self, it: &Condition<'a>) -> Evidence {
        field_evidence(self.object, self.path(it.kind), format!("{}, {}", it.status, it.reason), it.at)
    }

    fn message(&self, it: &Condition<'a>) -> String {
        format!(
            "{}: {} of {} is {} ({}): {}",
            self.object.display(),
            it.kind,
            self.name,
            it.status,
            it.reason,
            quote(it.message)
        )
    }
}

/// Bad news first, then what is missing.
fn conclude(context: Context<'_>, answers: Vec<Answer>, healthy: &str) -> Judgment {
    let mut waits = None;
    let mut bad: Option<Cause> = None;
    for answer in answers {
        match answer {
            Answer::Good => {}
            Answer::Waits(reason, message, evidence) => {
                waits = waits.or_else(|| Some(Judgment::progressing(reason, message).with(evidence)));
            }
            Answer::Bad(cause)
                if bad.as_ref().is_none_or(|it| cause.effective.order() < it.effective.order()) =>
            {
                bad = Some(cause);
            }
            Answer::Bad(_) => {}
        }
    }
    match (bad, waits) {
        (Some(bad), _) => bad.judgment(context.now),
        (None, Some(waits)) => waits,
        (None, None) => Judgment { message: healthy.to_owned(), ..Judgment::healthy() },
    }
}

pub(super) fn judge_route(context: Context<'_>, object: Object<'_>) -> Judgment {
    let wanted = object.list("spec.parentRefs");
    if wanted.is_empty() {
        let message = "the route names no parent, so nothing serves it".to_owned();
        let evidence = field_evidence(object, "spec.parentRefs", "empty", None);
        return Judgment::progressing(ReasonCode::NotReady, message).with(evidence);
    }
    let parents: Vec<Judgment> = wanted
        .iter()
        .enumerate()
        .map(|(index, parent)| judge_parent(context, object, index, parent))
        .collect();
    let warnings: Vec<String> = parents.iter().flat_map(|parent| parent.warnings.clone()).collect();
    let worst = [Verdict::Degraded, Verdict::Progressing].into_iter().find_map(|verdict| {
        let mut of_verdict: Vec<&Judgment> = parents.iter().filter(|it| it.verdict == verdict).collect();
        of_verdict.sort_by_key(|it| (it.next_check_at.is_none(), it.next_check_at));
        of_verdict.first().copied()
    });
    let judgment = match worst {
        Some(worst) => worst.clone(),
        None => Judgment { message: "every parent has accepted the route".to_owned(), ..Judgment::healthy() },
    };
    Judgment { warnings, ..judgment }
}

/// One reference to a parent. Each controller writes an entry of its own, also for a parent that it does not serve,
/// so one that accepted the route is enough; what another one says is a warning then.
fn judge_parent(context: Context<'_>, object: Object<'_>, index: usize, parent: &Value) -> Judgment {
    let name = parent.get("name").and_then(Value::as_str).unwrap_or("?");
    let entries = object.list("status.parents").iter();
    let entries =
        entries.filter(|entry| entry.get("parentRef").is_some_and(|it| is_same_parent(object, parent, it)));
    let judgments: Vec<Judgment> = entries
        .map(|entry| {
            let conditions = list_of(entry.get("conditions"));
            let place = Place { object, name: format!("status.parents[{name}]"), conditions };
            conclude(context, place.answers(&["Accepted", "ResolvedRefs"]), "")
        })
        .collect();
    let accepted = judgments.iter().any(|it| it.verdict == Verdict::Healthy);
    if accepted {
        let others = judgments.into_iter().filter(|it| it.verdict != Verdict::Healthy);
        return others.fold(Judgment::healthy(), |judgment, other| judgment.warn(other.message));
    }
    // No controller has accepted it: while one of them may still do so, it waits.
    let order = |it: &Judgment| match it.verdict {
        Verdict::Progressing => (0, it.next_check_at.is_none(), it.next_check_at),
        _ => (1, true, None),
    };
    judgments.into_iter().min_by_key(order).unwrap_or_else(|| {
        let evidence = field_evidence(object, format!("spec.parentRefs[{index}]"), name, None);
        let message = format!("no controller has accepted the route at {name} yet");
        Judgment::progressing(ReasonCode::NotReady, message).with(evidence)
    })
}

/// Absent fields of a reference have defaults: the route's namespace, and group and kind of a Gateway.
fn is_same_parent(route: Object<'_>, wanted: &Value, reported: &Value) -> bool {
    let text = |value: &Value, key: &str, default: &str| {
        value.get(key).and_then(Value::as_str).unwrap_or(default).to_owned()
    };
    let defaults = [
        ("group", "gateway.networking.k8s.io"),
        ("kind", "Gateway"),
        ("namespace", route.namespace()),
        ("name", ""),
        ("sectionName", ""),
    ];
    defaults.into_iter().all(|(key, default)| text(wanted, key, default) == text(reported, key, default))
        && wanted.get("port").filter(|port| !port.is_null())
            == reported.get("port").filter(|port| !port.is_null())
}

pub(super) fn judge_gateway(context: Context<'_>, object: Object<'_>) -> Judgment {
    let own = Place { object, name: "status".to_owned(), conditions: object.conditions() };
    let mut answers = own.answers(&["Accepted", "Programmed"]);
    for listener in object.list("spec.listeners") {
        let name = listener.get("name").and_then(Value::as_str).unwrap_or("?");
        let is_same = |it: &&Value| it.get("name").and_then(Value::as_str) == Some(name);
        let reported = object.list("status.listeners").iter().find(is_same);
        let conditions = list_of(reported.and_then(|reported| at(reported, "conditions")));
        let place = Place { object, name: format!("status.listeners[{name}]"), conditions };
        // Older controllers do not write Accepted on listeners.
        let accepted = condition_of(conditions, "Accepted").is_some();
        let required: &[&str] = if accepted {
            &["Programmed", "ResolvedRefs", "Accepted"]
        } else {
            &["Programmed", "ResolvedRefs"]
        };
        answers.extend(place.answers(required));
    }
    conclude(context, answers, "the gateway and its listeners are programmed")
}
