//! Settings: from a reviewed TOML file (`--config`), with flags above it.

use serde::{Deserialize, Serialize};
use trimaran_model::time::Millis;

/// What `trimaran-coordinator run` can be set with.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize)]
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
    /// Changes of one operator in a second; twice as many at once. 1000 when left out.
    #[arg(long, value_name = "N")]
    pub(crate) changes_per_second: Option<u64>,
    /// Size in MiB of the file that is kept to be removed when the disk is full.
    #[arg(long, value_name = "MIB")]
    pub(crate) ballast: Option<u64>,
}

/// Reads `100ms`, `1s` or a number of milliseconds.
fn parse_millis(text: &str) -> Result<u64, String> {
    let number = text.parse::<u64>().ok().or_else(|| Millis::parse(text).map(|it| it.0));
    number.ok_or_else(|| "a time is written `100ms`, `1s` or as a number of milliseconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_a_unit_or_as_milliseconds() {
        assert_eq!(["100ms", "2s", "50"].map(parse_millis), [Ok(100), Ok(2000), Ok(50)]);
        for bad in ["", "s", "1y", "-1s", "99999999999999999s"] {
            assert!(parse_millis(bad).is_err(), "{bad}");
        }
    }
}
