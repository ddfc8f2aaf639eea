//! Reads: linearizable, from a read view, with the soft state of this member merged in.

use std::net::IpAddr;
use std::str::FromStr;

use trimaran_model::action::InstanceReport;
use trimaran_model::error_code;
use trimaran_model::id::{AssignmentId, Digest, Identity, Incarnation, InvalidName};
use trimaran_model::run::InstanceStatus;
use trimaran_model::time::WallTime;
use trimaran_query as query;
use trimaran_wire::document::{
    MachineDocument, PlanDocument, RefusedDocument, RunDocument, SourceDocument, TargetList, Why, rfc3339,
};
use trimaran_wire::v1::agent::RefusedCounts;
use trimaran_wire::v1::assignment::WireInstance;
use trimaran_wire::v1::operator::{DeployRequest, OperatorBody, OperatorReply, Refusal};

use super::deploy::{self, stored_source};
use super::reply::{Answer, document, refusal, run_id, wait_linearizable};
use super::{live_reason, refused, status, unknown_assignments};
use crate::peer::refresh_sessions;
use crate::rows::{Rows, View};
use crate::server::Server;

/// Answers a read. `reached` is the address of this host that the asker dialed.
pub(super) async fn read(
    server: &Server,
    identity: &Identity,
    reached: Option<IpAddr>,
    body: OperatorBody,
) -> Answer {
    if let OperatorBody::ClusterStatus = body {
        return status::cluster(server, identity, reached).await;
    }
    let (body, stale) = match body {
        OperatorBody::Stale(read) => (OperatorBody::from(read), true),
        body => {
            wait_linearizable(server, false).await?;
            (body, false)
        }
    };
    if shows_sessions(&body) {
        refresh_sessions(server).await;
    }
    let reader = server.clone();
    let read = move || {
        View::new(&reader.node).read(|rows| {
            let answer = from_rows(&reader, rows, &body)?;
            Ok(if stale { with_as_of(answer, query::cluster(rows).wall()) } else { answer })
        })
    };
    server.reads.run(identity, read).await?
}

/// A document that says as of when it is.
fn with_as_of(answer: OperatorReply, wall: WallTime) -> OperatorReply {
    let OperatorReply::Document { revision, json } = answer else { return answer };
    let json = match serde_json::from_str(&json) {
        Ok(serde_json::Value::Object(mut document)) => {
            document.insert("as_of".to_owned(), rfc3339(wall).into());
            serde_json::Value::Object(document).to_string()
        }
        Ok(_) | Err(_) => json,
    };
    OperatorReply::Document { revision, json }
}

/// Whether what agents report of themselves is part of the answer.
fn shows_sessions(body: &OperatorBody) -> bool {
    matches!(
        body,
        OperatorBody::RunShow { .. }
            | OperatorBody::Why { .. }
            | OperatorBody::Status { .. }
            | OperatorBody::AgentList
            | OperatorBody::RunnerList
    )
}

fn from_rows(server: &Server, rows: &Rows<'_>, body: &OperatorBody) -> Answer {
    let revision = rows.revision();
    Ok(match body {
        OperatorBody::RunShow { run } => document(revision, &run_document(server, rows, run)?),
        OperatorBody::RunList { pipeline, limit } => {
            if let Some(pipeline) = pipeline {
                stored_source(rows, pipeline)?;
            }
            document(revision, &query::runs(rows, named(pipeline.as_deref())?.as_ref(), *limit as usize))
        }
        OperatorBody::Why { run, stage } => {
            document(revision, &why_document(server, rows, run, stage.as_deref())?)
        }
        OperatorBody::Status { pipeline } => {
            if let Some(pipeline) = pipeline {
                stored_source(rows, pipeline)?;
            }
            let in_flight = |assignment| hosts_in_flight(server, assignment);
            let status = query::status(rows, named(pipeline.as_deref())?.as_ref(), &in_flight);
            document(revision, &unknown_assignments::status(server, status))
        }
        OperatorBody::History { pipeline, environment, limit } => {
            let source = stored_source(rows, pipeline)?;
            if let Some(environment) = environment {
                deploy::check_environment(rows, &source, environment)?;
            }
            let (pipeline, environment) = (name(pipeline)?, named(environment.as_deref())?);
            document(revision, &query::history(rows, &pipeline, environment.as_ref(), *limit as usize))
        }
        OperatorBody::PipelineSource { pipeline } => {
            let source = stored_source(rows, pipeline)?;
            document(
                revision,
                &SourceDocument { pipeline: source.pipeline, file: source.file, text: source.text },
            )
        }
        OperatorBody::TargetList { name } => document(revision, &target_list(rows, name.as_deref())?),
        OperatorBody::AgentList => {
            let mut list = query::agents(rows);
            list.agents.iter_mut().for_each(|agent| add_session(server, agent));
            document(revision, &list)
        }
        OperatorBody::RunnerList => {
            let mut list = query::runners(rows);
            list.runners.iter_mut().for_each(|runner| add_runner_session(server, runner));
            document(revision, &list)
        }
        OperatorBody::AuditList { since_seq, limit } => {
            document(revision, &query::audit(rows, *since_seq, *limit as usize))
        }
        OperatorBody::Plan(request) => document(revision, &plan_document(rows, request)?),
        OperatorBody::RollbackPlan { pipeline, environment, to } => {
            let to = to.as_deref().map(|to| find_release(rows, pipeline, to)).transpose()?;
            document(revision, &query::rollback_plan(rows, &name(pipeline)?, &name(environment)?, to))
        }
        OperatorBody::ClusterStatus
        | OperatorBody::Stale(_)
        | OperatorBody::Watch { .. }
        | OperatorBody::Backup
        | OperatorBody::Logs { .. } => {
            return Err(refusal(error_code::BUG, "this request is answered elsewhere"));
        }
        _ => {
            return Err(refusal(
                error_code::REQUEST_ID,
                "a request that changes something needs a request id",
            ));
        }
    })
}

fn plan_document(rows: &Rows<'_>, request: &DeployRequest) -> Result<PlanDocument, Refusal> {
    let planned = deploy::compile(rows, request)?;
    let mut plan = query::plan(rows, &planned.plan, &request.overrides);
    plan.warnings.extend(planned.warnings);
    Ok(plan)
}

/// Why a run, or one stage of it, does not move, with what this member knows of agents.
fn why_document(server: &Server, rows: &Rows<'_>, run: &str, stage: Option<&str>) -> Result<Why, Refusal> {
    let id = run_id(run)?;
    let why = query::why(rows, &id, stage).ok_or_else(|| no_run(run))?;
    if let Some(stage) = stage.filter(|_| why.stages.is_empty()) {
        return Err(refusal(error_code::NOT_FOUND, format!("`{run}` has no stage `{stage}`")));
    }
    let why = live_reason::why(server, rows, why);
    let why = unknown_assignments::why(server, rows, &id, why);
    Ok(refused::why(server, rows, &id, why))
}

fn target_list(rows: &Rows<'_>, name: Option<&str>) -> Result<TargetList, Refusal> {
    let list = query::targets(rows, name);
    match name.filter(|_| list.targets.is_empty()) {
        Some(name) => Err(refusal(error_code::NOT_FOUND, format!("there is no target `{name}`"))),
        None => Ok(list),
    }
}

/// Reads a name of the request.
fn name<T: FromStr<Err = InvalidName>>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error: InvalidName| refusal(error_code::USAGE, error.to_string()))
}

/// Reads a name that may be absent.
fn named<T: FromStr<Err = InvalidName>>(text: Option<&str>) -> Result<Option<T>, Refusal> {
    text.map(name).transpose()
}

fn no_run(run: &str) -> Refusal {
    refusal(error_code::NOT_FOUND, format!("there is no run `{run}`"))
}

/// The run with the live progress of its stages.
pub(super) fn run_document(server: &Server, rows: &Rows<'_>, run: &str) -> Result<RunDocument, Refusal> {
    let id = run_id(run)?;
    let mut document = query::run(rows, &id).ok_or_else(|| no_run(run))?;
    let now = server.node.wall();
    let soft_state = server.soft_state.lock();
    for (stage, assignment) in query::live_assignments(rows, &id) {
        let Some(progress) = soft_state.progress_of(assignment.0) else { continue };
        let Some(stage) = document.stages.iter_mut().find(|it| it.name == stage.to_string()) else {
            continue;
        };
        let reports: Result<Vec<InstanceReport>, _> =
            progress.instances.iter().cloned().map(TryInto::try_into).collect();
        let target = stage.target.as_deref().and_then(|target| target.parse().ok());
        stage.instances = query::instances(rows, target.as_ref(), &reports.unwrap_or_default());
        stage.reasons.extend(live_reason::of(rows, stage.target.as_deref(), progress, now));
        for instance in &mut stage.instances {
            instance.since = soft_state.times.since(assignment.0, &instance.name).map(rfc3339);
        }
        if let Some(wave) = &mut stage.wave {
            (wave.done, wave.total) = (progress.done, progress.total);
        }
    }
    Ok(document)
}

/// Hosts that do not serve because of a live assignment, by its last progress.
fn hosts_in_flight(server: &Server, assignment: AssignmentId) -> u32 {
    let soft_state = server.soft_state.lock();
    let instances = soft_state.progress_of(assignment.0).map(|progress| progress.instances.as_slice());
    let away = |it: &&WireInstance| {
        let status = InstanceStatus::ALL.into_iter().find(|status| status.as_str() == it.status);
        matches!(
            status,
            Some(
                InstanceStatus::Updating
                    | InstanceStatus::Broken
                    | InstanceStatus::Lost
                    | InstanceStatus::Stopped
            )
        )
    };
    let count = instances.unwrap_or_default().iter().filter(away).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A release of this pipeline by digest, its first digits, or version.
pub(super) fn find_release(rows: &Rows<'_>, pipeline: &str, text: &str) -> Result<Digest, Refusal> {
    let matching = query::releases_starting(rows, &name(pipeline)?, text);
    match matching.as_slice() {
        [one] if text.len() >= 6 => Ok(one.digest),
        [] => Err(refusal(error_code::NOT_FOUND, format!("no release of `{pipeline}` starts with `{text}`"))),
        _ => Err(refusal(error_code::USAGE, format!("`{text}` is not enough to name one release"))),
    }
}

fn add_session(server: &Server, agent: &mut MachineDocument) {
    if let Some(soft_state) = server.soft_state.lock().connected(&agent.name) {
        agent.state = "connected".to_owned();
        agent.address = Some(soft_state.address);
        agent.incarnation = Some(Incarnation(soft_state.incarnation).to_string());
        agent.last_seen = Some(rfc3339(soft_state.last_seen));
        let RefusedCounts { handshakes, frames } = soft_state.refused;
        agent.refused = Some(RefusedDocument { handshakes, frames });
    }
}

/// A runner is connected when its agent is, and says so.
fn add_runner_session(server: &Server, runner: &mut MachineDocument) {
    let soft_state = server.soft_state.lock();
    let agent = runner.agent.as_deref().unwrap_or_default();
    let Some(state) = soft_state.runner(&runner.name, agent) else { return };
    let agent = soft_state.connected(agent).is_some();
    runner.state = if state.connected && agent { "connected" } else { "disconnected" }.to_owned();
    runner.address = Some(state.address.clone());
    runner.incarnation = Some(Incarnation(state.incarnation).to_string());
    runner.last_seen = Some(rfc3339(WallTime(state.last_seen_ms)));
}
