//! Good versions, in turn with kubectl: how long each takes, and how late its end is reported.

use std::time::{Duration, Instant};

use trimaran_e2e::lab::Lab;
use trimaran_test_env::kubernetes::Cluster;

use super::doomed;
use super::pods::{PodWatch, alone, last_ready};
use super::service::{Image, Ours, REPLICAS, Theirs, Version};
use crate::report::{Report, ends, percentile, time};

/// Rollouts of each of both.
const TIMES: usize = 12;
/// Before each rollout. Kubernetes' own controllers send at most 20 requests a second, and 30 at once
/// (`kube-controller-manager --kube-api-qps`, `--kube-api-burst`): on the heels of another rollout, whose pods are still ending,
/// they wait for each other, and pods of before are deleted when it is their turn. Their log of requests that wait shows it
/// (`--v=3`); `many.rs` measures what comes at once.
const CONTROLLERS_REST: Duration = Duration::from_secs(4);
const ROLLOUT_MAX: Duration = Duration::from_secs(120);

/// Times of one tool, sorted at the end.
#[derive(Default)]
struct Times {
    /// From the command to its end.
    whole: Vec<Duration>,
    /// From the last new pod that is ready to the end.
    lag: Vec<Duration>,
    /// From the moment at which the new version alone served to the end.
    alone: Vec<Duration>,
}

impl Times {
    fn add(&mut self, began: Instant, pods: &PodWatch, version: &str, ended: Instant) {
        let ready = pods.wait("its pods are ready", |seen| last_ready(seen, version));
        let served = pods.wait("its pods alone serve", |seen| alone(seen, version));
        self.whole.push(ended.duration_since(began));
        self.lag.push(ended.saturating_duration_since(ready));
        self.alone.push(ended.saturating_duration_since(served));
    }
}

pub(super) fn run(report: &mut Report, cluster: &Cluster) {
    let lab = Lab::fresh(1);
    let image = Image::publish(cluster);
    let ours = Ours::new(&lab, cluster, &image, "ours");
    let theirs = Theirs::new(cluster, &image, "theirs");
    let pods = [PodWatch::start(cluster, "ours"), PodWatch::start(cluster, "theirs")];
    let first = Version::good("v0");
    ours.deploy(&first, Duration::ZERO).events.stage("succeeded", ROLLOUT_MAX);
    theirs.deploy(&first);
    let (mut own, mut other) = (Times::default(), Times::default());
    for number in 1..=TIMES {
        let version = Version::good(&format!("v{number}"));
        std::thread::sleep(CONTROLLERS_REST);
        let ended = theirs.deploy(&version);
        assert!(ended.output.status.success(), "{}", String::from_utf8_lossy(&ended.output.stderr));
        other.add(ended.began, &pods[1], &version.name, ended.at);
        std::thread::sleep(CONTROLLERS_REST);
        let begun = ours.deploy(&version, Duration::ZERO);
        let (at, _) = begun.events.stage("succeeded", ROLLOUT_MAX);
        own.add(begun.at, &pods[0], &version.name, at);
    }
    add(report, own, other);
    doomed::run(report, &ours, &theirs, [&pods[0], &pods[1]]);
}

fn add(report: &mut Report, mut own: Times, mut other: Times) {
    for times in [&mut own, &mut other] {
        for of in [&mut times.whole, &mut times.lag, &mut times.alone] {
            of.sort_unstable();
        }
    }
    let mut row = |what: &str, [own, other]: [&[Duration]; 2], said: &str, theirs: &str| {
        report.add(
            format!("Kubernetes: rollout of {REPLICAS} pods{what}"),
            time(percentile(own, 50)),
            format!(
                "p50 of {TIMES}, {}{said}; {} {theirs}, {}",
                ends(own),
                time(percentile(other, 50)),
                ends(other)
            ),
        );
    };
    let status = "to the end of `kubectl rollout status`";
    let bar = "; bar p50 50 ms, max 150 ms";
    row(", last new pod ready to the stage's end", [&own.lag, &other.lag], bar, status);
    let until = ": until then pods of before are there that nothing deletes";
    row(", new version alone serves to the stage's end", [&own.alone, &other.alone], until, status);
    let both = "with `kubectl apply` and `kubectl rollout status`";
    row(" in whole, `stability: 0s`", [&own.whole, &other.whole], "", both);
}
