//! `trimaran agent list|enroll`: the agents of the cells.

use trimaran_wire::document::AgentList;
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody};

use crate::arguments::RequestIdArg;
use crate::enrollment::enroll;
use crate::error::CliError;
use crate::machine_table::machine_table;
use crate::remote::Remote;
use crate::ui::Ui;

/// Agents: one per cell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran agent list\n  trimaran agent enroll lab")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List agents with their state.
    #[command(after_help = "Examples:\n  trimaran agent list\n  trimaran agent list -o json")]
    List,
    /// Make a one-time token for a new agent, or for the replacement of one.
    #[command(after_help = "Examples:\n  trimaran agent enroll lab")]
    Enroll {
        /// The name of the agent.
        name: String,
        #[command(flatten)]
        request: RequestIdArg,
    },
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let remote = Remote::new(ui)?;
    match &args.verb {
        Verb::List => {
            let answer = remote.read::<AgentList>(OperatorBody::AgentList)?;
            answer.print(ui, |list| ui.table(&machine_table("AGENT", &list.agents)));
            Ok(0)
        }
        Verb::Enroll { name, request } => {
            enroll(&remote, request, EnrollOrder::Agent { name: name.clone() }, ui)
        }
    }
}
