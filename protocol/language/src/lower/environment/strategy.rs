//! `strategy`: waves and budgets.

use trimaran_model::amount::IntOrPercent;
use trimaran_model::error_code;
use trimaran_model::limits::WAVES_MAX;
use trimaran_model::pipeline::Batches;
use trimaran_model::time::Millis;

use crate::decode::{Fields, Union, amount_of, duration, each, list, not_yet, or_default};
use crate::diagnostic::Sink;
use crate::tree::{Entry, Span};

const LATER: &[&str] = &["rolling", "canary", "blue_green", "recreate", "savepoint", "members"];
const BATCHES_LATER: &[&str] = &["size", "parallel_max", "spread"];

/// One host, then all; one down at once; no failure.
pub(super) fn one_then_all() -> Batches {
    Batches {
        sizes: vec![IntOrPercent::Count(1), IntOrPercent::Percent(100)],
        max_unavailable: IntOrPercent::Count(1),
        max_failures: IntOrPercent::Count(0),
        max_lost: Batches::MAX_LOST,
        pause_between: Millis::ZERO,
    }
}

pub(super) fn batches(entry: &Entry, sink: &mut Sink) -> Option<Batches> {
    if let Some(later) = entry.value.entries().iter().find(|it| LATER.contains(&it.key.as_str())) {
        not_yet(later, "use `batches`", sink);
        return None;
    }
    let one = Union::of(entry, &["batches"], sink).one()?;
    let default = one_then_all();
    let mut it = Fields::below(one, sink)?.later(BATCHES_LATER);
    let [sizes, unavailable, failures, lost, pause] =
        ["sizes", "max_unavailable", "max_failures", "max_lost", "pause_between"].map(|key| it.optional(key));
    it.finish(sink);
    let sizes = or_default(sizes, default.sizes, |entry| wave_sizes(entry, sink));
    let max_unavailable = or_default(unavailable, default.max_unavailable, |entry| {
        let amount = amount_of(&entry.value, "`max_unavailable`", sink)?;
        if matches!(amount, IntOrPercent::Count(0) | IntOrPercent::Percent(0)) {
            let message = "`max_unavailable` of nothing: no host could ever be updated";
            sink.error(error_code::BUDGET, entry.value.span, message, "allow at least 1");
            return None;
        }
        Some(amount)
    });
    let max_failures = or_default(failures, default.max_failures, |entry| {
        let amount = amount_of(&entry.value, "`max_failures`", sink)?;
        if amount == IntOrPercent::Percent(100) {
            let message = "`max_failures` of 100%: a failing release would never be stopped";
            sink.error(error_code::BUDGET, entry.value.span, message, "allow fewer failures");
            return None;
        }
        Some(amount)
    });
    let max_lost = or_default(lost, default.max_lost, |entry| amount_of(&entry.value, "`max_lost`", sink));
    let pause_between = or_default(pause, default.pause_between, |entry| duration(entry, sink));
    Some(Batches {
        sizes: sizes?,
        max_unavailable: max_unavailable?,
        max_failures: max_failures?,
        max_lost: max_lost?,
        pause_between: pause_between?,
    })
}

/// Growing, and the last one is all hosts.
fn wave_sizes(entry: &Entry, sink: &mut Sink) -> Option<Vec<IntOrPercent>> {
    let items = list(entry, sink)?;
    if items.len() > WAVES_MAX {
        let message = format!("a stage has at most {WAVES_MAX} waves");
        sink.error(error_code::OVER_LIMIT, entry.key_span, message, "");
        return None;
    }
    let sizes: Vec<(IntOrPercent, Span)> =
        each(items, |item| amount_of(item, "a size", sink).map(|amount| (amount, item.span)))?;
    let before = sink.errors();
    for (amount, span) in &sizes {
        if matches!(amount, IntOrPercent::Count(0) | IntOrPercent::Percent(0)) {
            let message = format!("size `{amount}` is a wave of no hosts");
            sink.error(error_code::SIZES, *span, message, "start with 1");
        }
    }
    for pair in sizes.windows(2) {
        let [(a, _), (b, span)] = pair else { continue };
        let nothing = matches!(b, IntOrPercent::Count(0) | IntOrPercent::Percent(0));
        if !grows(*a, *b) && !nothing {
            let message = format!("size `{b}` is not larger than `{a}` before it");
            let help = "sizes count all hosts since the start, so each one is larger";
            sink.error(error_code::SIZES, *span, message, help);
        }
    }
    // With 100% elsewhere the order is what is wrong.
    if !sizes.iter().any(|(size, _)| *size == IntOrPercent::Percent(100)) {
        let message = "`sizes` has to end with 100%, or hosts would be left behind";
        sink.error(error_code::SIZES_END, entry.value.span, message, "add `100%` as the last size");
    }
    (sink.errors() == before).then(|| sizes.into_iter().map(|(size, _)| size).collect())
}

/// A count and a share are only comparable where the hosts are known.
fn grows(a: IntOrPercent, b: IntOrPercent) -> bool {
    match (a, b) {
        (IntOrPercent::Count(a), IntOrPercent::Count(b)) => b > a,
        (IntOrPercent::Percent(a), IntOrPercent::Percent(b)) => b > a,
        (IntOrPercent::Percent(100), IntOrPercent::Count(_)) => false,
        (IntOrPercent::Count(_), IntOrPercent::Percent(_))
        | (IntOrPercent::Percent(_), IntOrPercent::Count(_)) => true,
    }
}
