//! Times for people: how long ago, how long still.
//!
//! Deliberately not here: documents for programs, which have RFC 3339 only.

use jiff::Timestamp;

/// `12s`, `4m`, `3h`, `2d`: the largest unit that says enough.
pub(crate) fn short_duration(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// `1m12s`: for what is watched while it runs.
pub(crate) fn elapsed(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// Seconds from `from` to `to`, both RFC 3339; `None` when one of them is no time.
pub(crate) fn seconds_between(from: &str, to: &str) -> Option<i64> {
    let (from, to): (Timestamp, Timestamp) = (from.parse().ok()?, to.parse().ok()?);
    Some(to.duration_since(from).as_secs())
}

/// `4m ago`, or `in 58m` for a time that is still to come.
pub(crate) fn relative(time: &str, now: Timestamp) -> String {
    let Ok(time) = time.parse::<Timestamp>() else { return time.to_owned() };
    let seconds = now.duration_since(time).as_secs();
    if seconds < 0 {
        format!("in {}", short_duration(-seconds))
    } else {
        format!("{} ago", short_duration(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_their_largest_unit() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().expect("a time");
        for (time, shown) in [
            ("2026-01-02T12:00:00.000Z", "0s ago"),
            ("2026-01-02T11:59:01.000Z", "59s ago"),
            ("2026-01-02T11:58:59.000Z", "1m ago"),
            ("2026-01-02T09:00:00.000Z", "3h ago"),
            ("2025-12-30T11:00:00.000Z", "3d ago"),
            ("2026-01-02T12:58:00.000Z", "in 58m"),
            ("soon", "soon"),
        ] {
            assert_eq!(relative(time, now), shown, "{time}");
        }
        assert_eq!([elapsed(59), elapsed(72), elapsed(3 * 3600 + 125)], ["59s", "1m12s", "3h02m"]);
    }
}
