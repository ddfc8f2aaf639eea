//! Plays worlds from their seeds, and turns a panic of a check into what was violated.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use trimaran_model::mutant;

use crate::cluster::{self, Cluster, NetworkFaults};
use crate::trace::Trace;
use crate::world::{Faults, Seen, World};

/// How long a world is rough, and within what time everything has to end then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    pub rough_ms: u64,
    pub heal_ms: u64,
}

impl Default for Length {
    fn default() -> Self {
        Self { rough_ms: 30_000, heal_ms: 120_000 }
    }
}

/// What a world came to.
#[derive(Debug, Clone)]
pub struct Played {
    pub seed: u64,
    pub seen: Seen,
    pub hash: u64,
    /// The kept lines of the trace.
    pub trace: String,
    /// What was violated.
    pub violation: Option<String>,
}

/// Plays one world with a defect, or without. `whole` keeps the whole trace and not only its end.
pub fn play(seed: u64, faults: Faults, length: Length, defect: Option<&'static str>, whole: bool) -> Played {
    play_world(seed, |trace| World::new(seed, faults, trace), length, defect, whole)
}

/// Plays one world whose agent and hosts are what runs in production, with a defect or without.
pub fn play_whole(seed: u64, length: Length, defect: Option<&'static str>, whole: bool) -> Played {
    let faults = Faults { crash_every: 9000, pause_every: 15_000, stalls_every: 8000, ..Faults::ROUGH };
    let length = Length { rough_ms: 2 * length.rough_ms, heal_ms: 4 * length.heal_ms };
    play_world(seed, |trace| World::whole(seed, faults, trace), length, defect, whole)
}

fn play_world(
    seed: u64,
    begin: impl FnOnce(Trace) -> World,
    length: Length,
    defect: Option<&'static str>,
    whole: bool,
) -> Played {
    mutant::set(defect);
    let mut world = begin(Trace::new(whole));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        world.run(length.rough_ms);
        world.heal(length.heal_ms);
    }));
    mutant::set(None);
    Played {
        seed,
        seen: world.seen.clone(),
        hash: world.trace.hash(),
        trace: world.trace.text(),
        violation: ended.err().map(|panic| text(&*panic)),
    }
}

/// What a world of three came to.
#[derive(Debug, Clone)]
pub struct ClusterPlayed {
    pub seed: u64,
    pub seen: cluster::Seen,
    pub hash: u64,
    pub trace: String,
    /// What was violated.
    pub violation: Option<String>,
}

/// Plays one world of three coordinators whose agent and hosts are what runs in production.
pub fn play_whole_cluster(
    seed: u64,
    length: Length,
    defect: Option<&'static str>,
    whole: bool,
) -> ClusterPlayed {
    let faults = Faults { crash_every: 7000, pause_every: 9000, ..Faults::ROUGH };
    let length = Length { rough_ms: 2 * length.rough_ms, heal_ms: 4 * length.heal_ms };
    let begin = |trace| Cluster::whole(seed, faults, NetworkFaults::ROUGH, trace);
    play_members(seed, begin, length, Losses::default(), defect, whole)
}

/// Plays one world of three coordinators with a defect, or without.
pub fn play_cluster(seed: u64, length: Length, defect: Option<&'static str>, whole: bool) -> ClusterPlayed {
    play_cluster_losing(seed, length, Losses::default(), defect, whole)
}

/// What is lost for good in a world of three, one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// All disks but one, which goes on alone.
    pub quorums: u64,
    /// All disks, and a backup of a while before is restored; the same one again for all but the first.
    pub disks: u64,
    /// Not lost, but mixed: coordinators of two builds, until the feature level is raised.
    pub builds: bool,
}

/// As [`play_cluster`], with such losses.
pub fn play_cluster_losing(
    seed: u64,
    length: Length,
    losses: Losses,
    defect: Option<&'static str>,
    whole: bool,
) -> ClusterPlayed {
    // Processes crash less often than one alone, which has nothing else to suffer from.
    let faults = Faults { crash_every: 5000, pause_every: 6000, ..Faults::ROUGH };
    let begin = |trace| {
        let mut world = Cluster::new(seed, faults, NetworkFaults::ROUGH, trace);
        if losses.builds {
            world.mix_builds(seed);
        }
        world
    };
    play_members(seed, begin, length, losses, defect, whole)
}

fn play_members(
    seed: u64,
    begin: impl FnOnce(Trace) -> Cluster,
    length: Length,
    losses: Losses,
    defect: Option<&'static str>,
    whole: bool,
) -> ClusterPlayed {
    mutant::set(defect);
    let mut world = begin(Trace::new(whole));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..losses.quorums {
            world.run(length.rough_ms);
            // While members change it can't be said who has the most; that ends.
            for _ in 0..length.rough_ms / 100 {
                if world.lose_quorum() {
                    break;
                }
                world.run(100);
            }
        }
        let mut backup = None;
        for _ in 0..losses.disks {
            world.run(length.rough_ms / 2);
            backup = backup.or_else(|| world.back_up());
            world.run(length.rough_ms / 2);
            if let Some(backup) = &backup {
                world.restore(backup);
            }
        }
        world.run(length.rough_ms);
        world.heal(length.heal_ms);
    }));
    mutant::set(None);
    ClusterPlayed {
        seed,
        seen: world.seen.clone(),
        hash: world.trace.hash(),
        trace: world.trace.text(),
        violation: ended.err().map(|panic| text(&*panic)),
    }
}

/// The words of a panic.
fn text(panic: &(dyn Any + Send)) -> String {
    let owned = panic.downcast_ref::<String>().cloned();
    owned
        .or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()))
        .unwrap_or_else(|| "a panic".to_owned())
}

/// Seeds that once found a defect of the product in such a world, as `seeds.txt` names it, with what it was.
pub fn kept_seeds(world: &str) -> Vec<(u64, &'static str)> {
    let lines =
        include_str!("../seeds.txt").lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let one = |line: &'static str| {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().expect("a line is WORLD SEED WHAT");
        (word(), word().parse().expect("a seed is a number"), word())
    };
    lines.map(one).filter(|it| it.0 == world).map(|(_, seed, what)| (seed, what)).collect()
}
