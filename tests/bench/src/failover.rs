//! How long nothing is accepted when the leader dies or hands over: an ordinary client writes without a pause, to three
//! coordinators by the command line's own library, and to three members of etcd by etcd's.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use trimaran_client::client::Client;
use trimaran_e2e::lab::Lab;
use trimaran_test_env::etcd::EtcdCluster;
use trimaran_test_support::wait::until;

use crate::commits::{self, commit};
use crate::report::{Report, ends, percentile, time};
use crate::three_coordinators::{leader, wait_whole};

const KILLS: usize = 20;
const TRANSFERS: usize = 20;
/// Writes are accepted for so long before the leader is lost: who was lost before has caught up then.
const CALM: Duration = Duration::from_secs(2);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// When writes were accepted, as their client saw it.
#[derive(Clone, Default)]
struct Accepted(Arc<Mutex<Vec<Instant>>>);

impl Accepted {
    fn add(&self) {
        self.0.lock().expect("no panic while the lock is held").push(Instant::now());
    }

    /// The longest time between two accepted writes since `begin`, once writes go on for a moment after it.
    fn gap_since(&self, begin: Instant) -> Duration {
        until("writes go on", WAIT_MAX, || {
            let times = self.0.lock().expect("no panic while the lock is held");
            let before = times.iter().rev().find(|at| **at < begin).copied()?;
            let after: Vec<Instant> = times.iter().filter(|at| **at >= begin).copied().collect();
            let begins = std::iter::once(before).chain(after.iter().copied());
            let longest = begins.zip(&after).map(|(one, next)| *next - one).max()?;
            // Two seconds of writes without another such gap: it is over.
            (after.last()?.duration_since(begin) > longest + CALM).then_some(longest)
        })
    }
}

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh_with(3, 1);
    wait_whole(&lab);
    let accepted = Accepted::default();
    let stop = Arc::new(AtomicBool::new(false));
    let (client, seen, stopping) = (commits::client(&lab), accepted.clone(), stop.clone());
    let writer = std::thread::spawn(move || write(&client, &seen, &stopping));
    std::thread::sleep(CALM);
    let ours = measure("leaders killed", KILLS, || {
        let dead = leader(&lab).name;
        let begin = Instant::now();
        lab.kill(&dead);
        let gap = accepted.gap_since(begin);
        lab.start_part(&dead);
        wait_whole(&lab);
        gap
    });
    let transfers = measure("leaderships handed over", TRANSFERS, || {
        let from = leader(&lab).name;
        let to = ["c1", "c2", "c3"].into_iter().find(|name| *name != from).expect("there are three");
        let begin = Instant::now();
        lab.ok(&["cluster", "transfer", to]);
        accepted.gap_since(begin)
    });
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the client writes to its end");
    let theirs = of_etcd(&lab);
    report.add(
        "three coordinators without their leader: the time without an accepted write",
        time(percentile(&ours, 50)),
        format!(
            "p50 of {KILLS} kills, {}; bar 1.3 s; etcd's with its own client: p50 {}, {}",
            ends(&ours),
            time(percentile(&theirs, 50)),
            ends(&theirs)
        ),
    );
    report.add(
        "leadership handed over by command: the time without an accepted write",
        time(percentile(&transfers, 50)),
        format!("p50 of {TRANSFERS}, {}; bar 100 ms", ends(&transfers)),
    );
}

/// Times of so many events, sorted. Each takes some ten seconds with the calm around it, so it is said how far it is.
fn measure(what: &str, count: usize, mut event: impl FnMut() -> Duration) -> Vec<Duration> {
    let mut times: Vec<Duration> = (1..=count)
        .map(|number| {
            std::thread::sleep(CALM);
            let gap = event();
            eprintln!("  {number} of {count} {what}: nothing was accepted for {}", time(gap));
            gap
        })
        .collect();
    times.sort_unstable();
    times
}

/// Writes one after the other until it is asked to stop.
fn write(client: &Client, accepted: &Accepted, stop: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            commit(client, 0, number).await;
            accepted.add();
        }
    });
}

fn of_etcd(lab: &Lab) -> Vec<Duration> {
    let mut etcd = EtcdCluster::start(lab.folder.path());
    let accepted = Accepted::default();
    // Its library says of each lost attempt that it was lost.
    let mut writer = etcd.writes();
    let mut writer = writer.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the client runs");
    let lines = BufReader::new(writer.stdout.take().expect("it is piped")).lines();
    let seen = accepted.clone();
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).for_each(|_| seen.add()));
    std::thread::sleep(CALM);
    let times = measure("leaders of etcd killed", KILLS, || {
        let dead = etcd.leader();
        let begin = Instant::now();
        etcd.kill(dead);
        let gap = accepted.gap_since(begin);
        etcd.restart(dead);
        gap
    });
    writer.kill().expect("a child");
    writer.wait().expect("a child");
    reader.join().expect("it reads to the end");
    times
}
