//! Agents and JobManagers that die around a job on a real cluster: in every phase of its ledger, and so long behind a stop.
//!
//! `make test` plays a few, drawn by the day; `TRIMARAN_SEED=N` plays those of another day, `TRIMARAN_FULL=1` all.

use std::path::PathBuf;

use trimaran_conformance::driver::flink::digest;
use trimaran_conformance::flink::deadly::Deadly;
use trimaran_conformance::flink::death::{Death, Mortal};
use trimaran_conformance::flink::lab::Lab;
use trimaran_flink_core::ledger::Persisted;
use trimaran_model::action::Outcome;
use trimaran_model::pipeline::UpgradeMode;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::FlinkRelease;
use trimaran_model::time::Millis;
use trimaran_test_support::seed;

use crate::cluster::RealCluster;
use crate::{assert_whole, variant, versions};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Death(Death),
    /// The JobManager, so long after it has accepted a stop.
    BehindStop(Millis),
}

/// A job on a cluster of its own.
struct Kills {
    it: Deadly<RealCluster>,
    high_availability: bool,
    sink: PathBuf,
    sinks: u32,
}

impl Kills {
    fn new(version: &str, high_availability: bool) -> Self {
        let cluster = RealCluster::start(version, high_availability);
        let sink = cluster.file("records-0");
        let releases = releases(&sink);
        let digests = [1, 2, 3].map(digest);
        let lab = Lab::new(cluster, digests.into_iter().zip(releases).collect());
        Self { it: Deadly::new(lab, high_availability, digests), high_availability, sink, sinks: 0 }
    }

    fn play(&mut self, case: Case) {
        eprintln!("high availability {}: {case:?}", self.high_availability);
        match case {
            Case::Death(death) => self.play_death(death),
            Case::BehindStop(after) => self.play_behind_stop(after),
        }
        assert_eq!(self.it.lab.cluster.running().len(), 1, "{case:?}");
        assert_whole(&self.sink);
    }

    fn play_death(&mut self, death: Death) {
        if death.at == Persisted::Nothing {
            // A first job counts from 0 again.
            self.sinks += 1;
            let sink = self.it.lab.cluster.file(&format!("records-{}", self.sinks));
            for (n, release) in (1..).zip(releases(&sink)) {
                self.it.lab.add(digest(n), release);
            }
            self.sink = sink;
        }
        self.it.play(death);
    }

    fn play_behind_stop(&mut self, after: Millis) {
        self.it.lab.cluster.kill_behind_stop(after);
        let mut ended = self.it.upgrade();
        if let Outcome::Fault(failure) = &ended.outcome {
            assert!(!self.high_availability, "{after}: {failure:?}");
            assert_eq!(failure.code, ReasonCode::JobLost, "{failure:?}");
            assert!(failure.message.contains("file:/"), "{}", failure.message);
            assert!(self.it.lab.cluster.running().is_empty());
            ended = self.it.again();
        }
        assert_eq!(ended.outcome, Outcome::Done, "{after}: {:?}", ended.messages);
        assert!(ended.began_from().is_some(), "{after}: its state was kept");
    }
}

/// Two versions that are stopped with a savepoint, and one that cancels the one before.
fn releases(sink: &std::path::Path) -> [FlinkRelease; 3] {
    ["v1", "v2", "v3"].map(|name| {
        let (_, mut release) = variant(name, sink);
        release.job.health.window = Millis::seconds(2);
        if name == "v3" {
            release.job.upgrade.mode = UpgradeMode::LastCheckpoint;
        }
        release
    })
}

/// All cases, or one of each sort that the day draws.
fn cases(salt: u64) -> Vec<Case> {
    let deaths = Death::all();
    let behind = [0, 30, 100, 200].map(|after| Case::BehindStop(Millis(after)));
    let (of_jobmanager, of_agent): (Vec<_>, Vec<_>) =
        deaths.into_iter().partition(|death| death.of == Mortal::JobManager);
    let sorts: [Vec<Case>; 3] = [
        of_agent.into_iter().map(Case::Death).collect(),
        of_jobmanager.into_iter().map(Case::Death).collect(),
        behind.to_vec(),
    ];
    (salt..).zip(&sorts).flat_map(|(salt, sort)| seed::drawn(sort, 1, salt)).collect()
}

#[test]
fn whatever_dies_with_high_availability_one_job_goes_on() {
    for version in versions() {
        let mut kills = Kills::new(&version, true);
        cases(0).into_iter().for_each(|case| kills.play(case));
    }
}

#[test]
fn whatever_dies_without_high_availability_one_job_goes_on() {
    for version in versions() {
        let mut kills = Kills::new(&version, false);
        cases(7).into_iter().for_each(|case| kills.play(case));
    }
}
