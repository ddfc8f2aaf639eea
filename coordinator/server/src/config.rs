//! Settings: from a reviewed TOML file (`--config`), with flags above it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What `trimaran-coordinator run` can be set with.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Entries of the log between snapshots.
    #[arg(long, value_name = "N")]
    pub(crate) snapshot_entries: Option<u64>,
    /// Interval of a leader's heartbeat: `100ms`, or milliseconds as a number.
    #[arg(long, value_name = "DURATION", value_parser = parse_millis)]
    pub(crate) heartbeat: Option<u64>,
    /// Shortest election timeout: `1s`, or milliseconds as a number.
    #[arg(long, value_name = "DURATION", value_parser = parse_millis)]
    pub(crate) election: Option<u64>,
    /// Size in MiB of the file that is kept to be removed when the disk is full.
    #[arg(long, value_name = "MIB")]
    pub(crate) ballast: Option<u64>,
}

/// Reads `100ms`, `1s` or a number of milliseconds.
fn parse_millis(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => text.strip_suffix('s').map_or((text, 1), |digits| (digits, 1000)),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.ok_or_else(|| "a time is written `100ms`, `1s` or as a number of milliseconds".to_owned())
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("the settings file {path} can't be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the settings file {path} is not valid: {why}")]
    Parse { path: PathBuf, why: String },
}

impl Settings {
    /// These flags, and below them what the file says.
    pub(crate) fn over(self, file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = file else { return Ok(self) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let base: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Parse { path: path.to_owned(), why: error.to_string() })?;
        Ok(Self {
            snapshot_entries: self.snapshot_entries.or(base.snapshot_entries),
            heartbeat: self.heartbeat.or(base.heartbeat),
            election: self.election.or(base.election),
            ballast: self.ballast.or(base.ballast),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_a_unit_or_as_milliseconds() {
        assert_eq!(["100ms", "2s", "50"].map(parse_millis), [Ok(100), Ok(2000), Ok(50)]);
        for bad in ["", "s", "1h", "-1s", "99999999999999999s"] {
            assert!(parse_millis(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_win_over_the_file_and_unknown_keys_are_refused() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "heartbeat = 50\nelection = 500\n").expect("written");
        let flags = Settings { election: Some(900), ..Settings::default() };
        let settings = flags.over(Some(&path)).expect("valid");
        assert_eq!((settings.heartbeat, settings.election, settings.ballast), (Some(50), Some(900), None));
        std::fs::write(&path, "heart = 50\n").expect("written");
        assert!(matches!(Settings::default().over(Some(&path)), Err(ConfigError::Parse { .. })));
    }
}
