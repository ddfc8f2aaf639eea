//! The table of results.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// One row: a measure, its value, and what stands beside it.
#[derive(Debug, Clone)]
struct Row {
    measure: String,
    value: String,
    beside: String,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn add(
        &mut self,
        measure: impl Into<String>,
        value: impl Into<String>,
        beside: impl Into<String>,
    ) {
        let row = Row { measure: measure.into(), value: value.into(), beside: beside.into() };
        eprintln!("  {}: {}  ({})", row.measure, row.value, row.beside);
        self.rows.push(row);
    }

    pub(crate) fn table(&self) -> String {
        let mut text = String::from("| measure | value | beside it, in the same run |\n|---|---|---|\n");
        for Row { measure, value, beside } in &self.rows {
            writeln!(text, "| {measure} | {value} | {beside} |").expect("memory");
        }
        text
    }

    /// Writes the page; the folder is found from where cargo keeps this crate.
    pub(crate) fn write(&self) -> std::io::Result<()> {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let text = format!(
            "# Results\n\nMade by `make bench` (`trimaran-bench --write`), release build, {cores} cores, loopback, data on\n\
             the machine's disk. Machines differ and are noisy: compare the columns of one row, not two runs.\n\n{}",
            self.table()
        );
        std::fs::write(page, text)
    }
}

/// `12.3 ms` or `4.56 s`.
pub(crate) fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.2} ms", time.as_secs_f64() * 1000.0)
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}

/// `min 1.2 ms, max 3.4 ms` of sorted times.
pub(crate) fn ends(sorted: &[Duration]) -> String {
    let of = |it: Option<&Duration>| time(it.copied().unwrap_or_default());
    format!("min {}, max {}", of(sorted.first()), of(sorted.last()))
}

/// The value below which a share of the sorted times lies.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}
