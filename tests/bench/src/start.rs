//! From the command to the first host: how long a release takes until the first service is asked to end.

use std::time::{Duration, Instant};

use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web, handovers};

use crate::report::{Report, time};

const ROUNDS: usize = 7;
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh(3);
    let names: Vec<String> = (0..=ROUNDS).map(|number| format!("v{number}")).collect();
    let versions: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "good")).collect();
    let web = Web::new(&lab, Shape::default(), &versions);
    web.deploy_until(&lab, &names[0], "succeeded");
    let mut rounds: Vec<(Duration, Duration)> =
        names[1..].iter().map(|name| round(&lab, &web, name)).collect();
    rounds.sort_unstable();
    let (first, command) = rounds[ROUNDS / 2];
    report.add(
        "start to first host: from the command to the stop of the first service",
        time(first),
        format!(
            "the command itself, which reads the artifact for its digest, took {} of it; slowest of {ROUNDS} {}",
            time(command),
            time(rounds[ROUNDS - 1].0)
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
