//! `trimaran target list|show|rbac`: the places to deploy to.

use trimaran_kubernetes_core::rights::{rights, state_rights};
use trimaran_kubernetes_core::state_name::StateName;
use trimaran_model::error_code;
use trimaran_wire::document::TargetList;
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::{Cell, OutputForm, Table, Ui, yaml_documents};

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
    /// Print the rights that an agent needs for a target of Kubernetes, as objects to apply.
    #[command(
        after_help = "Examples:\n  trimaran target rbac tokyo | kubectl apply -f -\n  trimaran target rbac tokyo --state secret:shop/tokyo-agent | kubectl apply -f -"
    )]
    Rbac {
        /// A target of the list.
        name: String,
        /// With the rights for an agent that keeps its state in these Secrets (`trimaran-agent run --state`).
        #[arg(long, value_name = "secret:NAMESPACE/NAME")]
        state: Option<StateName>,
    },
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let name = match &args.verb {
        Verb::List => None,
        Verb::Show { name } | Verb::Rbac { name, .. } => Some(name.clone()),
    };
    let answer = Remote::new(ui)?.read::<TargetList>(OperatorBody::TargetList { name })?;
    if let Verb::Rbac { name, state } = &args.verb {
        return print_rights(name, state.as_ref(), &answer.document, ui);
    }
    answer.print(ui, |list| ui.table(&table(list)));
    Ok(0)
}

fn print_rights(name: &str, state: Option<&StateName>, list: &TargetList, ui: &Ui) -> Result<u8, CliError> {
    let namespace = list.targets.first().and_then(|target| target.namespace.as_ref());
    let Some(namespace) = namespace else {
        let message =
            format!("target `{name}` is none of Kubernetes, so no cluster has to give rights for it");
        return Err(
            CliError::new(error_code::TARGET_PLATFORM, message).help("name a target with `kubernetes:`")
        );
    };
    let mut objects = rights(name, namespace);
    objects.extend(state.into_iter().flat_map(|state| state_rights(name, namespace, state)));
    match ui.form() {
        OutputForm::Table | OutputForm::Yaml => ui.print(&yaml_documents(&objects)),
        _ => ui.document(&serde_json::json!({"schema": "trimaran.rbac/v1", "objects": objects})),
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use trimaran_wire::document::TargetDocument;

    use super::*;
    use crate::samples;

    #[test]
    fn the_list_of_targets_fits_any_terminal() {
        let target = |name: &str, platform: &str, hosts: &[&str]| TargetDocument {
            name: name.to_owned(),
            agent: "lab".to_owned(),
            class: "prod".to_owned(),
            platform: platform.to_owned(),
            select: hosts
                .iter()
                .take(1)
                .map(|_| ("group".to_owned(), "prod".to_owned()))
                .collect::<BTreeMap<_, _>>(),
            namespace: None,
            parallel: 64,
            hosts: hosts.iter().map(|it| (*it).to_owned()).collect(),
        };
        let targets = vec![
            target("lab-prod", "hosts", &["host-3", "host-4", "host-5", "host-6"]),
            target("tokyo", "kubernetes", &[]),
        ];
        let list = TargetList { targets };
        insta::assert_snapshot!(samples::at_widths(|view| table(&list).text(view)));
    }
}
