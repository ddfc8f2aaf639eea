//! Settings: from a reviewed TOML file (`--config`), with flags above it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde::Deserialize;
use trimaran_model::error_code;

use trimaran_model::report::Report;

/// The settings of `trimaran-agent run`.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where to dial: an agent its coordinators, a runner its agents. Repeatable.
    #[arg(long = "endpoint", value_name = "ADDR")]
    #[serde(default, rename = "endpoints")]
    pub(crate) endpoints: Vec<String>,
    /// UDP address for runners (agents only).
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// The host's own address, as its services see it (runners only); found automatically when left out.
    #[arg(long, value_name = "IP")]
    pub(crate) address: Option<IpAddr>,
}

impl Settings {
    /// These flags, and below them what the file says.
    pub(crate) fn over(self, file: Option<&Path>) -> Result<Self, Report> {
        let Some(path) = file else { return Ok(self) };
        let unreadable = |error: &dyn std::error::Error| {
            let message = format!("the settings file {} can't be used", path.display());
            Report::because(error_code::USAGE, message, error)
        };
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
        let base: Self = toml::from_str(&text).map_err(|error| unreadable(&error))?;
        Ok(Self {
            endpoints: if self.endpoints.is_empty() { base.endpoints } else { self.endpoints },
            listen: self.listen.or(base.listen),
            address: self.address.or(base.address),
        })
    }
}

/// Any local address that can reach the endpoints: IPv6 only where one of them is written so.
pub(crate) fn any_address(endpoints: &[String]) -> SocketAddr {
    if endpoints.iter().any(|endpoint| endpoint.starts_with('[')) {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_unknown_keys_are_refused() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("a.toml");
        std::fs::write(&path, "endpoints = [\"a:1\"]\nlisten = \"127.0.0.1:7\"\n").expect("written");
        let flags = Settings { endpoints: vec!["b:2".to_owned()], ..Settings::default() };
        let settings = flags.over(Some(&path)).expect("valid");
        assert_eq!(settings.endpoints, ["b:2"]);
        assert_eq!(settings.listen.map(|listen| listen.port()), Some(7));
        std::fs::write(&path, "endpoint = [\"a:1\"]\n").expect("written");
        let report = Settings::default().over(Some(&path)).expect_err("an unknown key");
        assert!(report.cause.expect("a cause").contains("endpoint"));
    }
}
