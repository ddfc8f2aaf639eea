//! Two clocks and one duration.
//!
//! [`Timestamp`] is cluster time: it never jumps, and durations are measured on it. [`WallTime`] is what
//! people and certificates mean: dates are measured on it. Nothing here reads a clock.

use std::fmt;
use std::ops::{Add, Sub};

/// Milliseconds of cluster time (`now` of the state), or of one process's clock where a doc says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// Milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(pub i64);

/// A duration in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

/// How users write durations, the largest unit first, with its milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A hundred years; longer durations are slips.
const WRITTEN_MAX: Millis = Millis(3_155_760_000_000);

impl Millis {
    pub const ZERO: Self = Self(0);

    /// Reads `90s`, `1h30m`, `500ms`, `0s`: digits and a unit, each unit once and larger ones first, at most a
    /// hundred years.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut total = 0u64;
        let mut last = u64::MAX;
        while !rest.is_empty() {
            let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
            let (unit, next) =
                behind.split_at(behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len()));
            let size = UNITS.iter().find(|(name, _)| *name == unit)?.1;
            if size >= last {
                return None;
            }
            total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(size)?)?;
            (last, rest) = (size, next);
        }
        (!text.is_empty() && total <= WRITTEN_MAX.0).then_some(Self(total))
    }

    pub const fn seconds(n: u64) -> Self {
        Self(n * 1000)
    }
    pub const fn minutes(n: u64) -> Self {
        Self::seconds(n * 60)
    }
    pub const fn hours(n: u64) -> Self {
        Self::minutes(n * 60)
    }
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As users write it: `90s`, `1h30m`, `500ms`; zero is `0s`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, size) in UNITS {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl Add<Millis> for Timestamp {
    type Output = Self;
    fn add(self, duration: Millis) -> Self {
        Self(self.0.saturating_add(duration.0))
    }
}

impl Sub for Timestamp {
    type Output = Millis;
    /// Zero when `earlier` is later.
    fn sub(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Millis> for WallTime {
    type Output = Self;
    fn add(self, duration: Millis) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.0).unwrap_or(i64::MAX)))
    }
}

impl Sub for WallTime {
    type Output = Millis;
    /// Zero when `earlier` is later.
    fn sub(self, earlier: Self) -> Millis {
        Millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_and_are_read_as_users_write_them() {
        for (ms, text) in
            [(0, "0s"), (500, "500ms"), (90_000, "1m30s"), (5_400_000, "1h30m"), (259_200_000, "3d")]
        {
            assert_eq!(Millis(ms).to_string(), text);
            assert_eq!(Millis::parse(text), Some(Millis(ms)), "{text}");
        }
        assert_eq!(Millis::parse("90s"), Some(Millis(90_000)));
    }

    #[test]
    fn durations_are_read_once_and_in_order() {
        for bad in
            ["", "5", "s", "5x", "30m1h", "1s1s", "-1s", "1.5s", "5 s", "99999999999999999999d", "9999999d"]
        {
            assert_eq!(Millis::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn differences_do_not_underflow() {
        assert_eq!(Timestamp(1) - Timestamp(2), Millis(0));
        assert_eq!(WallTime(-5) - WallTime(3), Millis(0));
        assert_eq!(WallTime(3) - WallTime(-5), Millis(8));
    }
}
