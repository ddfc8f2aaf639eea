//! `trimaran context list|use|add`: clusters and identities of this machine.

use std::io::Read as _;
use std::path::PathBuf;

use serde_json::json;
use trimaran_client::config::{self, Config, Context};
use trimaran_client::enroll;
use trimaran_model::error_code;

use crate::error::CliError;
use crate::remote::{config_error, runtime};
use crate::ui::{Cell, OutputForm, Table, Ui};

/// Clusters that this machine knows.
///
/// A context is a cluster's addresses with an identity to use there. They are kept in the file that TRIMARAN_CONFIG
/// names, else in ~/.config/trimaran/config.toml; `--context NAME` or TRIMARAN_CONTEXT chooses one for a command.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran context list\n  trimaran context use dev\n  trimaran context add lab --endpoint 10.0.0.1:7700 --token-file token"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List contexts; `*` marks the one in use.
    #[command(after_help = "Examples:\n  trimaran context list\n  trimaran context list -o json")]
    List,
    /// Use a context when none is named.
    #[command(after_help = "Examples:\n  trimaran context use dev")]
    Use {
        /// A context of the list.
        name: String,
    },
    /// Enroll with a token and store the identity as a context.
    #[command(
        after_help = "Examples:\n  trimaran context add lab --endpoint 10.0.0.1:7700 --token-file token\n  trimaran operator enroll me --role admin | trimaran context add lab --endpoint 10.0.0.1:7700 --token-file -"
    )]
    Add {
        /// Its name on this machine.
        name: String,
        /// A file that holds the one-time token; `-` reads standard input.
        #[arg(long, value_name = "FILE|-")]
        token_file: String,
    },
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let path = config::path();
    let mut config = Config::load(&path).map_err(config_error)?;
    match &args.verb {
        Verb::List => list(&config, ui),
        Verb::Use { name } => {
            config.context(Some(name)).map_err(config_error)?;
            config.current = Some(name.clone());
            config.save(&path).map_err(config_error)?;
            done(name, "is in use", ui);
        }
        Verb::Add { name, token_file } => {
            let context = add(name, token_file, ui)?;
            config.contexts.insert(name.clone(), context);
            config.current.get_or_insert_with(|| name.clone());
            config.save(&path).map_err(config_error)?;
            done(name, "added", ui);
        }
    }
    Ok(0)
}

/// Says what happened to a context; programs get the list's entry of it.
fn done(name: &str, what: &str, ui: &Ui) {
    match ui.form() {
        OutputForm::Table => ui.print(&format!("context {name} {what}")),
        _ => ui.document(&json!({"schema": "trimaran.context/v1", "name": name})),
    }
}

fn list(config: &Config, ui: &Ui) {
    let current = config.context(ui.global.context()).ok().map(|(name, _)| name.to_owned());
    if ui.form() != OutputForm::Table {
        let contexts: Vec<_> = config
            .contexts
            .iter()
            .map(|(name, context)| {
                json!({"name": name, "endpoints": context.endpoints, "current": current.as_deref() == Some(name)})
            })
            .collect();
        return ui.document(&json!({"schema": "trimaran.contexts/v1", "contexts": contexts}));
    }
    ui.table(&table(config, current.as_deref()));
}

fn table(config: &Config, current: Option<&str>) -> Table {
    let mut table = Table::new(&["", "CONTEXT", "ENDPOINTS"]);
    for (name, context) in &config.contexts {
        let mark = if current == Some(name) { "*" } else { "" };
        table.row([mark.into(), Cell::from(name), context.endpoints.join(" ").into()]);
    }
    table
}

fn add(name: &str, token_file: &str, ui: &Ui) -> Result<Context, CliError> {
    if let Some(why) = trimaran_model::id::name_error(name) {
        return Err(CliError::new(error_code::USAGE, format!("`{name}` can't be a context: {why}")));
    }
    if ui.global.endpoint.is_empty() {
        return Err(CliError::new(error_code::USAGE, "`context add` needs `--endpoint HOST:PORT`"));
    }
    let token = read_token(token_file)?;
    let folder = identity_folder(name);
    let granted = runtime()
        .block_on(enroll::enroll(&ui.global.endpoint, &token, "operator", &folder))
        .map_err(crate::remote::client_error)?;
    let endpoints = if granted.endpoints.is_empty() { ui.global.endpoint.clone() } else { granted.endpoints };
    let file = |name: &str| folder.join("identity").join(name);
    Ok(Context { endpoints, ca: file("ca.pem"), cert: file("cert.pem"), key: file("key.pem") })
}

/// `identities/NAME` beside the configuration.
fn identity_folder(name: &str) -> PathBuf {
    let path = config::path();
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    std::path::absolute(folder.join("identities").join(name)).unwrap_or(folder)
}

/// The token of a file or of standard input, without surrounding white space.
pub(crate) fn read_token(file: &str) -> Result<String, CliError> {
    let mut text = String::new();
    let read = if file == "-" {
        std::io::stdin().lock().take(4096).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(4096).read_to_string(&mut text))
    };
    read.map_err(|error| {
        CliError::new(error_code::USAGE, format!("the token file `{file}` can't be read"))
            .cause(error.to_string())
    })?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_list_of_contexts_fits_any_terminal() {
        let context = |endpoints: &[&str]| Context {
            endpoints: endpoints.iter().map(|it| (*it).to_owned()).collect(),
            ca: PathBuf::new(),
            cert: PathBuf::new(),
            key: PathBuf::new(),
        };
        let mut config = Config::default();
        config.contexts.insert("dev".to_owned(), context(&["127.0.1.1:7700"]));
        let prod = ["coordinator-1.corp:7700", "coordinator-2.corp:7700", "coordinator-3.corp:7700"];
        config.contexts.insert("prod".to_owned(), context(&prod));
        insta::assert_snapshot!(samples::at_widths(|view| table(&config, Some("prod")).text(view)));
    }
}
