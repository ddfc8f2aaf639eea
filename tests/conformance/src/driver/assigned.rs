//! The driver of Kubernetes as an agent runs it, over the cluster of [`super::kubernetes`]: orders are assignments whose
//! release has to be loaded first.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_agent_core::driver::Journaled as _;
use trimaran_kubernetes_driver::{Answered, Ask, Assigned, AssignedPhase, Goal, Loaded, Observation, Query};
use trimaran_model::action::{Action, Commit, Wave};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{Attempt, Digest};
use trimaran_model::pipeline::OnConflict;
use trimaran_model::release::{Content, KubernetesRelease, Release, ReleaseWorkload};
use trimaran_model::target::PlatformKind;
use trimaran_model::time::{Millis, Timestamp};

use super::kubernetes::KubernetesModel;
use super::{Finished, Model, Which};

pub struct AssignedModel {
    cluster: KubernetesModel,
    /// How often the release can't be had at first.
    failures: u32,
}

impl AssignedModel {
    pub fn new() -> Self {
        Self { cluster: KubernetesModel::new(), failures: 1 }
    }

    /// One whose orders restart and scale what runs.
    pub fn adjusting() -> Self {
        Self { cluster: KubernetesModel::adjusting(), failures: 1 }
    }
}

impl Default for AssignedModel {
    fn default() -> Self {
        Self::new()
    }
}

fn release(digest: Digest) -> Release {
    let workload = KubernetesRelease {
        objects: Content { digest: Digest([9; 32]), bytes: 2 },
        manifests: None,
        images: BTreeMap::new(),
        stability: Millis::seconds(3),
        on_conflict: OnConflict::Refuse,
    };
    Release {
        pipeline: "web".parse().expect("a name"),
        target: "tokyo".parse().expect("a name"),
        version: digest.to_string(),
        workload: ReleaseWorkload::Kubernetes(workload),
    }
}

impl Model for AssignedModel {
    type Driver = Assigned;

    fn driver(&self) -> &Assigned {
        &Assigned
    }

    fn order(&self, which: Which, committed: Option<Commit>) -> Assignment {
        let order = self.cluster.order(which, committed);
        let digest = order.goal.digest();
        Assignment {
            id: order.assignment,
            fence: order.fence,
            installation: order.installation,
            run: "web#1".parse().expect("a run"),
            stage: "prod/tokyo".parse().expect("a stage"),
            attempt: Attempt(1),
            platform: PlatformKind::Kubernetes,
            action: match order.goal {
                Goal::Restart(_) => Action::Restart(digest),
                Goal::Scale(_, instances) => Action::Scale { release: digest, instances },
                Goal::Release(_) => Action::Release(digest),
                Goal::Restore(_) | Goal::Verify(_) | Goal::Stop(_) => Action::Restore(digest),
            },
            release: Some(release(digest)),
            wave: Wave { target_count: 1, ..Wave::default() },
            hosts: BTreeSet::new(),
            retained: order.retained,
            committed: order.committed,
            restore_from: None,
        }
    }

    fn save(&self, phase: &AssignedPhase) -> Vec<u8> {
        Assigned.save(phase)
    }

    fn load(&self, order: &Assignment, bytes: &[u8]) -> AssignedPhase {
        Assigned.load(order, bytes).expect("it was saved by the same driver")
    }

    fn call(&mut self, now: Timestamp, which: Which, ask: Ask) -> Result<(Answered, Millis), String> {
        match ask {
            Ask::Cluster(call) => {
                let (reply, takes) = self.cluster.call(now, which, call)?;
                Ok((Answered::Cluster(reply), takes))
            }
            Ask::Load { digest, .. } => {
                let goal = self.cluster.order(which, None).goal;
                let release = match goal {
                    Goal::Release(release) | Goal::Restore(release) | Goal::Restart(release) => release,
                    Goal::Scale(release, _) => release,
                    Goal::Verify(_) | Goal::Stop(_) => {
                        return Err("the model's orders have releases".to_owned());
                    }
                };
                if release.digest != digest {
                    return Err(format!("release {digest} is asked for, which no order names"));
                }
                let loaded = match self.failures.checked_sub(1) {
                    Some(left) => {
                        self.failures = left;
                        Loaded::Unavailable { message: "no coordinator can be reached".to_owned() }
                    }
                    None => Loaded::Release(release),
                };
                Ok((Answered::Loaded(loaded), Millis(40)))
            }
        }
    }

    fn watch(&mut self, query: Query) {
        self.cluster.watch(query);
    }

    fn observations(&mut self, now: Timestamp) -> Vec<Observation> {
        self.cluster.observations(now)
    }

    fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.cluster.next_change(now)
    }

    fn crashed(&mut self) {
        self.cluster.crashed();
    }

    fn is_covered(&self, durable: Option<&AssignedPhase>, ask: &Ask) -> bool {
        match ask {
            Ask::Load { .. } => true,
            Ask::Cluster(call) => {
                !self.cluster.starts(call) || durable.is_some_and(|phase| phase.covers(ask))
            }
        }
    }

    fn needs_lease(&self, ask: &Ask) -> bool {
        matches!(ask, Ask::Cluster(call) if self.cluster.needs_lease(call))
    }

    fn starts(&self, ask: &Ask) -> bool {
        matches!(ask, Ask::Cluster(call) if self.cluster.starts(call))
    }

    fn verify(&self, finished: &Finished, _: &AssignedPhase) -> Result<(), String> {
        self.cluster.verify_objects(finished)
    }
}
