//! What a runner costs that has nothing to do.

use std::time::Duration;

use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web};
use trimaran_test_support::wait::until;

use crate::report::Report;

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh(3);
    let before = largest(&lab);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    // Freed memory goes back to the system by and by; the smallest of some looks is what stays.
    let mut smallest = u64::MAX;
    let mut looks = 0;
    until("memory has settled", Duration::from_secs(30), || {
        smallest = smallest.min(largest(&lab));
        looks += 1;
        (looks > 100).then_some(())
    });
    report.add(
        "RssAnon of an idle runner",
        format!("{:.1} MB", before as f64 / 1024.0),
        format!("{:.1} MB after a release; bar 8 MB", smallest as f64 / 1024.0),
    );
}

/// The largest of the runners.
fn largest(lab: &Lab) -> u64 {
    let runners = lab.parts().into_iter().filter(|part| part.role == "runner");
    runners.filter_map(|part| anonymous_kib(part.pid?)).max().expect("runners run")
}

/// RssAnon of a process that runs.
pub(crate) fn anonymous_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
