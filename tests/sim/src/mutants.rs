//! Defects that can be switched on in the crates that the world runs, each of which it must find.
//!
//! Changed comparisons of shipped code are among them: of the fence check (`take_any_fence`), the request table (`forget_requests`,
//! `forget_soon`), the timers (`timer_late`), the journal (`act_before_durable`), the lease (`lease_from_receipt`, `endless_lease`),
//! the attach rules (`serve_superseded`, `serve_later_incarnation`) and the grouping of syncs (`sync_of_first`).
//!
//! Not here: defects that only the engine's own random test can meet, because the world's operators never provoke
//! them, and those of a replica that need peers: its own simulation finds them.

use std::ops::Range;

use trimaran_agent_core::mutant::Mutant as Executor;
use trimaran_engine::mutant::Mutant as Engine;
use trimaran_member::mutant::Mutant as Member;
use trimaran_replica::mutant::Mutant as Replica;

use crate::play::{Length, Losses, play, play_cluster, play_cluster_losing, play_whole};
use crate::world::Faults;

/// Seeds within which each has to be found.
pub const SEEDS_TO_FIND: u64 = 200;

const ENGINE: &[Engine] = &[
    Engine::SameFence,
    Engine::ForgetRequests,
    Engine::ForgetSoon,
    Engine::NoWakeAfterRun,
    Engine::TwoAssignments,
    Engine::TimerLate,
];

/// The names of those that one coordinator with scripts has to find.
fn names() -> Vec<&'static str> {
    let engine = ENGINE.iter().map(|it| it.as_str());
    let here = |it: &&Member| ![CLUSTER, SESSION, MIXED].concat().contains(it);
    let member = Member::ALL.iter().filter(here).map(|it| it.as_str());
    engine.chain(member).chain([Replica::SyncOfFirst.as_str()]).collect()
}

/// Those that only sessions of an agent that is no script can meet: the whole world has to find them.
const SESSION: &[Member] =
    &[Member::KeepSuperseded, Member::AnswerEarly, Member::VerdictOvertakes, Member::TwoTurns];

/// Defects of other crates that the whole world has to find, beside those of the executor.
const WHOLE: &[Engine] = &[Engine::ServeSuperseded, Engine::SameFence, Engine::TimerLate];

/// The names of those that the whole world has to find.
fn whole_names() -> Vec<&'static str> {
    let executor = Executor::ALL.iter().map(|it| it.as_str());
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
    Member::RepeatEvents,
    Member::KeepPositions,
];

/// Those that only a cluster which was restored can meet.
const RESTORED: &[Engine] = &[Engine::ServeLaterIncarnation];

/// The names of those that the world of three has to find when a backup is restored in it.
fn restore_names() -> Vec<&'static str> {
    RESTORED.iter().map(|it| it.as_str()).collect()
}

/// Those that only coordinators of two builds can meet.
const MIXED: &[Member] = &[Member::LevelUnseen];

/// The names of those that the world of three has to find when the builds in it differ.
fn mixed_names() -> Vec<&'static str> {
    MIXED.iter().map(|it| it.as_str()).collect()
}

/// The names of those that the world of three has to find.
fn cluster_names() -> Vec<&'static str> {
    let members = CLUSTER.iter().map(|it| it.as_str());
    members.chain([Replica::SwitchUnsynced.as_str()]).collect()
}

/// The worlds that have to find defects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finder {
    /// One coordinator and scripts.
    One,
    /// One coordinator with the agent and its hosts as they run.
    Whole,
    /// Three coordinators and scripts.
    Three,
    /// Three coordinators and scripts, and a backup that is restored twice.
    Restored,
    /// Three coordinators of two builds, and scripts.
    Mixed,
}

impl Finder {
    pub const ALL: [Self; 5] = [Self::One, Self::Whole, Self::Three, Self::Restored, Self::Mixed];

    /// The names of the defects that it has to find.
    pub fn names(self) -> Vec<&'static str> {
        match self {
            Self::One => names(),
            Self::Whole => whole_names(),
            Self::Three => cluster_names(),
            Self::Restored => restore_names(),
            Self::Mixed => mixed_names(),
        }
    }

    /// What the world of a seed violates with a defect.
    fn violation(self, seed: u64, defect: &'static str) -> Option<String> {
        let (length, defect) = (Length::default(), Some(defect));
        match self {
            Self::One => play(seed, Faults::ROUGH, length, defect, false).violation,
            Self::Whole => play_whole(seed, length, defect, false).violation,
            Self::Three => play_cluster(seed, length, defect, false).violation,
            Self::Restored => {
                let length = Length { rough_ms: 16_000, ..length };
                let losses = Losses { disks: 2, ..Losses::default() };
                play_cluster_losing(seed, length, losses, defect, false).violation
            }
            Self::Mixed => {
                let losses = Losses { builds: true, ..Losses::default() };
                play_cluster_losing(seed, length, losses, defect, false).violation
            }
        }
    }

    /// The first of these seeds that finds a defect, and what it violates.
    pub fn first(self, defect: &'static str, mut seeds: Range<u64>) -> Option<(u64, String)> {
        seeds.find_map(|seed| Some((seed, self.violation(seed, defect)?)))
    }
}
