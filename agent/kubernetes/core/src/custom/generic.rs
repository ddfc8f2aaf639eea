//! The judgment of a kind that no rule knows, from what most controllers write.
//!
//! It searches for bad news everywhere and for good news only where it is clear: conditions, phases, counts,
//! and the health of children inside of the status. What is not clear is `unknown`, never healthy.
//! Deliberately not here: anything that is true of one kind only; that is a rule.

mod conditions;
mod counts;
mod nested;
mod phases;

use trimaran_model::limits::STRIKE_AGE;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Wall;
use trimaran_model::verdict::Verdict;

use super::condition::Conditions;
use super::subject::{Observed, Status, Subject};
use super::{busy, explanation, status_vocabulary, suspension};
use crate::judgment::{Evidence, Judgment};

/// What one sign is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Bad,
    Waiting,
    Suspended,
    /// Enough to be healthy when nothing speaks against it.
    Proof,
}

/// One thing that was seen, and its worth.
#[derive(Debug)]
struct Sign {
    weight: Weight,
    reason: ReasonCode,
    sentence: String,
    evidence: Evidence,
}

impl Sign {
    fn new(weight: Weight, sentence: String, evidence: Evidence) -> Self {
        let reason = match weight {
            Weight::Bad => ReasonCode::ConditionFailed,
            Weight::Waiting | Weight::Proof => ReasonCode::NotReady,
            Weight::Suspended => ReasonCode::Paused,
        };
        Self { weight, reason, sentence, evidence }
    }

    fn because(mut self, reason: ReasonCode) -> Self {
        self.reason = reason;
        self
    }
}

/// Everything that was seen, in the order of its places.
#[derive(Debug, Default)]
struct Signs {
    signs: Vec<Sign>,
    /// Parts that can't be read; with any of them nothing is healthy.
    odd: Vec<String>,
    warnings: Vec<String>,
}

impl Signs {
    fn add(&mut self, sign: Sign) {
        self.signs.push(sign);
    }

    fn has(&self, weight: Weight) -> bool {
        self.signs.iter().any(|sign| sign.weight == weight)
    }
}

/// Judges by steps: suspension, generation, then all signs together.
pub(super) fn judge(subject: &Subject<'_>, now: Wall) -> Judgment {
    let conditions = Conditions::read(subject, subject.status("conditions"));
    let suspended = suspension::by_spec(subject, |_| false)
        .or_else(|| suspension::by_condition(subject, &conditions, |_| false));
    if let Some(judgment) = suspended {
        return judgment;
    }
    if let Some(judgment) = generation(subject) {
        return judgment;
    }
    match subject.status {
        Status::Map(_) => {}
        Status::None => {
            return Judgment::unknown(format!("no rule knows {} and it has no status", subject.kind));
        }
        Status::Odd => return Judgment::unknown("its status is not a map, so it can not be read"),
    }
    let mut signs = Signs::default();
    conditions::collect(subject, &conditions, "status.conditions", &mut signs);
    phases::collect(subject, &mut signs);
    counts::collect(subject, &mut signs);
    if !ran_to_its_end(subject, &conditions) {
        nested::collect(subject, &mut signs);
    }
    if subject.observed() == Observed::Odd {
        signs.odd.push("status.observedGeneration".to_owned());
    }
    let judgment = conclude(subject, signs, now);
    match judgment.verdict {
        Verdict::Degraded => {
            let message = explanation::complete(subject, &conditions, judgment.message);
            Judgment { message, ..judgment }
        }
        Verdict::Progressing => fail_with_busy_reason(subject, &conditions, judgment, now),
        _ => judgment,
    }
}

/// What still progresses fails with the error in the message of a condition whose reason only names a step.
fn fail_with_busy_reason(
    subject: &Subject<'_>,
    conditions: &Conditions<'_>,
    judgment: Judgment,
    now: Wall,
) -> Judgment {
    match busy::failure(conditions.by_name.values(), now) {
        Some(busy::Failure::Now(condition)) => {
            let evidence = conditions::evidence(subject, "status.conditions", condition);
            Judgment::degraded(ReasonCode::ConditionFailed, condition.sentence()).with(evidence)
        }
        Some(busy::Failure::From(at)) => judgment.recheck_at(at),
        None => judgment,
    }
}

/// Conditions and phases of an earlier generation say nothing of this one.
fn generation(subject: &Subject<'_>) -> Option<Judgment> {
    let generation = subject.generation?;
    let Observed::Generation(observed) = subject.observed() else { return None };
    (observed < generation).then(|| behind(subject, observed, generation))
}

/// The controller has seen `observed` and the object is at `generation`.
pub(super) fn behind(subject: &Subject<'_>, observed: i64, generation: i64) -> Judgment {
    let message =
        format!("the controller has seen generation {observed} and the object is at generation {generation}");
    let evidence = subject.evidence("status.observedGeneration", &observed.into(), None);
    Judgment::progressing(ReasonCode::Generation, message).with(evidence)
}

/// Whether the object is done for good, so that what its parts say is history.
fn ran_to_its_end(subject: &Subject<'_>, conditions: &Conditions<'_>) -> bool {
    let by_condition = conditions.by_name.values().any(conditions::ends_well);
    by_condition || phases::texts(subject).any(|(_, text)| status_vocabulary::ended_well(text))
}

/// Bad news first, then what is still to come, then good news.
fn conclude(subject: &Subject<'_>, signs: Signs, now: Wall) -> Judgment {
    let Signs { signs, odd, warnings } = signs;
    let (fresh, bad): (Vec<&Sign>, Vec<&Sign>) = signs
        .iter()
        .filter(|sign| sign.weight == Weight::Bad)
        .partition(|sign| sign.evidence.at.is_some_and(|at| at + STRIKE_AGE > now));
    let of = |weight| signs.iter().filter(|sign| sign.weight == weight).collect::<Vec<_>>();
    let (waiting, suspended, proof) = (of(Weight::Waiting), of(Weight::Suspended), of(Weight::Proof));
    let judgment = if let Some(first) = bad.first() {
        seen(Judgment::degraded(first.reason, first.sentence.clone()), &bad)
    } else if let Some(first) = fresh.first() {
        let judgment = seen(Judgment::progressing(ReasonCode::NotReady, first.sentence.clone()), &fresh);
        let times = fresh.iter().filter_map(|sign| sign.evidence.at);
        times.fold(judgment, |judgment, at| judgment.recheck_at(at + STRIKE_AGE))
    } else if let Some(first) = waiting.first() {
        seen(Judgment::progressing(first.reason, first.sentence.clone()), &waiting)
    } else if let Some(first) = suspended.first() {
        seen(Judgment::suspended(first.sentence.clone()), &suspended)
    } else if !odd.is_empty() {
        Judgment::unknown(format!("can't be read: {}", odd.join(", ")))
    } else if !proof.is_empty() {
        seen(Judgment::healthy(), &proof)
    } else {
        Judgment::unknown(format!("no rule knows {} and nothing in its status is clear", subject.kind))
    };
    warnings.into_iter().fold(judgment, Judgment::warn)
}

/// Evidence in a judgment is bounded: the first few of a kind are enough.
const EVIDENCE_SHOWN: usize = 8;

fn seen(judgment: Judgment, signs: &[&Sign]) -> Judgment {
    signs.iter().take(EVIDENCE_SHOWN).fold(judgment, |judgment, sign| judgment.with(sign.evidence.clone()))
}

#[cfg(test)]
mod tests;
