//! Questions of operators that the agents of targets answer: what a deploy would change there, and the keys of targets.
//!
//! Not here: the output of services (`stream`).

use std::collections::BTreeSet;

use trimaran_model::action::{Action, Wave};
use trimaran_model::assignment::Assignment;
use trimaran_model::error_code;
use trimaran_model::id::{
    AssignmentId, Attempt, Fence, Identity, InstallationId, RunId, StageName, StagePart,
};
use trimaran_model::limits::{DIFFERENCE_LINES_MAX, MESSAGE_BYTES_MAX, SEALING_KEY_BYTES_MAX};
use trimaran_model::plan::{Plan, PlannedEnvironment, PlannedStage};
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::{PlatformKind, Target};
use trimaran_model::text::cut;
use trimaran_query as query;
use trimaran_transport::{FrameReceiver, FrameSender};
use trimaran_wire::codec::Message as _;
use trimaran_wire::document::SealingKey;
use trimaran_wire::v1::agent::{AgentAnswer, AgentQuery, AgentQuestion, ContentAnswer};
use trimaran_wire::v1::assignment::WireAssignment;
use trimaran_wire::v1::operator::{DeployRequest, OperatorReply, Refusal};

use super::deploy;
use super::reply::{Answer, document, refusal, wait_linearizable};
use super::stream::agent_away;
use crate::authorize::{Verb, authorize};
use crate::peer::{AgentPath, agent_path, ask_agent};
use crate::rows::{Rows, View};
use crate::server::Server;

/// The key to which secrets of a target are sealed.
pub(super) async fn sealing_key(server: &Server, identity: &Identity, target: &str) -> Answer {
    wait_linearizable(server, false).await?;
    let (reader, name) = (server.clone(), target.to_owned());
    let read = move || {
        View::new(&reader.node).read(|rows| {
            let target = name.parse().ok().and_then(|name| query::target(rows, &name));
            (rows.revision(), target)
        })
    };
    let (revision, found) = server.reads.run(identity, read).await?;
    let unknown = || refusal(error_code::TARGET_UNKNOWN, format!("there is no target `{target}`"));
    let found = found.ok_or_else(unknown)?;
    let path = path_to(server, identity, &found).await?;
    let question = AgentQuery { target: target.to_owned(), question: AgentQuestion::SealingKey };
    let failed = |why: String| refusal(error_code::QUESTION_UNANSWERED, why);
    let broke_off = || failed(format!("the session of agent `{}` broke off", found.agent));
    let asked = ask_agent(server, &path, found.agent.as_str(), question).await;
    let (question, mut answer) = asked.ok_or_else(broke_off)?;
    question.finish();
    let mut key = None;
    while let Some(frame) = answer.next().await.map_err(|_| broke_off())? {
        match AgentAnswer::from_frame(&frame) {
            Ok(AgentAnswer::SealingKey(bytes)) if bytes.len() <= SEALING_KEY_BYTES_MAX => key = Some(bytes),
            Ok(AgentAnswer::Refused { message, .. }) => return Err(failed(cut(message, MESSAGE_BYTES_MAX))),
            // No part of this answer.
            Ok(_) | Err(_) => return Err(broke_off()),
        }
    }
    let key = key.ok_or_else(broke_off)?;
    let key = key.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(document(revision, &SealingKey { target: target.to_owned(), key }))
}

/// How a target's agent is asked.
pub(super) async fn path_to(
    server: &Server,
    identity: &Identity,
    target: &Target,
) -> Result<AgentPath, Refusal> {
    let agent = target.agent.to_string();
    match agent_path(server, &agent).await {
        Some(path) => Ok(path),
        None => Err(agent_away(server, identity, agent).await),
    }
}

/// What is asked of one target's agent.
struct Asked {
    target: Target,
    order: Assignment,
}

/// Sends what a deploy would change on the platforms of its targets, target by target. `None`: everything was sent.
pub(super) async fn difference(
    server: &Server,
    identity: &Identity,
    sender: &mut FrameSender,
    request: DeployRequest,
) -> Option<Answer> {
    if let Err(refusal) = wait_linearizable(server, false).await {
        return Some(Err(refusal));
    }
    let reader = server.clone();
    let read = move || View::new(&reader.node).read(|rows| asked(rows, &request));
    let all = match server.reads.run(identity, read).await {
        Ok(Ok(all)) => all,
        Ok(Err(refusal)) => return Some(Err(refusal)),
        Err(damaged) => return Some(Err(damaged.into())),
    };
    for Asked { target, order } in all {
        let name = target.name.to_string();
        let is_allowed = may_compare(identity, &target);
        let why = match path_to(server, identity, &target).await {
            _ if !is_allowed => {
                Err(Missed::because(format!("it runs the program of the jar, and {identity} may not deploy")))
            }
            Ok(path) => ask(server, identity, &path, (&target, order), sender).await,
            Err(away) => Err(Missed::because(away.message)),
        };
        match why {
            Ok(()) => {}
            Err(Missed::Unread) => return None,
            Err(Missed::Because { why, code }) => {
                let missing = Some(cut(why, MESSAGE_BYTES_MAX));
                let code = code.map(|code| code.as_str().to_owned());
                let reply = OperatorReply::Difference { target: name, lines: Vec::new(), missing, code };
                sender.send(&reply.to_frame()).await.ok()?;
            }
        }
    }
    None
}

/// Flink runs a program to compare it, so that is for those who may run it.
fn may_compare(identity: &Identity, target: &Target) -> bool {
    target.platform.kind() != PlatformKind::Flink || authorize(identity, Verb::Deploy)
}

/// The orders that a plan comes to where the platform itself can be compared with.
fn asked(rows: &Rows<'_>, request: &DeployRequest) -> Result<Vec<Asked>, Refusal> {
    let plan = deploy::compile(rows, request)?.plan;
    let mut all = Vec::new();
    for environment in &plan.environments {
        for stage in &environment.stages {
            let target = query::target(rows, &stage.target);
            let Some(target) = target.filter(|it| it.platform.kind() != PlatformKind::Hosts) else {
                continue;
            };
            let order = order(rows, &plan, (environment, stage), &target);
            all.push(Asked { target, order });
        }
    }
    Ok(all)
}

/// The order of a stage as it would be, which is none: it has no number and no fence.
fn order(
    rows: &Rows<'_>,
    plan: &Plan,
    (environment, stage): (&PlannedEnvironment, &PlannedStage),
    target: &Target,
) -> Assignment {
    let installation = InstallationId { pipeline: plan.pipeline.clone(), target: stage.target.clone() };
    let here = query::installation(rows, &installation);
    let wave = Wave { target_count: 1, ..Wave::default() };
    Assignment {
        id: AssignmentId(0),
        fence: Fence(0),
        run: RunId { pipeline: plan.pipeline.clone(), number: 0 },
        stage: StageName {
            environment: environment.name.clone(),
            part: StagePart::Deploy(stage.target.clone()),
        },
        attempt: Attempt(1),
        platform: target.platform.kind(),
        action: Action::Release(stage.release_digest),
        release: Some(stage.release.clone()),
        wave,
        hosts: BTreeSet::new(),
        retained: BTreeSet::new(),
        committed: here.and_then(|it| it.committed),
        restore_from: None,
        installation,
    }
}

/// Why a target's part is missing.
enum Missed {
    /// No one reads the answer any more.
    Unread,
    Because {
        why: String,
        /// As the agent says it.
        code: Option<ReasonCode>,
    },
}

impl Missed {
    fn because(why: impl Into<String>) -> Self {
        Self::Because { why: why.into(), code: None }
    }
}

/// Asks one agent and passes its answer on. What the order's release names follows the question in parts: it is stored
/// here and not part of any release that the agent could ask for.
async fn ask(
    server: &Server,
    identity: &Identity,
    path: &AgentPath,
    (target, order): (&Target, Assignment),
    sender: &mut FrameSender,
) -> Result<(), Missed> {
    let (agent, target) = (target.agent.as_str(), target.name.as_str());
    let broke_off = || Missed::because(format!("the session of the agent of `{target}` broke off"));
    let content = order.release.as_ref().and_then(|release| release.workload.content());
    let asked = AgentQuestion::Plan(WireAssignment::from(&order));
    let asked = AgentQuery { target: target.to_owned(), question: asked };
    let (mut question, mut answer) = ask_agent(server, path, agent, asked).await.ok_or_else(broke_off)?;
    if let Some(content) = content {
        for part in 0..content.parts() {
            let reader = server.clone();
            let read =
                move || View::new(&reader.node).read(|rows| query::content_part(rows, content.digest, part));
            let bytes = server.reads.run(identity, read).await.map_err(|_| broke_off())?;
            let Some(bytes) = bytes else {
                return Err(Missed::because("what the release names was not uploaded"));
            };
            question.send(&ContentAnswer::Part(bytes).to_frame()).await.map_err(|_| broke_off())?;
        }
    }
    question.finish();
    pass_on(&mut answer, target, sender).await.unwrap_or_else(|| Err(broke_off()))
}

/// `None`: the answer has no end, or is none of this question.
async fn pass_on(
    answer: &mut FrameReceiver,
    target: &str,
    sender: &mut FrameSender,
) -> Option<Result<(), Missed>> {
    let mut count = 0;
    while let Some(frame) = answer.next().await.ok()? {
        let lines = match AgentAnswer::from_frame(&frame).ok()? {
            AgentAnswer::Plan(lines) => lines,
            AgentAnswer::Refused { code, message } => {
                let code = ReasonCode::from_name(&code);
                return Some(Err(Missed::Because { why: message, code }));
            }
            AgentAnswer::Logs(_) | AgentAnswer::SealingKey(_) | AgentAnswer::Running(_) => return None,
        };
        count += lines.len();
        if count > DIFFERENCE_LINES_MAX {
            let why = format!("it has more than {DIFFERENCE_LINES_MAX} lines");
            return Some(Err(Missed::because(why)));
        }
        let reply = OperatorReply::Difference { target: target.to_owned(), lines, missing: None, code: None };
        if sender.send(&reply.to_frame()).await.is_err() {
            return Some(Err(Missed::Unread));
        }
    }
    Some(Ok(()))
}
