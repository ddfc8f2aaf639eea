//! Stable error codes: `TR####`, one entry each with title, cause and help, and the exit code of a
//! command that ends with it (INTERFACE 3).
//!
//! Codes are never used again for something else. One file a range, one line a code.

mod cluster;
mod kubernetes;
mod request;
mod spec;

pub use cluster::*;
pub use kubernetes::*;
pub use request::*;
pub use spec::*;

/// A code of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub u16);

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TR{:04}", self.0)
    }
}

/// What `trimaran explain TR####` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub code: ErrorCode,
    /// A short phrase without period.
    pub title: &'static str,
    /// Why it happens.
    pub cause: &'static str,
    /// What to do.
    pub help: &'static str,
    pub exit: Exit,
}

/// The exit codes that an error may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    Internal = 1,
    Usage = 2,
    Failed = 3,
    Denied = 4,
    NotFound = 5,
    Refused = 6,
    Timeout = 7,
    Unreachable = 9,
    BadInput = 11,
}

/// Declares codes as constants and as entries of one range.
macro_rules! error_codes {
    ($range:ident; $($name:ident $code:literal $exit:ident $title:literal $cause:literal $help:literal;)*) => {
        $(#[doc = $title] pub const $name: super::ErrorCode = super::ErrorCode($code);)*
        pub(super) const $range: &[super::Entry] = &[$(super::Entry {
            code: $name, title: $title, cause: $cause, help: $help, exit: super::Exit::$exit,
        }),*];
    };
}
use error_codes;

/// The whole catalogue in order of code.
pub fn catalogue() -> impl Iterator<Item = &'static Entry> {
    [spec::ENTRIES_SPEC, request::ENTRIES_REQUEST, cluster::ENTRIES_CLUSTER, kubernetes::ENTRIES_KUBERNETES]
        .into_iter()
        .flatten()
}

impl ErrorCode {
    /// The entry of this code; `None` for a number that is not in the catalogue.
    pub fn entry(self) -> Option<&'static Entry> {
        catalogue().find(|entry| entry.code == self)
    }

    /// The exit code of a command that ends with this error.
    pub fn exit(self) -> Exit {
        self.entry().map_or(Exit::Internal, |entry| entry.exit)
    }

    /// Reads `TR1203`, also in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("TR").or_else(|| text.strip_prefix("tr"))?;
        (digits.len() == 4).then(|| digits.parse().ok().map(Self))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_ordered_and_unique_and_have_words() {
        let codes: Vec<_> = catalogue().map(|entry| entry.code).collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "ascending without repetition");
        for entry in catalogue() {
            assert!(!entry.title.ends_with('.') && !entry.title.is_empty(), "{}", entry.code);
            assert!(entry.cause.ends_with('.') && entry.help.ends_with('.'), "{}", entry.code);
            assert_eq!(ErrorCode::parse(&entry.code.to_string()), Some(entry.code));
        }
    }
}
