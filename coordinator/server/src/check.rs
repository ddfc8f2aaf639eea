//! `trimaran-coordinator check`: whether a data directory is what was written, while no process uses it.
//!
//! Without `--full` it reads the log, the state with its hash, and each row. With it every block of every file is read too,
//! each key is looked up, and rows that belong together are: the chain of audit records, and contents with their digests.

use trimaran_model::error_code;
use trimaran_model::report::Report;
use trimaran_process::DataDir;
use trimaran_query::{RowCheck, RowsChecked};
use trimaran_store::{Options, Store};

use crate::exit_codes;
use crate::run;

/// Faults that are shown; more say nothing new.
const FAULTS_SHOWN: usize = 16;

/// Checks the directory; what it prints says what was read.
pub(crate) fn check(data: &DataDir, full: bool) -> Result<String, Report> {
    let (store, loaded) =
        Store::open(&data.store(), &Options::default()).map_err(|error| exit_codes::open(&error))?;
    if full {
        check_all(&store)?;
    }
    let engine = run::load_engine(&store)?;
    if !full {
        // A start reads the rows of the state alone.
        store.load_rows().try_for_each(|row| run::check_row(&row?))?;
    }
    let mut said = format!(
        "cluster {} at revision {}, state hash {:032x}, {} entries of the log",
        engine.cluster(),
        store.applied(),
        engine.hash(),
        loaded.entries.len()
    );
    if full {
        let RowsChecked { rows, audit_records, faults } = check_rows(&store)?;
        refuse(faults)?;
        said.push_str(&format!(", {rows} rows, {audit_records} audit records"));
    }
    Ok(said)
}

fn check_all(store: &Store) -> Result<(), Report> {
    refuse(store.verify().faults)
}

pub(crate) fn check_rows(store: &Store) -> Result<RowsChecked, Report> {
    let mut check = RowCheck::default();
    for row in store.load_rows() {
        let (key, value) = row.map_err(run::RunError::from)?;
        check.row(&key, &value);
    }
    Ok(check.finish())
}

pub(crate) fn refuse(mut faults: Vec<String>) -> Result<(), Report> {
    let count = faults.len();
    faults.truncate(FAULTS_SHOWN);
    if count == 0 {
        return Ok(());
    }
    let more = if count > FAULTS_SHOWN { format!("; {} more", count - FAULTS_SHOWN) } else { String::new() };
    Err(Report::new(error_code::STORE_DAMAGED, format!("{}{more}", faults.join("; "))))
}
