//! What every command shares of the terminal: global flags, output forms, tables and trees.

mod output;
mod run_tree;
mod table;
mod yaml;

pub(crate) use output::{OutputForm, print_document, print_text};
pub(crate) use run_tree::{lines as run_lines, reason_line, short};
pub(crate) use table::{cell, on_terminal, print_table, printable};
pub(crate) use yaml::yaml_documents;

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
    #[arg(long, global = true, value_name = "ADDR")]
    pub(crate) endpoint: Vec<String>,
}

/// Paints a status on a terminal that wants colours (`NO_COLOR` is honoured).
pub(crate) fn paint(status: &str, text: String) -> String {
    if !on_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return text;
    }
    let colour = match status {
        "succeeded" | "healthy" | "connected" => "32",
        "failed" | "broken" | "rollback_failed" | "stopped" | "degraded" | "lost" => "31",
        "rolled_back" | "rolling_back" | "warned" | "waiting" | "blocked" => "33",
        "running" | "progressing" => "36",
        _ => return text,
    };
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}
