//! Changes: a command each, proposed with its request id, answered after it is durable and applied.

use sha2::{Digest as _, Sha256};
use trimaran_engine::Outcome;
use trimaran_language::DocumentKind;
use trimaran_model::error_code;
use trimaran_model::id::Identity;
use trimaran_model::limits::ENTRY_BYTES_MAX;
use trimaran_query::text;
use trimaran_transport::enroll::Token;
use trimaran_wire::codec::encode;
use trimaran_wire::document::{Applied, Decision, TokenDocument, rfc3339};
use trimaran_wire::v1::command::{Command, CommandBody, RequestKey, TokenGrant};
use trimaran_wire::v1::common::WireIdentity;
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody, OperatorReply, Refusal, SourceFile};
use trimaran_wire::v1::plan::WirePlan;

use super::reply::{Answer, document, parse_run, parse_stage, refusal, wait_linearizable};
use super::{border, deploy, read};
use crate::enroll::root_fingerprint;
use crate::raft_loop::Proposed;
use crate::rows::View;
use crate::server::Server;

/// What an entry adds to its commands, generously.
const ENTRY_ENVELOPE_BYTES: usize = 2048;

pub(super) async fn write(
    server: &Server,
    identity: &Identity,
    request: RequestKey,
    body: OperatorBody,
) -> Answer {
    if request.id[6] >> 4 != 7 {
        return Err(refusal(error_code::REQUEST_ID, "the request id is not a UUIDv7"));
    }
    border::check(&body)?;
    refuse_without_space(server)?;
    let token = match &body {
        OperatorBody::Enroll(_) => Some(token(server, identity, &request)?),
        _ => None,
    };
    // These are compiled from rows, which must not be older than what the client was answered before.
    if matches!(body, OperatorBody::Deploy(_) | OperatorBody::Rollback { .. }) {
        wait_linearizable(server).await?;
    }
    let (reader, made) = (server.clone(), token.clone());
    let body = server.reads.run(identity, move || command(&reader, body, made.as_ref())).await?;
    let command = Command { identity: WireIdentity::from(identity), request: Some(request), body };
    let size = encode(&command).len();
    if size > ENTRY_BYTES_MAX - ENTRY_ENVELOPE_BYTES {
        let message = format!("the change takes {size} bytes of the log, more than {ENTRY_BYTES_MAX}");
        return Err(Refusal {
            help: Some("Split the pipeline, or name fewer targets in one run.".to_owned()),
            ..refusal(error_code::USAGE, message)
        });
    }
    match server.node.propose(command).await {
        Proposed::Done { revision, outcome } => done(server, revision, outcome, token).await,
        Proposed::Busy(why) => Err(refusal(error_code::BUSY, why)),
        Proposed::NotLeader => Err(refusal(error_code::NO_QUORUM, "there is no leader")),
        Proposed::Indeterminate => Err(refusal(error_code::INDETERMINATE, "leadership was lost meanwhile")),
    }
}

fn refuse_without_space(server: &Server) -> Result<(), Refusal> {
    match server.disk_space.low(server.node.wall()) {
        Some(low) => Err(refusal(error_code::DISK_FULL, low.message)),
        None => Ok(()),
    }
}

/// The command of a request. Files are compiled here, before anything is proposed.
fn command(server: &Server, body: OperatorBody, token: Option<&Token>) -> Result<CommandBody, Refusal> {
    let view = View::new(&server.node);
    Ok(match body {
        OperatorBody::Apply { files } => apply(&files)?,
        OperatorBody::Deploy(request) => {
            let deploy::Planned { source, plan, .. } =
                view.read(|rows| deploy::compile(rows, &request))??;
            let plan = WirePlan::from(&plan);
            CommandBody::StartRun { source, plan, overrides: request.overrides, reason: request.reason }
        }
        OperatorBody::Approve { run, stage, option, digest, comment } => CommandBody::Approve {
            run: parse_run(&run)?,
            stage: stage.as_deref().map(parse_stage).transpose()?,
            option,
            plan_digest: digest,
            comment,
        },
        OperatorBody::Cancel { run } => CommandBody::Cancel { run: parse_run(&run)? },
        OperatorBody::Resume { run, stage } => CommandBody::Resume {
            run: parse_run(&run)?,
            stage: stage.as_deref().map(parse_stage).transpose()?,
        },
        OperatorBody::Rollback { pipeline, environment, to, reason } => {
            let find = |to: &str| view.read(|rows| read::find_release(rows, &pipeline, to))?;
            let to = to.as_deref().map(find).transpose()?.map(|digest| digest.0);
            CommandBody::Rollback { to, environment, reason, pipeline }
        }
        OperatorBody::Enroll(order) => {
            let token = token.ok_or_else(|| refusal(error_code::BUG, "no token was made"))?;
            CommandBody::CreateToken { token_sha256: token.hash().0, grant: grant(order) }
        }
        _ => return Err(refusal(error_code::USAGE, "a request that reads has no request id")),
    })
}

fn apply(files: &[SourceFile]) -> Result<CommandBody, Refusal> {
    let compiled = deploy::compile_files(files)?;
    let (mut pipelines, mut targets) = (Vec::new(), Vec::new());
    for it in compiled.documents {
        match it.kind {
            DocumentKind::Target(target) => targets.push((&target).into()),
            DocumentKind::Pipeline(pipeline) => {
                let file = files.iter().find(|file| file.name == it.file);
                let file = file.ok_or_else(|| refusal(error_code::BUG, "a document of no file"))?;
                pipelines.push(deploy::source(file, &pipeline));
            }
        }
    }
    Ok(CommandBody::Apply { pipelines, targets })
}

fn grant(order: EnrollOrder) -> TokenGrant {
    match order {
        EnrollOrder::Agent { name } => TokenGrant::Agent { name },
        EnrollOrder::Runner { name, agent, labels } => TokenGrant::Runner { name, agent, labels },
        EnrollOrder::Operator { name, role } => TokenGrant::Operator { name, role },
        EnrollOrder::Coordinator { name } => TokenGrant::Coordinator { name },
    }
}

/// The token of an enrolment: made from the issuing key and the request, so that a repeated request gets the
/// same one and no directory has to keep it.
fn token(server: &Server, identity: &Identity, request: &RequestKey) -> Result<Token, Refusal> {
    let root =
        root_fingerprint(server).ok_or_else(|| refusal(error_code::BUG, "the own root can't be read"))?;
    let mut hasher = Sha256::new();
    hasher.update(b"trimaran token 1\0");
    hasher.update(Sha256::digest(server.issuer.key_pem().as_bytes()));
    hasher.update(identity.to_string().as_bytes());
    hasher.update([0]);
    hasher.update(request.id);
    hasher.update(request.body_sha256);
    Ok(Token::new(hasher.finalize().into(), root))
}

async fn done(server: &Server, revision: u64, outcome: Outcome, token: Option<Token>) -> Answer {
    Ok(match outcome {
        Outcome::Refused(why) => return Err(refusal(why.code(), text::refusal(&why))),
        Outcome::Run(run) => {
            server.node.wait_rows(revision).await;
            let shown =
                View::new(&server.node).read(|rows| read::run_document(server, rows, &run.to_string()))??;
            document(revision, &shown)
        }
        Outcome::Decided { run, stage, decision, by } => {
            let stage = stage.map(|stage| stage.to_string());
            document(revision, &Decision { run: run.to_string(), stage, decision, by: by.to_string() })
        }
        Outcome::Applied { targets, pipelines } => document(revision, &Applied { targets, pipelines }),
        Outcome::Token { name, expires } => {
            let token = token.ok_or_else(|| refusal(error_code::BUG, "no token was made"))?;
            document(revision, &TokenDocument { name, token: token.text(), expires_at: rfc3339(expires) })
        }
        Outcome::Nothing
        | Outcome::Enrolled { .. }
        | Outcome::Attached { .. }
        | Outcome::ReportApplied
        | Outcome::ResultSuperseded { .. }
        | Outcome::ReportUnknown => {
            OperatorReply::Refused(refusal(error_code::BUG, "an outcome of another command"))
        }
    })
}
