//! One agent with hosts, one of which is an attacker's: what that costs the others.

use std::time::{Duration, Instant};

use trimaran_e2e::hostile_runner::Attack;
use trimaran_e2e::lab::{Lab, resident_bytes};
use trimaran_e2e::web::{Shape, Web};

use crate::hung::deploys;
use crate::report::{Report, percentile, time};

/// Deploys of each kind.
const TIMES: usize = 9;
/// How long it attacks: longer than the deploys take, and at least as long as the bar says.
const ATTACK: Duration = Duration::from_mins(1);

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh(4);
    let shape =
        Shape { min_healthy: "100ms", staging_sizes: "[100%]", prod_sizes: "[100%]", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "good")]);
    lab.ok(&["runner", "cordon", "host-4", "--yes"]);
    deploys(&lab, &web, 2);
    lab.kill("host-4");
    let alone = deploys(&lab, &web, TIMES);
    let pid = lab.part("lab").pid.expect("it runs");
    let memory = resident_bytes(pid);
    let began = Instant::now();
    let attack = Attack::start(&lab, "host-4", ATTACK);
    let mut beside = Vec::new();
    while began.elapsed() < ATTACK {
        // Both versions in turn: one that runs already is no work.
        beside.extend(deploys(&lab, &web, 2));
    }
    beside.sort_unstable();
    let sent = attack.end();
    let grown = resident_bytes(pid).saturating_sub(memory);
    let (before, after) = (percentile(&alone, 50), percentile(&beside, 50));
    report.add(
        "deploy to three hosts while a runner of the same agent invents all it can",
        time(after),
        format!(
            "p50 of {}; {:.2} x the {} without it; bar 1.2; {} messages in {} sessions; the agent took {} KiB, bar 16 MiB",
            beside.len(),
            after.as_secs_f64() / before.as_secs_f64(),
            time(before),
            sent.messages,
            sent.sessions,
            grown / 1024
        ),
    );
}
