//! Agents and runners as a table.

use trimaran_wire::document::MachineDocument;

use crate::ui::{Cell, Table};

/// One row a machine, below `title`.
pub(crate) fn machine_table(title: &'static str, machines: &[MachineDocument]) -> Table {
    let mut table = Table::new(&[title, "STATE", "ADDRESS", "LAST SEEN", "LABELS"]);
    for machine in machines {
        let labels: Vec<_> = machine.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        table.row([
            Cell::from(&machine.name),
            Cell::Status(machine.state.clone()),
            Cell::maybe(machine.address.as_deref()),
            Cell::Time(machine.last_seen.clone()),
            labels.join(",").into(),
        ]);
    }
    table
}
