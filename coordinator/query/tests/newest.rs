//! Lists of runs over a history that is mostly cold: the newest first, and read only as far as they are shown.

use std::cell::Cell;
use std::fmt::Display;

use trimaran_query::{self as query, RowSource};
use trimaran_sim::check::Rows;
use trimaran_sim::lab::{Lab, operator};
use trimaran_wire::v1::assignment::WireOutcome;

/// Rows that count how many of them are read.
struct Counted<'a> {
    rows: &'a Rows,
    read: Cell<usize>,
}

impl<'a> Counted<'a> {
    fn new(rows: &'a Rows) -> Self {
        Self { rows, read: Cell::new(0) }
    }

    fn count(&self) {
        self.read.set(self.read.get() + 1);
    }
}

impl RowSource for Counted<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.count();
        self.rows.get(key)
    }

    fn scan(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        self.rows.scan(prefix, &mut |key, value| {
            self.count();
            each(key, value)
        });
    }

    fn scan_back(&self, first: &[u8], end: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        self.rows.scan_back(first, end, &mut |key, value| {
            self.count();
            each(key, value)
        });
    }

    fn damaged(&self, key: &[u8], why: &dyn Display) {
        self.rows.damaged(key, why);
    }
}

/// So many finished runs of each of three pipelines, by turns.
fn lab(runs: usize) -> Lab {
    let mut lab = Lab::with_hosts(1, 1);
    lab.whole_every = 50;
    let names = ["api", "web", "web-2"];
    for name in names {
        lab.pipelines.insert(name.to_owned(), vec!["prod targets=lab-prod".to_owned()]);
    }
    for number in 1..=runs {
        for name in names {
            let deploy = lab.deploy(name, &format!("v{number}"), &[]);
            lab.must(operator("op1", deploy));
            let live = lab.live("lab-prod").expect("work");
            let result = lab.result(&live, WireOutcome::Done);
            lab.must(result);
        }
    }
    lab
}

#[test]
fn runs_of_all_pipelines_come_the_newest_first_and_each_once() {
    let lab = lab(30);
    let runs = |limit| -> Vec<String> {
        query::runs(&lab.rows, None, limit).runs.into_iter().map(|run| run.run).collect()
    };
    let all: Vec<String> = (1..=30)
        .rev()
        .flat_map(|number| ["web-2", "web", "api"].map(|name| format!("{name}#{number}")))
        .collect();
    assert_eq!(runs(usize::MAX), all);
    for limit in [0, 1, 7, 50] {
        assert_eq!(runs(limit), all[..limit]);
    }
    let web = "web".parse().expect("a name");
    let of_web: Vec<String> =
        query::runs(&lab.rows, Some(&web), 100).runs.into_iter().map(|run| run.run).collect();
    assert_eq!(of_web, (1..=30).rev().map(|number| format!("web#{number}")).collect::<Vec<_>>());
    let history = query::history(&lab.rows, &web, None, 100);
    let shown: Vec<String> = history.entries.into_iter().map(|it| it.run).collect();
    assert_eq!(shown, of_web);
}

#[test]
fn a_short_list_reads_little_however_long_the_history_is() {
    let read = |runs: usize| {
        let lab = lab(runs);
        let web = "web".parse().expect("a name");
        let release = query::history(&lab.rows, &web, None, 1).entries.remove(0).release;
        let rows = Counted::new(&lab.rows);
        query::runs(&rows, None, 20);
        query::history(&rows, &web, None, 20);
        assert_eq!(query::releases_starting(&rows, &web, &release[..12]).len(), 1);
        rows.read.get()
    };
    let (short, long) = (read(40), read(160));
    assert!(long <= short + 8, "{short} rows of 120 runs, {long} of 480");
}

#[test]
fn a_release_is_found_by_any_number_of_its_first_digits() {
    let lab = lab(20);
    let web = "web".parse().expect("a name");
    for entry in query::history(&lab.rows, &web, None, 100).entries {
        for digits in [6, 7, 64] {
            let found = query::releases_starting(&lab.rows, &web, &entry.release[..digits]);
            assert_eq!(found.len(), 1, "{} of {}", digits, entry.release);
        }
    }
    assert!(query::releases_starting(&lab.rows, &web, "v12").is_empty());
    let api = "api".parse().expect("a name");
    let of_web = query::history(&lab.rows, &web, None, 1).entries.remove(0).release;
    assert!(query::releases_starting(&lab.rows, &api, &of_web).is_empty(), "of another pipeline");
}
