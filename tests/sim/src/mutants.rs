//! Defects that can be switched on in the crates that the world runs, each of which it must find.
//!
//! Not here: defects that only the engine's own random test can meet, because the world's operators never provoke
//! them, and those of a replica that need peers: its own simulation finds them.

use trimaran_agent_core::mutant::Mutant as Executor;
use trimaran_engine::mutant::Mutant as Engine;
use trimaran_member::mutant::Mutant as Member;
use trimaran_replica::mutant::Mutant as Replica;

/// Seeds within which each has to be found.
pub const SEEDS_TO_FIND: u64 = 200;

const ENGINE: &[Engine] = &[
    Engine::SameFence,
    Engine::ForgetRequests,
    Engine::NoWakeAfterRun,
    Engine::TwoAssignments,
    Engine::TimerLate,
];

/// The names of all.
pub fn names() -> Vec<&'static str> {
    let engine = ENGINE.iter().map(|it| it.as_str());
    let here = |it: &&Member| !CLUSTER.contains(it) && !SESSION.contains(it);
    let here = |it: &&Member| here(it) && !UNMET.contains(it) && !MIXED.contains(it);
    let member = Member::ALL.iter().filter(here).map(|it| it.as_str());
    engine.chain(member).chain([Replica::SyncOfFirst.as_str()]).collect()
}

/// Those that only sessions of an agent that is no script can meet: the whole world has to find them.
const SESSION: &[Member] = &[Member::KeepSuperseded, Member::AnswerEarly];

/// Those of sessions and executor that no world has met within its seeds so far: tests of their own crates know them.
const UNMET: &[Member] = &[Member::VerdictOvertakes];
const UNMET_EXECUTOR: &[Executor] = &[Executor::LeaseFromReceipt];

/// Defects of other crates that the whole world has to find, beside those of the executor.
const WHOLE: &[Engine] = &[Engine::ServeSuperseded, Engine::SameFence, Engine::TimerLate];

/// The names of those that the whole world has to find.
pub fn whole_names() -> Vec<&'static str> {
    let executor = Executor::ALL.iter().filter(|it| !UNMET_EXECUTOR.contains(it)).map(|it| it.as_str());
    let session = SESSION.iter().map(|it| it.as_str());
    executor.chain(session).chain(WHOLE.iter().map(|it| it.as_str())).collect()
}

/// Those that only several coordinators can meet: the world of three has to find them.
const CLUSTER: &[Member] = &[
    Member::TimeFromStart,
    Member::LeaseWithoutQuorum,
    Member::ForwardTwice,
    Member::OwnWallAlone,
    Member::RemoveBlindly,
    Member::ForgetContext,
    Member::OwnDiskDecides,
];

/// Those that only a cluster which was restored can meet.
const RESTORED: &[Engine] = &[Engine::ServeLaterIncarnation];

/// The names of those that the world of three has to find when a backup is restored in it.
pub fn restore_names() -> Vec<&'static str> {
    RESTORED.iter().map(|it| it.as_str()).collect()
}

/// Those that only coordinators of two builds can meet.
const MIXED: &[Member] = &[Member::LevelUnseen];

/// The names of those that the world of three has to find when the builds in it differ.
pub fn mixed_names() -> Vec<&'static str> {
    MIXED.iter().map(|it| it.as_str()).collect()
}

/// The names of those that the world of three has to find.
pub fn cluster_names() -> Vec<&'static str> {
    let members = CLUSTER.iter().map(|it| it.as_str());
    members.chain([Replica::SwitchUnsynced.as_str()]).collect()
}

/// The defect of this name.
pub fn find(name: &str) -> Option<&'static str> {
    names().into_iter().find(|it| *it == name)
}
