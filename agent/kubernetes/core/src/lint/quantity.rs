//! Numbers in manifests: whole ones, and quantities of Kubernetes (`k8s.io/apimachinery/pkg/api/resource`): a decimal number
//! and a suffix or exponent.

use serde_json::Value;

/// Suffixes with their factors: powers of 1000 and of 1024.
const SUFFIXES: &[(&str, f64)] = &[
    ("", 1.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
];

pub(super) fn is_quantity(text: &str) -> bool {
    of_text(text).is_some()
}

/// The amount of a quantity, near enough to compare two; `None` for what is none.
pub(super) fn amount(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => of_text(text),
        value => value.as_f64(),
    }
}

/// A whole number, also one that is written with a fraction of zero.
pub(super) fn whole(value: &Value) -> Option<i64> {
    let integral = |it: f64| (it.fract() == 0.0 && it.abs() < 9.0e15).then_some(it as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(integral))
}

fn of_text(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = unsigned.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    if !number.bytes().any(|it| it.is_ascii_digit()) || number.matches('.').count() > 1 {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let factor = match SUFFIXES.iter().find(|(known, _)| *known == suffix) {
        Some((_, factor)) => *factor,
        None => 10f64.powi(exponent(suffix)?),
    };
    Some(if text.starts_with('-') { -number * factor } else { number * factor })
}

/// `e3`, `E-3`.
fn exponent(suffix: &str) -> Option<i32> {
    let digits = suffix.strip_prefix(['e', 'E'])?;
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let is_number = !unsigned.is_empty() && unsigned.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_are_numbers_with_a_suffix() {
        for text in ["1", "0.5", ".5", "5.", "500m", "64Mi", "1e3", "1E-3", "1E", "+1Gi", "-1", "100n", "2k"]
        {
            assert!(is_quantity(text), "{text}");
        }
        for text in ["", "m", "1GB", "1 Gi", "1K", "1mi", "1.2.3", "e3", "1e", "--1", "half", "1Gi "] {
            assert!(!is_quantity(text), "{text}");
        }
    }

    #[test]
    fn amounts_are_compared() {
        for (one, other) in
            [(json!("1000m"), json!(1)), (json!("1Gi"), json!("1024Mi")), (json!("1e3"), json!("1k"))]
        {
            assert_eq!(amount(&one), amount(&other), "{one} {other}");
        }
        assert!(amount(&json!("1Gi")) > amount(&json!("1G")));
        assert!(amount(&json!("-1")) < amount(&json!(0)));
        assert_eq!(amount(&json!("much")), None);
    }
}
