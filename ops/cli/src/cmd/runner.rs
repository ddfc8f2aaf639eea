//! `trimaran runner list|enroll|remove|cordon|uncordon|drain|label`: the runners of the hosts.

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use clap_complete::engine::ArgValueCandidates;
use trimaran_model::error_code;
use trimaran_wire::document::{AgentList, RunnerList, RunnersChanged};
use trimaran_wire::v1::command::RunnerChange;
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody};

use crate::arguments::{RequestIdArg, parse_duration};
use crate::enrollment::enroll;
use crate::error::CliError;
use crate::known_names::hosts;
use crate::machine_table::machine_table;
use crate::remote::Remote;
use crate::ui::Ui;

/// Runners: one on each host.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran runner list\n  trimaran runner enroll host-1 --agent lab --label group=staging\n  trimaran runner drain host-1 --yes\n  trimaran runner label host-1 group=prod rack-"
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
    /// Make a one-time token for a new runner or the replacement of one, or a token for many that name themselves.
    #[command(
        after_help = "Examples:\n  trimaran runner enroll host-1 --agent lab --label group=staging\n  trimaran runner enroll --group web --agent lab --uses 50 --ttl 30d"
    )]
    Enroll {
        /// The name of the runner, which is the name of its host.
        #[arg(required_unless_present = "group", conflicts_with = "group")]
        name: Option<String>,
        /// A token for many runners, which get the label `group=G` and their names from their hosts.
        #[arg(long, value_name = "G")]
        group: Option<String>,
        /// How many runners such a token enrolls.
        #[arg(long, value_name = "N", default_value_t = 1, requires = "group")]
        uses: u32,
        /// How long such a token can be used.
        #[arg(long, value_name = "D", default_value = "1h", value_parser = parse_duration, requires = "group")]
        ttl: Duration,
        /// The agent that serves the hosts; may be left out where there is one.
        #[arg(long)]
        agent: Option<String>,
        /// A label that targets select by; may be repeated.
        #[arg(long = "label", value_name = "K=V")]
        labels: Vec<String>,
        #[command(flatten)]
        request: RequestIdArg,
    },
    /// Forget runners whose hosts are gone: their keys are refused from then on, and what runs there is left alone.
    #[command(after_help = "Examples:\n  trimaran runner remove host-4 --yes")]
    Remove(Named),
    /// Take hosts out of their targets; what runs there is left alone.
    #[command(after_help = "Examples:\n  trimaran runner cordon host-4 --yes")]
    Cordon(Named),
    /// Make hosts part of their targets again.
    #[command(after_help = "Examples:\n  trimaran runner uncordon host-4")]
    Uncordon(Named),
    /// Take hosts out of their targets and end their services.
    #[command(after_help = "Examples:\n  trimaran runner drain host-4 --yes")]
    Drain(Named),
    /// Change the labels of a runner, without a new enrolment.
    #[command(after_help = "Examples:\n  trimaran runner label host-4 group=prod rack-")]
    Label {
        /// The name of the runner.
        #[arg(add = ArgValueCandidates::new(hosts))]
        name: String,
        /// `K=V` sets a label, `K-` removes it.
        #[arg(required = true, value_name = "K=V|K-")]
        labels: Vec<String>,
        #[command(flatten)]
        request: RequestIdArg,
    },
}

/// Runners that are changed together: all of them, or none.
#[derive(Debug, clap::Args)]
struct Named {
    /// The names of the runners.
    #[arg(required = true, add = ArgValueCandidates::new(hosts))]
    names: Vec<String>,
    /// Do not ask for a confirmation.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    request: RequestIdArg,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let remote = Remote::new(ui)?;
    match &args.verb {
        Verb::List => {
            let answer = remote.read::<RunnerList>(OperatorBody::RunnerList)?;
            answer.print(ui, |list| ui.table(&machine_table("RUNNER", &list.runners)));
            Ok(0)
        }
        Verb::Remove(named) => change(&remote, named, RunnerChange::Remove, ui),
        Verb::Cordon(named) => change(&remote, named, RunnerChange::Cordon, ui),
        Verb::Uncordon(named) => change(&remote, named, RunnerChange::Uncordon, ui),
        Verb::Drain(named) => change(&remote, named, RunnerChange::Drain, ui),
        Verb::Label { name, labels, request } => {
            send(&remote, request, vec![name.clone()], label_changes(labels)?, ui)
        }
        Verb::Enroll { name, group, uses, ttl, agent, labels, request } => {
            let mut labels = parse_labels(labels)?;
            let agent = the_agent(&remote, agent.as_deref())?;
            let order = match (name, group) {
                (Some(name), _) => EnrollOrder::Runner { name: name.clone(), agent, labels },
                (None, group) => {
                    let group = group.clone().unwrap_or_default();
                    labels.entry("group".to_owned()).or_insert_with(|| group.clone());
                    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                    EnrollOrder::Runners { group, agent, labels, uses: *uses, ttl_ms }
                }
            };
            enroll(&remote, request, order, ui)
        }
    }
}

/// The agent that was named, or the only one.
fn the_agent(remote: &Remote, named: Option<&str>) -> Result<String, CliError> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let agents = remote.read::<AgentList>(OperatorBody::AgentList)?.document.agents;
    match agents.as_slice() {
        [one] => Ok(one.name.clone()),
        [] => Err(CliError::new(error_code::NOT_FOUND, "there is no agent yet; enroll one first")),
        many => {
            let names: Vec<&str> = many.iter().map(|agent| agent.name.as_str()).collect();
            let why = format!("there are several agents: {}", names.join(", "));
            Err(CliError::new(error_code::USAGE, why).help("say which one with `--agent`"))
        }
    }
}

/// Asks where something is taken away, and sends the change.
fn change(remote: &Remote, named: &Named, change: RunnerChange, ui: &Ui) -> Result<u8, CliError> {
    let verb = match &change {
        RunnerChange::Remove => Some("removed"),
        RunnerChange::Cordon => Some("taken out of their targets"),
        RunnerChange::Drain => Some("taken out of their targets, and their services ended"),
        RunnerChange::Uncordon | RunnerChange::Label { .. } => None,
    };
    if let Some(verb) = verb.filter(|_| !named.yes) {
        confirm(&named.names, verb)?;
    }
    send(remote, &named.request, named.names.clone(), change, ui)
}

fn send(
    remote: &Remote,
    request: &RequestIdArg,
    names: Vec<String>,
    change: RunnerChange,
    ui: &Ui,
) -> Result<u8, CliError> {
    let answer = remote.change::<RunnersChanged>(request, OperatorBody::Runners { names, change })?;
    answer.print(ui, |done| ui.note(&format!("{} {}", done.change, done.runners.join(", "))));
    Ok(0)
}

/// Asks for `yes`.
fn confirm(names: &[String], verb: &str) -> Result<(), CliError> {
    let names = names.join(", ");
    let refused = |why: String| CliError::new(error_code::CONFIRMATION, why).help("add `--yes`");
    if !std::io::stdin().is_terminal() {
        return Err(refused(format!("that {names} are {verb} needs a confirmation")));
    }
    eprint!("{names}: will be {verb}; type `yes` to continue: ");
    // A terminal that can't be written to can't be asked either; the read below then fails.
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && line.trim() == "yes" {
        return Ok(());
    }
    Err(refused("not confirmed; nothing was changed".to_owned()))
}

/// `K=V` and `K-`.
fn label_changes(words: &[String]) -> Result<RunnerChange, CliError> {
    let (removed, set): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| word.ends_with('-') && !word.contains('='));
    let remove = removed.iter().map(|word| word.trim_end_matches('-').to_owned()).collect();
    let set = parse_labels(&set.into_iter().cloned().collect::<Vec<_>>())?;
    Ok(RunnerChange::Label { set, remove })
}

fn parse_labels(labels: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let mut map = BTreeMap::new();
    for label in labels {
        let bad = || CliError::new(error_code::USAGE, format!("`{label}` is not of the form K=V"));
        let (key, value) = label.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(bad)?;
        if map.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(CliError::new(error_code::USAGE, format!("label `{key}` was given twice")));
        }
    }
    Ok(map)
}
