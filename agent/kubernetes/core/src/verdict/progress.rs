//! The conclusion that all workloads share: what their status says, what their pods show, and a deadline.

use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Wall};

use super::cause::{Cause, EffectiveFrom, field_evidence};
use super::context::Context;
use super::revision_pods::RevisionPods;
use super::{grace, start_allowance};
use crate::judgment::{Evidence, Judgment, Source};
use crate::object::Object;

/// Why the status of an object is not healthy yet.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) reason: ReasonCode,
    pub(super) message: String,
    pub(super) evidence: Evidence,
}

impl Pending {
    pub(super) fn new(reason: ReasonCode, message: impl Into<String>, evidence: Evidence) -> Self {
        Self { reason, message: message.into(), evidence }
    }

    /// What is only suspected, as the thing that is waited for.
    fn from_cause(subject: Object<'_>, cause: &Cause) -> Self {
        let evidence = cause.evidence.first().cloned();
        let evidence = evidence.unwrap_or_else(|| field_evidence(subject, "status", "not healthy", None));
        Self::new(cause.reason, cause.message.clone(), evidence)
    }
}

/// Everything that the verdict of a rollout rests on.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    subject: Object<'a>,
    pods: RevisionPods,
    /// `None` when the status is as it has to be.
    pub(super) pending: Option<Pending>,
    /// What the object itself shows; each is enough to fail.
    pub(super) own: Vec<Cause>,
    /// The controller gave up.
    pub(super) failed: Option<Cause>,
    /// Without further progress the rollout has failed at this time.
    pub(super) deadline: Option<Wall>,
    /// When a missed deadline stops to count; `None` for never.
    missed_until: Option<Wall>,
    /// When time alone ends what is waited for.
    recheck: Option<Wall>,
    pub(super) healthy: String,
    pub(super) warnings: Vec<String>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(subject: Object<'a>, pods: RevisionPods) -> Self {
        Self {
            subject,
            pods,
            pending: None,
            own: Vec::new(),
            failed: None,
            deadline: None,
            missed_until: None,
            recheck: None,
            healthy: String::new(),
            warnings: Vec::new(),
        }
    }

    /// The default deadline: from the last progress that the pods show, or from `began` when no pod is among
    /// the documents. A young object of generation 1, which was never changed, began with its creation. Nothing
    /// else shows since when an object pending, and then there is none.
    pub(super) fn set_default_deadline(&mut self, context: Context<'_>, began: Option<Wall>) {
        let alone = self.pods.is_empty();
        let first = began.is_none() && alone && self.subject.count("metadata.generation") == Some(1);
        let young = self.subject.created().filter(|at| first && *at + grace::FIRST_ROLLOUT > context.now);
        let began = if alone { began.or(young) } else { self.pods.moved() };
        let allowance = self.start_allowance();
        self.deadline = began.max(context.since).map(|began| began + grace::PROGRESS + allowance);
        self.missed_until = young.filter(|_| context.since.is_none()).map(|at| at + grace::FIRST_ROLLOUT);
    }

    /// How long its pods may take to start, as the template and the pods themselves say.
    pub(super) fn start_allowance(&self) -> Millis {
        start_allowance::of_workload(self.subject).max(self.pods.start_allowance())
    }

    /// The same without the time for which a pod must be ready, which a deadline of the spec includes.
    pub(super) fn pod_allowance(&self) -> Millis {
        start_allowance::of_template(self.subject).max(self.pods.start_allowance())
    }

    pub(super) fn moved(&self) -> Option<Wall> {
        self.pods.moved()
    }

    pub(super) fn judge(mut self, context: Context<'_>) -> Judgment {
        let warnings: Vec<String> = self.pods.warnings().iter().chain(&self.warnings).cloned().collect();
        let judgment = self.conclude(context);
        warnings.into_iter().fold(judgment, Judgment::warn)
    }

    fn conclude(&mut self, context: Context<'_>) -> Judgment {
        self.distrust();
        let pods = self.pods.cause();
        // A status that is complete may be older than its pods, but only a crash can have come later.
        let pods = pods.filter(|cause| self.pending.is_some() || is_crash(cause));
        let mut causes: Vec<Cause> = std::mem::take(&mut self.own).into_iter().chain(pods).collect();
        causes.sort_by_key(|cause| (cause.rank(), cause.effective.order(), cause.message.clone()));
        let certain = causes.iter().position(|cause| cause.effective.is_effective(context.now));
        if let Some(certain) = certain {
            return causes.swap_remove(certain).degraded();
        }
        let suspicion = causes.iter().min_by_key(|cause| cause.effective.order()).cloned();
        if let Some((gate, evidence)) = self.pods.gate().cloned() {
            return held(self.pending.take(), &gate, evidence);
        }
        if let Some(failed) = self.failed.take() {
            return explained(failed, suspicion, self.pods.note()).degraded();
        }
        let waits = match (self.pending.take(), &suspicion) {
            (Some(pending), _) => pending,
            // A failure that was not taken back, also one without a time, keeps a complete status from healthy.
            (None, Some(cause)) => Pending::from_cause(self.subject, cause),
            (None, None) => {
                return Judgment { message: std::mem::take(&mut self.healthy), ..Judgment::healthy() };
            }
        };
        let deadline = self.deadline;
        if deadline.is_some_and(|deadline| deadline <= context.now) {
            return self.missed(waits, suspicion);
        }
        let judgment = match suspicion {
            Some(suspicion) => suspicion.progressing(),
            None => self.described(waits),
        };
        [deadline, self.recheck].into_iter().flatten().fold(judgment, Judgment::recheck_at)
    }

    /// A pod that counts as ready between two crashes keeps the workload from healthy.
    fn distrust(&mut self) {
        let Some(unproven) = self.pods.unproven().filter(|_| self.pending.is_none()) else { return };
        self.recheck = Some(unproven.until);
        self.pending =
            Some(Pending::new(ReasonCode::NotReady, unproven.message.clone(), unproven.evidence.clone()));
    }

    fn missed(&self, waits: Pending, suspicion: Option<Cause>) -> Judgment {
        let message =
            format!("{} made no progress before its deadline: {}", self.subject.display(), waits.message);
        let missed = Cause::new(ReasonCode::ProgressDeadline, EffectiveFrom::IMMEDIATELY, message)
            .with(waits.evidence);
        explained(Cause { until: self.missed_until, ..missed }, suspicion, self.pods.note()).degraded()
    }

    /// What the status lacks, and what only an event says about it.
    fn described(&self, waits: Pending) -> Judgment {
        let of_event = |(_, evidence): &&(String, Evidence)| matches!(evidence.source, Source::Event(_));
        match self.pods.note().filter(of_event) {
            Some((note, evidence)) if !waits.message.contains(note.as_str()) => {
                let message = format!("{}; {note}", waits.message);
                Judgment::progressing(waits.reason, message).with(waits.evidence).with(evidence.clone())
            }
            _ => Judgment::progressing(waits.reason, waits.message).with(waits.evidence),
        }
    }
}

/// A pod behind a scheduling gate waits on purpose, for as long as the controller of the gate wants.
fn held(pending: Option<Pending>, gate: &str, evidence: Evidence) -> Judgment {
    let message = match &pending {
        Some(pending) => format!("{}; {gate}", pending.message),
        None => gate.to_owned(),
    };
    let judgment = Judgment::progressing(ReasonCode::NotReady, message).with(evidence);
    let judgment = pending.into_iter().fold(judgment, |judgment, it| judgment.with(it.evidence));
    Judgment { is_held: true, ..judgment }
}

fn is_crash(cause: &Cause) -> bool {
    matches!(cause.reason, ReasonCode::CrashLoop | ReasonCode::OomKilled | ReasonCode::ProbeKill)
        && cause.effective != EffectiveFrom::Never
}

/// A missed deadline with the cause that was suspected all along, or with what a pod says about itself.
fn explained(failed: Cause, suspicion: Option<Cause>, note: Option<&(String, Evidence)>) -> Cause {
    match (suspicion, note) {
        (Some(cause), _) => Cause {
            reason: cause.reason,
            fault: cause.fault,
            message: if failed.message.contains(&cause.message) {
                failed.message
            } else {
                format!("{}; {}", failed.message, cause.message)
            },
            evidence: cause.evidence.into_iter().chain(failed.evidence).collect(),
            ..failed
        },
        (None, Some((words, evidence))) => {
            Cause { message: format!("{}; {words}", failed.message), ..failed }.with(evidence.clone())
        }
        (None, None) => failed,
    }
}
