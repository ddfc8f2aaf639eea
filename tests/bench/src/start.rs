//! From the command to the first host: how long a release takes until the first service is asked to end.

use std::time::{Duration, Instant};

use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web, handovers};

use crate::report::{Report, percentile, time};

const ROUNDS: usize = 100;
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape { min_healthy: "100ms", ..Shape::default() }, &[("v0", "good")]);
    web.deploy_until(&lab, "v0", "succeeded");
    let rounds = (1..=ROUNDS).map(|number| {
        let version = format!("v{number}");
        let archive = web.pack(&version, "good");
        let times = round(&lab, &web, &version);
        std::fs::remove_file(archive).expect("it was packed");
        times
    });
    let (mut first, mut command): (Vec<Duration>, Vec<Duration>) = rounds.unzip();
    first.sort_unstable();
    command.sort_unstable();
    report.add(
        "start to first host: from the command to the stop of the first service",
        format!("p99 {}", time(percentile(&first, 99))),
        format!(
            "bar 100 ms; p50 of {ROUNDS} {}, max {}; the command itself, which reads the artifact for its digest, took {} of it at p50",
            time(percentile(&first, 50)),
            time(percentile(&first, 100)),
            time(percentile(&command, 50))
        ),
    );
}

/// From the command to the first host, and the time of the command itself.
fn round(lab: &Lab, web: &Web, version: &str) -> (Duration, Duration) {
    let before = handovers(lab).len();
    let began = Instant::now();
    let run = web.deploy(lab, version);
    let command = began.elapsed();
    // The release was fetched, checked and unpacked before: that is a part of the time.
    while handovers(lab).len() <= before {
        assert!(began.elapsed() < LIMIT, "no service makes way");
        std::thread::sleep(Duration::from_millis(1));
    }
    let first = began.elapsed();
    lab.wait_status(&run, "succeeded", Duration::from_secs(60));
    (first, command)
}
