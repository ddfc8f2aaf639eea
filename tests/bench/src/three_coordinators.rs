//! Durable commits of three coordinators beside those of three members of etcd 3.6, in turn and on one disk: both with
//! TLS and with every write synced, each client with a connection of its own to the leader.

use std::process::Command;
use std::time::Duration;

use trimaran_client::config::Context;
use trimaran_e2e::lab::{Lab, Part};
use trimaran_test_env::etcd::EtcdCluster;
use trimaran_test_support::wait::until;

use crate::commits::{self, Commits, DOCUMENT_BYTES, commits};
use crate::replica_seam::Seam;
use crate::report::{Report, percentile, time};

const ROUNDS: usize = 5;
const LENGTH: Duration = Duration::from_secs(3);
/// Of etcd's first round.
const FIRST_PUTS: usize = 2000;
/// How many clients, and how often Trimaran has to be as fast as etcd.
const CLIENTS: [(usize, Option<f64>); 4] = [(1, Some(1.5)), (16, None), (64, Some(2.0)), (256, Some(2.0))];
const START_MAX: Duration = Duration::from_secs(60);
/// Clients while the syncs of the leader are counted, and the bar for commits a sync.
const SYNC_CLIENTS: usize = 64;

pub(crate) fn run(report: &mut Report) {
    for (clients, bar) in CLIENTS {
        // Anew for each: the request ids of one identity have a bound.
        let lab = Lab::fresh_with(3, 1);
        let etcd = EtcdCluster::start(lab.folder.path());
        let seam = Seam::start(lab.folder.path());
        let probe = commits::fdatasyncs(lab.folder.path());
        compare(report, (&etcd, &leader_context(&lab), &seam), (clients, bar), probe);
    }
    count_syncs(report, &Lab::fresh_with(3, 1));
}

/// Rounds in turn; the middle one of each is what counts.
fn compare(
    report: &mut Report,
    (etcd, context, seam): (&EtcdCluster, &Context, &Seam),
    (clients, bar): (usize, Option<f64>),
    probe: f64,
) {
    let (mut ours, mut theirs, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let mut total = FIRST_PUTS;
    for _ in 0..ROUNDS {
        let puts = etcd.put(clients, total);
        // The next one is about as long as ours.
        total = (puts.per_second * LENGTH.as_secs_f64()) as usize;
        theirs.push(puts);
        ours.push(commits(context, clients, LENGTH));
        bare.push(seam.commits(clients, LENGTH));
    }
    theirs.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    let (our, their, bare) = (middle(&mut ours), theirs[ROUNDS / 2], middle(&mut bare));
    let bar = bar.map_or_else(String::new, |bar| format!(", bar {bar}"));
    let plural = if clients == 1 { "" } else { "s" };
    report.add(
        format!("durable commits of three coordinators, {clients} client{plural}"),
        format!("{:.0} /s", our.per_second),
        format!(
            "{:.2} x the {:.0} /s of etcd{bar}; p50 {}, p99 {}, etcd's {} and {}; the middle of {ROUNDS} rounds of \
             {DOCUMENT_BYTES} bytes each, where {probe:.0} fdatasyncs a second are possible",
            our.per_second / their.per_second,
            their.per_second,
            time(percentile(&our.times, 50)),
            time(percentile(&our.times, 99)),
            time(their.p50),
            time(their.p99),
        ),
    );
    report.add(
        format!("the same at the seam of three replicas in one process, {clients} client{plural}"),
        format!("{:.0} /s", bare.per_second),
        format!(
            "{:.2} x etcd; p50 {}, p99 {}",
            bare.per_second / their.per_second,
            time(percentile(&bare.times, 50)),
            time(percentile(&bare.times, 99)),
        ),
    );
}

fn middle(rounds: &mut [Commits]) -> &Commits {
    rounds.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    &rounds[rounds.len() / 2]
}

/// Acknowledged commits for each fdatasync of the leader, which `perf` counts.
fn count_syncs(report: &mut Report, lab: &Lab) {
    let context = leader_context(lab);
    let pid = leader(lab).pid.expect("it runs").to_string();
    let seconds = (LENGTH.as_secs() + 4).to_string();
    let counting = Command::new("perf")
        .args(["stat", "-x", ",", "-e", "syscalls:sys_enter_fdatasync", "-p", &pid, "--", "sleep", &seconds])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("`perf` counts: it is Debian's package linux-perf");
    let found = commits(&context, SYNC_CLIENTS, LENGTH);
    let counted = counting.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&counted.stderr);
    let syncs = text.lines().find_map(|line| line.split(',').next()?.parse::<u64>().ok());
    let syncs = syncs.unwrap_or_else(|| panic!("`perf` counts: {text}"));
    report.add(
        format!("commits of {SYNC_CLIENTS} clients for each fdatasync of the leader"),
        format!("{:.1}", found.times.len() as f64 / syncs as f64),
        format!("{} commits, {syncs} syncs; bar 20", found.times.len()),
    );
}

/// The coordinator that leads.
pub(crate) fn leader(lab: &Lab) -> Part {
    let name = until("there is a leader", START_MAX, || {
        let output = lab.run(&["cluster", "status", "-o", "json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(status["leader"].as_str()?.to_owned())
    });
    lab.part(&name)
}

/// Waits until all three vote and have the same state.
pub(crate) fn wait_whole(lab: &Lab) {
    until("three coordinators have the same state", START_MAX, || {
        let output = lab.run(&["cluster", "status", "-o", "json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let members = status["members"].as_array()?;
        let hash = &members.first()?["hash"];
        let is_well =
            |it: &serde_json::Value| it["state"] == "alive" && it["role"] != "learner" && it["hash"] == *hash;
        (members.len() == 3 && members.iter().all(is_well)).then_some(())
    });
}

/// The lab's context with the leader alone.
pub(crate) fn leader_context(lab: &Lab) -> Context {
    wait_whole(lab);
    Context { endpoints: vec![leader(lab).address], ..commits::context(lab) }
}
