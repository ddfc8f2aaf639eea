//! What every command shares of the terminal: global flags, output forms, tables and trees.

mod colour;
mod diagnostics;
mod output;
mod run_tree;
mod table;
mod yaml;

pub(crate) use colour::{Stream, paint, paint_on};
pub(crate) use diagnostics::render;
pub(crate) use output::{OutputForm, print_document, print_text};
pub(crate) use run_tree::{lines as run_lines, reason_line, short};
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
    #[arg(long, global = true, value_name = "ADDR")]
    pub(crate) endpoint: Vec<String>,
}
