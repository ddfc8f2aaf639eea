//! `trimaran approve`: a user chooses an option of an approval.

use trimaran_model::id::Identity;
use trimaran_model::limits::REFUSAL_TEXT_BYTES_MAX;
use trimaran_model::pipeline::ApproveOption;
use trimaran_model::text::cut;
use trimaran_model::time::WallTime;
use trimaran_model::why::Why;
use trimaran_wire::v1::common::{WireRun, WireStage};

use super::convert::{record, run_text, with_reason};
use super::find;
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::request::Outcome;
use crate::state::run::RunGraph;
use crate::state::stage::{Approve, ApproveState, Decision, Stage};

/// What was answered.
pub(super) struct Answer<'a> {
    /// The default option without.
    pub(super) option: Option<&'a str>,
    /// The plan that the user saw.
    pub(super) plan_digest: Option<[u8; 32]>,
    pub(super) comment: &'a str,
}

pub(super) fn run(
    state: &mut State,
    identity: &Identity,
    wanted: &WireRun,
    stage: Option<&WireStage>,
    answer: &Answer<'_>,
) -> Result<Outcome, Refusal> {
    let mut graph = find::run(state, wanted)?;
    let index = open_approval(&graph, find::stage(&graph, stage)?)?;
    let stage = &mut graph.stages[index];
    let approve = stage.approve().expect("only approvals are open").clone();
    // Time came before the commands of this entry: at its expiry the expiry wins.
    if let Some(at) = approve.expiry().filter(|at| *at <= state.wall() && !mutant!(LateApproval)) {
        return Err(Refusal::ApprovalExpired { stage: stage.name.clone(), at });
    }
    if answer.plan_digest.is_some_and(|digest| digest != graph.run.plan.0) {
        return Err(Refusal::PlanChanged);
    }
    let option = option(&approve, answer.option)?;
    let (by, comment) = (identity.clone(), answer.comment.to_owned());
    let decision = Decision { option, by: by.clone(), comment, at: state.wall() };
    stage.decide(decision);
    let (run, stage) = (graph.run.id.clone(), Some(stage.name.clone()));
    state.put_graph(graph);
    state.wake(&run);
    Ok(Outcome::Decided { run, stage, decision: option.as_str().to_owned(), by })
}

/// The option of that name, or the first one.
fn option(approve: &Approve, name: Option<&str>) -> Result<ApproveOption, Refusal> {
    let first = approve.options.first().copied();
    let found = match name {
        None => first,
        Some(name) => approve.options.iter().copied().find(|option| option.as_str() == name),
    };
    found.ok_or_else(|| Refusal::UnknownOption {
        option: cut(name.unwrap_or_default().to_owned(), REFUSAL_TEXT_BYTES_MAX),
        options: approve.options.clone(),
    })
}

/// The one approval that is open, or the named one; otherwise says why there is none.
fn open_approval(graph: &RunGraph, named: Option<usize>) -> Result<usize, Refusal> {
    let run = graph.run.id.clone();
    if let Some(stage) = named.map(|index| &graph.stages[index]).filter(|stage| stage.approve().is_none()) {
        return Err(Refusal::NotAnApproval { run, stage: stage.name.clone() });
    }
    let candidates: Vec<(usize, &Approve)> = match named {
        Some(index) => graph.stages[index].approve().map(|approve| (index, approve)).into_iter().collect(),
        None => {
            let approvals = graph.stages.iter().enumerate();
            approvals.filter_map(|(index, stage)| Some((index, stage.approve()?))).collect()
        }
    };
    let is_open = |approve: &Approve| matches!(approve.state, ApproveState::Open { .. });
    let open: Vec<usize> =
        candidates.iter().filter(|(_, approve)| is_open(approve)).map(|(index, _)| *index).collect();
    match open.as_slice() {
        [index] => return Ok(*index),
        [_, ..] => {
            let stages = open.iter().map(|index| graph.stages[*index].name.clone()).collect();
            return Err(Refusal::AmbiguousStage { stages });
        }
        [] => {}
    }
    if let Some(decision) = candidates.iter().filter_map(|(_, approve)| approve.decision()).next_back() {
        return Err(Refusal::AlreadyDecided { by: decision.by.clone(), option: decision.option });
    }
    let mut expired = candidates.iter().map(|(index, _)| &graph.stages[*index]);
    if let Some((stage, at)) = expired.find_map(|stage| Some((stage, expired_at(stage)?))) {
        return Err(Refusal::ApprovalExpired { stage: stage.name.clone(), at });
    }
    if graph.run.status.is_done() {
        return Err(Refusal::RunDone { run, status: Some(graph.run.status) });
    }
    let environment = named.map(|index| &graph.stages[index]).map(|it: &Stage| it.name.environment.clone());
    Err(Refusal::NothingWaits { run, environment })
}

/// When an approval ended without a decision; `None` for one that ended otherwise.
fn expired_at(stage: &Stage) -> Option<WallTime> {
    let expired = stage.reasons.iter().any(|reason| matches!(reason.why, Why::ApprovalExpired));
    stage.finished.filter(|_| expired)
}

pub(super) fn audit(run: &WireRun, comment: &str) -> Record {
    record("approve", with_reason(&run_text(run), comment))
}
