//! The leader is killed at any moment of a run: who watches it there misses nothing, its agent works on, and nothing is done twice.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web, stages, starts};
use trimaran_test_support::seed;
use trimaran_test_support::wait::until;

use crate::stand::{Setup, Stand};

/// Moments of a run at which its leader dies; a day draws some of them.
const MOMENTS: u32 = 20;
const MOMENTS_A_DAY: usize = 2;
/// The next event, when there is one, is shown by then.
const GOES_ON: Duration = Duration::from_secs(2);
/// The agent of a killed coordinator works with another one by then.
const AGENT_MOVES: Duration = Duration::from_secs(5);
const RUN_MAX: Duration = Duration::from_secs(120);

/// `trimaran watch RUN -o jsonl` with the moment of each line.
struct Watch {
    child: Child,
    lines: JoinHandle<Vec<(Instant, Value)>>,
}

impl Watch {
    /// Of these coordinators the first one that answers is asked.
    fn start(lab: &Lab, endpoints: &[&str], run: &str, since: u64) -> Self {
        let since = since.to_string();
        let named = endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]);
        let words: Vec<&str> =
            named.chain(["watch", run, "-o", "jsonl", "--since-revision", &since]).collect();
        let mut child = lab.start_cli(&words);
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let read = move || {
            let lines = output.lines().map_while(Result::ok);
            lines.map(|line| (Instant::now(), serde_json::from_str(&line).expect("JSON"))).collect()
        };
        Self { child, lines: std::thread::spawn(read) }
    }

    /// What it printed until its run ended well.
    fn ended(mut self) -> Vec<(Instant, Value)> {
        let status = until("the watch ends", RUN_MAX, || self.child.try_wait().expect("a child"));
        assert!(status.success(), "the outcome is the true one: {status}");
        self.lines.join().expect("it reads lines")
    }
}

/// Positions of events in the order in which they were shown; live progress has none.
fn positions(events: &[(Instant, Value)]) -> Vec<(u64, u64)> {
    let one = |text: &str| {
        let (revision, number) = text.split_once('.').expect("R.N");
        (revision.parse().expect("a number"), number.parse().expect("a number"))
    };
    events.iter().filter_map(|(_, event)| event["position"].as_str().map(one)).collect()
}

/// When each event was shown.
fn moments(events: &[(Instant, Value)]) -> BTreeMap<&str, Instant> {
    events.iter().filter_map(|(at, event)| Some((event["position"].as_str()?, *at))).collect()
}

pub(crate) fn killed_at_any_moment(seed: u64) {
    let stand = Stand::new(seed, Setup::default());
    let web = Web::new(&stand.lab, Shape::default(), &[("v1", "good")]);
    let began = Instant::now();
    web.deploy_until(&stand.lab, "v1", "succeeded");
    let length = began.elapsed();
    let all: Vec<u32> = (0..MOMENTS).collect();
    for number in seed::drawn(&all, MOMENTS_A_DAY, 7) {
        let part = length / MOMENTS;
        let jitter = seed::number(seed, number.into()) % part.as_millis() as u64;
        kill_at(&stand, &web, number, part * number + Duration::from_millis(jitter));
    }
}

fn kill_at(stand: &Stand, web: &Web, number: u32, moment: Duration) {
    eprintln!("the leader is killed {moment:?} after the begin of a run");
    let lab = &stand.lab;
    let version = format!("k{number}");
    web.pack(&version, "good");
    let leader = stand.lead_where_the_agent_is();
    let since = stand.wait_whole()["revision"].as_u64().expect("a number");
    let address = |name: &str| lab.part(name).address;
    let [one, other] = stand.followers(&leader).map(address);
    let began = Instant::now();
    let run = web.deploy(lab, &version);
    let there = Watch::start(lab, &[&address(&leader), &one, &other], &run, since);
    let witness = Watch::start(lab, &[&one], &run, since);
    std::thread::sleep(moment.saturating_sub(began.elapsed()));
    lab.kill(&leader);
    let killed = Instant::now();
    until("the agent works with another one", AGENT_MOVES, || {
        (stand.agents_coordinator() != leader).then_some(())
    });
    let (seen, witnessed) = (there.ended(), witness.ended());

    let shown = stand.wait_finished(&run);
    assert_eq!(shown["status"], "succeeded", "{moment:?}: {shown:#}");
    assert!(stages(&shown).all(|stage| stage["attempt"] == 1), "{moment:?}: {shown:#}");
    let mut started: BTreeMap<String, usize> = BTreeMap::new();
    for start in starts(lab).into_iter().filter(|start| start.version == version) {
        *started.entry(start.host).or_default() += 1;
    }
    assert!(started.len() == 3 && started.values().all(|count| *count == 1), "{moment:?}: {started:?}");

    // Nothing is missing, and nothing comes twice.
    let afterwards = Watch::start(lab, &[&other], &run, since).ended();
    let stored = positions(&afterwards);
    assert!(stored.windows(2).all(|pair| pair[0] < pair[1]), "{stored:?}");
    for (who, events) in [("at the killed one", &seen), ("at another one", &witnessed)] {
        assert_eq!(positions(events), stored, "{moment:?}: what was seen {who}");
        let lost = events.iter().find(|(_, event)| event["status"] == "lost");
        assert!(lost.is_none(), "{moment:?}: no stage is lost: {lost:?}");
        let last = &events.last().expect("there are events").1;
        assert_eq!((&last["event"], &last["status"]), (&"run".into(), &"succeeded".into()), "{last:#}");
    }
    let witnessed = moments(&witnessed);
    let late = moments(&seen).into_iter().map(|(position, at)| {
        let known = witnessed[position].max(killed);
        at.saturating_duration_since(known)
    });
    let late = late.max().expect("there are events");
    eprintln!("the watch at the killed one was {late:?} behind at most");
    assert!(late <= GOES_ON, "{moment:?}: {late:?}");
    stand.start(&leader);
    stand.wait_whole();
}
