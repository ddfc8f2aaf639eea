//! Wall time of a coordinator alone whose disk takes its time: a gap that is on its way through the log is not found again.

mod alone;

use alone::WALL;
use trimaran_member::{EngineStateMachine, Input, Member, Output};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_replica::memory::MemoryStore;
use trimaran_replica::{WriteJob, Written};

/// For so long the machine was off.
const GAP: Millis = Millis::minutes(10);
const STEP: Millis = Millis(50);

struct Alone {
    member: Member<EngineStateMachine, (), ()>,
    store: MemoryStore,
    /// What the disk has not written yet.
    jobs: Vec<WriteJob>,
    now: Timestamp,
}

impl Alone {
    fn new() -> Self {
        let now = Timestamp(1000);
        let (member, store) = alone::start(now);
        Self { member, store, jobs: Vec::new(), now }
    }

    /// What the machine's clock shows.
    fn wall(&self) -> WallTime {
        WALL + GAP + (self.now - Timestamp(1000))
    }

    fn step(&mut self, input: Input<(), ()>) {
        let mut out = Vec::new();
        self.member.step(self.now, self.wall(), input, &mut out);
        for output in out {
            match output {
                Output::Write(job) => self.jobs.push(job),
                Output::Fatal(fatal) => panic!("{fatal}"),
                _ => {}
            }
        }
    }

    /// Some time in which the disk writes nothing.
    fn pass(&mut self, length: Millis) {
        let end = self.now + length;
        while self.now < end {
            self.now = self.now + STEP;
            self.step(Input::Due);
        }
    }

    fn write(&mut self) {
        while !self.jobs.is_empty() {
            let jobs = std::mem::take(&mut self.jobs);
            let number = jobs.last().expect("there are some").number;
            self.store.write(jobs);
            self.step(Input::Written(Written { number }));
        }
    }

    fn is_wrong_by(&self) -> u64 {
        self.member.status(self.now).wall_at(self.now).0.abs_diff(self.wall().0)
    }
}

#[test]
fn a_gap_is_made_up_for_whole_though_the_disk_is_slower_than_the_clocks_are_compared() {
    let mut alone = Alone::new();
    alone.step(Input::Due);
    while !alone.member.status(alone.now).leads() || alone.jobs.is_empty() {
        alone.write();
        alone.pass(STEP);
    }
    assert_eq!(alone.is_wrong_by(), GAP.0, "the gap is on its way to the disk");
    alone.pass(Millis::seconds(5));
    alone.write();
    alone.pass(Millis::seconds(2));
    alone.write();
    assert_eq!(alone.is_wrong_by(), 0);
}
