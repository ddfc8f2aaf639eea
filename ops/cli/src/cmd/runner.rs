//! `trimaran runner list|enroll`: the runners of the hosts.

use std::collections::BTreeMap;

use trimaran_model::error_code;
use trimaran_wire::document::RunnerList;
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody};

use crate::arguments::RequestIdArg;
use crate::enrollment::enroll;
use crate::error::CliError;
use crate::machine_table::machine_table;
use crate::remote::Remote;
use crate::ui::Ui;

/// Runners: one on each host.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran runner list\n  trimaran runner enroll host-1 --agent lab --label group=staging"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List runners with their labels and state.
    #[command(after_help = "Examples:\n  trimaran runner list\n  trimaran runner list -o json")]
    List,
    /// Make a one-time token for a new runner, or for the replacement of one.
    #[command(after_help = "Examples:\n  trimaran runner enroll host-1 --agent lab --label group=staging")]
    Enroll {
        /// The name of the runner, which is the name of its host.
        name: String,
        /// The agent that serves the host.
        #[arg(long)]
        agent: String,
        /// A label that targets select by; may be repeated.
        #[arg(long = "label", value_name = "K=V")]
        labels: Vec<String>,
        #[command(flatten)]
        request: RequestIdArg,
    },
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let remote = Remote::new(ui)?;
    match &args.verb {
        Verb::List => {
            let answer = remote.read::<RunnerList>(OperatorBody::RunnerList)?;
            answer.print(ui, |list| ui.table(&machine_table("RUNNER", &list.runners)));
            Ok(0)
        }
        Verb::Enroll { name, agent, labels, request } => {
            let labels = parse_labels(labels)?;
            let order = EnrollOrder::Runner { name: name.clone(), agent: agent.clone(), labels };
            enroll(&remote, request, order, ui)
        }
    }
}

fn parse_labels(labels: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let mut map = BTreeMap::new();
    for label in labels {
        let bad = || CliError::new(error_code::USAGE, format!("`--label {label}` is not of the form K=V"));
        let (key, value) = label.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(bad)?;
        if map.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(CliError::new(error_code::USAGE, format!("label `{key}` was given twice")));
        }
    }
    Ok(map)
}
