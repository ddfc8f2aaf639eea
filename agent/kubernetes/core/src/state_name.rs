//! Where the state of an agent without a disk is: `secret:NAMESPACE/NAME` on a command line.

use std::fmt;
use std::str::FromStr;

/// How many segments the journal of a state may have, each in a Secret of its own.
pub const SEGMENTS: u8 = 32;
/// A name of an object has up to 253 characters; segments are named after the head.
const NAME_BYTES_MAX: usize = 253 - "-00".len();
const NAMESPACE_BYTES_MAX: usize = 63;
const SCHEME: &str = "secret:";

/// The namespace and name of the head; segments and Lease are named after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateName {
    namespace: String,
    name: String,
}

/// Why a text names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not `secret:NAMESPACE/NAME` with names of Kubernetes: lower-case letters, digits, `-` and `.`"
)]
pub struct InvalidStateName(String);

impl StateName {
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Of the head, and of the Lease.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of the Secret of a segment; `slot` is 0 to 31.
    pub fn segment(&self, slot: u8) -> String {
        format!("{}-{slot:02}", self.name)
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{SCHEME}{}/{}", self.namespace, self.name)
    }
}

impl FromStr for StateName {
    type Err = InvalidStateName;

    fn from_str(text: &str) -> Result<Self, InvalidStateName> {
        let invalid = || InvalidStateName(text.to_owned());
        let path = text.strip_prefix(SCHEME).ok_or_else(invalid)?;
        let (namespace, name) = path.split_once('/').ok_or_else(invalid)?;
        let is_label = |label: &str| {
            let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !label.is_empty()
                && label.bytes().all(is_inner)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let fits = namespace.len() <= NAMESPACE_BYTES_MAX && name.len() <= NAME_BYTES_MAX;
        if fits && is_label(namespace) && name.split('.').all(is_label) {
            return Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() });
        }
        Err(invalid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_namespace_and_a_name() {
        let name: StateName = "secret:shop/tokyo.agent-1".parse().expect("a name");
        assert_eq!((name.namespace(), name.name()), ("shop", "tokyo.agent-1"));
        assert_eq!(name.segment(7), "tokyo.agent-1-07");
        assert_eq!(name.to_string().parse(), Ok(name));
        let long = format!("secret:shop/{}", "a".repeat(251));
        for bad in [
            "shop/tokyo",
            "secret:tokyo",
            "secret:/tokyo",
            "secret:shop/",
            "secret:Shop/a",
            "secret:a/-b",
            "secret:a.b/c",
            "secret:a/b/c",
            &long,
        ] {
            let error = bad.parse::<StateName>().expect_err(bad);
            assert!(error.to_string().contains("secret:NAMESPACE/NAME"), "{error}");
        }
    }
}
