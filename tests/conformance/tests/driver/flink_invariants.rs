//! Random orders for one job, with crashes, lost answers and a JobManager that dies, from a seed: the invariants of the
//! machine hold at every call and every commit.
//!
//! A failure prints its seed; `SEED=N cargo test -p trimaran-conformance flink_invariants` plays it alone.
#![allow(clippy::disallowed_methods, reason = "the seed of a replay comes from the environment")]

use std::collections::{BTreeSet, VecDeque};

use trimaran_agent_core::driver::{CallId, Driver as _, Effect, EffectOf, Found, Input, Journaled as _};
use trimaran_conformance::driver::flink::{NEW, OLD, THIRD, digest, names_of, order, release};
use trimaran_conformance::flink::{Behaviour, ModelJobManager, Setup, Version};
use trimaran_flink_core::call::{Call, Reply};
use trimaran_flink_core::id::FlinkId;
use trimaran_flink_core::journal::ledger_from_bytes;
use trimaran_flink_core::ledger::{JobRecord, Ledger, Start, StateKind, StateRef};
use trimaran_flink_core::machine::{Flink, Phase};
use trimaran_model::action::{Action, Commit, Outcome};
use trimaran_model::assignment::Assignment;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::ReleaseWorkload;
use trimaran_model::time::{Millis, Timestamp};

const SEEDS: u64 = 400;
const ORDERS: u64 = 6;
/// An order that has not ended by then never ends.
const STEPS_MAX: u32 = 20_000;

/// SplitMix64 (Steele, Lea, Flood 2014): enough for choices, and the same everywhere.
struct Choices(u64);

impl Choices {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

fn behaviour(choices: &mut Choices) -> Behaviour {
    match choices.below(10) {
        0 => Behaviour::Crash { after: Millis(choices.below(2000) + 200) },
        1 => Behaviour::OpenThrows,
        2 => Behaviour::BadState,
        3 => Behaviour::CheckpointsFail,
        4 => Behaviour::SlowMain { takes: Millis(choices.below(4000)) },
        5 => Behaviour::Slow { takes: Millis(choices.below(3000)) },
        _ => Behaviour::Good,
    }
}

/// An installation's log, its agent and its cluster.
struct World {
    choices: Choices,
    jobmanager: ModelJobManager,
    now: Timestamp,
    in_log: Option<Commit>,
    /// What is on the agent's disk: the order and its phase.
    on_disk: Option<Vec<u8>>,
    /// Jobs that the machine was shown.
    seen: BTreeSet<FlinkId>,
    commits: u64,
}

/// How an order ended, and what its agent has of it.
struct Ended {
    /// `None`: it was superseded.
    outcome: Option<Outcome>,
    phase: Phase,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut choices = Choices(seed);
        let high_availability = choices.one_in(2);
        let version = if choices.one_in(2) { Version::V1_20 } else { Version::V2_3 };
        let mut jobmanager = ModelJobManager::new(Setup { version, high_availability, slots: 8 });
        for n in [OLD, NEW, THIRD] {
            jobmanager.behave(digest(n), behaviour(&mut choices));
        }
        let now = Timestamp(1000);
        Self { choices, jobmanager, now, in_log: None, on_disk: None, seen: BTreeSet::new(), commits: 0 }
    }

    fn ledger(&self) -> Ledger {
        let in_log = self.in_log.as_ref();
        in_log.map_or_else(Ledger::default, |it| ledger_from_bytes(&it.body).expect("its own bytes"))
    }

    fn order(&mut self, number: u64) -> Assignment {
        let n = [OLD, NEW, THIRD][usize::try_from(self.choices.below(3)).expect("small")];
        let running = self.ledger().job.map(|job| job.release);
        let action = match self.choices.below(11) {
            0..=4 => Action::Release(digest(n)),
            5 | 6 => Action::Restore(digest(n)),
            7 | 8 => Action::Restart(running.unwrap_or(digest(n))),
            9 => {
                let instances = u32::try_from(self.choices.below(3)).expect("small") + 1;
                Action::Scale { release: running.unwrap_or(digest(n)), instances }
            }
            _ => Action::Verify,
        };
        let n = action.release().map_or(n, |release| release.0[0]);
        let mut order = order(number, action, self.in_log.clone());
        if let Some(release_of) = order.release.as_mut() {
            let mut flink = release(n);
            flink.job.upgrade.timeout = Millis::seconds(30);
            flink.job.health.start_timeout = Millis::seconds(30);
            release_of.workload = ReleaseWorkload::Flink(flink);
        }
        order
    }

    fn begin(
        &self,
        order: &Assignment,
        found: Option<Found<Assignment, Phase>>,
    ) -> (Phase, VecDeque<EffectOf<Flink>>) {
        let mut out = Vec::new();
        let order = Assignment { committed: self.in_log.clone(), ..order.clone() };
        let mut phase = Flink.begin(self.now, &order, found, &mut out);
        Flink.step(&mut phase, self.now, Input::LeaseBack, &mut out);
        (phase, out.into())
    }

    /// Performs an order to its end, or until it is superseded.
    fn perform(&mut self, order: &Assignment, before: Option<Ended>, is_last: bool) -> Result<Ended, String> {
        let found = before
            .filter(|it| it.outcome.is_none())
            .map(|it| Found::Superseded { order: order.clone(), phase: it.phase });
        self.on_disk = None;
        let (mut phase, mut queue) = self.begin(order, found);
        let (mut wake, mut aborted) = (None, false);
        for _ in 0..STEPS_MAX {
            if !is_last && self.choices.one_in(120) {
                // The agent dies; its successor may have nothing of its directory.
                let kept = self.on_disk.clone().filter(|_| !self.choices.one_in(3));
                let found = kept.map(|bytes| Flink.load(order, &bytes).expect("its own bytes"));
                self.now = self.now + Millis(self.choices.below(3000));
                (phase, queue) = self.begin(order, found.map(Found::Resumed));
                wake = None;
                if aborted {
                    queue.extend(self.step(&mut phase, Input::Abort(ReasonCode::Canceled)));
                }
            }
            if !is_last && self.choices.one_in(200) {
                self.jobmanager.kill(self.now);
            }
            if !is_last && self.choices.one_in(300) {
                self.jobmanager.lose_uploads();
            }
            if !is_last && self.choices.one_in(150) {
                let lost = usize::try_from(self.choices.below(8)).expect("small");
                self.jobmanager.lose_upload(lost);
            }
            if !is_last && !aborted && self.choices.one_in(400) {
                aborted = true;
                queue.extend(self.step(&mut phase, Input::Abort(ReasonCode::Canceled)));
            }
            if !is_last && self.choices.one_in(300) {
                return Ok(Ended { outcome: None, phase });
            }
            let Some(effect) = queue.pop_front() else {
                let at: Timestamp = wake.take().ok_or("a driver that is not done waits for something")?;
                self.now = self.now.max(at);
                queue.extend(self.step(&mut phase, Input::Due));
                continue;
            };
            match effect {
                Effect::Persist => self.on_disk = Some(Flink.save(&phase)),
                Effect::Watch(()) | Effect::Report(_) => {}
                Effect::WakeAt(at) => wake = Some(at),
                Effect::Commit { n, body, .. } => {
                    self.commit(order, n, body)?;
                    queue.extend(self.step(&mut phase, Input::Committed(n)));
                }
                Effect::Call { id, call, .. } => {
                    let input = self.call(id, call)?;
                    queue.extend(self.step(&mut phase, input));
                }
                Effect::Done(outcome) => return Ok(Ended { outcome: Some(outcome), phase }),
            }
        }
        Err("it does not end".to_owned())
    }

    fn step(&mut self, phase: &mut Phase, input: Input<Reply, ()>) -> Vec<EffectOf<Flink>> {
        let mut out = Vec::new();
        Flink.step(phase, self.now, input, &mut out);
        out
    }

    fn call(&mut self, id: CallId, call: Call) -> Result<Input<Reply, ()>, String> {
        self.jobmanager.advance(self.now);
        if let Call::Run { job, request, .. } = &call {
            let others: Vec<FlinkId> =
                self.jobmanager.jobs_beside_a_run().into_iter().filter(|it| it != job).collect();
            if !others.is_empty() {
                return Err(format!("I1: {job} is run while {others:?} may process records"));
            }
            if self.seen.contains(job) {
                return Err(format!("I2: {job} is run again after it was seen"));
            }
            let is_in_log = self.ledger().job.is_some_and(|it: JobRecord| it.id == *job);
            if !is_in_log {
                return Err(format!("I5: {job} is run and not in the log"));
            }
            if request.body.contains("\"CLAIM\"") {
                return Err("I4: a savepoint is claimed".to_owned());
            }
        }
        if self.choices.one_in(80) {
            return Ok(Input::Unmade(id));
        }
        let (reply, takes) = self.jobmanager.call(self.now, call);
        self.now = self.now + takes;
        if self.choices.one_in(60) {
            return Ok(Input::Lost(id));
        }
        if let Reply::Jobs { jobs, .. } = &reply {
            self.seen.extend(jobs.iter().map(|job| job.id));
        }
        Ok(Input::Reply(id, reply))
    }

    /// A commit is in the log; what it says must be true.
    fn commit(&mut self, order: &Assignment, n: u32, body: Vec<u8>) -> Result<(), String> {
        let before = self.ledger();
        self.commits += 1;
        self.in_log = Some(Commit { assignment: order.id, n, body });
        let ledger = self.ledger();
        let written = |state: &StateRef| state.kind == StateKind::Savepoint && !before.states.contains(state);
        let begins = match (&ledger.job, &ledger.next) {
            (Some(JobRecord { from: Start::From(state), .. }), _) | (None, Some(Start::From(state))) => {
                Some(state)
            }
            _ => None,
        };
        if let (Some(state), Some(old)) = (begins.filter(|state| written(state)), &before.job) {
            self.jobmanager.advance(self.now);
            let goes_on =
                self.jobmanager.job(old.id).is_some_and(|job| !job.is_terminal() && !job.is_begun_again);
            if goes_on {
                return Err(format!("I3: {} is the state of a job that goes on", state.path));
            }
        }
        Ok(())
    }

    /// What must be true when nothing works on the installation.
    fn verify(&mut self) -> Result<(), String> {
        self.jobmanager.advance(self.now);
        if let Some(overlap) = self.jobmanager.overlap() {
            return Err(format!("I5: {overlap}"));
        }
        if let Some(missing) = self.jobmanager.missing() {
            return Err(format!("record {missing} was never processed"));
        }
        for state in self.ledger().states {
            if self.jobmanager.savepoint(&state.path).is_none_or(|it| !it.is_complete) {
                return Err(format!("I4: {} is gone", state.path));
            }
        }
        let live = self.jobmanager.live_jobs();
        self.verify_files(&live)?;
        if live.len() > 1 { Err(format!("{live:?} run")) } else { Ok(()) }
    }
}

impl World {
    /// A job has the files of its release, whatever was lost in between.
    fn verify_files(&self, live: &[FlinkId]) -> Result<(), String> {
        let Some(job) = self.ledger().job.filter(|job| live.contains(&job.id)) else { return Ok(()) };
        let wanted = release(job.release.0[0]).files.map(|it| names_of(&it)).unwrap_or_default();
        let found = self.jobmanager.job(job.id).map(|it| it.files.clone()).unwrap_or_default();
        if found == wanted { Ok(()) } else { Err(format!("{} has the files {found:?}", job.id)) }
    }
}

fn play(seed: u64) -> Result<u64, String> {
    let mut world = World::new(seed);
    let mut before = None;
    for number in 1..=ORDERS {
        let order = world.order(number);
        let ended = world.perform(&order, before.take(), number == ORDERS)?;
        if ended.outcome.is_some() {
            world.verify()?;
            world.now = world.now + Millis(world.choices.below(8000));
        }
        before = Some(ended);
    }
    Ok(world.commits)
}

#[test]
fn the_invariants_hold_whatever_happens() {
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().expect("a number");
        play(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return;
    }
    let mut commits = 0;
    for seed in 1..=SEEDS {
        commits += play(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    assert!(commits > SEEDS * ORDERS, "{commits} commits: too little happened");
}
