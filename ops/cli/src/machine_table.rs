//! Agents and runners as a table.

use trimaran_wire::document::MachineDocument;

use crate::ui::{Cell, Table};

/// The fact that says what control groups of a host's services can limit.
const CGROUP: &str = "cgroup";

/// Its state, with what a user made of it.
fn state(machine: &MachineDocument) -> String {
    match (machine.drained, machine.cordoned) {
        (true, _) => format!("{} drained", machine.state),
        (false, true) => format!("{} cordoned", machine.state),
        (false, false) => machine.state.clone(),
    }
}

/// One row a machine, below `title`.
pub(crate) fn machine_table(title: &'static str, machines: &[MachineDocument]) -> Table {
    let mut titles = vec![title, "STATE", "ADDRESS", "LAST SEEN"];
    let has_limits = machines.iter().any(|machine| machine.facts.contains_key(CGROUP));
    titles.extend(has_limits.then_some("LIMITS"));
    titles.push("LABELS");
    let mut table = Table::new(&titles);
    for machine in machines {
        let labels: Vec<_> = machine.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut row = vec![
            Cell::from(&machine.name),
            Cell::Status(state(machine)),
            Cell::maybe(machine.address.as_deref()),
            Cell::Time(machine.last_seen.clone()),
        ];
        row.extend(has_limits.then(|| Cell::maybe(machine.facts.get(CGROUP).map(String::as_str))));
        row.push(labels.join(",").into());
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::samples;

    #[test]
    fn agents_and_runners_fit_any_terminal() {
        let machine = |name: &str, state: &str, address: Option<&str>| MachineDocument {
            name: name.to_owned(),
            state: state.to_owned(),
            address: address.map(str::to_owned),
            incarnation: None,
            last_seen: address.map(|_| samples::START.to_owned()),
            labels: [("group", "prod"), ("rack", "r7"), ("zone", "fra1-b")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            platforms: Vec::new(),
            agent: Some("lab".to_owned()),
            facts: BTreeMap::from([(CGROUP.to_owned(), "memory,tasks".to_owned())]),
            cordoned: false,
            drained: false,
            refused: None,
        };
        let machines = [
            machine("checkout-host-3", "connected", Some("10.20.30.43")),
            machine("host-4", "lost", Some("10.20.30.44")),
            machine("host-5", "enrolling", None),
        ];
        insta::assert_snapshot!(samples::at_widths(|view| machine_table("RUNNER", &machines).text(view)));
    }
}
