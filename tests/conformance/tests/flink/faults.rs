//! What goes wrong around a job on a real cluster while it is upgraded: one job afterwards, and no record lost.

use std::path::PathBuf;
use std::time::Duration;

use trimaran_conformance::flink::lab::{Ended, Lab};
use trimaran_model::action::{Action, Outcome};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::FlinkRelease;
use trimaran_model::time::Millis;
use trimaran_test_support::tmpfs::Tmpfs;

use crate::cluster::{RealCluster, jar};
use crate::{assert_whole, variant, versions};

/// Jobs of one installation on one cluster, one after the other.
struct Faults {
    lab: Lab<RealCluster>,
    sink: PathBuf,
}

impl Faults {
    fn new(version: &str) -> Self {
        let cluster = RealCluster::start(version, false);
        let sink = cluster.file("records");
        Self { lab: Lab::new(cluster, std::collections::BTreeMap::new()), sink }
    }

    /// A first job runs, which writes to a file of its own.
    fn begin(&mut self, first: &str, change: impl Fn(&mut FlinkRelease)) {
        self.sink = self.lab.cluster.file(&format!("records-of-{first}"));
        for name in ["v1", "v2", "slow"] {
            let (digest, mut release) = variant(name, &self.sink);
            change(&mut release);
            self.lab.add(digest, release);
        }
        assert_eq!(self.release(first).outcome, Outcome::Done);
    }

    /// The job ends, and nothing is known of it any more.
    fn end(&mut self, last: &str) {
        assert_eq!(self.lab.perform(Action::Stop(jar(last).sha256)).outcome, Outcome::Done);
        self.lab.forget();
    }

    fn release(&mut self, name: &str) -> Ended {
        self.lab.perform(Action::Release(jar(name).sha256))
    }

    fn assert_one_job(&mut self) {
        assert_eq!(self.lab.cluster.running().len(), 1);
        assert_whole(&self.sink);
    }
}

#[test]
fn upgrades_on_a_cluster_that_has_faults() {
    for version in versions() {
        let mut it = Faults::new(&version);
        it.begin("v1", |_| {});
        savepoints_on_a_full_disk_stop_nothing(&mut it);
        a_savepoint_that_can_not_be_written_stops_nothing(&mut it);
        a_taskmanager_that_is_lost_and_a_jobmanager_that_hangs(&mut it);
        it.end("v2");
        a_stop_under_backpressure_ends_with_the_old_job(&mut it);
    }
}

/// The disk of the savepoints is full, which Flink would notice in the middle of writing one, and start the job again: it is
/// seen before.
fn savepoints_on_a_full_disk_stop_nothing(it: &mut Faults) {
    let folder = PathBuf::from(it.lab.cluster.savepoints().trim_start_matches("file://"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let disk = Tmpfs::mount(folder.clone(), "size=16k");
    let filled = std::fs::write(folder.join("filler"), vec![0; 64 << 10]);
    assert_eq!(filled.map_err(|error| error.kind()), Err(std::io::ErrorKind::StorageFull));
    let running = it.lab.cluster.running();
    let refused = it.release("v2");
    assert_eq!(refused.code(), Some(ReasonCode::SavepointFailed), "{:?}", refused.outcome);
    assert!(matches!(&refused.outcome, Outcome::Fault(_)), "{:?}", refused.outcome);
    assert_eq!(it.lab.cluster.running(), running);
    drop(disk);
    assert_eq!(assert_whole(&it.sink).repeated(), 0, "the job was not restarted");
    it.assert_one_job();
}

/// Nothing can be written where savepoints belong: the job runs on without a restart, and is upgraded when that is fixed.
fn a_savepoint_that_can_not_be_written_stops_nothing(it: &mut Faults) {
    let root = it.lab.cluster.savepoints().trim_start_matches("file://").to_owned();
    let obstacle = PathBuf::from(root).join("clicks");
    std::fs::write(&obstacle, "no directory").expect("a file");
    let running = it.lab.cluster.running();
    let refused = it.release("v2");
    assert_eq!(refused.code(), Some(ReasonCode::SavepointFailed), "{:?}", refused.outcome);
    assert!(matches!(&refused.outcome, Outcome::Fault(_)), "{:?}", refused.outcome);
    assert_eq!(it.lab.cluster.running(), running);
    std::fs::remove_file(&obstacle).expect("it was there");
    let upgraded = it.release("v2");
    assert_eq!(upgraded.outcome, Outcome::Done, "{:?}", upgraded.messages);
    assert_eq!(assert_whole(&it.sink).repeated(), 0, "the first job was not restarted");
    it.assert_one_job();
}

/// A TaskManager is lost before the stop: the job fails over, refuses stops meanwhile, and is upgraded then. A JobManager that
/// hangs in the middle of a stop is waited for.
fn a_taskmanager_that_is_lost_and_a_jobmanager_that_hangs(it: &mut Faults) {
    it.lab.cluster.processes().kill_taskmanager(1);
    let upgraded = it.release("v1");
    assert_eq!(upgraded.outcome, Outcome::Done, "{:?}", upgraded.messages);
    it.assert_one_job();
    it.lab.cluster.processes().start_taskmanager(1);
    it.lab.cluster.behind_stop(|cluster| {
        cluster.freeze_jobmanager(true);
        std::thread::sleep(Duration::from_secs(4));
        cluster.freeze_jobmanager(false);
    });
    let next = it.release("v2");
    assert_eq!(next.outcome, Outcome::Done, "{:?}", next.messages);
    it.assert_one_job();
}

/// A job under heavy backpressure can't be stopped in time: nothing is submitted, it runs on.
fn a_stop_under_backpressure_ends_with_the_old_job(it: &mut Faults) {
    it.begin("slow", |release| {
        release.job.upgrade.timeout = Millis::seconds(8);
        release.job.health.min_checkpoints = 0;
        release.job.args.retain(|arg| !arg.starts_with("--rate"));
        release.job.args.push("--rate=2000".to_owned());
    });
    let running = it.lab.cluster.running();
    let stopped = it.release("v2");
    assert_eq!(stopped.code(), Some(ReasonCode::SavepointFailed), "{:?}", stopped.outcome);
    assert_eq!(it.lab.cluster.running(), running);
}
