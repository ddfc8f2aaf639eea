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
use trimaran_sim::mutants;
use trimaran_sim::play::{
    Length, Losses, Played, first_found, first_found_whole, play, play_cluster_losing, play_whole,
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
    /// Every deliberate defect in turn, with `--coordinators 3` those that only several can meet: each has to be found within 200
    /// seeds
    #[arg(long, conflicts_with_all = ["mutant", "seed", "seeds"])]
    mutants: bool,
    /// Worlds whose agent and hosts are what runs in production, and no script
    #[arg(long, conflicts_with_all = ["coordinators", "mutants"])]
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
    let of_some = || mutants::restore_names().into_iter().chain(mutants::mixed_names());
    let of_three = || mutants::cluster_names().into_iter().chain(of_some());
    let known = || mutants::names().into_iter().chain(mutants::whole_names()).chain(of_three());
    let unknown = || format!("there is no such defect; there are {}", known().collect::<Vec<_>>().join(", "));
    known().find(|it| *it == name).ok_or_else(unknown)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What is violated is printed with its trace.
    std::panic::set_hook(Box::new(|_| {}));
    let fine = if arguments.mutants && arguments.coordinators == 3 {
        let none = Losses::default();
        let three = mutants::cluster_names().into_iter().map(|name| (name, none));
        let restored = mutants::restore_names().into_iter().map(|name| (name, Losses { disks: 2, ..none }));
        let mixed = mutants::mixed_names().into_iter().map(|name| (name, Losses { builds: true, ..none }));
        let all = three.chain(restored).chain(mixed);
        all.filter(|(name, losses)| !is_found_by_three(name, *losses)).count() == 0
    } else if arguments.mutants {
        let seeds = 0..mutants::SEEDS_TO_FIND;
        let scripted = mutants::names().into_iter().filter(|name| !is_found(name, false, seeds.clone()));
        let whole = mutants::whole_names().into_iter().filter(|name| !is_found(name, true, seeds.clone()));
        scripted.count() + whole.count() == 0
    } else {
        let seeds = match (arguments.seed, arguments.seeds.clone()) {
            (Some(seed), _) => seed..seed + 1,
            (None, Some(seeds)) => seeds,
            (None, None) => 0..mutants::SEEDS_TO_FIND,
        };
        match arguments.mutant {
            _ if arguments.coordinators == 3 => play_clusters(&arguments, seeds),
            Some(name) if !arguments.trace => is_found(name, arguments.whole, seeds),
            _ => play_all(&arguments, seeds),
        }
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a defect is found, and by which seed.
fn is_found(name: &'static str, whole: bool, seeds: Range<u64>) -> bool {
    let find = if whole { first_found_whole } else { first_found };
    let found = find(name, seeds.clone());
    say_found(name, found.map(|played| (played.seed, played.violation)), seeds)
}

fn say_found(name: &str, found: Option<(u64, Option<String>)>, seeds: Range<u64>) -> bool {
    match &found {
        Some((seed, why)) => {
            let why = why.as_deref().unwrap_or_default();
            println!("{name}: found by seed {seed}: {}", why.lines().next().unwrap_or_default());
        }
        None => println!("{name}: survives seeds {}..{}", seeds.start, seeds.end),
    }
    found.is_some()
}

/// As [`is_found`], with three coordinators.
fn is_found_by_three(name: &'static str, losses: Losses) -> bool {
    let seeds = 0..mutants::SEEDS_TO_FIND;
    let play = |seed| play_cluster_losing(seed, Length::default(), losses, Some(name), false);
    let found = seeds.clone().map(play).find(|played| played.violation.is_some());
    say_found(name, found.map(|played| (played.seed, played.violation)), seeds)
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

/// As [`play_all`], with three coordinators.
fn play_clusters(arguments: &Arguments, seeds: Range<u64>) -> bool {
    let length = Length { rough_ms: arguments.seconds * 1000, ..Length::default() };
    let (mut all, mut found, count) = (cluster::Seen::default(), false, seeds.end - seeds.start);
    for seed in seeds {
        let losses =
            Losses { quorums: arguments.lost_quorums, disks: arguments.restores, builds: arguments.builds };
        let played = play_cluster_losing(seed, length, losses, arguments.mutant, arguments.trace);
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
        1 if arguments.whole => " --whole".to_owned(),
        1 => String::new(),
        more => format!(" --coordinators {more}"),
    };
    let lost = |count: u64, flag: &str| if count > 0 { format!(" {flag} {count}") } else { String::new() };
    let builds = if arguments.builds { " --builds" } else { "" };
    let losses =
        lost(arguments.lost_quorums, "--lost-quorums") + &lost(arguments.restores, "--restores") + builds;
    format!(
        "cargo xtask sim --seed {seed} --seconds {}{coordinators}{losses}{mutant} --trace",
        arguments.seconds
    )
}
