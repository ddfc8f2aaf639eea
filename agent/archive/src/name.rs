//! Names inside an archive: what is a path below the release directory, and what is refused.

use trimaran_model::limits::{ARCHIVE_COMPONENT_BYTES_MAX, ARCHIVE_PATH_BYTES_MAX};

use crate::{ArchiveError, Place};

/// A path below the root of the archive: components joined by `/`, without `.`, `..` or empty ones.
/// The root itself is the empty name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Vec<u8>);

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadName {
    /// It would leave the directory, or can't be shown without harm.
    Escape(String),
    Limit(String),
}

impl BadName {
    pub fn at(self, place: Place) -> ArchiveError {
        match self {
            Self::Escape(detail) => ArchiveError::Escape { detail, place },
            Self::Limit(detail) => ArchiveError::Limit { detail, place },
        }
    }
}

impl Name {
    /// Reads a path as an archive spells it: at most `depth_max` components, `limits::ARCHIVE_PATH_BYTES_MAX` bytes.
    ///
    /// # Errors
    /// An empty or absolute path, one with `..` or control characters, one over a limit.
    pub fn parse(raw: &[u8], depth_max: usize) -> Result<Self, BadName> {
        if raw.is_empty() {
            return Err(BadName::Escape("an empty path".to_owned()));
        }
        if raw.len() > ARCHIVE_PATH_BYTES_MAX {
            return Err(BadName::Limit(format!(
                "a path of {} bytes, more than {ARCHIVE_PATH_BYTES_MAX}",
                raw.len()
            )));
        }
        if raw[0] == b'/' {
            return Err(BadName::Escape(format!("the absolute path `{}`", show(raw))));
        }
        refuse_control(raw)?;
        let mut path = Vec::with_capacity(raw.len());
        let mut depth = 0;
        for component in raw.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(BadName::Escape(format!("`..` in the path `{}`", show(raw)))),
                _ => {
                    check_component(component, raw)?;
                    depth += 1;
                    if depth > depth_max {
                        return Err(BadName::Limit(format!("a path of more than {depth_max} components")));
                    }
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(component);
                }
            }
        }
        Ok(Self(path))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory that holds it, and its last component.
    pub fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (&[], &self.0),
        }
    }

    /// Every directory above it, the outermost first, without the root.
    pub fn parents(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(slash, _)| &self.0[..slash])
    }
}

/// Bytes of an archive as one line of text without control characters.
pub fn show(bytes: &[u8]) -> String {
    let mut text: String = String::from_utf8_lossy(bytes).escape_debug().take(200).collect();
    if bytes.len() > 200 {
        text.push('…');
    }
    text
}

/// NUL, line breaks and escape sequences have no use in a path, but fool people and programs.
///
/// # Errors
/// When the path has one.
pub fn refuse_control(raw: &[u8]) -> Result<(), BadName> {
    match raw.iter().find(|byte| byte.is_ascii_control()) {
        Some(byte) => {
            Err(BadName::Escape(format!("the control character {byte:#04x} in the path `{}`", show(raw))))
        }
        None => Ok(()),
    }
}

fn check_component(component: &[u8], raw: &[u8]) -> Result<(), BadName> {
    if component.len() > ARCHIVE_COMPONENT_BYTES_MAX {
        return Err(BadName::Limit(format!(
            "a name of {} bytes in the path `{}`, more than {ARCHIVE_COMPONENT_BYTES_MAX}",
            component.len(),
            show(raw)
        )));
    }
    Ok(())
}
