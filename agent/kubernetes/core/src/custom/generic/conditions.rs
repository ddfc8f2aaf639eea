//! Conditions: which types are good when they are true, which are bad, and what their reasons add.

use trimaran_model::reason::ReasonCode;

use super::{Sign, Signs, Weight};
use crate::custom::condition::{Condition, Conditions, Truth};
use crate::custom::failure_text;
use crate::custom::polarity::{Polarity, polarity};
use crate::custom::status_vocabulary;
use crate::custom::subject::Subject;
use crate::judgment::Evidence;

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
    let fails = || {
        let fails = status_vocabulary::is_failure(condition.reason) || condition.severity == "Error";
        fails && !failure_text::is_transient(condition.reason, condition.message)
    };
    let stopped =
        || status_vocabulary::phase(condition.reason, false) == Some(status_vocabulary::Meaning::Suspended);
    match (polarity, condition.truth) {
        (Polarity::Proof, Truth::True) => Some(Weight::Proof),
        (Polarity::Part, Truth::True) => None,
        (Polarity::Proof | Polarity::Part, Truth::False) if fails() => Some(Weight::Bad),
        (Polarity::Proof, Truth::False) if stopped() => Some(Weight::Suspended),
        (Polarity::Proof | Polarity::Part, Truth::False | Truth::Unknown) => Some(Weight::Waiting),
        // Stalled says that no further try is made.
        (Polarity::Bad, Truth::True)
            if condition.name != "Stalled"
                && failure_text::is_transient(condition.reason, condition.message) =>
        {
            Some(Weight::Waiting)
        }
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
