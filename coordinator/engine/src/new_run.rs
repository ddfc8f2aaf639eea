//! New runs: of a deploy, and of a rollback.

use std::sync::Arc;

use trimaran_model::reason::ReasonCode;
use trimaran_model::run::{RunKind, Status};
use trimaran_wire::v1::common::WireRun;
use trimaran_wire::v1::plan::WirePlan;
use trimaran_wire::v1::row;

use crate::event::Event;
use crate::state::State;

/// What a new run is made of.
pub(crate) struct NewRun<'a> {
    pub(crate) kind: RunKind,
    pub(crate) plan: &'a WirePlan,
    pub(crate) by: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) caused_by: Option<WireRun>,
}

/// Adds a run with its stages, all pending, and queues it.
pub(crate) fn create_run(state: &mut State, new: NewRun<'_>) -> WireRun {
    let name = new.plan.pipeline.clone();
    let mut pipeline = state.pipelines.get(&name).cloned().unwrap_or(row::Pipeline {
        name: name.clone(),
        source: None,
        runs: 0,
    });
    pipeline.runs += 1;
    let id = WireRun { pipeline: name, number: pipeline.runs };
    state.pipelines.put(pipeline);
    state.set_meta(|meta| meta.sequence += 1);
    let queued = state.waits(ReasonCode::Settle, "the scheduler has not looked at it yet");
    let mut stages = Vec::new();
    for environment in &new.plan.environments {
        let blank = |target| row::Stage {
            environment: environment.name.clone(),
            target,
            status: Status::Pending.as_str().to_owned(),
            reasons: vec![queued.clone()],
            ..row::Stage::default()
        };
        if environment.approve.is_some() {
            stages.push(blank(None));
        }
        for stage in &environment.stages {
            stages.push(blank(Some(stage.target.clone())));
            state
                .releases
                .put(row::ReleaseRow { digest: stage.release_digest, release: stage.release.clone() });
        }
    }
    let run = row::Run {
        id: id.clone(),
        sequence: state.meta().sequence,
        kind: new.kind.as_str().to_owned(),
        status: Status::Pending.as_str().to_owned(),
        plan: Arc::new(new.plan.clone()),
        by: new.by.to_owned(),
        reason: new.reason.to_owned(),
        created_ms: state.wall().0,
        finished_ms: None,
        reasons: Vec::new(),
        stages,
        rollback: None,
        caused_by: new.caused_by,
        canceled_by: None,
        revision: state.revision,
    };
    state.runs.put(run);
    state.events.push(Event::Run { run: id.clone(), status: Status::Pending.as_str().to_owned() });
    state.wake(&id);
    id
}
