//! Ids of jobs and triggers, which Trimaran chooses and Flink arbitrates.
//!
//! A second run with the id of a job that the JobManager knows is refused, and a second stop with the id of a trigger
//! that it knows does nothing. So whoever continues the work of another agent uses the same ids, and an id is derived
//! from what both know: installation, run, attempt, step and a number that is committed before it is used. Never
//! from the fence, which differs between them.

use std::fmt;

use sha2::{Digest as _, Sha256};
use trimaran_model::id::{Attempt, InstallationId, RunId};

/// Separates these ids from those of any other derivation.
const DOMAIN: &str = "trimaran flink id 1";

/// How far the jobs of a run are looked for: a stage is tried once, and each try of a start or stop takes a number.
const ATTEMPTS_SEARCHED_MAX: u32 = 4;
const NUMBERS_SEARCHED_MAX: u32 = 64;

/// 32 hex digits, as Flink wants ids of jobs and triggers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlinkId(pub [u8; 16]);

/// What an id is for. Spellings are part of the derivation and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdStep {
    Run,
    Stop,
}

/// One try of a stage on one installation, in which ids are numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptKey {
    pub run: RunId,
    pub attempt: Attempt,
}

impl FlinkId {
    pub fn derive(installation: &InstallationId, key: &AttemptKey, step: IdStep, number: u32) -> Self {
        let step = match step {
            IdStep::Run => "run",
            IdStep::Stop => "stop",
        };
        let InstallationId { pipeline, target } = installation;
        let AttemptKey { run, attempt } = key;
        // Names have no spaces, so the text has one reading.
        let text = format!("{DOMAIN} {pipeline} {target} {run} {} {step} {number}", attempt.0);
        let hash: [u8; 32] = Sha256::digest(text).into();
        let (id, _) = hash.split_first_chunk().expect("32 bytes have 16 first ones");
        Self(*id)
    }

    /// Whether the job of this id was begun by a run, as far as its attempts and numbers are few.
    pub fn is_of_run(self, installation: &InstallationId, run: &RunId) -> bool {
        (1..=ATTEMPTS_SEARCHED_MAX).any(|attempt| {
            let key = AttemptKey { run: run.clone(), attempt: Attempt(attempt) };
            (1..=NUMBERS_SEARCHED_MAX).any(|n| Self::derive(installation, &key, IdStep::Run, n) == self)
        })
    }

    /// Reads 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        let mut id = [0; 16];
        for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).expect("it is ASCII");
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for FlinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FlinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(run: &str, attempt: u32, step: IdStep, number: u32) -> FlinkId {
        let installation = InstallationId {
            pipeline: "clicks".parse().expect("a name"),
            target: "streams".parse().expect("a name"),
        };
        let key = AttemptKey { run: run.parse().expect("a run"), attempt: Attempt(attempt) };
        FlinkId::derive(&installation, &key, step, number)
    }

    #[test]
    fn an_id_depends_on_each_of_its_parts_and_stays_for_ever() {
        let first = id("clicks#7", 1, IdStep::Run, 1);
        assert_eq!(first, id("clicks#7", 1, IdStep::Run, 1));
        let others = [
            id("clicks#8", 1, IdStep::Run, 1),
            id("clicks#7", 2, IdStep::Run, 1),
            id("clicks#7", 1, IdStep::Stop, 1),
            id("clicks#7", 1, IdStep::Run, 2),
        ];
        assert!(others.iter().all(|other| *other != first));
        // An agent of a later version must find the jobs of this one.
        assert_eq!(first.to_string(), "2c60a65f7dbc28d91b19e25c1c33e93a");
    }

    #[test]
    fn the_jobs_of_a_run_are_found_by_their_ids() {
        let installation = InstallationId {
            pipeline: "clicks".parse().expect("a name"),
            target: "streams".parse().expect("a name"),
        };
        let run = |run: &str| run.parse().expect("a run");
        let job = id("clicks#7", 1, IdStep::Run, 3);
        assert!(job.is_of_run(&installation, &run("clicks#7")));
        assert!(!job.is_of_run(&installation, &run("clicks#8")));
        assert!(!id("clicks#7", 1, IdStep::Stop, 3).is_of_run(&installation, &run("clicks#7")));
    }

    #[test]
    fn what_is_printed_is_read() {
        let id = id("clicks#7", 1, IdStep::Run, 1);
        assert_eq!(FlinkId::parse(&id.to_string()), Some(id));
        for bad in ["", "12", "g0000000000000000000000000000000", "éé00000000000000000000000000000"] {
            assert_eq!(FlinkId::parse(bad), None, "{bad}");
        }
    }
}
