//! `trimaran-sim`: plays one world again from its seed, with a deliberate defect when one is named.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a developer's tool: its arguments and its exit code")]

use std::process::ExitCode;

use trimaran_engine::mutant::{self, Mutant};
use trimaran_sim::world::{Faults, World};

const USAGE: &str = "usage: trimaran-sim [--seed N] [--seconds N] [--mutant NAME]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match play(&arguments) {
        Ok(seen) => {
            println!("{seen}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn play(arguments: &[String]) -> Result<String, String> {
    let (mut seed, mut seconds, mut faults) = (0, 60, Faults::ROUGH);
    for pair in arguments.chunks(2) {
        let [key, value] = pair else { return Err(format!("`{}` has no value", pair[0])) };
        let number = || value.parse::<u64>().map_err(|_| format!("`{value}` is no number"));
        match key.as_str() {
            "--seed" => seed = number()?,
            "--seconds" => seconds = number()?,
            "--mutant" if value == "forgets_sync" => faults.forgets_sync = true,
            "--mutant" => {
                let known = Mutant::ALL.into_iter().find(|it| it.as_str() == value);
                mutant::set(Some(known.ok_or_else(|| format!("there is no mutant `{value}`"))?));
            }
            other => return Err(format!("`{other}` is unknown")),
        }
    }
    let mut world = World::new(seed, faults);
    world.run(seconds * 1000);
    world.heal(120_000);
    Ok(format!("seed {seed}: {:?}", world.seen))
}
