//! The context under which a dev cluster is found.

use std::path::Path;

use trimaran_client::config::{self, Config, Context};
use trimaran_model::error_code;

use crate::error::CliError;
use crate::remote::config_error;

/// The name that is taken when none is named.
const NAME: &str = "dev";

/// The context of the flag or variable, else `dev`.
pub(super) fn context_name(named: Option<&str>) -> String {
    named.unwrap_or(NAME).to_owned()
}

/// Adds the context to the configuration. Returns the context that is in use when that is another one.
pub(super) fn register(name: &str, context: &Context) -> Result<Option<String>, CliError> {
    let path = config::path();
    let mut config = Config::load(&path).map_err(config_error)?;
    if let Some(known) = config.contexts.get(name).filter(|known| !is_dev(known)) {
        let message = format!("context `{name}` is of another cluster ({})", known.endpoints.join(", "));
        return Err(CliError::new(error_code::CONTEXT_UNKNOWN, message)
            .cause("`trimaran dev` replaces only contexts that it made itself.")
            .help("choose another name: `trimaran --context NAME dev`"));
    }
    config.contexts.insert(name.to_owned(), context.clone());
    let current = config.current.get_or_insert_with(|| name.to_owned()).clone();
    config.save(&path).map_err(config_error)?;
    Ok((current != name).then_some(current))
}

/// Whether a context's identity is the admin of a dev cluster, `DATA/admin/identity/cert.pem`; also of one whose
/// directory is gone.
fn is_dev(context: &Context) -> bool {
    context.cert.ends_with(Path::new("admin/identity/cert.pem"))
}
