//! Arguments that several commands take, in the form in which users write them.

use std::time::Duration;

use trimaran_model::error_code;
use trimaran_model::id::Digest;
use trimaran_model::time::Millis;

use crate::error::CliError;

/// `--request-id` of every command that changes something.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct RequestIdArg {
    /// A UUIDv7 that makes the request safe to repeat; generated if omitted.
    #[arg(long, value_name = "UUIDv7", value_parser = parse_request_id)]
    request_id: Option<uuid::Uuid>,
}

impl RequestIdArg {
    pub(crate) fn bytes(&self) -> [u8; 16] {
        self.request_id.unwrap_or_else(uuid::Uuid::now_v7).into_bytes()
    }
}

/// A usage error, found before any file is read.
fn parse_request_id(text: &str) -> Result<uuid::Uuid, String> {
    match uuid::Uuid::parse_str(text) {
        Ok(id) if id.get_version_num() == 7 => Ok(id),
        Ok(id) => {
            Err(format!("it is a UUID of version {}, and a request id has version 7", id.get_version_num()))
        }
        Err(_) => Err("it is not a UUID; a request id is a UUID of version 7".to_owned()),
    }
}

/// Reads `30s`, `10m`, `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a duration; write 90s, 10m, 1h30m or 3d");
    Millis::parse(text).map(Millis::to_std).ok_or_else(bad)
}

/// A digest argument.
pub(crate) fn parse_digest(text: &str) -> Result<[u8; 32], CliError> {
    text.parse::<Digest>().map(|digest| digest.0).map_err(|error| {
        CliError::new(error_code::USAGE, format!("`{text}` is not a digest")).cause(error.to_string())
    })
}

/// Splits `web#12/prod/lab-prod` into run and stage.
pub(crate) fn split_stage(text: &str) -> (String, Option<String>) {
    match text.split_once('/') {
        Some((run, stage)) => (run.to_owned(), Some(stage.to_owned())),
        None => (text.to_owned(), None),
    }
}
