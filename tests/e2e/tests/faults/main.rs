//! Three real coordinators under real faults: kills, pauses, and a network that cuts, loses, delays, repeats and damages.
//!
//! Each case plays a deploy and clients of one value under one fault, heals, and asks from outside: is what clients saw what one
//! place could have shown, did the deploy end well in its first attempt with one start of each service, are all coordinators
//! the same, and did terms grow no more than elections were needed. A day draws some of the cases; `TRIMARAN_FULL=1` plays all,
//! `TRIMARAN_SEED=N` those of another day.
#![allow(clippy::disallowed_methods, reason = "a test of processes starts processes and reads clocks")]

mod clients;
mod history;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::lab::{Lab, signal};
use trimaran_e2e::network::{Network, Rule};
use trimaran_e2e::web::{Shape, Web, stages, starts};
use trimaran_test_support::seed;
use trimaran_test_support::wait::until;

use clients::Clients;

const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a fault lasts: longer than an election, a lost agent, and the deadline of a request.
const FAULT: Duration = Duration::from_secs(8);

/// An agent at a coordinator that is cut off works with another one after this time at the latest.
const AGENT_MOVES: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The leader, and whoever leads then, is killed and started again.
    LeadersKilled,
    FollowerKilled,
    AgentKilled,
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
}

const FAULTS: &[Fault] = &[
    Fault::LeadersKilled,
    Fault::FollowerKilled,
    Fault::AgentKilled,
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
            | Self::LeaderStopped
            | Self::FollowerStopped
            | Self::AgentStopped
            | Self::LeaderIsolated
            | Self::LeaderMute
            | Self::LeaderDeaf
            | Self::LeaderAndFollowerApart
            | Self::FollowersApart => 2,
        }
    }
}

/// A lab whose coordinators reach each other by a network that can be disturbed.
struct Stand {
    lab: Lab,
    network: Network,
    names: Vec<String>,
}

impl Stand {
    fn new(seed: u64) -> Self {
        let lab = Lab::fresh_with(3, 3);
        let parts = lab.parts().into_iter().filter(|part| part.role == "coordinator");
        let coordinators: Vec<_> =
            parts.map(|part| (part.name, part.address.parse().expect("an address"))).collect();
        let network = Network::between(&coordinators, seed);
        let names: Vec<String> = coordinators.into_iter().map(|(name, _)| name).collect();
        let stand = Self { lab, network, names };
        for name in &stand.names {
            stand.wait_whole();
            stand.lab.kill(name);
            stand.start(name);
            let front = stand.network.front(name).to_string();
            until("the others know its new address", WAIT_MAX, || {
                let status = stand.status()?;
                let mut members = status["members"].as_array()?.iter();
                members.any(|it| it["address"] == front.as_str()).then_some(())
            });
        }
        stand
    }

    fn start(&self, name: &str) {
        let front = self.network.front(name).to_string();
        self.lab.start_part_with(name, &["--advertise", &front]);
    }

    /// `cluster status`, once it can be had.
    fn status(&self) -> Option<Value> {
        let output = self.lab.run(&["cluster", "status", "-o", "json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    fn leader(&self) -> String {
        until("there is a leader", WAIT_MAX, || Some(self.status()?["leader"].as_str()?.to_owned()))
    }

    /// Waits until every member says that it is well, and all of them have the same state.
    fn wait_whole(&self) -> Value {
        until("all three are at the same state", WAIT_MAX, || {
            let status = self.status()?;
            status["leader"].as_str()?;
            let members = status["members"].as_array()?;
            let first = &members.first()?["hash"];
            let is_well =
                |it: &Value| it["state"] == "alive" && it["hash"] == *first && it["role"] != "learner";
            (members.len() == 3 && members.iter().all(is_well)).then(|| status.clone())
        })
    }

    /// As [`Lab::wait_finished`], also while the CLI reaches no one.
    fn wait_finished(&self, run: &str) -> Value {
        until("the run is finished", Duration::from_secs(120), || {
            let output = self.lab.run(&["run", "show", run, "-o", "json"]);
            let shown: Value = serde_json::from_slice(&output.stdout).ok()?;
            (!shown["finished_at"].is_null()).then_some(shown)
        })
    }

    /// The coordinator that the agent has a session with, as the agent's log says.
    fn agents_coordinator(&self) -> String {
        until("the agent is connected", WAIT_MAX, || {
            let log = std::fs::read_to_string(self.lab.part("lab").data_dir.join("log")).ok()?;
            let line = log.lines().rfind(|line| line.contains("connected to a coordinator"))?;
            let name = self.names.iter().find(|name| line.contains(&self.lab.part(name).address))?;
            Some(name.clone())
        })
    }

    /// Waits until the agent works with another coordinator than one that is of no use to it.
    fn wait_agent_moves(&self, from: &str) {
        until("the agent goes to another coordinator", AGENT_MOVES, || {
            (self.agents_coordinator() != from).then_some(())
        });
    }

    /// Makes the coordinator lead that the agent has its session with, so that a fault of the leader is one of the agent's too.
    fn lead_where_the_agent_is(&self) -> String {
        until("the agent's coordinator leads", WAIT_MAX, || {
            let name = self.agents_coordinator();
            if self.leader() != name {
                self.lab.run(&["cluster", "transfer", &name]);
            }
            (self.leader() == name).then_some(name)
        })
    }

    fn pid(&self, name: &str) -> u32 {
        self.lab.part(name).pid.expect("it runs")
    }

    fn followers(&self, leader: &str) -> [&str; 2] {
        let others: Vec<&str> =
            self.names.iter().map(String::as_str).filter(|name| *name != leader).collect();
        others.try_into().expect("there are three")
    }

    /// Plays a fault until it is over and healed. Under each of them a majority can work, so clients have to be answered:
    /// `progress` says whether they were since a moment.
    fn play(&self, fault: Fault, leader: &str, progress: impl Fn(Instant) -> bool) {
        let [one, other] = self.followers(leader);
        let during = || {
            let since = Instant::now();
            until("clients are answered during the fault", WAIT_MAX, || progress(since).then_some(()));
        };
        match fault {
            Fault::LeadersKilled => {
                for _ in 0..3 {
                    let leader = self.leader();
                    self.lab.kill(&leader);
                    during();
                    self.start(&leader);
                    self.wait_whole();
                }
            }
            Fault::FollowerKilled => {
                self.lab.kill(one);
                during();
                self.start(one);
            }
            Fault::AgentKilled => {
                self.lab.kill("lab");
                during();
                self.lab.start_part("lab");
            }
            Fault::LeaderStopped => self.stand_still(leader, || {
                self.wait_agent_moves(leader);
                during();
            }),
            Fault::FollowerStopped => self.stand_still(one, during),
            Fault::AgentStopped => self.stand_still("lab", during),
            Fault::LeaderIsolated => {
                self.network.set_both(leader, one, Rule::CUT);
                self.network.set_both(leader, other, Rule::CUT);
                self.wait_agent_moves(leader);
                self.wait_fault(during);
            }
            Fault::LeaderMute => {
                self.network.set(leader, one, Rule::CUT);
                self.network.set(leader, other, Rule::CUT);
                self.wait_agent_moves(leader);
                self.wait_fault(during);
            }
            Fault::LeaderDeaf => {
                self.network.set(one, leader, Rule::CUT);
                self.network.set(other, leader, Rule::CUT);
                self.wait_agent_moves(leader);
                self.wait_fault(during);
            }
            Fault::LeaderAndFollowerApart => {
                self.network.set_both(leader, one, Rule::CUT);
                self.wait_fault(during);
            }
            Fault::FollowersApart => {
                self.network.set_both(one, other, Rule::CUT);
                self.wait_fault(during);
            }
            Fault::Loss => self.disturb(Rule { lost: 300, ..Rule::default() }, during),
            Fault::Noise => {
                let delay_max = Duration::from_millis(60);
                self.disturb(Rule { lost: 20, repeated: 100, damaged: 50, delay_max }, during);
            }
        }
        self.network.heal();
    }

    fn stand_still(&self, name: &str, during: impl Fn()) {
        let pid = self.pid(name);
        signal(pid, "STOP");
        self.wait_fault(during);
        signal(pid, "CONT");
    }

    fn disturb(&self, rule: Rule, during: impl Fn()) {
        for from in &self.names {
            for to in self.names.iter().filter(|to| *to != from) {
                self.network.set(from, to, rule);
            }
        }
        self.wait_fault(during);
    }

    /// As long as a fault lasts, and until clients are answered.
    fn wait_fault(&self, during: impl Fn()) {
        std::thread::sleep(FAULT);
        during();
    }
}

fn play(fault: Fault, seed: u64) {
    eprintln!("fault {fault:?}");
    let stand = Stand::new(seed);
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
            let run = web.deploy(lab, "v2");
            let progress = |since| clients.writes_since(since) > 3;
            stand.play(fault, &leader, progress);
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
    for fault in seed::drawn(FAULTS, 3, 0) {
        play(fault, seed);
    }
}
