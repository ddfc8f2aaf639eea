//! One agent with hosts and a cluster whose platform hangs: what that costs the hosts.

use std::time::{Duration, Instant};

use trimaran_e2e::hung::HungCluster;
use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web};

use crate::report::{Report, percentile, time};

/// Deploys of each kind.
const TIMES: usize = 9;
/// Jobs whose orders are live on the cluster that hangs.
const JOBS: usize = 32;

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh(3);
    let shape =
        Shape { min_healthy: "100ms", staging_sizes: "[100%]", prod_sizes: "[100%]", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "good")]);
    deploys(&lab, &web, 2);
    let alone = deploys(&lab, &web, TIMES);
    HungCluster::start().give_jobs(&lab, JOBS);
    let beside = deploys(&lab, &web, TIMES);
    let (before, after) = (percentile(&alone, 50), percentile(&beside, 50));
    report.add(
        format!("deploy to three hosts while {JOBS} orders of the same agent hang in another platform"),
        time(after),
        format!(
            "p50 of {TIMES}; {:.2} x the {} without them; bar 1.2",
            after.as_secs_f64() / before.as_secs_f64(),
            time(before)
        ),
    );
}

/// The sorted times of some deploys, in turn of two versions.
pub(crate) fn deploys(lab: &Lab, web: &Web, times: usize) -> Vec<Duration> {
    let one = |number: usize| {
        let began = Instant::now();
        let run = web.deploy(lab, ["v1", "v2"][number % 2]);
        lab.ok(&["watch", &run]);
        lab.wait_status(&run, "succeeded", Duration::from_secs(60));
        began.elapsed()
    };
    let mut all: Vec<Duration> = (0..times).map(one).collect();
    all.sort_unstable();
    all
}
