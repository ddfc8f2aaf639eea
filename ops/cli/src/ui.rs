//! What every command shares of the terminal: global flags, output forms and documents.

mod output;

pub(crate) use output::{OutputForm, print_document, print_text};

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
