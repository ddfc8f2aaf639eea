//! What keeps a stage that an agent works on, by the agent's last word.
//!
//! Where hosts are the instances, each says itself what it waits for. A platform that has the instances itself, such as a
//! cluster that does not answer, says it of all of them.

use trimaran_model::reason::{CLEARS_WAIT, ReasonCode};
use trimaran_model::time::WallTime;
use trimaran_query as query;
use trimaran_wire::document::{ReasonDocument, Why, rfc3339};
use trimaran_wire::v1::agent::Progress;

use crate::rows::Rows;
use crate::server::Server;

/// As the public interface spells targets whose instances are pods.
const KUBERNETES: &str = "kubernetes";

/// The reason of a stage with this target, when there is one.
pub(super) fn of(
    rows: &Rows<'_>,
    target: Option<&str>,
    progress: &Progress,
    now: WallTime,
) -> Option<ReasonDocument> {
    let failure = progress.failure.as_ref().filter(|failure| failure.instance.is_none())?;
    let code = ReasonCode::from_name(&failure.code)?;
    let targets = query::targets(rows, Some(target?)).targets;
    targets.iter().find(|target| target.platform == KUBERNETES)?;
    Some(ReasonDocument {
        code: code.as_str().to_owned(),
        message: failure.message.clone(),
        since: rfc3339(now),
        clears: CLEARS_WAIT.to_owned(),
        who: Vec::new(),
        next_check: None,
        first: None,
        cause: None,
        instance: None,
        run: None,
    })
}

/// `why`, with what keeps its stages.
pub(super) fn why(server: &Server, rows: &Rows<'_>, mut why: Why) -> Why {
    let Ok(run) = why.run.parse() else { return why };
    let now = server.node.wall();
    let soft_state = server.soft_state.lock();
    for (name, assignment) in query::live_assignments(rows, &run) {
        let Some(progress) = soft_state.progress_of(assignment.0) else { continue };
        if let Some(stage) = why.stages.iter_mut().find(|stage| stage.name == name.to_string()) {
            let target = stage.name.rsplit_once('/').map(|(_, target)| target.to_owned());
            stage.reasons.extend(of(rows, target.as_deref(), progress, now));
        }
    }
    why
}
