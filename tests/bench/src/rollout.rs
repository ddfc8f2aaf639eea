//! A rollout of 50 runners in ten batches, beside its floor and beside ansible-core doing the same steps.

use std::path::Path;
use std::time::{Duration, Instant};

use trimaran_e2e::artifacts::padded;
use trimaran_e2e::lab::{Lab, binaries};
use trimaran_e2e::web::{Shape, Web};

use crate::report::{Report, time};
use crate::{ansible, floor};

const HOSTS: u8 = 50;
/// Hosts of prod: two thirds of the lab are more than fifty.
const LAB: u8 = 75;
const BATCHES: u32 = 10;
/// Of the archive, which hardly compresses.
const ARCHIVE_BYTES: usize = 8 << 20;
const MIN_HEALTHY: Duration = Duration::from_secs(1);

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh(LAB);
    let shape = Shape {
        staging_sizes: "[100%]",
        staging_unavailable: "100%",
        prod_sizes: "[10%, 20%, 30%, 40%, 50%, 60%, 70%, 80%, 90%, 100%]",
        prod_unavailable: "10%",
        deadline: "60s",
        ..Shape::default()
    };
    let web = Web::new(&lab, shape, &[]);
    for version in ["v1", "v2"] {
        padded(&web.build(version), version, "good", &binaries().join("demo-service"), ARCHIVE_BYTES)
            .expect("an archive");
    }
    let limit = Duration::from_secs(300);
    lab.wait_status(&web.deploy(&lab, "v1"), "succeeded", limit);
    let began = Instant::now();
    let run = web.deploy(&lab, "v2");
    // One process that is notified, and not one after another that ask: the cores are the hosts'.
    lab.ok(&["watch", &run]);
    let whole = began.elapsed();
    let shown = lab.wait_status(&run, "succeeded", limit);
    let prod = stage_time(&shown);
    let floor = floor::of_batches(
        &web.build("v1"),
        lab.folder.path(),
        BATCHES,
        u32::from(HOSTS) / BATCHES,
        MIN_HEALTHY,
    );
    report.add(
        format!("rollout of {HOSTS} hosts x 8 MB in {BATCHES} batches"),
        time(prod),
        format!(
            "{:.2} x the floor of {} (the batches' own stop, start and health time); {} with staging",
            prod.as_secs_f64() / floor.as_secs_f64(),
            time(floor),
            time(whole)
        ),
    );
    rollback(report, &lab, &web, prod);
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("web-v1.tar.zst");
    std::fs::copy(web.build("v1"), &archive).expect("copied");
    // Its runners would take from the cores what the other tool needs.
    drop(lab);
    ansible(report, &archive, folder.path(), prod);
}

/// A rollback of all hosts, to the release that they have on their disks.
fn rollback(report: &mut Report, lab: &Lab, web: &Web, forward: Duration) {
    let served = web.artifacts.served();
    lab.ok(&["rollback", "web", "--env", "prod", "--yes", "--wait", "--timeout", "5m"]);
    let list = lab.json(&["run", "list"]);
    let runs = list["runs"].as_array().expect("runs");
    let back = runs.iter().find(|run| run["kind"] == "rollback").expect("it is listed");
    let back = stage_time(&lab.json(&["run", "show", back["run"].as_str().expect("a name")]));
    let fetched = web.artifacts.served() - served;
    report.add(
        format!("rollback of {HOSTS} hosts"),
        time(back),
        format!(
            "{:.2} x the forward rollout of the same run, bar 0.33; {fetched} downloads, bar 0",
            back.as_secs_f64() / forward.as_secs_f64()
        ),
    );
}

fn ansible(report: &mut Report, archive: &Path, folder: &Path, ours: Duration) {
    match ansible::rollout(archive, folder, HOSTS, MIN_HEALTHY) {
        Ok(theirs) => report.add(
            "the same steps by ansible-core, 50 forks, serial 10%, local connections",
            time(theirs),
            format!("{:.1} x ours", theirs.as_secs_f64() / ours.as_secs_f64()),
        ),
        Err(why) => report.add("the same steps by ansible-core", "not measured", why),
    }
}

/// From start to end of prod's stage, by the run's own times.
fn stage_time(run: &serde_json::Value) -> Duration {
    let stages = run["stages"].as_array().expect("stages");
    let stage = stages.iter().find(|stage| stage["name"] == "prod/lab-prod").expect("prod");
    let at = |key: &str| {
        let text = stage[key].as_str().expect("a time");
        trimaran_test_support::wait::millis_of_day(text).expect("RFC 3339")
    };
    Duration::from_millis(at("finished_at").wrapping_sub(at("started_at")))
}
