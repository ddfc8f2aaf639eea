//! From the failure of one host to the last host that is still asked to make way: how soon a rollout stops to spread.
//!
//! Hosts update in pairs, so that another one is always about to be granted its turn when the first one fails: its new service is
//! killed as soon as it has started.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use trimaran_e2e::lab::{Lab, signal};
use trimaran_e2e::web::{Shape, Web, handovers, starts};

use crate::report::{Report, percentile, time};

const ROUNDS: usize = 40;
/// Two thirds of them are prod.
const HOSTS: u8 = 9;
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh(HOSTS);
    let pairs = Shape { prod_sizes: "[100%]", prod_unavailable: "2", ..Shape::prod_alone() };
    let web = Web::new(&lab, pairs, &[("v0", "good")]);
    web.deploy_until(&lab, "v0", "succeeded");
    let mut delays: Vec<Duration> =
        (1..=ROUNDS).map(|number| round(&lab, &web, &format!("v{number}"))).collect();
    delays.sort_unstable();
    report.add(
        "a host fails, until no further host makes way",
        format!("p99 {}", time(percentile(&delays, 99))),
        format!(
            "bar 200 ms; p50 of {ROUNDS} {}, in {} of them none did any more",
            time(percentile(&delays, 50)),
            delays.iter().filter(|it| it.is_zero()).count()
        ),
    );
}

/// How long after the failure the last host was asked to make way that had not been before.
fn round(lab: &Lab, web: &Web, version: &str) -> Duration {
    let archive = web.pack(version, "good");
    let (turns, began) = (handovers(lab).len(), Instant::now());
    let run = web.deploy(lab, version);
    let mut watch = lab.start_cli(&["watch", &run]);
    let mut asked: BTreeMap<String, Instant> = BTreeMap::new();
    let mut failed = None;
    while watch.try_wait().expect("a child").is_none() {
        assert!(began.elapsed() < LIMIT, "{run} does not end");
        for (_, host, _) in handovers(lab).into_iter().skip(turns).filter(|(what, ..)| what == "down") {
            asked.entry(host).or_insert_with(Instant::now);
        }
        if failed.is_none()
            && let Some(start) = starts(lab).into_iter().find(|it| it.version == version)
        {
            signal(start.pid, "KILL");
            failed = Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    lab.wait_status(&run, "rolled_back", LIMIT);
    std::fs::remove_file(archive).expect("it was packed");
    let failed = failed.expect("the first host started it");
    asked.values().map(|at| at.saturating_duration_since(failed)).max().unwrap_or_default()
}
