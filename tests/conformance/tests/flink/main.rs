//! The machine and its platform on real Flink clusters, which `tests/env/flink` sets up: the same stories as on the model,
//! and the recordings that hold the model to them.
//!
//! `TRIMARAN_TEST_FLINK_URL` uses a cluster that runs already, `TRIMARAN_TEST_FLINK_SAVEPOINTS` names its savepoints.
#![allow(clippy::disallowed_methods, reason = "tests with real processes")]

mod cluster;
mod faults;
mod kills;

use cluster::RealCluster;
use trimaran_conformance::driver::flink::{RULES, files_of, release, rules_of};
use trimaran_conformance::flink::lab::{Ended, Lab};
use trimaran_conformance::flink::recording::record;
use trimaran_model::action::{Action, Outcome};
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::FlinkRelease;
use trimaran_model::time::Millis;
use trimaran_test_env::flink::{Records, chosen_version};
use trimaran_test_support::seed;

/// A release of a variant of the demo job that writes its records to a file.
fn variant(name: &str, sink: &std::path::Path) -> (Digest, FlinkRelease) {
    let mut whole = release(1);
    whole.jar = cluster::jar(name);
    whole.job.args =
        vec![format!("--out={}", sink.display()), "--rate=200".to_owned(), "--checkpoint-ms=500".to_owned()];
    whole.files = None;
    if cluster::VERSIONS.contains(&name) {
        whole.files = Some(files_of(&[(RULES, rules_of(name))]));
        whole.job.args.push(format!("--cached-file={RULES}"));
    }
    whole.job.health.window = Millis::seconds(2);
    whole.job.health.min_checkpoints = 2;
    (whole.jar.sha256, whole)
}

/// No record was lost; what the sink got.
fn assert_whole(sink: &std::path::Path) -> Records {
    let records = Records::read(sink);
    assert!(!records.0.is_empty(), "there are records");
    assert_eq!(records.missing(), [0; 0], "records were lost");
    records
}

/// Every record of a version was written with the file that it ships.
fn assert_files(sink: &std::path::Path) {
    let text = std::fs::read_to_string(sink).expect("there are records");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for version in cluster::VERSIONS {
        let with_file = format!(" {version}+{} ", rules_of(version).trim());
        let mut lines =
            whole.lines().filter(|line| line.split(' ').nth(3).is_some_and(|it| it.starts_with(version)));
        assert!(lines.clone().next().is_some(), "{version} has written nothing");
        let other = lines.find(|line| !line.contains(&with_file));
        assert_eq!(other, None, "a record of {version} without its file");
    }
}

/// What a real JobManager answers is what was recorded. `UPDATE=1` records anew.
fn assert_recorded(version: &str, cluster: &mut RealCluster) {
    let root = cluster.savepoints().to_owned();
    let text = record(cluster, &cluster::jar, u64::from(std::process::id()), &root);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../env/flink/recordings/");
    let file = format!("{file}{version}.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &text).expect("it can be written");
    }
    assert_eq!(text, std::fs::read_to_string(&file).expect("it was recorded"), "{version}");
}

/// Versions that begin and do not work. `make test` plays two of them, drawn by the day.
const BAD: [(&str, ReasonCode); 5] = [
    ("badstate", ReasonCode::JobRestarts),
    ("openthrows", ReasonCode::JobRestarts),
    ("crash", ReasonCode::JobRestarts),
    ("poison", ReasonCode::JobRestarts),
    // A snapshot that throws fails its task, whatever the job tolerates.
    ("cpfail", ReasonCode::JobRestarts),
];

struct Story {
    lab: Lab<RealCluster>,
    sink: std::path::PathBuf,
}

impl Story {
    /// Whatever is played, the cluster first answers as its version was recorded.
    fn new(version: &str) -> Self {
        let mut cluster = RealCluster::start(version, false);
        assert_recorded(version, &mut cluster);
        let sink = cluster.file("records");
        let names =
            ["v1", "v2", "newuid", "mainthrows", "notajar"].into_iter().chain(BAD.map(|(name, _)| name));
        let releases = names.map(|name| variant(name, &sink)).collect();
        Self { lab: Lab::new(cluster, releases), sink }
    }

    fn release(&mut self, name: &str) -> Ended {
        self.lab.perform(Action::Release(cluster::jar(name).sha256))
    }

    fn restore(&mut self, name: &str) -> Ended {
        self.lab.perform(Action::Restore(cluster::jar(name).sha256))
    }

    /// A bad version is recognized, and the earlier one continues from its savepoint.
    fn goes_back(&mut self, bad: &str, code: ReasonCode, good: &str) {
        let failed = self.release(bad);
        assert_eq!(failed.code(), Some(code), "{bad}: {:?}", failed.outcome);
        assert!(matches!(failed.outcome, Outcome::Failed(_)), "{bad}: {:?}", failed.outcome);
        let savepoint = failed.began_from().expect("it began from a savepoint").to_owned();
        let restored = self.restore(good);
        assert_eq!(restored.outcome, Outcome::Done, "{bad}: {:?}", restored.messages);
        assert_eq!(restored.began_from(), Some(savepoint.as_str()), "{bad}: {:?}", restored.messages);
        assert_whole(&self.sink);
    }
}

/// 2.3.0; with everything also 1.20.5; or the one that was chosen.
fn versions() -> Vec<String> {
    let all = [chosen_version().unwrap_or("2.3.0".to_owned()), "1.20.5".to_owned()];
    let count = if seed::is_full() && chosen_version().is_none() { 2 } else { 1 };
    all.into_iter().take(count).collect()
}

#[test]
fn jobs_on_2_3_0() {
    play_whole("2.3.0");
}

/// The same, or in short.
#[test]
fn jobs_on_1_20_5() {
    if seed::is_full() { play_whole("1.20.5") } else { play_short("1.20.5") }
}

/// A deploy, an upgrade without a repeated record, versions that are refused while the job runs on, and
/// versions that go back.
fn play_whole(version: &str) {
    let mut story = Story::new(version);
    assert_eq!(story.release("v1").outcome, Outcome::Done);
    let upgraded = story.release("v2");
    assert_eq!(upgraded.outcome, Outcome::Done, "{:?}", upgraded.messages);
    assert_eq!(assert_whole(&story.sink).repeated(), 0, "a stop with a savepoint repeats nothing");
    let refused = [
        ("newuid", ReasonCode::StateIncompatible),
        ("mainthrows", ReasonCode::JarRefused),
        ("notajar", ReasonCode::JarRefused),
    ];
    let running = story.lab.cluster.running();
    for (name, code) in refused {
        let ended = story.release(name);
        assert_eq!(ended.code(), Some(code), "{name}: {:?}", ended.outcome);
        assert_eq!(story.lab.cluster.running(), running, "{name}: the job runs on");
    }
    for (name, code) in seed::drawn(&BAD, 2, 20) {
        story.goes_back(name, code, "v2");
    }
    assert_files(&story.sink);
}

fn play_short(version: &str) {
    let mut story = Story::new(version);
    assert_eq!(story.release("v1").outcome, Outcome::Done);
    let upgraded = story.release("v2");
    assert_eq!(upgraded.outcome, Outcome::Done, "{:?}", upgraded.messages);
    story.goes_back("badstate", ReasonCode::JobRestarts, "v2");
    assert_files(&story.sink);
}
