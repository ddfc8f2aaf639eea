//! What every command shares of the terminal: global flags, output forms, tables and trees.

mod colour;
mod diagnostics;
mod output;
mod run_tree;
mod table;
mod yaml;

pub(crate) use colour::{Stream, paint, paint_on};
pub(crate) use diagnostics::{diagnostic_document, render};
pub(crate) use output::{OutputForm, print_document, print_text};
pub(crate) use run_tree::{back_line, lines as run_lines, reason_line, short};
pub(crate) use table::{cell, on_terminal, print_table, printable};
pub(crate) use yaml::{yaml, yaml_documents};

/// Flags that every command has.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// How to print the result.
    #[arg(short = 'o', long = "output", value_enum, default_value_t = OutputForm::Table, global = true)]
    pub(crate) output: OutputForm,
    /// The context to use, from the configuration file.
    #[arg(long, env = "TRIMARAN_CONTEXT", global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// A coordinator's address; may be repeated. Wins over the context's.
    #[arg(long, global = true, value_name = "ADDR", value_parser = parse_endpoint)]
    pub(crate) endpoint: Vec<String>,
}

impl Global {
    /// The context that was named; an empty name is none, as with other variables of the environment.
    pub(crate) fn context(&self) -> Option<&str> {
        self.context.as_deref().filter(|name| !name.is_empty())
    }
}

/// `HOST:PORT`.
pub(crate) fn parse_endpoint(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let port = parts.and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(1..) => Ok(text.to_owned()),
        Some(0) | None => Err("an endpoint is written HOST:PORT".to_owned()),
    }
}
