//! Upgrades while something dies, and the end that each has to come to.

use trimaran_flink_core::ledger::Persisted;
use trimaran_model::action::{Action, Outcome};
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;

use super::death::{Death, Moment, Mortal};
use super::lab::{Cluster, Ended, Lab};

/// A job that is upgraded again and again, while something dies.
pub struct Deadly<C> {
    pub lab: Lab<C>,
    /// Jobs survive the JobManager.
    high_availability: bool,
    /// What runs.
    runs: Option<Digest>,
    /// Two versions that are stopped with a savepoint, and one that is begun behind a cancel.
    releases: [Digest; 3],
}

impl<C: Cluster> Deadly<C> {
    /// On a lab that has these releases and runs none of them.
    pub fn new(lab: Lab<C>, high_availability: bool, releases: [Digest; 3]) -> Self {
        Self { lab, high_availability, runs: None, releases }
    }

    /// Plays a death. The order comes to its end: at once, or after people were asked, which only the loss of a job may
    /// need. `None`: that can't happen on this cluster.
    pub fn play(&mut self, death: Death) -> Option<Ended> {
        let mut deaths = vec![death];
        match death.at {
            Persisted::Nothing => self.end(),
            Persisted::Lost if self.high_availability => return None,
            Persisted::Lost => {
                self.run_one();
                self.lab.cluster.kill_jobmanager();
            }
            // Who was prepared for what follows a stop begins the next job with the same commit.
            Persisted::Between => {
                let (at, of, moment) = (Persisted::Stopping, Mortal::Agent, Moment::BehindCall);
                deaths.insert(0, Death { at, of, moment });
                self.run_one();
            }
            Persisted::Submitting | Persisted::Running | Persisted::Stopping | Persisted::Canceling => {
                self.run_one();
            }
        }
        let [one, other, canceling] = self.releases;
        let next = match death.at {
            Persisted::Canceling => canceling,
            _ if self.runs == Some(one) => other,
            _ => one,
        };
        let (mut ended, mut left) = self.lab.perform_while(Action::Release(next), &deaths);
        if let Outcome::Fault(failure) = &ended.outcome {
            let is_possible = !self.high_availability && failure.code == ReasonCode::JobLost;
            assert!(is_possible, "{death:?}: {failure:?}");
            let says = ["file:/", "s3:/", "no checkpoint"].iter().any(|it| failure.message.contains(it));
            assert!(says, "{death:?}: it names no state: {}", failure.message);
            (ended, left) = self.lab.perform_while(Action::Release(next), &left);
        }
        assert_eq!(ended.outcome, Outcome::Done, "{death:?}: {:?}", ended.messages);
        assert!(left.is_empty(), "{death:?} did not happen");
        self.runs = Some(next);
        Some(ended)
    }

    /// Goes to the next version; whether it is done is for the caller to see.
    pub fn upgrade(&mut self) -> Ended {
        self.run_one();
        let [one, other, _] = self.releases;
        let next = if self.runs == Some(one) { other } else { one };
        let ended = self.lab.perform(Action::Release(next));
        self.runs = Some(next);
        ended
    }

    /// The order of the last upgrade once more, as when people were asked and resume.
    pub fn again(&mut self) -> Ended {
        let runs = self.runs.expect("there was an upgrade");
        self.lab.perform(Action::Release(runs))
    }

    /// A job runs, of another version than the one that is canceled for.
    fn run_one(&mut self) {
        let [one, _, canceling] = self.releases;
        if self.runs.is_none_or(|runs| runs == canceling) {
            let ended = self.lab.perform(Action::Release(one));
            assert_eq!(ended.outcome, Outcome::Done, "{:?}", ended.messages);
            self.runs = Some(one);
        }
    }

    /// No job runs, and nothing is known of one.
    fn end(&mut self) {
        if let Some(runs) = self.runs.take() {
            assert_eq!(self.lab.perform(Action::Stop(runs)).outcome, Outcome::Done);
        }
        self.lab.forget();
    }
}
