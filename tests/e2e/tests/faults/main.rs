//! Three real coordinators under real faults: kills, pauses, disks that fail or fill, and a network that cuts, loses, delays,
//! repeats and damages.
//!
//! Each case plays a deploy and clients of one value under one fault, heals, and asks from outside: is what clients saw what one
//! place could have shown, did the deploy end well in its first attempt with one start of each service, are all coordinators
//! the same, and did terms grow no more than elections were needed. A day draws some of the cases; `TRIMARAN_FULL=1` plays all,
//! `TRIMARAN_SEED=N` those of another day. Kills come at a moment of the run that follows from the seed.
#![allow(clippy::disallowed_methods, reason = "a test of processes starts processes and reads clocks")]

mod catching_up;
mod clients;
mod clocks;
mod disks;
mod history;
mod leaders;
mod requests;
mod stand;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::lab::is_alive;
use trimaran_e2e::network::Rule;
use trimaran_e2e::preload::DiskState;
use trimaran_e2e::web::{Shape, Web, stages, starts};
use trimaran_test_support::seed;
use trimaran_test_support::wait::until;

use clients::Clients;
use stand::{Setup, Stand, WAIT_MAX};

/// How long a fault lasts: longer than an election, a lost agent, and the deadline of a request.
const FAULT: Duration = Duration::from_secs(8);
/// The moment of a kill is within so much of the begin of a run, which takes about as long.
const MOMENT_MAX_MS: u64 = 5000;
/// A coordinator without space ends after so many changes of 128 KiB at the latest.
const LARGE_CHANGES_MAX: usize = 400;
/// How often the command that starts a run is killed, each time later.
const CLI_KILLS: u64 = 8;
const CLI_KILL_STEP: Duration = Duration::from_millis(25);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The leader, and whoever leads then, is killed and started again.
    LeadersKilled,
    FollowerKilled,
    AgentKilled,
    RunnerKilled,
    /// The command that starts the run, again and again under one request id.
    CliKilled,
    /// Stands still and goes on.
    LeaderStopped,
    FollowerStopped,
    AgentStopped,
    /// Nothing reaches it, and nothing of it reaches the others.
    LeaderIsolated,
    /// Receives everything; nothing of it reaches the others.
    LeaderMute,
    /// Receives nothing; everything of it reaches the others.
    LeaderDeaf,
    /// Nothing passes between the two; the third one reaches both.
    LeaderAndFollowerApart,
    FollowersApart,
    /// 30 % of all datagrams.
    Loss,
    /// Late, in another order, twice, damaged.
    Noise,
    /// No space is left on its disk.
    LeaderDiskFull,
    FollowerDiskFull,
    /// Writes to its disk end with an error of the device.
    LeaderWritesFail,
    FollowerWritesFail,
    /// Syncs do.
    LeaderSyncsFail,
    FollowerSyncsFail,
    /// Syncs take as long as the fault lasts.
    LeaderDiskHangs,
    FollowerDiskHangs,
}

const FAULTS: &[Fault] = &[
    Fault::LeadersKilled,
    Fault::FollowerKilled,
    Fault::AgentKilled,
    Fault::RunnerKilled,
    Fault::CliKilled,
    Fault::LeaderStopped,
    Fault::FollowerStopped,
    Fault::AgentStopped,
    Fault::LeaderIsolated,
    Fault::LeaderMute,
    Fault::LeaderDeaf,
    Fault::LeaderAndFollowerApart,
    Fault::FollowersApart,
    Fault::Loss,
    Fault::Noise,
    Fault::LeaderDiskFull,
    Fault::FollowerDiskFull,
    Fault::LeaderWritesFail,
    Fault::FollowerWritesFail,
    Fault::LeaderSyncsFail,
    Fault::FollowerSyncsFail,
    Fault::LeaderDiskHangs,
    Fault::FollowerDiskHangs,
];

impl Fault {
    /// Elections that it may cost at most: members that come back ask before they campaign.
    fn terms_max(self) -> u64 {
        match self {
            // Each of three kills is an election, and votes may be split.
            Self::LeadersKilled => 6,
            // Signs of the leader are late or lost, and so are votes.
            Self::Loss | Self::Noise => 8,
            Self::FollowerKilled
            | Self::AgentKilled
            | Self::RunnerKilled
            | Self::CliKilled
            | Self::LeaderStopped
            | Self::FollowerStopped
            | Self::AgentStopped
            | Self::LeaderIsolated
            | Self::LeaderMute
            | Self::LeaderDeaf
            | Self::LeaderAndFollowerApart
            | Self::FollowersApart
            | Self::LeaderDiskFull
            | Self::FollowerDiskFull
            | Self::LeaderWritesFail
            | Self::FollowerWritesFail
            | Self::LeaderSyncsFail
            | Self::FollowerSyncsFail
            | Self::LeaderDiskHangs
            | Self::FollowerDiskHangs => 2,
        }
    }

    fn setup(self) -> Setup {
        Setup { small_disks: matches!(self, Self::LeaderDiskFull | Self::FollowerDiskFull) }
    }

    /// When the kill comes, after the begin of the run.
    fn moment(self, seed: u64) -> Duration {
        let number = FAULTS.iter().position(|it| *it == self).expect("all are there") as u64;
        Duration::from_millis(seed::number(seed, number) % MOMENT_MAX_MS)
    }
}

/// One fault in progress.
struct Case<'a> {
    stand: &'a Stand,
    seed: u64,
    fault: Fault,
    leader: &'a str,
    /// Whether clients were answered since a moment. Under each fault a majority can work, so they have to be.
    progress: &'a dyn Fn(Instant) -> bool,
}

impl Case<'_> {
    /// Plays the fault until it is over and healed.
    fn play(&self) {
        let (stand, leader) = (self.stand, self.leader);
        let [one, other] = stand.followers(leader);
        match self.fault {
            Fault::LeadersKilled => self.kill_leaders(),
            Fault::FollowerKilled => self.kill(one, || stand.start(one)),
            Fault::AgentKilled => self.kill("lab", || stand.lab.start_part("lab")),
            Fault::RunnerKilled => self.kill("host-2", || stand.lab.start_part("host-2")),
            // It was killed while it started the run.
            Fault::CliKilled => self.during(),
            Fault::LeaderStopped => stand.stand_still(leader, || {
                self.wait_fault();
                stand.wait_agent_moves(leader);
                self.during();
            }),
            Fault::FollowerStopped => stand.stand_still(one, || self.wait_fault()),
            Fault::AgentStopped => stand.stand_still("lab", || self.wait_fault()),
            Fault::LeaderIsolated => self.cut_leader(|it| stand.network.set_both(leader, it, Rule::CUT)),
            Fault::LeaderMute => self.cut_leader(|it| stand.network.set(leader, it, Rule::CUT)),
            Fault::LeaderDeaf => self.cut_leader(|it| stand.network.set(it, leader, Rule::CUT)),
            Fault::LeaderAndFollowerApart => {
                stand.network.set_both(leader, one, Rule::CUT);
                self.wait_fault();
            }
            Fault::FollowersApart => {
                stand.network.set_both(one, other, Rule::CUT);
                self.wait_fault();
            }
            Fault::Loss => self.disturb(Rule { lost: 300, ..Rule::default() }),
            Fault::Noise => {
                let delay_max = Duration::from_millis(60);
                self.disturb(Rule { lost: 20, repeated: 100, damaged: 50, delay_max });
            }
            Fault::LeaderDiskFull => self.fill_disk(leader),
            Fault::FollowerDiskFull => self.fill_disk(one),
            Fault::LeaderWritesFail => self.fail_disk(leader, DiskState::FailsWrites),
            Fault::FollowerWritesFail => self.fail_disk(one, DiskState::FailsWrites),
            Fault::LeaderSyncsFail => self.fail_disk(leader, DiskState::FailsSyncs),
            Fault::FollowerSyncsFail => self.fail_disk(one, DiskState::FailsSyncs),
            Fault::LeaderDiskHangs => self.hang_disk(leader),
            Fault::FollowerDiskHangs => self.hang_disk(one),
        }
        stand.network.heal();
    }

    /// Waits until clients are answered during the fault.
    fn during(&self) {
        let since = Instant::now();
        until("clients are answered during the fault", WAIT_MAX, || (self.progress)(since).then_some(()));
    }

    /// As long as a fault lasts, and until clients are answered.
    fn wait_fault(&self) {
        std::thread::sleep(FAULT);
        self.during();
    }

    /// Any moment of the run is one at which a process may die.
    fn wait_moment(&self) {
        let moment = self.fault.moment(self.seed);
        eprintln!("fault {:?}: after {moment:?}", self.fault);
        std::thread::sleep(moment);
    }

    fn kill(&self, name: &str, start: impl Fn()) {
        self.wait_moment();
        self.stand.lab.kill(name);
        self.during();
        start();
    }

    /// Whoever leads, three times.
    fn kill_leaders(&self) {
        for _ in 0..3 {
            let leader = self.stand.leader();
            self.kill(&leader, || self.stand.start(&leader));
            self.stand.wait_whole();
        }
    }

    /// Cuts the leader off from each of the others in some way.
    fn cut_leader(&self, cut: impl Fn(&str)) {
        self.stand.followers(self.leader).into_iter().for_each(cut);
        self.stand.wait_agent_moves(self.leader);
        self.wait_fault();
    }

    fn disturb(&self, rule: Rule) {
        let names = &self.stand.names;
        for from in names {
            for to in names.iter().filter(|to| *to != from) {
                self.stand.network.set(from, to, rule);
            }
        }
        self.wait_fault();
    }

    /// With little space one that leads gives that away and says so; without any it ends with what to do, and doing that brings it
    /// back.
    fn fill_disk(&self, name: &str) {
        let stand = self.stand;
        stand.shrink_disk(name);
        until("its disk alarms", WAIT_MAX, || {
            let alarms = stand.alarms("disk_low")?;
            (alarms.len() == 1 && alarms[0].contains(&format!("`{name}`"))).then_some(())
        });
        stand.wait_leads_another(name);
        self.during();
        stand.fill_disk(name);
        self.during();
        // The log has some space that was reserved for it.
        for number in 0.. {
            if !is_alive(stand.pid(name)) {
                break;
            }
            assert!(number < LARGE_CHANGES_MAX, "{name} goes on without space");
            catching_up::write_document(&stand.lab, number);
        }
        let log = stand.log(name);
        let words = "the disk is full; free at least 1 GiB (the ballast file may be removed) and start again";
        assert!(log.contains(words), "{log}");
        self.during();
        let part = stand.lab.part(name);
        let freed = std::process::Command::new(&part.argv[0])
            .args(["free-ballast", "--data-dir"])
            .arg(&part.data_dir)
            .output()
            .expect("it runs");
        assert_eq!(String::from_utf8_lossy(&freed.stdout), "256 MiB freed\n");
        stand.start(name);
        stand.wait_whole();
        stand.empty_disk(name);
    }

    /// One that leads hands over, since it can answer no one; it works on when its disk does.
    fn hang_disk(&self, name: &str) {
        self.stand.disk(name).set(DiskState::Hangs);
        self.during();
        self.stand.wait_leads_another(name);
        self.wait_fault();
        self.stand.disk(name).set(DiskState::Works);
    }

    /// An error of the device ends the process: what the kernel dropped must not be written a second time and pass for stored.
    fn fail_disk(&self, name: &str, state: DiskState) {
        let stand = self.stand;
        stand.disk(name).set(state);
        stand.wait_ends(name);
        let log = stand.log(name);
        assert!(log.contains("a write failed") && log.contains("Input/output error"), "{log}");
        self.during();
        stand.disk(name).set(DiskState::Works);
        stand.start(name);
    }
}

/// Starts the run. A command that is killed before it was answered is given again, and starts no second run.
fn deploy(stand: &Stand, web: &Web, fault: Fault, seed: u64) -> String {
    if fault != Fault::CliKilled {
        return web.deploy(&stand.lab, "v2");
    }
    let id = uuid::Uuid::now_v7().to_string();
    let artifact = web.artifact("v2");
    let words = ["deploy", "-f", web.file(), "--artifact", &artifact, "--request-id", &id, "--wait"];
    for number in 0..CLI_KILLS {
        let jitter = seed::number(seed, number) % CLI_KILL_STEP.as_millis() as u64;
        let mut cli = stand.lab.start_cli(&words);
        std::thread::sleep(
            CLI_KILL_STEP * u32::try_from(number).expect("few") + Duration::from_millis(jitter),
        );
        cli.kill().expect("a child");
        cli.wait().expect("a child");
    }
    let run = web.deploy_by(&stand.lab, "v2", &["--request-id", &id]);
    let runs = stand.lab.json(&["run", "list"]);
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(2), "{runs:#}");
    run
}

fn play(fault: Fault, seed: u64) {
    eprintln!("fault {fault:?}");
    let stand = Stand::new(seed, fault.setup());
    let lab = &stand.lab;
    let web = Web::new(lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(lab, "v1", "succeeded");
    let clients = Clients::default();
    let leader = stand.lead_where_the_agent_is();
    let before = stand.wait_whole();
    let addresses: Vec<String> = stand.names.iter().map(|name| lab.part(name).address).collect();
    let shown = std::thread::scope(|scope| {
        let clients = &clients;
        let first = scope.spawn(move || clients.write(lab, 1));
        until("the first write is answered", WAIT_MAX, || {
            (first.is_finished() || !clients.history().is_empty()).then_some(())
        });
        scope.spawn(move || clients.write(lab, 2));
        for address in &addresses {
            scope.spawn(move || clients.read(lab, address));
        }
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let run = deploy(&stand, &web, fault, seed);
            let progress = |since| clients.writes_since(since) > 3;
            Case { stand: &stand, seed, fault, leader: &leader, progress: &progress }.play();
            let healed = Instant::now();
            let shown = stand.wait_finished(&run);
            until("clients are answered afterwards", WAIT_MAX, || progress(healed).then_some(()));
            shown
        }));
        clients.stop();
        played.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert_eq!(shown["status"], "succeeded", "{fault:?}: {shown:#}");
    assert!(stages(&shown).all(|stage| stage["attempt"] == 1), "{fault:?}: {shown:#}");
    let mut started: BTreeMap<String, usize> = BTreeMap::new();
    for start in starts(lab).into_iter().filter(|start| start.version == "v2") {
        *started.entry(start.host).or_default() += 1;
    }
    assert!(started.len() == 3 && started.values().all(|count| *count == 1), "{fault:?}: {started:?}");
    let history = clients.history();
    assert_eq!(history::contradiction(&history), None, "{fault:?}");
    let after = stand.wait_whole();
    let term = |status: &Value| status["term"].as_u64().expect("a number");
    let terms = term(&after) - term(&before);
    eprintln!("fault {fault:?}: {} operations, {terms} terms", history.len());
    assert!(terms <= fault.terms_max(), "{fault:?}: {terms} elections: {after:#}");
}

#[test]
fn under_faults_nothing_is_lost_or_done_twice() {
    // One after the other: each wants the machine for itself.
    let seed = seed::of_day();
    for fault in seed::drawn(&seed::named(FAULTS, |it| format!("{it:?}")), 2, 0) {
        play(fault, seed);
    }
}

/// Plays one promise from a seed.
type Promise = fn(u64);

/// What the promises of three coordinators say, each seen from outside.
const PROMISES: &[(&str, Promise)] = &[
    ("leader_killed_at_any_moment", leaders::killed_at_any_moment),
    ("clock_ten_years_ahead", clocks::ten_years_ahead),
    ("certificates_that_expired", clocks::certificates_that_expired),
    ("one_run_for_one_request", requests::one_run_for_one_request),
    ("old_addresses", requests::old_addresses),
    ("two_disks_before_an_answer", disks::two_have_it_before_it_is_answered),
    ("flipped_byte", disks::a_flipped_byte),
    ("much_log_without_an_election", catching_up::much_log_without_an_election),
    ("receiver_of_a_snapshot_killed", catching_up::receiver_killed),
    ("receivers_disk_fills", catching_up::receivers_disk_fills),
];

#[test]
fn what_three_coordinators_promise_is_seen_from_outside() {
    let seed = seed::of_day();
    for (name, play) in seed::drawn(&seed::named(PROMISES, |it| it.0.to_owned()), 1, 1) {
        eprintln!("promise {name}");
        let began = Instant::now();
        play(seed);
        eprintln!("promise {name}: {:?}", began.elapsed());
    }
}
