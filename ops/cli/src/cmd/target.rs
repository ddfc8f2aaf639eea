//! `trimaran target list|show`: the places to deploy to.

use trimaran_wire::document::TargetList;
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::{Cell, Table, Ui};

/// Targets: the places to deploy to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran target list\n  trimaran target show lab-prod")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List targets.
    #[command(after_help = "Examples:\n  trimaran target list\n  trimaran target list -o json")]
    List,
    /// Show one target with its hosts.
    #[command(after_help = "Examples:\n  trimaran target show lab-prod")]
    Show {
        /// A target of the list.
        name: String,
    },
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let name = match &args.verb {
        Verb::List => None,
        Verb::Show { name } => Some(name.clone()),
    };
    let answer = Remote::new(ui)?.read::<TargetList>(OperatorBody::TargetList { name })?;
    answer.print(ui, |list| ui.table(&table(list)));
    Ok(0)
}

fn table(list: &TargetList) -> Table {
    let mut table = Table::new(&["TARGET", "CLASS", "PLATFORM", "AGENT", "SELECT", "HOSTS"]);
    for target in &list.targets {
        let select: Vec<_> = target.select.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let texts = [&target.name, &target.class, &target.platform, &target.agent];
        table.row(
            texts.into_iter().map(Cell::from).chain([select.join(",").into(), target.hosts.join(" ").into()]),
        );
    }
    table
}
