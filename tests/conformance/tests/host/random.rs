//! Random goals, crashes, lost answers and failing services, from a seed.
//!
//! A failure prints its seed; `SEED=N cargo test -p trimaran-conformance random` plays it alone.
#![allow(clippy::disallowed_methods, reason = "the seed of a replay comes from the environment")]

use trimaran_conformance::disk::Loss;
use trimaran_conformance::host::{Behaviour, Died, Fate, ModelHost};
use trimaran_host_core::host::Exit;
use trimaran_model::assignment::{HostAction, HostGoal, HostState};
use trimaran_model::limits::HOST_INSPECT_RETRY_DELAY;
use trimaran_model::time::Millis;

use crate::goals::{apply, digest, goal, prepare, restore};

const SEEDS: u64 = 500;
const GOALS: u64 = 8;

/// SplitMix64 (Steele, Lea, Flood 2014): enough for choices, and the same everywhere.
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn behaviour(choices: &mut Choices) -> Behaviour {
    match choices.below(9) {
        0 => Behaviour::Sick,
        1 => Behaviour::HealthyUntil(choices.below(6000)),
        2 => Behaviour::Exits { after: choices.below(5000), code: 1 },
        3 => Behaviour::NotStartable,
        4 => Behaviour::Flaps(choices.below(1500) + 200),
        _ => Behaviour::Healthy { after: choices.below(3000) },
    }
}

fn any_goal(choices: &mut Choices, fence: u64) -> HostGoal {
    let n = u8::try_from(choices.below(4)).expect("below 4") + 1;
    match choices.below(11) {
        0..=4 => apply(fence, n),
        5 | 6 => restore(fence, n),
        7 => prepare(fence, n),
        8 => goal(fence, HostAction::Stop { only: digest(n) }),
        9 => goal(fence, HostAction::Restart),
        _ => goal(fence, HostAction::Verify),
    }
}

/// More answers of one inspection are not lost in a row.
const LOST_INSPECTIONS_MAX: usize = 5;

struct Play {
    host: ModelHost,
    choices: Choices,
    log: Vec<String>,
}

impl Play {
    /// Some of what may go wrong before the next goal.
    fn disturb(&mut self) {
        if self.choices.below(2) == 0 {
            let call = self.host.calls + 1 + self.choices.below(20);
            let fate = match self.choices.below(3) {
                0 => Fate::Dropped,
                1 => Fate::Delayed(self.choices.below(5000)),
                _ => Fate::Repeated(self.choices.below(5000)),
            };
            self.log.push(format!("call {call} is {fate:?}"));
            self.host.fates.insert(call, fate);
        }
        if self.choices.below(2) == 0 {
            let operation = 1 + self.choices.below(150);
            self.log.push(format!("dies in {operation} operations"));
            self.host.disk.crash_at(Some(operation));
        }
        self.host.served = self.choices.below(5) != 0;
        self.host.foreign_port = self.choices.below(10) == 0;
    }

    /// Sends the goal, lets some time pass, and perhaps comes back from a crash.
    fn play_goal(&mut self, goal: &HostGoal, wait: bool) {
        self.log.push(format!("{:?} fence {}", goal.action_name(), goal.fence));
        let length = Millis(self.choices.below(8000));
        let mut ended = Ok(());
        if self.choices.below(8) == 0 {
            self.log.push("a user restarts the service before it".to_owned());
            ended = self.host.restart_by_hand().map(drop);
        }
        ended = ended.and_then(|()| self.host.order(goal)).and_then(|()| self.host.run_for(length));
        for _ in 0..3 {
            if ended.is_ok() && wait {
                ended = self.host.settle().map(drop);
            }
            match ended {
                Ok(()) => return,
                Err(Died) => {
                    let loss = match self.choices.below(3) {
                        0 => Loss::Nothing,
                        _ => Loss::Unsynced(self.choices.next().to_le_bytes()[0]),
                    };
                    self.log.push(format!("crash with {loss:?}"));
                    self.host.crash(loss);
                    ended = self.host.open(goal);
                }
            }
        }
        panic!("it dies again and again");
    }

    /// When nothing is in its way any more, the next order arrives.
    fn heal(&mut self) {
        self.host.fates.clear();
        (self.host.served, self.host.foreign_port) = (true, false);
        self.host.behave(digest(2), Behaviour::Healthy { after: 100 });
        self.host.order(&apply(GOALS + 10, 2)).expect("nothing kills it any more");
        let report = self.host.settle().expect("nothing kills it any more");
        assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(2))), "{report:?}");
        assert_eq!(self.host.running(), [digest(2)]);
    }

    /// In the end there is one truth, whatever happened before.
    fn check(&mut self) {
        self.host.disk.crash_at(None);
        let mut report = self.host.settle().expect("nothing kills it any more");
        // An inspection whose answer was lost is repeated; until then the report is of what was known before.
        for _ in 0..LOST_INSPECTIONS_MAX {
            if !self.host.is_inspected() {
                self.host
                    .run_for(Millis(HOST_INSPECT_RETRY_DELAY.0 + 100))
                    .expect("nothing kills it any more");
                report = self.host.settle().expect("nothing kills it any more");
            }
        }
        let running = self.host.running();
        assert!(running.len() <= 1, "two run: {report:?}");
        assert_eq!(self.host.leftovers(), Vec::<String>::new());
        match report.state {
            HostState::Healthy | HostState::Reverted | HostState::Degraded => {
                if let Some(one) = running.first() {
                    assert_eq!(report.current, Some(*one), "what runs is current");
                    assert_eq!(self.host.current(), Some(*one));
                }
            }
            HostState::Stopped | HostState::Empty => assert!(running.is_empty(), "{report:?}"),
            HostState::Prepared | HostState::Refused | HostState::Broken => {}
            HostState::Preparing | HostState::Updating => panic!("not at an end: {report:?}"),
        }
        if report.state == HostState::Healthy || report.state == HostState::Reverted {
            assert_eq!(running.len(), 1, "{report:?}");
        }
        let mut launches: Vec<u64> = self.host.starts.iter().map(|(launch, _)| *launch).collect();
        launches.dedup();
        assert_eq!(launches.len(), self.host.starts.len(), "a launch was made twice");
    }
}

trait ActionName {
    fn action_name(&self) -> String;
}

impl ActionName for HostGoal {
    fn action_name(&self) -> String {
        let digest = |it: &trimaran_model::assignment::HostOrder| it.release.version.clone();
        match &self.action {
            HostAction::Prepare(order) => format!("prepare {}", digest(order)),
            HostAction::Apply(order) => format!("apply {}", digest(order)),
            HostAction::Restore(order) => format!("restore {}", digest(order)),
            HostAction::Stop { only } => format!("stop {}", only.short()),
            HostAction::Verify => "verify".to_owned(),
            HostAction::Restart => "restart".to_owned(),
        }
    }
}

fn play(seed: u64, log: &mut Vec<String>) {
    let mut it = Play { host: ModelHost::new(), choices: Choices(seed), log: Vec::new() };
    for n in 1..=4 {
        let behaviour = if n == 1 { Behaviour::Healthy { after: 100 } } else { behaviour(&mut it.choices) };
        it.log.push(format!("v{n} is {behaviour:?}"));
        it.host.behave(digest(n), behaviour);
    }
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        it.host.open(&apply(1, 1)).expect("nothing kills it yet");
        it.host.settle().expect("nothing kills it yet");
        for fence in 2..GOALS + 2 {
            it.disturb();
            if it.choices.below(6) == 0 {
                it.log.push("the service is killed".to_owned());
                it.host.kill_service(Exit::signal(9));
            }
            let goal = any_goal(&mut it.choices, fence);
            let wait = it.choices.below(3) != 0;
            it.play_goal(&goal, wait);
            if wait {
                it.check();
            }
        }
        it.host.disk.crash_at(None);
        it.check();
        it.heal();
    }));
    log.clone_from(&it.log);
    if let Err(panic) = outcome {
        eprintln!(
            "SEED={seed}\n{}\n{:?}",
            log.join("\n"),
            it.host.reports.iter().rev().take(5).collect::<Vec<_>>()
        );
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn whatever_happens_there_is_one_truth_in_the_end() {
    let mut log = Vec::new();
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        return play(seed, &mut log);
    }
    for seed in 0..SEEDS {
        play(seed, &mut log);
    }
}

#[test]
fn the_same_seed_is_the_same_play() {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    play(7, &mut first);
    play(7, &mut second);
    assert_eq!(first, second);
}
