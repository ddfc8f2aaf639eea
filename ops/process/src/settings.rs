//! Settings of a server: from a reviewed TOML file (`--config`), with flags above it.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use trimaran_model::error_code;
use trimaran_model::report::Report;

/// These flags, and below them what the file says. A flag that was not given is one that is not serialized.
///
/// # Errors
/// A file that can't be read, is no TOML, or has a key that `T` does not know: a usage error that names the file.
pub fn over<T: Serialize + DeserializeOwned>(flags: T, file: Option<&Path>) -> Result<T, Report> {
    let Some(path) = file else { return Ok(flags) };
    let unusable = |error: &dyn std::error::Error| {
        let message = format!("the settings file {} can't be used", path.display());
        Report::because(error_code::USAGE, message, error)
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(&error))?;
    // Read as itself first: an error of the file has its line.
    toml::from_str::<T>(&text).map_err(|error| unusable(&error))?;
    let mut settings: toml::Table = toml::from_str(&text).map_err(|error| unusable(&error))?;
    settings.extend(toml::Table::try_from(&flags).map_err(|error| unusable(&error))?);
    settings.try_into().map_err(|error| unusable(&error))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        number: Option<u64>,
        address: Option<std::net::SocketAddr>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        endpoints: Vec<String>,
    }

    #[test]
    fn flags_win_over_the_file_and_unknown_keys_are_refused() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, "number = 50\naddress = \"127.0.0.1:7\"\nendpoints = [\"a:1\"]\n")
            .expect("written");
        let address = "127.0.0.1:7".parse().ok();
        let flags = || Settings { number: Some(900), ..Settings::default() };
        let all = Settings { number: Some(900), address, endpoints: vec!["a:1".to_owned()] };
        assert_eq!(over(flags(), Some(&path)).expect("valid"), all);
        let more = Settings { endpoints: vec!["b:2".to_owned(), "c:3".to_owned()], ..Settings::default() };
        let settings = over(more, Some(&path)).expect("valid");
        assert_eq!((settings.number, settings.endpoints.len()), (Some(50), 2), "a list is one setting");
        assert_eq!(over(flags(), None).expect("valid"), flags());
        for bad in ["numbers = 50\n", "number = true\n", "number"] {
            std::fs::write(&path, bad).expect("written");
            let report = over(Settings::default(), Some(&path)).expect_err(bad);
            assert_eq!(report.code, error_code::USAGE);
            assert!(report.message.contains("settings.toml") && report.cause.is_some(), "{report}");
        }
        assert!(over(Settings::default(), Some(&folder.path().join("none"))).is_err());
    }
}
