//! Wall time of a coordinator alone whose disk takes its time: a gap that is on its way through the log is not found again.

use trimaran_engine::Engine;
use trimaran_member::{EngineStateMachine, Input, Member, Output};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_replica::memory::MemoryStore;
use trimaran_replica::{Replica, Settings, StateMachine as _, WriteJob, Written};
use trimaran_wire::raft::ConfState;
use trimaran_wire::v1::command::{Command, CommandBody, Entry};
use trimaran_wire::v1::common::WireIdentity;

const WALL: WallTime = WallTime(1_700_000_000_000);
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
        let body = CommandBody::Bootstrap {
            cluster: "c".to_owned(),
            wall_ms: WALL.0,
            incarnation: 1,
            admin_token_sha256: [1; 32],
            admin: "admin".to_owned(),
        };
        let bootstrap = Command { identity: WireIdentity::System, request: None, body };
        let rows = Engine::new().apply(1, &Entry { now_ms: 0, commands: vec![bootstrap] }).rows;
        let rows: Vec<_> = rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let store = MemoryStore::init(ConfState { voters: vec![1], ..ConfState::default() }, &rows);
        let (loaded, mut machine) = (store.load(), EngineStateMachine::default());
        machine.restore(loaded.applied, Box::new(rows.into_iter())).expect("rows of an engine");
        let replica = Replica::new(Settings::new(1, 7), machine, loaded).expect("it starts");
        let now = Timestamp(1000);
        Self { member: Member::new(replica, now, 0), store, jobs: Vec::new(), now }
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
