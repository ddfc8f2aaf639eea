//! Quantities of Kubernetes as exact numbers, so that ten times `100m` is one.
//!
//! `k8s.io/apimachinery/pkg/api/resource`: a decimal number with a suffix or exponent; nothing is finer than `n`.

use std::fmt;

use serde_json::Value;

/// Billionths of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Amount(i128);

const ONE: i128 = 1_000_000_000;

const DECIMAL: &[(&str, i128)] = &[
    ("n", 1),
    ("u", 1_000),
    ("m", 1_000_000),
    ("", ONE),
    ("k", ONE * 1_000),
    ("M", ONE * 1_000_000),
    ("G", ONE * 1_000_000_000),
    ("T", ONE * 1_000_000_000_000),
    ("P", ONE * 1_000_000_000_000_000),
    ("E", ONE * 1_000_000_000_000_000_000),
];
const BINARY: &[(&str, i128)] = &[
    ("Ki", ONE << 10),
    ("Mi", ONE << 20),
    ("Gi", ONE << 30),
    ("Ti", ONE << 40),
    ("Pi", ONE << 50),
    ("Ei", ONE << 60),
];

impl Amount {
    pub(super) fn whole(count: u64) -> Self {
        Self(i128::from(count) * ONE)
    }

    /// `None` for what is no quantity, or one larger than any resource.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let (mut factor, mut divisor) = match DECIMAL.iter().chain(BINARY).find(|it| it.0 == suffix) {
            Some((_, factor)) => (*factor, 1),
            None => match exponent(suffix)? {
                power @ 0.. => (ONE.checked_mul(10i128.checked_pow(power.unsigned_abs())?)?, 1),
                power => (ONE, 10i128.checked_pow(power.unsigned_abs())?),
            },
        };
        // As much of the fraction as can be distinguished.
        let fraction = &fraction[..fraction.len().min(18)];
        let scale = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        divisor *= scale;
        let shared = greatest_common_divisor(factor, divisor);
        (factor, divisor) = (factor / shared, divisor / shared);
        let scaled = digits.checked_mul(factor)?;
        // What is finer counts as more.
        let amount = scaled / divisor + i128::from(scaled % divisor != 0);
        Some(Self(if negative { -amount } else { amount }))
    }

    pub(super) fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(i128::from(count)))
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    pub(super) fn is_positive(self) -> bool {
        self.0 > 0
    }
}

fn greatest_common_divisor(one: i128, other: i128) -> i128 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

/// `e3`, `E-3`.
fn exponent(suffix: &str) -> Option<i32> {
    let digits = suffix.strip_prefix(['e', 'E'])?;
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let is_number = !unsigned.is_empty() && unsigned.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// The largest suffix that leaves a whole number: `1536Mi`, `500m`, `3`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let divides = |(_, factor): &&(&str, i128)| self.0 % factor == 0;
        if self.0 != 0
            && let Some((suffix, factor)) = BINARY.iter().rev().find(divides)
        {
            return write!(f, "{}{suffix}", self.0 / factor);
        }
        let plain: Vec<_> = DECIMAL.iter().filter(|it| it.1 <= ONE).collect();
        let (suffix, factor) =
            plain.into_iter().rev().find(|it| divides(it)).expect("every amount is a number of billionths");
        write!(f, "{}{suffix}", self.0 / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap_or_else(|| panic!("{text} is a quantity"))
    }

    #[test]
    fn quantities_are_exact() {
        for (one, other) in [
            ("1000m", "1"),
            ("1Gi", "1024Mi"),
            ("1e3", "1k"),
            ("1E3", "1000"),
            ("1500e-3", "1.5"),
            ("0.5Gi", "512Mi"),
            (".5", "500m"),
            ("1E", "1000P"),
            ("+2", "2"),
            ("0.1n", "1n"),
        ] {
            assert_eq!(amount(one), amount(other), "{one} {other}");
        }
        assert_eq!(amount("100m").times(10), Amount::whole(1));
        assert_eq!(amount("1").minus(amount("1500m")), amount("-500m"));
        assert!(!amount("-1").is_positive() && !amount("0").is_positive() && amount("1n").is_positive());
        for text in ["", "m", "1GB", "1mi", "1.2.3", "e3", "1e", "--1", "1e99"] {
            assert_eq!(Amount::parse(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_are_shown_as_people_write_them() {
        for text in ["0", "3", "500m", "1536Mi", "2Gi", "1001", "-1", "128n"] {
            assert_eq!(amount(text).to_string(), text);
        }
        assert_eq!(amount("1G").to_string(), "1000000000");
    }
}
