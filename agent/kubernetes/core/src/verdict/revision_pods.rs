//! The pods of one revision together: how many of them must be doomed until the rollout is.

use trimaran_model::time::{Millis, Wall};

use super::cause::{Cause, EffectiveFrom};
use super::container::Unproven;
use super::context::Context;
use super::grace;
use super::pod::Pod;
use super::pod_report::{self, PodReport};
use super::{start_allowance, volume};
use crate::judgment::Evidence;
use crate::object::Object;

/// How many doomed pods doom the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// One: the controller waits for each pod after the other, or each pod has its own node.
    Any,
    /// One while none is ready, otherwise half of them.
    Most,
}

/// The pods of the current revision that are among the documents.
#[derive(Debug)]
pub(super) struct RevisionPods {
    reports: Vec<PodReport>,
    need: Need,
    /// How many pods of the revision there are, also those that are not among the documents.
    total: usize,
    /// How many of them are ready.
    ready: usize,
    warnings: Vec<String>,
    /// How long the slowest of the pods may take to start, and one of before to end.
    start_allowance: Millis,
}

impl RevisionPods {
    /// Pods that are replaced anyway are left out.
    pub(super) fn new<'a>(
        context: Context<'a>,
        pods: impl Iterator<Item = Object<'a>>,
        start: Option<Wall>,
        need: Need,
    ) -> Self {
        let pods = pods.map(|object| Pod::new(context, object, start));
        let reports: Vec<PodReport> =
            pods.filter(|pod| !pod.is_replaced()).map(|pod| pod_report::report(&pod)).collect();
        let ready = reports.iter().filter(|report| report.ready).count();
        let held = reports.iter().flat_map(|report| &report.causes).find(|it| volume::is_held_elsewhere(it));
        let warnings = held.map(|held| {
            format!(
                "{}: a rolling update never ends while the old pod holds the volume; use Recreate",
                held.message
            )
        });
        let start_allowance = reports.iter().map(|report| report.start_allowance).max().unwrap_or_default();
        let warnings = warnings.into_iter().collect();
        Self { total: reports.len(), ready, reports, need, warnings, start_allowance }
    }

    /// What the controller counts, where it is more than the documents show.
    pub(super) fn counted(mut self, total: Option<i64>, ready: Option<i64>) -> Self {
        let count =
            |reported: Option<i64>| reported.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        self.total = self.total.max(count(total));
        self.ready = self.ready.max(count(ready));
        self
    }

    /// Old pods that should be gone by now (their time of deletion includes the grace period).
    pub(super) fn warn_of_leftovers<'a>(
        mut self,
        context: Context<'a>,
        pods: impl Iterator<Item = Object<'a>>,
    ) -> Self {
        let all: Vec<Object<'a>> = pods.collect();
        let allowances = all.iter().filter_map(|pod| pod.at("spec")).map(start_allowance::of_pod_spec);
        self.start_allowance = allowances.fold(self.start_allowance, Millis::max);
        let stuck = all.into_iter().filter_map(|pod| {
            let due = pod.time("metadata.deletionTimestamp")?;
            (due + grace::TERMINATING <= context.now).then_some(pod)
        });
        self.warnings.extend(stuck.map(|pod| {
            let finalizers = pod.list("metadata.finalizers").iter().filter_map(|it| it.as_str());
            let finalizers = finalizers.collect::<Vec<_>>().join(", ");
            let why =
                if finalizers.is_empty() { String::new() } else { format!("; finalizers: {finalizers}") };
            format!("old_pods_terminating: pod {} is still there after its grace period{why}", pod.name())
        }));
        self
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The latest moment at which a pod was made or changed its readiness, while one is not ready. When all
    /// are ready, what is missing is not among the documents, and nothing shows since when.
    pub(super) fn moved(&self) -> Option<Wall> {
        let waiting = self.reports.iter().any(|report| !report.ready);
        self.reports.iter().filter(|_| waiting).filter_map(|report| report.moved).max()
    }

    /// No pod of the revision is among the documents.
    pub(super) fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }

    /// The pod that crashed a moment ago although it counts as ready; of several the one that takes longest to prove
    /// itself.
    pub(super) fn unproven(&self) -> Option<&Unproven> {
        let unproven = self.reports.iter().filter_map(|report| report.unproven.as_ref());
        unproven.max_by_key(|it| (it.until, std::cmp::Reverse(&it.message)))
    }

    /// What holds a pod back on purpose.
    pub(super) fn gate(&self) -> Option<&(String, Evidence)> {
        self.reports.iter().find_map(|report| report.gate.as_ref())
    }

    pub(super) fn start_allowance(&self) -> Millis {
        self.start_allowance
    }

    /// What the first pod without a cause says about itself.
    pub(super) fn note(&self) -> Option<&(String, Evidence)> {
        self.reports.iter().find_map(|report| report.note.as_ref())
    }

    /// The most telling cause with the time from which the rollout is doomed.
    pub(super) fn cause(&self) -> Option<Cause> {
        // A second end is as good as a loop when every pod of the revision shows it.
        let everywhere =
            self.reports.len() >= self.total && self.reports.iter().all(|report| report.ended_twice);
        let dooms: Vec<Vec<Cause>> = self.reports.iter().map(|report| dooms_of(report, everywhere)).collect();
        let mut times: Vec<i64> =
            dooms.iter().filter_map(|pod| pod.iter().map(|cause| cause.effective.order()).min()).collect();
        times.sort_unstable();
        let needed = match self.need {
            Need::Most if self.ready > 0 => self.total.div_ceil(2).max(1),
            Need::Any | Need::Most => 1,
        };
        let doomed = times.get(needed - 1).copied().unwrap_or(i64::MAX);
        let all = dooms.into_iter().flatten();
        let relevant = all.filter(|cause| doomed == i64::MAX || cause.effective.order() <= doomed);
        let worst =
            relevant.min_by_key(|cause| (cause.rank(), cause.effective.order(), cause.message.clone()))?;
        let effective =
            if doomed == i64::MAX { EffectiveFrom::Never } else { EffectiveFrom::At(Wall(doomed)) };
        Some(Cause { effective, ..worst })
    }
}

fn dooms_of(report: &PodReport, everywhere: bool) -> Vec<Cause> {
    let second = report.second_end.clone().map(|cause| {
        let effective = if everywhere { cause.effective } else { EffectiveFrom::Never };
        Cause { effective, ..cause }
    });
    report.causes.iter().cloned().chain(second).collect()
}
