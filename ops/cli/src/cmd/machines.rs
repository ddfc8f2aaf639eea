//! `trimaran agent|runner|operator|target`: who takes part, and tokens for new ones.

use std::collections::BTreeMap;

use trimaran_model::error_code;
use trimaran_wire::document::{AgentList, MachineDocument, RunnerList, TargetList, TokenDocument};
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody};

use crate::error::CliError;
use crate::remote::{Remote, RequestIdArg};
use crate::ui::{Global, cell, print_table, print_text};

/// Agents: one per cell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran agent list\n  trimaran agent enroll lab")]
pub(crate) struct AgentArgs {
    #[command(subcommand)]
    verb: AgentVerb,
}

#[derive(Debug, clap::Subcommand)]
enum AgentVerb {
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

/// Runners: one on each host.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran runner list\n  trimaran runner enroll host-1 --agent lab --label group=staging"
)]
pub(crate) struct RunnerArgs {
    #[command(subcommand)]
    verb: RunnerVerb,
}

#[derive(Debug, clap::Subcommand)]
enum RunnerVerb {
    /// List runners with their labels and state.
    #[command(after_help = "Examples:\n  trimaran runner list\n  trimaran runner list -o json")]
    List,
    /// Make a one-time token for a new runner, or for the replacement of one.
    #[command(after_help = "Examples:\n  trimaran runner enroll host-1 --agent lab --label group=staging")]
    Enroll {
        /// The name of the runner and of the host it stands for.
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

/// Operators: people and programs that use this CLI.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran operator enroll me --role operator")]
pub(crate) struct OperatorArgs {
    #[command(subcommand)]
    verb: OperatorVerb,
}

#[derive(Debug, clap::Subcommand)]
enum OperatorVerb {
    /// Make a one-time token for an operator.
    #[command(
        after_help = "Examples:\n  trimaran operator enroll me --role operator\n  trimaran operator enroll ci --role operator -o json"
    )]
    Enroll {
        /// The name of the person or program, as the audit log shows it.
        name: String,
        /// What it may do: look; deploy and decide; everything.
        #[arg(long, value_parser = ["viewer", "operator", "admin"])]
        role: String,
        #[command(flatten)]
        request: RequestIdArg,
    },
}

/// Targets: the places to deploy to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran target list\n  trimaran target show lab-prod")]
pub(crate) struct TargetArgs {
    #[command(subcommand)]
    verb: TargetVerb,
}

#[derive(Debug, clap::Subcommand)]
enum TargetVerb {
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

pub(crate) fn agent(args: &AgentArgs, global: &Global) -> Result<u8, CliError> {
    let remote = Remote::new(global)?;
    match &args.verb {
        AgentVerb::List => {
            remote
                .read::<AgentList>(OperatorBody::AgentList)?
                .print(global, |list| machines("AGENT", &list.agents));
        }
        AgentVerb::Enroll { name, request } => {
            return enroll(&remote, request, EnrollOrder::Agent { name: name.clone() }, global);
        }
    }
    Ok(0)
}

pub(crate) fn runner(args: &RunnerArgs, global: &Global) -> Result<u8, CliError> {
    let remote = Remote::new(global)?;
    match &args.verb {
        RunnerVerb::List => {
            let answer = remote.read::<RunnerList>(OperatorBody::RunnerList)?;
            answer.print(global, |list| machines("RUNNER", &list.runners));
        }
        RunnerVerb::Enroll { name, agent, labels, request } => {
            let labels = parse_labels(labels)?;
            let order = EnrollOrder::Runner { name: name.clone(), agent: agent.clone(), labels };
            return enroll(&remote, request, order, global);
        }
    }
    Ok(0)
}

pub(crate) fn operator(args: &OperatorArgs, global: &Global) -> Result<u8, CliError> {
    let OperatorVerb::Enroll { name, role, request } = &args.verb;
    let order = EnrollOrder::Operator { name: name.clone(), role: role.clone() };
    enroll(&Remote::new(global)?, request, order, global)
}

pub(crate) fn target(args: &TargetArgs, global: &Global) -> Result<u8, CliError> {
    let name = match &args.verb {
        TargetVerb::List => None,
        TargetVerb::Show { name } => Some(name.clone()),
    };
    Remote::new(global)?.read::<TargetList>(OperatorBody::TargetList { name })?.print(global, |list| {
        let rows = list.targets.iter().map(|target| {
            let select: Vec<_> = target.select.iter().map(|(key, value)| format!("{key}={value}")).collect();
            vec![
                target.name.clone(),
                target.class.clone(),
                target.platform.clone(),
                target.agent.clone(),
                select.join(","),
                target.hosts.join(" "),
            ]
        });
        print_table(&["TARGET", "CLASS", "PLATFORM", "AGENT", "SELECT", "HOSTS"], rows.collect());
    });
    Ok(0)
}

/// Asks for a token and prints it: alone for people, so that it can be piped to `--token-file -`.
pub(crate) fn enroll(
    remote: &Remote,
    request: &RequestIdArg,
    order: EnrollOrder,
    global: &Global,
) -> Result<u8, CliError> {
    let answer = remote.change::<TokenDocument>(request, OperatorBody::Enroll(order))?;
    answer.print(global, |token| {
        print_text(&token.token);
        eprintln!("a token for `{}`, once, until {}", token.name, token.expires_at);
    });
    Ok(0)
}

fn parse_labels(labels: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let mut map = BTreeMap::new();
    for label in labels {
        let bad = || CliError::new(error_code::USAGE, format!("`--label {label}` is not of the form K=V"));
        let (key, value) = label.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(bad)?;
        if map.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(CliError::new(error_code::USAGE, format!("label `{key}` is given twice")));
        }
    }
    Ok(map)
}

fn machines(title: &str, machines: &[MachineDocument]) {
    let rows = machines.iter().map(|machine| {
        let labels: Vec<_> = machine.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        vec![
            machine.name.clone(),
            machine.state.clone(),
            cell(machine.address.as_deref()),
            cell(machine.last_seen.as_deref()),
            labels.join(","),
        ]
    });
    print_table(&[title, "STATE", "ADDRESS", "LAST SEEN", "LABELS"], rows.collect());
}
