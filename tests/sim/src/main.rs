//! `trimaran-sim`, reached as `cargo xtask sim`: plays worlds from their seeds, with a deliberate defect when one is
//! named.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "a developer's tool: its arguments, its threads and its exit code"
)]

use std::ops::Range;
use std::process::ExitCode;

use clap::Parser;
use trimaran_sim::cluster;
use trimaran_sim::mutants::{Finder, SEEDS_TO_FIND};
use trimaran_sim::play::{
    ClusterPlayed, Length, Losses, Played, play, play_cluster_losing, play_whole, play_whole_cluster,
};
use trimaran_sim::world::{Faults, Seen};

/// Plays simulated worlds from their seeds: same seed, same trace and hash.
///
/// A world that violates something is shown with the end of its trace and the command that plays it again.
/// Exit codes: 0 nothing was violated, and with `--mutant` or `--mutants` each defect was found; 1 otherwise; 2 usage.
#[derive(Parser)]
#[command(
    name = "cargo xtask sim",
    after_help = "Examples:
  cargo xtask sim --seed 7 --trace
  cargo xtask sim --seeds 0..2000
  cargo xtask sim --seeds 0..200 --mutant same_fence
  cargo xtask sim --whole --seeds 0..200
  cargo xtask sim --whole --coordinators 3 --seeds 0..100
  cargo xtask sim --coordinators 3 --seeds 0..100 --restores 2
  cargo xtask sim --coordinators 3 --builds --seeds 0..100
  cargo xtask sim --mutants"
)]
struct Arguments {
    /// One seed
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Seeds from A up to, not including, B
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Switches a deliberate defect on: some seed has to find it
    #[arg(long, value_name = "NAME", value_parser = defect)]
    mutant: Option<&'static str>,
    /// Every deliberate defect in turn, each in the world that has to find it within 200 seeds
    #[arg(long, conflicts_with_all = ["mutant", "seed", "seeds"])]
    mutants: bool,
    /// Worlds whose agent and hosts are what runs in production, and no script
    #[arg(long, conflicts_with_all = ["mutants", "lost_quorums", "restores"])]
    whole: bool,
    /// Coordinators of each world
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = one_or_three)]
    coordinators: u8,
    /// Quorums that are lost for good, one after the other, with `--coordinators 3`
    #[arg(long, value_name = "N", default_value_t = 0, requires = "coordinators")]
    lost_quorums: u64,
    /// Times that all disks are lost and a backup is restored, with `--coordinators 3`
    #[arg(long, value_name = "N", default_value_t = 0, requires = "coordinators")]
    restores: u64,
    /// Coordinators of two builds, with `--coordinators 3`: upgraded and taken back until the feature level is raised
    #[arg(long, requires = "coordinators")]
    builds: bool,
    /// Virtual seconds with faults
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u64,
    /// Prints everything that happens, and not only the end of a world that violates something
    #[arg(long)]
    trace: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("`{text}` is not A..B, two numbers with A below B");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let range = first.parse().map_err(|_| wrong())?..end.parse().map_err(|_| wrong())?;
    if range.is_empty() { Err(wrong()) } else { Ok(range) }
}

fn one_or_three(text: &str) -> Result<u8, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("a world has 1 or 3 coordinators".to_owned()),
    }
}

fn defect(name: &str) -> Result<&'static str, String> {
    let known = || Finder::ALL.into_iter().flat_map(Finder::names);
    let unknown = || format!("there is no such defect; there are {}", known().collect::<Vec<_>>().join(", "));
    known().find(|it| *it == name).ok_or_else(unknown)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What is violated is printed with its trace.
    std::panic::set_hook(Box::new(|_| {}));
    let fine = if arguments.mutants {
        let all =
            Finder::ALL.into_iter().flat_map(|finder| finder.names().into_iter().map(move |it| (finder, it)));
        all.filter(|(finder, name)| !is_found(name, *finder, 0..SEEDS_TO_FIND)).count() == 0
    } else {
        let seeds = match (arguments.seed, arguments.seeds.clone()) {
            (Some(seed), _) => seed..seed + 1,
            (None, Some(seeds)) => seeds,
            (None, None) => 0..SEEDS_TO_FIND,
        };
        match arguments.mutant {
            _ if arguments.coordinators == 3 => play_clusters(&arguments, seeds),
            Some(name) if !arguments.trace => {
                is_found(name, if arguments.whole { Finder::Whole } else { Finder::One }, seeds)
            }
            _ => play_all(&arguments, seeds),
        }
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a defect is found, and by which seed.
fn is_found(name: &'static str, finder: Finder, seeds: Range<u64>) -> bool {
    match finder.first(name, seeds.clone()) {
        Some((seed, why)) => {
            println!("{name}: found by seed {seed}: {}", why.lines().next().unwrap_or_default());
            true
        }
        None => {
            println!("{name}: survives seeds {}..{}", seeds.start, seeds.end);
            false
        }
    }
}

fn play_one(arguments: &Arguments, seed: u64, length: Length) -> Played {
    match arguments.whole {
        true => play_whole(seed, length, arguments.mutant, arguments.trace),
        false => play(seed, Faults::ROUGH, length, arguments.mutant, arguments.trace),
    }
}

fn play_all(arguments: &Arguments, seeds: Range<u64>) -> bool {
    let length = Length { rough_ms: arguments.seconds * 1000, ..Length::default() };
    let (mut all, mut clean, count) = (Seen::default(), true, seeds.end - seeds.start);
    for seed in seeds {
        let played = play_one(arguments, seed, length);
        all.add(&played.seen);
        if arguments.trace || played.violation.is_some() {
            print!("{}", played.trace);
        }
        if let Some(why) = &played.violation {
            clean = false;
            println!("seed {seed} violates: {why}\nagain: {}", again(arguments, seed));
        } else if count == 1 {
            println!("seed {seed}: trace {:016x}", played.hash);
        }
        if let (Some(_), Some(name)) = (&played.violation, arguments.mutant) {
            println!("the defect `{name}` is found");
            return true;
        }
    }
    println!("{count} seeds: {all:?}");
    // With a defect on, no violation means that it survives.
    clean && arguments.mutant.is_none()
}

fn play_one_cluster(arguments: &Arguments, seed: u64, length: Length) -> ClusterPlayed {
    if arguments.whole {
        return play_whole_cluster(seed, length, arguments.mutant, arguments.trace);
    }
    let losses =
        Losses { quorums: arguments.lost_quorums, disks: arguments.restores, builds: arguments.builds };
    play_cluster_losing(seed, length, losses, arguments.mutant, arguments.trace)
}

/// As [`play_all`], with three coordinators.
fn play_clusters(arguments: &Arguments, seeds: Range<u64>) -> bool {
    let length = Length { rough_ms: arguments.seconds * 1000, ..Length::default() };
    let (mut all, mut found, count) = (cluster::Seen::default(), false, seeds.end - seeds.start);
    for seed in seeds {
        let played = play_one_cluster(arguments, seed, length);
        all.add(&played.seen);
        if arguments.trace || played.violation.is_some() {
            print!("{}", played.trace);
        }
        if let Some(why) = &played.violation {
            found = true;
            println!("seed {seed} violates: {why}\nagain: {}", again(arguments, seed));
            if arguments.mutant.is_some() {
                break;
            }
        } else if count == 1 {
            println!("seed {seed}: trace {:016x}", played.hash);
        }
    }
    println!("{count} seeds: {all:?}");
    // With a defect on, no violation means that it survives.
    found == arguments.mutant.is_some()
}

fn again(arguments: &Arguments, seed: u64) -> String {
    let mutant = arguments.mutant.map(|name| format!(" --mutant {name}")).unwrap_or_default();
    let coordinators = match arguments.coordinators {
        1 => String::new(),
        more => format!(" --coordinators {more}"),
    };
    let whole = if arguments.whole { " --whole" } else { "" };
    let lost = |count: u64, flag: &str| if count > 0 { format!(" {flag} {count}") } else { String::new() };
    let builds = if arguments.builds { " --builds" } else { "" };
    let losses =
        lost(arguments.lost_quorums, "--lost-quorums") + &lost(arguments.restores, "--restores") + builds;
    format!(
        "cargo xtask sim --seed {seed} --seconds {}{whole}{coordinators}{losses}{mutant} --trace",
        arguments.seconds
    )
}
