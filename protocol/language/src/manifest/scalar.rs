//! What plain YAML scalars mean to Kubernetes: YAML 1.1 as sigs.k8s.io/yaml reads it.
//!
//! Source of the rules: the documented behaviour of that library (`kubectl` 1.32 was asked about each row of
//! the tests). It differs from YAML 1.1 in details that matter: no sexagesimal numbers, timestamps stay text,
//! `0o17` is octal too, and a bad octal such as `08` is a decimal.

/// The meaning of a plain scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    Null,
    Bool(bool),
    Integer(i64),
    /// Above `i64::MAX`.
    Unsigned(u64),
    /// May be infinite or not a number.
    Float(f64),
    Text,
}

/// Reads a plain scalar.
pub fn resolve(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => number(text),
    }
}

fn number(text: &str) -> Scalar {
    let first = text.bytes().next().unwrap_or(b'x');
    if !matches!(first, b'0'..=b'9' | b'+' | b'-' | b'.') {
        return Scalar::Text;
    }
    if first == b'.' {
        return float(text);
    }
    let without = text.replace('_', "");
    integer(&without).unwrap_or_else(|| float(&without))
}

/// Decimal, `0x`, `0o`, `0b` and a leading `0` for octal, with an optional sign.
fn integer(text: &str) -> Option<Scalar> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // The parser of integers would accept a second sign.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let signed = if negative { format!("-{digits}") } else { digits.to_owned() };
    if let Ok(value) = i64::from_str_radix(&signed, radix) {
        return Some(Scalar::Integer(value));
    }
    let unsigned = if text.starts_with(['-', '+']) { None } else { u64::from_str_radix(digits, radix).ok() };
    unsigned.map(Scalar::Unsigned)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`; a number too large for a double stays text.
fn float(text: &str) -> Scalar {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(index) => (&unsigned[..index], Some(&unsigned[index + 1..])),
        None => (unsigned, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fits = exponent.is_none_or(|it| {
        let it = it.strip_prefix(['-', '+']).unwrap_or(it);
        !it.is_empty() && digits(it)
    });
    let fits = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    if !(fits && exponent_fits) {
        return Scalar::Text;
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Scalar::Float(value),
        _ => Scalar::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_kubectl_makes_of_them() {
        let cases: &[(&str, Scalar)] = &[
            ("yes", Scalar::Bool(true)),
            ("y", Scalar::Bool(true)),
            ("n", Scalar::Bool(false)),
            ("On", Scalar::Bool(true)),
            ("oN", Scalar::Text),
            ("TRUE", Scalar::Bool(true)),
            ("~", Scalar::Null),
            ("", Scalar::Null),
            ("NULL", Scalar::Null),
            ("0644", Scalar::Integer(420)),
            ("0o644", Scalar::Integer(420)),
            ("0O17", Scalar::Integer(15)),
            ("0777_7", Scalar::Integer(4095)),
            ("08", Scalar::Float(8.0)),
            ("0x1F", Scalar::Integer(31)),
            ("0X1f", Scalar::Integer(31)),
            ("0x", Scalar::Text),
            ("0x_1", Scalar::Integer(1)),
            ("-0x10", Scalar::Integer(-16)),
            ("0b101", Scalar::Integer(5)),
            ("0b", Scalar::Text),
            ("1_000", Scalar::Integer(1000)),
            ("1_", Scalar::Integer(1)),
            ("1__2", Scalar::Integer(12)),
            ("_1", Scalar::Text),
            ("1:30", Scalar::Text),
            ("2001-01-01", Scalar::Text),
            ("2001-01-01T10:00:00Z", Scalar::Text),
            ("+5", Scalar::Integer(5)),
            ("+-5", Scalar::Text),
            ("--5", Scalar::Text),
            ("1.0", Scalar::Float(1.0)),
            ("1.", Scalar::Float(1.0)),
            (".5", Scalar::Float(0.5)),
            ("-.5", Scalar::Float(-0.5)),
            (".e1", Scalar::Text),
            (".", Scalar::Text),
            ("1e3", Scalar::Float(1000.0)),
            ("5e", Scalar::Text),
            ("1e400", Scalar::Text),
            ("1.5_5", Scalar::Float(1.55)),
            ("=", Scalar::Text),
            ("-", Scalar::Text),
            ("1.2.3", Scalar::Text),
            ("9223372036854775807", Scalar::Integer(i64::MAX)),
            ("-9223372036854775808", Scalar::Integer(i64::MIN)),
            ("18446744073709551615", Scalar::Unsigned(u64::MAX)),
            ("18446744073709551616", Scalar::Float(18_446_744_073_709_551_616.0)),
            ("123456789012345678", Scalar::Integer(123_456_789_012_345_678)),
        ];
        for (text, meaning) in cases {
            assert_eq!(resolve(text), *meaning, "{text}");
        }
        assert!(matches!(resolve(".nan"), Scalar::Float(value) if value.is_nan()));
        assert_eq!(resolve("-.inf"), Scalar::Float(f64::NEG_INFINITY));
    }
}
