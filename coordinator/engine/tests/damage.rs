//! Damage of any stored row: whoever reads it names it, and never takes it for absence.

mod history;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;

use history::history;
use trimaran_engine::rows::tables;
use trimaran_engine::{Engine, LoadError};
use trimaran_model::id::RunId;
use trimaran_query::{self as query, RowSource};
use trimaran_sim::check::Rows;
use trimaran_sim::lab::{Lab, operator, run_id};
use trimaran_wire::v1::command::CommandBody;

/// Rows of which one can't be decoded, and whether a query said so.
struct Broken<'a> {
    rows: &'a Rows,
    key: &'a [u8],
    value: &'a [u8],
    reported: RefCell<bool>,
}

impl RowSource for Broken<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let stored = self.rows.get(key)?;
        Some(if key == self.key { self.value.to_vec() } else { stored })
    }

    fn scan(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        self.rows.scan(prefix, &mut |key, value| each(key, if key == self.key { self.value } else { value }));
    }

    fn scan_back(&self, first: &[u8], end: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        self.rows.scan_back(first, end, &mut |key, value| {
            each(key, if key == self.key { self.value } else { value })
        });
    }

    fn damaged(&self, key: &[u8], _why: &dyn Display) {
        assert_eq!(key, self.key, "another row is named");
        *self.reported.borrow_mut() = true;
    }
}

/// What operators and agents are shown, all of it.
fn ask_everything(rows: &dyn RowSource, runs: &[RunId]) {
    for run in runs {
        let _ = (query::run(rows, run), query::why(rows, run, None));
    }
    let (web, lab) = ("web".parse().expect("a name"), "lab".parse().expect("a name"));
    let _ = (query::runs(rows, None, usize::MAX), query::history(rows, &web, None, usize::MAX));
    let _ = (query::releases_starting(rows, &web, ""), query::pipeline_source(rows, &web));
    let _ = query::audit(rows, 0, usize::MAX);
    let _ = query::assignments(rows, &lab, &|_| true);
}

/// A history whose first runs have left memory, so that every cold table has rows, and with work in progress.
fn long_history() -> Lab {
    let mut lab = history();
    lab.pipelines.insert("api".to_owned(), vec!["staging targets=lab-staging".to_owned()]);
    for number in 0..40 {
        let deploy = lab.deploy("api", &format!("v{number}"), &[]);
        lab.must(operator("op1", deploy));
        let cancel = CommandBody::Cancel { run: run_id(&format!("api#{}", number + 1)) };
        if let Some(row) = lab.live("lab-staging") {
            let done = lab.result(&row, trimaran_wire::v1::assignment::WireOutcome::Done);
            lab.must(done);
        } else {
            lab.must(operator("op1", cancel));
        }
        lab.pass(60_000);
    }
    let deploy = lab.deploy("api", "last", &[]);
    lab.must(operator("op1", deploy));
    lab
}

#[test]
fn a_row_of_any_table_that_cannot_be_decoded_is_named() {
    let lab = long_history();
    let mut runs = BTreeSet::new();
    for shown in query::runs(&lab.rows, None, usize::MAX).runs {
        runs.insert(shown.run.parse().expect("a run"));
    }
    let runs: Vec<RunId> = runs.into_iter().collect();
    let mut seen = BTreeSet::new();
    for (key, value) in &lab.rows.0 {
        let table = key[0];
        seen.insert(table);
        let cut = &value[..value.len() - 1];
        assert!(Engine::check_row(key, value).is_ok());
        let checked = Engine::check_row(key, cut);
        assert!(matches!(checked, Err(LoadError::Row { table: named, .. }) if named == table), "{checked:?}");
        if table < tables::AUDIT {
            let hot = lab.rows.0.iter().take_while(|(key, _)| key[0] < tables::AUDIT);
            let rows = hot.map(|(k, v)| (k.clone(), if k == key { cut.to_vec() } else { v.clone() }));
            let loaded = Engine::from_rows(rows);
            assert!(
                matches!(loaded, Err(LoadError::Row { table: named, .. }) if named == table),
                "{loaded:?}"
            );
        } else {
            let broken = Broken { rows: &lab.rows, key, value: cut, reported: RefCell::new(false) };
            ask_everything(&broken, &runs);
            assert!(broken.reported.into_inner(), "a row of table {table} is damaged, and no query says so");
        }
    }
    for cold in [
        tables::AUDIT,
        tables::OLD_RUN,
        tables::OLD_RELEASE,
        tables::OLD_STAGE,
        tables::SOURCE,
        tables::INSTANCES,
    ] {
        assert!(seen.contains(&cold), "the history has no row of table {cold}: {seen:?}");
    }
    assert!(seen.len() >= 18, "{seen:?}");
}

#[test]
fn an_order_whose_release_is_missing_is_damage() {
    let lab = long_history();
    let live = lab.live("lab-staging").expect("work");
    let digest = live.order.action.release().expect("it brings a release");
    let mut rows = lab.rows.clone();
    let before = rows.0.len();
    rows.0.retain(|key, _| key[0] != tables::RELEASE || key[1..] != digest.0);
    assert_eq!(rows.0.len(), before - 1);
    let key = [&[tables::RELEASE][..], &digest.0].concat();
    let broken = Broken { rows: &rows, key: &key, value: &[], reported: RefCell::new(false) };
    let _ = query::assignments(&broken, &live.agent, &|_| true);
    assert!(broken.reported.into_inner(), "the agent would get an order without content");
}
