//! What a restore from a backup left to decide: what runs may be newer than this state.
//!
//! While the cluster itself is undecided it only observes: agents are refused, and nothing is ordered. Then each installation
//! waits for a user who says whether what runs is right or what the state has, and each live run for one who resumes or
//! cancels it. An installation that is undecided gets no order, no agent knows what should run there, and no bake of it ends.
//!
//! Not here: the commands that decide (`command::decide`), and how a run is held (`settle::restored`).

use trimaran_model::id::{InstallationId, RunId};
use trimaran_model::time::WallTime;

use super::State;
use super::cluster::{ALARM_RESTORED, AlarmDetail, AlarmSubject};

/// One thing to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    pub subject: UndecidedSubject,
    /// When the backup was restored, in the wall time of the state.
    pub since: WallTime,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum UndecidedSubject {
    /// Whether it is this cluster that goes on.
    Cluster,
    Installation {
        installation: InstallationId,
    },
    Run {
        run: RunId,
    },
}

impl State {
    /// Whether nothing is ordered at all.
    pub(crate) fn observes(&self) -> bool {
        self.undecided.get(&UndecidedSubject::Cluster).is_some()
    }

    pub(crate) fn is_undecided(&self, installation: &InstallationId) -> bool {
        // A restore is rare, so that most states answer without a key.
        !self.undecided.is_empty()
            && self
                .undecided
                .get(&UndecidedSubject::Installation { installation: installation.clone() })
                .is_some()
    }

    /// Whether a user has to say what is right of the installation before anything works there. Where the state has no
    /// release to bring back, whoever resumes the run that works there says it.
    pub(crate) fn asks_user(&self, installation: &InstallationId) -> bool {
        let knows_release = self.installations.get(installation).is_some_and(|it| it.current.is_some());
        knows_release && self.is_undecided(installation)
    }

    /// Whether the run was live in the backup and waits for a user since.
    pub(crate) fn is_held(&self, run: &RunId) -> bool {
        !self.undecided.is_empty()
            && self.undecided.get(&UndecidedSubject::Run { run: run.clone() }).is_some()
    }

    /// Adds what is to be decided, and says so with an alarm.
    pub(crate) fn leave_undecided(&mut self, subjects: Vec<UndecidedSubject>) {
        let since = self.wall();
        subjects.into_iter().for_each(|subject| self.undecided.put(Undecided { subject, since }));
        self.alarm_undecided();
    }

    /// It is decided, and who waited for that is queued; nothing happens where it was.
    pub(crate) fn decide(&mut self, subject: &UndecidedSubject) {
        if self.undecided.remove(subject).is_some() {
            self.alarm_undecided();
            if let UndecidedSubject::Installation { installation } = subject {
                self.wake_target(&installation.target);
            }
        }
    }

    /// One alarm says what is left, until nothing is.
    fn alarm_undecided(&mut self) {
        let count = |wanted: fn(&UndecidedSubject) -> bool| {
            u32::try_from(self.undecided.iter().filter(|it| wanted(&it.subject)).count()).unwrap_or(u32::MAX)
        };
        let detail = AlarmDetail::Restored {
            observes: self.observes(),
            installations: count(|it| matches!(it, UndecidedSubject::Installation { .. })),
            runs: count(|it| matches!(it, UndecidedSubject::Run { .. })),
        };
        match self.undecided.is_empty() {
            true => self.clear_alarm(AlarmSubject::Cluster, ALARM_RESTORED),
            false => self.raise_alarm(AlarmSubject::Cluster, ALARM_RESTORED, detail),
        }
    }
}
