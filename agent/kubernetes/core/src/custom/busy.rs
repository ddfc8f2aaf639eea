//! Conditions whose reason names a step (`ApplyingSchema`, `UnpackingPackage`) while their message reports its error.

use trimaran_model::time::{Millis, Wall};

use super::condition::{Condition, Truth};
use super::failure_text;
use super::polarity::{Polarity, polarity};
use super::status_vocabulary;

/// How long such an error must last: a database that starts in the same moment answers a little later.
const GRACE: Millis = Millis::minutes(3);

#[derive(Debug)]
pub(super) enum Failure<'c, 'a> {
    Now(&'c Condition<'a>),
    /// Only suspected: it counts from this time on.
    From(Wall),
}

/// The error behind a busy reason among good conditions that are not True. One without a time never counts.
pub(super) fn failure<'c, 'a: 'c>(
    conditions: impl Iterator<Item = &'c Condition<'a>>,
    now: Wall,
) -> Option<Failure<'c, 'a>> {
    let mut failing: Vec<(Wall, &Condition<'a>)> =
        conditions.filter(|it| is_error(it)).filter_map(|it| Some((it.at? + GRACE, it))).collect();
    failing.sort_by_key(|(at, it)| (*at, it.name.clone()));
    let (at, condition) = *failing.first()?;
    Some(if at <= now { Failure::Now(condition) } else { Failure::From(at) })
}

fn is_error(condition: &Condition<'_>) -> bool {
    let good = matches!(polarity(&condition.name), Some(Polarity::Proof | Polarity::Part));
    // Severity Warning and Info mark what is tried again, or what does not count for the whole.
    let counts = !matches!(condition.severity, "Info" | "Warning");
    good && counts
        && condition.truth != Truth::True
        && !condition.stale
        && !status_vocabulary::is_failure(condition.reason)
        && failure_text::message_fails(condition.reason, condition.message)
}
