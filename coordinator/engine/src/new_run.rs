//! New runs: an environments file compiled to a graph of stages, or the releases that a rollback brings back.

use trimaran_model::id::{Digest, Identity, PipelineName, RunId, StageName, StagePart};
use trimaran_model::pipeline::RollbackOn;
use trimaran_model::plan::{Plan, PlannedEnvironment, PlannedStage};
use trimaran_model::release::Artifact;
use trimaran_model::run::{RunKind, Status};
use trimaran_model::why::Why;

use crate::event::Event;
use crate::state::State;
use crate::state::pipeline::Pipeline;
use crate::state::run::Run;
use crate::state::stage::{
    Approve, ApproveState, Deploy, DeployState, Direction, Goal, Held, Kind, Need, Stage,
};

/// What a new run is made of.
pub(crate) struct NewRun {
    pub(crate) kind: RunKind,
    pub(crate) pipeline: PipelineName,
    /// The digest of its plan.
    pub(crate) plan: Digest,
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) by: Identity,
    pub(crate) comment: String,
    pub(crate) cause: Option<Why>,
    pub(crate) caused_by: Option<RunId>,
    pub(crate) stages: Vec<NewStage>,
}

pub(crate) struct NewStage {
    pub(crate) name: StageName,
    pub(crate) needs: Vec<Need>,
    pub(crate) kind: Kind,
}

/// Adds a run with its stages, all pending, and queues it.
pub(crate) fn create_run(state: &mut State, new: NewRun) -> RunId {
    let known = state.pipelines.get(&new.pipeline).cloned();
    let mut pipeline = known.unwrap_or(Pipeline { name: new.pipeline, source: None, runs: 0 });
    pipeline.runs += 1;
    let id = RunId { pipeline: pipeline.name.clone(), number: pipeline.runs };
    state.pipelines.put(pipeline);
    state.set_cluster(|cluster| cluster.sequence += 1);
    let not_settled = state.reason(Why::NotSettled);
    for (index, stage) in new.stages.into_iter().enumerate() {
        state.stages.put(Stage {
            run: id.clone(),
            index: u16::try_from(index).expect("limits of environments and targets keep stages below 2^16"),
            name: stage.name,
            needs: stage.needs,
            kind: stage.kind,
            reasons: vec![not_settled.clone()],
            started: None,
            finished: None,
        });
    }
    state.runs.put(Run {
        id: id.clone(),
        sequence: state.cluster().sequence,
        kind: new.kind,
        plan: new.plan,
        artifacts: new.artifacts,
        by: new.by,
        comment: new.comment,
        cause: new.cause,
        caused_by: new.caused_by,
        created: state.wall(),
        status: Status::Pending,
        finished: None,
        reasons: Vec::new(),
        rollback: None,
        canceled_by: None,
        revision: state.revision,
    });
    state.events.push(Event::Run { run: id.clone(), status: Status::Pending });
    state.wake(&id);
    id
}

/// The stages of a plan: of each environment its approval, and a deploy for each target.
pub(crate) fn stages_of_plan(plan: &Plan) -> Vec<NewStage> {
    let mut stages = Vec::new();
    for environment in &plan.environments {
        let name = |part| StageName { environment: environment.name.clone(), part };
        let after = environment.after.iter().cloned();
        let mut needs: Vec<Need> = after.map(|environment| Need::Environment { environment }).collect();
        if let Some(approve) = &environment.approve {
            let (options, timeout) = (approve.options.clone(), approve.timeout);
            let approve = Approve { options, timeout, state: ApproveState::Held { held: Held::Pending } };
            let (stage, kind) = (name(StagePart::Approve), Kind::Approve { approve });
            stages.push(NewStage { name: stage.clone(), needs: needs.clone(), kind });
            needs.push(Need::Stage { stage });
        }
        for planned in &environment.stages {
            let name = name(StagePart::Deploy(planned.target.clone()));
            let deploy = deploy_of(environment, planned);
            stages.push(NewStage { name, needs: needs.clone(), kind: Kind::Deploy { deploy } });
        }
    }
    stages
}

fn deploy_of(environment: &PlannedEnvironment, planned: &PlannedStage) -> Deploy {
    Deploy {
        target: planned.target.clone(),
        release: planned.release_digest,
        goal: Goal::Release,
        bake: planned.bake,
        batches: planned.batches.clone(),
        rollback_on_health: environment.rollback_on.contains(&RollbackOn::Health),
        scope: environment.scope,
        direction: Direction::Forward,
        restore_from: None,
        attempt: None,
        state: DeployState::Held { held: Held::Pending },
    }
}
