//! The context under which a dev cluster is found.

use std::path::{Path, PathBuf};

use trimaran_client::config::{self, Config, Context};
use trimaran_model::error_code;

use super::processes::running_pid;
use crate::error::CliError;
use crate::remote::config_error;

/// The name that is taken when none is named.
const NAME: &str = "dev";

/// The context of the flag or variable, else `dev`.
pub(super) fn context_name(named: Option<&str>) -> String {
    named.unwrap_or(NAME).to_owned()
}

/// What the configuration had before the context was added.
#[derive(Debug)]
pub(super) struct Registered {
    /// The context that commands use, when it is another one.
    pub(super) in_use: Option<String>,
    /// The directory of another dev cluster that had the name and still runs.
    pub(super) replaced: Option<PathBuf>,
}

/// Adds the context to the configuration.
pub(super) fn register(name: &str, context: &Context) -> Result<Registered, CliError> {
    let path = config::path();
    let mut config = Config::load(&path).map_err(config_error)?;
    let known = config.contexts.get(name);
    let replaced = known.and_then(|known| other_cluster(known, context, is_running));
    if let Some(known) = known.filter(|known| !is_dev(known)) {
        let message = format!("context `{name}` is of another cluster ({})", known.endpoints.join(", "));
        return Err(CliError::new(error_code::CONTEXT_UNKNOWN, message)
            .cause("`trimaran dev` replaces only contexts that it made itself.")
            .help("choose another name: `trimaran --context NAME dev`"));
    }
    config.contexts.insert(name.to_owned(), context.clone());
    let current = config.current.get_or_insert_with(|| name.to_owned()).clone();
    config.save(&path).map_err(config_error)?;
    Ok(Registered { in_use: (current != name).then_some(current), replaced })
}

/// The directory of the dev cluster that a context was of, when that is another one that runs.
fn other_cluster(known: &Context, context: &Context, runs: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let data = known.cert.ancestors().nth(3).filter(|data| known.cert != context.cert && runs(data));
    data.map(Path::to_owned)
}

/// Whether the first coordinator of a dev cluster runs.
fn is_running(data: &Path) -> bool {
    running_pid(&data.join("c1")).is_some()
}

/// Whether a context's identity is the admin of a dev cluster, `DATA/admin/identity/cert.pem`; also of one whose
/// directory is gone.
fn is_dev(context: &Context) -> bool {
    context.cert.ends_with(Path::new("admin/identity/cert.pem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_another_cluster_has_is_noticed_while_that_one_runs() {
        let context = |data: &Path| {
            let file = |name: &str| data.join("admin/identity").join(name);
            Context {
                endpoints: Vec::new(),
                ca: file("ca.pem"),
                cert: file("cert.pem"),
                key: file("key.pem"),
            }
        };
        let (one, two) = (Path::new("/labs/one"), Path::new("/labs/two"));
        let other = |known, new| other_cluster(&context(known), &context(new), |data| data == one);
        assert_eq!(other(one, two).as_deref(), Some(one));
        assert_eq!(other(one, one), None, "the same cluster again");
        assert_eq!(other(two, one), None, "that one has ended");
    }
}
