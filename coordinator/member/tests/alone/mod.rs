//! The only coordinator of a new cluster, in memory.

use trimaran_engine::Engine;
use trimaran_member::{EngineStateMachine, Member};
use trimaran_model::time::{Timestamp, WallTime};
use trimaran_replica::memory::MemoryStore;
use trimaran_replica::{Replica, Settings, StateMachine as _};
use trimaran_wire::raft::ConfState;
use trimaran_wire::v1::command::{Command, CommandBody, Entry};
use trimaran_wire::v1::common::WireIdentity;

/// When its cluster was made.
pub(crate) const WALL: WallTime = WallTime(1_700_000_000_000);

/// A member that starts at a moment of boot time, and its store.
pub(crate) fn start(now: Timestamp) -> (Member<EngineStateMachine, (), ()>, MemoryStore) {
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
    (Member::new(replica, now, 0), store)
}
