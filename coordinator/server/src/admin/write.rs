//! Changes: a command each, proposed with its request id, answered after it is durable and applied.

use trimaran_engine::Outcome;
use trimaran_language::DocumentKind;
use trimaran_model::error_code;
use trimaran_model::id::{Identity, Incarnation};
use trimaran_model::limits::COMMAND_BYTES_MAX;
use trimaran_model::release::Content;
use trimaran_process::clock;
use trimaran_query as query;
use trimaran_transport::random;
use trimaran_wire::codec::encoded_len;
use trimaran_wire::document::{
    Applied, ClusterFinalized, ClusterResumed, Decision, GrantDocument, RunnersChanged, Stored, rfc3339,
};
use trimaran_wire::v1::command::{Command, CommandBody, RequestKey, TokenGrant};
use trimaran_wire::v1::common::{WireIdentity, WireInstallation};
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody, OperatorReply, Refusal, SourceFile};
use trimaran_wire::v1::plan::WirePlan;
use trimaran_wire::v1::release_platforms::WireContent;

use super::reply::{Answer, accepted, document, parse_run, parse_stage, refusal, wait_linearizable};
use super::{adopt, border, deploy, members, read};
use crate::authorize::Verb;
use crate::rows::{Rows, View};
use crate::server::Server;

/// Files up to this size are compiled within a fraction of a millisecond (`trimaran-bench lint`: 2 us a line).
const QUICK_FILES_BYTES_MAX: usize = 4 << 10;

pub(super) async fn write(
    server: &Server,
    identity: &Identity,
    request: RequestKey,
    body: OperatorBody,
) -> Answer {
    if request.id[6] >> 4 != 7 {
        return Err(refusal(error_code::REQUEST_ID, "the request id is not a UUIDv7"));
    }
    let has_reserve = Verb::of(&body).has_reserve();
    let slot = server.quotas.begin(identity, has_reserve, clock::boot_time());
    let _slot = slot.map_err(|over| over.refusal(identity))?;
    border::check(&body)?;
    if let OperatorBody::ChangeMember { name, change } = body {
        return Box::pin(members::change(server, identity, &request, (&name, change))).await;
    }
    // These are compiled from rows, which must not be older than what the client was answered before.
    if matches!(
        body,
        OperatorBody::Deploy(_) | OperatorBody::Rollback { .. } | OperatorBody::PutContent { .. }
    ) {
        wait_linearizable(server, has_reserve).await?;
    }
    let body = match body {
        OperatorBody::Adopt { pipeline, environment, target } => {
            let place = adopt::Place { pipeline, environment, target };
            Box::pin(adopt::command(server, identity, &request, place)).await?
        }
        // To hand it to another thread and back would take longer than the command.
        body if is_quick(&body) => command(server, body)?,
        body => {
            let reader = server.clone();
            server.change_reads.run(identity, move || command(&reader, body)).await?
        }
    };
    // A part may be sent again at any time; to remember each would use up the requests.
    let request = (!matches!(body, CommandBody::PutContent { .. })).then_some(request);
    let command = Command { identity: WireIdentity::from(identity), request, body };
    let size = encoded_len(&command);
    if size > COMMAND_BYTES_MAX {
        let message = format!("the change takes {size} bytes of the log, more than {COMMAND_BYTES_MAX}");
        return Err(Refusal {
            help: Some("Split the pipeline, or name fewer targets in one run.".to_owned()),
            ..refusal(error_code::USAGE, message)
        });
    }
    server.disk_space.observe(&server.node);
    let (revision, outcome) = accepted(server, server.node.propose(command).await)?;
    done(server, revision, outcome).await
}

/// Whether the command of a request is made of the request alone, within a moment: no row is read, and files are short.
fn is_quick(body: &OperatorBody) -> bool {
    match body {
        OperatorBody::Apply { files } => {
            files.iter().map(|file| file.text.len()).sum::<usize>() <= QUICK_FILES_BYTES_MAX
        }
        OperatorBody::Approve { .. } | OperatorBody::Cancel { .. } | OperatorBody::Resume { .. } => true,
        _ => false,
    }
}

/// The command of a request. Files are compiled here, before anything is proposed.
fn command(server: &Server, body: OperatorBody) -> Result<CommandBody, Refusal> {
    let view = View::new(&server.node);
    Ok(match body {
        OperatorBody::Apply { files } => apply(&files)?,
        OperatorBody::Deploy(request) => {
            let deploy::Planned { source, plan, .. } =
                view.read(|rows| deploy::compile(rows, &request))??;
            let plan = WirePlan::from(&plan);
            CommandBody::StartRun { source, plan, overrides: request.overrides, reason: request.reason }
        }
        OperatorBody::PutContent { content, part, bytes } => {
            view.read(|rows| check_last_part(rows, content, part, &bytes))??;
            CommandBody::PutContent { content, part, bytes }
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
        OperatorBody::Rollback { pipeline, environment, to, from, restore_from, reason, overrides } => {
            let find = |to: &str| view.read(|rows| read::find_release(rows, &pipeline, to))?;
            let to = to.as_deref().map(find).transpose()?.map(|digest| digest.0);
            CommandBody::Rollback { to, from, restore_from, environment, reason, pipeline, overrides }
        }
        OperatorBody::Runners { names, change } => CommandBody::Runners { names, change },
        OperatorBody::ResumeCluster { epoch } => {
            CommandBody::ResumeCluster { epoch, incarnation: random::next_u64() | 1 }
        }
        OperatorBody::Finalize => CommandBody::Finalize,
        OperatorBody::Reapply { pipeline, environment, target } => {
            CommandBody::Reapply { installation: WireInstallation { pipeline, target }, environment }
        }
        OperatorBody::Enroll { order, token_sha256 } => {
            CommandBody::CreateToken { token_sha256, grant: grant(order) }
        }
        read if read.is_read() => {
            return Err(refusal(error_code::USAGE, "a request that reads has no request id"));
        }
        _ => return Err(refusal(error_code::BUG, "a change that is no command")),
    })
}

/// Content is whole with its last part: it must have its digest then. Where an earlier part is missing nothing becomes whole.
fn check_last_part(rows: &Rows<'_>, content: WireContent, part: u32, bytes: &[u8]) -> Result<(), Refusal> {
    let invalid = |message: String| refusal(error_code::CONTENT_INVALID, message);
    let content = Content::try_from(content).map_err(|error| invalid(error.to_string()))?;
    if part + 1 == content.parts() && query::is_content(rows, content, bytes) == Some(false) {
        return Err(invalid(format!("what was uploaded does not have the digest {}", content.digest)));
    }
    Ok(())
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
        EnrollOrder::Runners { group, agent, labels, uses, ttl_ms } => {
            TokenGrant::Runners { group, agent, labels, uses, ttl_ms }
        }
    }
}

async fn done(server: &Server, revision: u64, outcome: Outcome) -> Answer {
    Ok(match outcome {
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
        Outcome::Runners { names, change } => document(revision, &RunnersChanged { runners: names, change }),
        Outcome::Token { name, expires } => {
            document(revision, &GrantDocument { name, expires_at: rfc3339(expires) })
        }
        Outcome::Stored { parts } => document(revision, &Stored { parts }),
        Outcome::Resumed { epoch, incarnation } => {
            let incarnation = Incarnation(incarnation).to_string();
            document(revision, &ClusterResumed { epoch: epoch.0, incarnation })
        }
        Outcome::Finalized { level } => document(revision, &ClusterFinalized { feature_level: level }),
        Outcome::Refused(_)
        | Outcome::Nothing
        | Outcome::Enrolled { .. }
        | Outcome::Attached { .. }
        | Outcome::ReportApplied
        | Outcome::ResultSuperseded { .. }
        | Outcome::ReportUnknown => {
            OperatorReply::Refused(refusal(error_code::BUG, "an outcome of another command"))
        }
    })
}
