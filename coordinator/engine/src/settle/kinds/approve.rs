//! Approvals: open until a user chooses or the timeout passes.

use trimaran_model::pipeline::ApproveOption;
use trimaran_model::why::{Reason, Why};

use crate::settle::{gates, rollback};
use crate::state::State;
use crate::state::run::RunGraph;
use crate::state::stage::{Approve, ApproveState, Decision, End};

pub(super) fn advance(state: &mut State, graph: &mut RunGraph, index: usize) {
    let approve = graph.stages[index].approve().expect("the table of kinds picked it").clone();
    if let ApproveState::Decided { decision } = &approve.state {
        return decide(state, graph, index, decision);
    }
    if gates::hold(state, graph, index) || graph.run.is_ending() {
        return;
    }
    let (now, stage) = (state.wall(), &mut graph.stages[index]);
    let expires = approve.expiry().unwrap_or(now + approve.timeout);
    if now >= expires {
        return stage.end(End::Stopped, vec![state.reason(Why::ApprovalExpired)], now);
    }
    let reason = Reason {
        next_check: Some(expires),
        ..state.reason(Why::Approval { options: approve.options.clone() })
    };
    stage.open(Approve { state: ApproveState::Open { expires }, ..approve }, reason, now);
}

/// What a user chose takes effect.
fn decide(state: &mut State, graph: &mut RunGraph, index: usize, decision: &Decision) {
    let (now, by) = (state.wall(), decision.by.clone());
    let stage = &mut graph.stages[index];
    match decision.option {
        ApproveOption::Promote => stage.end(End::Succeeded, Vec::new(), now),
        ApproveOption::Stop => stage.end(End::Stopped, vec![state.reason(Why::StopChosen { by })], now),
        ApproveOption::RollBack => {
            let cause = Why::RollbackChosen { by };
            stage.end(End::RolledBack, vec![state.reason(cause.clone())], now);
            rollback::whole_run(state, graph, cause);
        }
    }
}
