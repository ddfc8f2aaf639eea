//! Which goals are taken: decided by the fence alone.

use trimaran_model::assignment::HostGoal;
use trimaran_model::id::{AssignmentId, Fence};

/// The answer to a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Larger than everything seen, or the operation that an assignment has prepared.
    Take,
    /// The goal that is known already: nothing has to be done.
    Same,
    /// A larger fence was seen.
    Lower { largest: Fence },
    /// The same fence with another assignment: someone counts wrong, or speaks for another cluster.
    Mismatch { assignment: AssignmentId },
}

/// Compares a goal with the last one accepted.
pub fn admit(known: Option<&HostGoal>, goal: &HostGoal) -> Admission {
    let Some(known) = known else { return Admission::Take };
    match goal.fence.cmp(&known.fence) {
        std::cmp::Ordering::Greater => Admission::Take,
        std::cmp::Ordering::Less => Admission::Lower { largest: known.fence },
        std::cmp::Ordering::Equal if goal.assignment == known.assignment => {
            if goal.action.is_disruptive() && !known.action.is_disruptive() {
                Admission::Take
            } else {
                Admission::Same
            }
        }
        std::cmp::Ordering::Equal => Admission::Mismatch { assignment: known.assignment },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use trimaran_model::assignment::{HostAction, HostOrder};
    use trimaran_model::id::{
        ArtifactName, Attempt, Digest, InstallationId, PipelineName, RunId, ServiceName, TargetName,
    };
    use trimaran_model::pipeline::{
        HealthCheck, Lifecycle, Probe, Process, Restart, RestartOn, Stop, StopSignal,
    };
    use trimaran_model::release::{Artifact, ArtifactLocation, HostRelease, Release, ReleaseWorkload};
    use trimaran_model::time::Millis;

    fn goal(fence: u64, assignment: u64, action: HostAction) -> HostGoal {
        let pipeline = PipelineName::new("web").expect("a name");
        HostGoal {
            service: ServiceName::from(&pipeline),
            run: RunId { pipeline: pipeline.clone(), number: 1 },
            installation: InstallationId { pipeline, target: TargetName::new("lab").expect("a name") },
            assignment: AssignmentId(assignment),
            fence: Fence(fence),
            attempt: Attempt(1),
            action,
            retained: BTreeSet::new(),
        }
    }

    fn order() -> HostOrder {
        let known = goal(1, 1, HostAction::Verify).installation;
        let release = Release {
            pipeline: known.pipeline,
            target: known.target,
            version: "v1".to_owned(),
            workload: ReleaseWorkload::Host(HostRelease {
                bundle: Artifact {
                    name: ArtifactName::new("bundle").expect("a name"),
                    version: "v1".to_owned(),
                    sha256: Digest([2; 32]),
                    location: ArtifactLocation::Path("/web.tar".to_owned()),
                },
                process: Process::new(
                    vec!["web".to_owned()],
                    Stop { signal: StopSignal::Term, grace: Millis(1) },
                    Restart { on: RestartOn::Never, delay: Millis(1), max: 1, per: Millis(1) },
                ),
                health: HealthCheck::ready(Probe::get(1, "/", Millis(1), Millis(1)), Millis(1), Millis(2)),
                lifecycle: Lifecycle::default(),
            }),
        };
        HostOrder { digest: Digest([1; 32]), release }
    }

    #[test]
    fn the_larger_fence_wins_and_an_equal_one_is_the_same_assignment() {
        let stop = || HostAction::Stop { only: Digest([1; 32]) };
        let known = goal(5, 50, stop());
        assert_eq!(admit(None, &known), Admission::Take);
        assert_eq!(admit(Some(&known), &goal(6, 60, stop())), Admission::Take);
        assert_eq!(admit(Some(&known), &goal(5, 50, stop())), Admission::Same);
        let lower = Admission::Lower { largest: Fence(5) };
        assert_eq!(admit(Some(&known), &goal(4, 99, stop())), lower);
        let preparation = goal(5, 50, HostAction::Prepare(order()));
        assert_eq!(admit(Some(&preparation), &goal(5, 50, HostAction::Apply(order()))), Admission::Take);
        assert_eq!(admit(Some(&goal(5, 50, HostAction::Apply(order()))), &preparation), Admission::Same);
        let mismatch = Admission::Mismatch { assignment: AssignmentId(50) };
        assert_eq!(admit(Some(&known), &goal(5, 51, stop())), mismatch);
    }
}
