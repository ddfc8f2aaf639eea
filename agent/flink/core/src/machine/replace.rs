//! A restart, and another parallelism: the job is ended and begun again with the release that it runs already.
//!
//! Both take the steps of an upgrade to the same release, as its `upgrade` says: the job is left alone until everything is
//! there, stopped with a savepoint, and run from it. An order that finds its job begun already only judges it: a restart by
//! the id of its attempt, a scale by the parallelism in the ledger. So neither is done twice, whoever continues.
//!
//! A parallelism that was ordered stays with its release: restarts keep it, and the next release or rollback brings its own.

use std::borrow::Cow;

use trimaran_model::action::{Action, Failure};
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::FlinkRelease;

use super::phase::Phase;
use crate::call::Vertex;
use crate::ledger::{Scaled, Start};
use crate::preflight::widest;

impl Phase {
    /// Whether the order is about the release that runs already.
    pub(super) fn replaces_same(&self) -> bool {
        matches!(self.order.action, Action::Restart(_) | Action::Scale { .. })
    }

    /// Whether the job is what the order wants it to be, so that it is left running.
    pub(super) fn keeps_job(&self) -> bool {
        if !self.is_wanted(self.job().release) {
            return false;
        }
        match self.order.action {
            Action::Restart(_) => self.is_of_this_attempt(),
            Action::Scale { release, instances } => self.parallelism_of(release) == Some(instances),
            Action::Release(_) | Action::Restore(_) | Action::Verify | Action::Stop(_) => true,
        }
    }

    /// Why what runs is not restarted or scaled: another release does, or none ever did.
    pub(super) fn objection(&self) -> Option<String> {
        if !self.replaces_same() {
            return None;
        }
        let wanted = self.digest();
        let ledger = &self.kept.ledger;
        let of = match (&ledger.job, &ledger.next) {
            (Some(job), _) => job.release,
            // What an earlier job left: it is of that job's release.
            (None, Some(Start::From(state))) => state.of,
            (None, Some(Start::Empty)) => return None,
            (None, None) => {
                return Some("no job of this installation runs; deploy a release first".to_owned());
            }
        };
        let (of, other) = (of.short(), of != wanted);
        other.then(|| format!("the job is of release {of}, not of {}; deploy that one first", wanted.short()))
    }

    /// The parallelism that a job of the release has; `None`: as its program and the cluster say.
    fn parallelism_of(&self, release: Digest) -> Option<u32> {
        let scaled = self.kept.ledger.scaled.filter(|scaled| scaled.release == release);
        scaled.map(|scaled| scaled.parallelism).or_else(|| self.ordered()?.job.parallelism)
    }

    /// The release as it is run: with the parallelism that is ordered, or was.
    pub(super) fn to_run(&self) -> Cow<'_, FlinkRelease> {
        let release = self.release();
        let parallelism = match self.order.action {
            Action::Scale { instances, .. } => Some(instances),
            Action::Restart(digest) => self.parallelism_of(digest),
            Action::Release(_) | Action::Restore(_) | Action::Verify | Action::Stop(_) => {
                release.job.parallelism
            }
        };
        if release.job.parallelism == parallelism {
            return Cow::Borrowed(release);
        }
        let mut release = release.clone();
        release.job.parallelism = parallelism;
        Cow::Owned(release)
    }

    /// Remembers a parallelism with the job that gets it.
    pub(super) fn note_parallelism(&mut self) {
        match self.order.action {
            Action::Scale { release, instances } => {
                self.kept.ledger.scaled = Some(Scaled { release, parallelism: instances });
            }
            Action::Restart(_) => {}
            Action::Release(_) | Action::Restore(_) | Action::Verify | Action::Stop(_) => {
                self.kept.ledger.scaled = None;
            }
        }
    }

    /// Why a job can't have the parallelism that was ordered, before anything is asked.
    pub(super) fn bad_scale(&self) -> Option<Failure> {
        let Action::Scale { instances: 0, .. } = self.order.action else { return None };
        let message = "a job has a parallelism of at least 1; to end it, stop it".to_owned();
        Some(Failure { code: ReasonCode::OrderRefused, message, instance: None })
    }

    /// Why scaling would do nothing: a program may choose for itself.
    pub(super) fn ignored_scale(&self, plan: &[Vertex]) -> Option<Failure> {
        let Action::Scale { instances, .. } = self.order.action else { return None };
        let planned = widest(plan);
        if planned == instances {
            return None;
        }
        let message = format!(
            "the program chooses its parallelism itself: asked for {instances}, its plan has {planned}; change it in the program"
        );
        Some(Failure { code: ReasonCode::OrderRefused, message, instance: None })
    }
}
