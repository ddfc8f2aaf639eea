//! The border for operators: every text of a change within its bound, before anything of it is stored, repeated in
//! an answer that is remembered, or compiled.
//!
//! Not here: whether a name exists (the engine), and the size of the whole request (transport).

use trimaran_model::error_code;
use trimaran_model::id::label_error;
use trimaran_model::limits::{
    ARTIFACTS_MAX, COMMENT_BYTES_MAX, FILE_NAME_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX, OVERRIDES_MAX,
    VERSION_BYTES_MAX,
};
use trimaran_wire::v1::operator::{DeployRequest, EnrollOrder, OperatorBody, Refusal, SourceFile};

use super::reply::refusal;

/// Refuses a change with a text that is too long. The refusal does not repeat it.
pub(super) fn check(body: &OperatorBody) -> Result<(), Refusal> {
    match body {
        OperatorBody::Apply { files } => files.iter().try_for_each(file),
        OperatorBody::Deploy(request) => deploy(request),
        OperatorBody::Approve { run, stage, option, digest: _, comment } => {
            run_and_stage(run, stage.as_deref())?;
            short("an option", option.as_deref().unwrap_or_default(), NAME_BYTES_MAX)?;
            short("a comment", comment, COMMENT_BYTES_MAX)
        }
        OperatorBody::Cancel { run } => run_and_stage(run, None),
        OperatorBody::Resume { run, stage } => run_and_stage(run, stage.as_deref()),
        OperatorBody::Rollback { pipeline, environment, to, reason } => {
            short("a pipeline's name", pipeline, NAME_BYTES_MAX)?;
            short("an environment's name", environment, NAME_BYTES_MAX)?;
            short("a release", to.as_deref().unwrap_or_default(), VERSION_BYTES_MAX)?;
            short("a reason", reason, COMMENT_BYTES_MAX)
        }
        OperatorBody::Enroll(order) => enroll(order),
        // Reads store nothing.
        OperatorBody::Plan(_)
        | OperatorBody::RollbackPlan { .. }
        | OperatorBody::RunShow { .. }
        | OperatorBody::RunList { .. }
        | OperatorBody::Why { .. }
        | OperatorBody::Status { .. }
        | OperatorBody::History { .. }
        | OperatorBody::PipelineSource { .. }
        | OperatorBody::TargetList { .. }
        | OperatorBody::AgentList
        | OperatorBody::RunnerList
        | OperatorBody::ClusterStatus
        | OperatorBody::AuditList { .. }
        | OperatorBody::Watch { .. }
        | OperatorBody::Logs { .. } => Ok(()),
    }
}

fn short(what: &str, text: &str, max: usize) -> Result<(), Refusal> {
    if text.len() > max {
        return Err(refusal(
            error_code::USAGE,
            format!("{what} has at most {max} bytes, not {}", text.len()),
        ));
    }
    Ok(())
}

fn few(what: &str, count: usize, max: usize) -> Result<(), Refusal> {
    if count > max {
        return Err(refusal(error_code::USAGE, format!("a request has at most {max} {what}, not {count}")));
    }
    Ok(())
}

/// `web#12`, and `prod/lab-prod` in it: names with a number and a sign between.
fn run_and_stage(run: &str, stage: Option<&str>) -> Result<(), Refusal> {
    short("a run", run, NAME_BYTES_MAX + 21)?;
    short("a stage", stage.unwrap_or_default(), 2 * NAME_BYTES_MAX + 1)
}

fn file(file: &SourceFile) -> Result<(), Refusal> {
    short("a file's name", &file.name, FILE_NAME_BYTES_MAX)
}

fn deploy(request: &DeployRequest) -> Result<(), Refusal> {
    request.file.iter().try_for_each(file)?;
    short("a pipeline's name", request.pipeline.as_deref().unwrap_or_default(), NAME_BYTES_MAX)?;
    few("artifacts", request.artifacts.len(), ARTIFACTS_MAX)?;
    for (name, artifact) in &request.artifacts {
        short("an artifact's name", name, NAME_BYTES_MAX)?;
        short("a version", &artifact.version, VERSION_BYTES_MAX)?;
    }
    few("overrides", request.overrides.len(), OVERRIDES_MAX)?;
    request.overrides.iter().try_for_each(|it| short("an override", it, NAME_BYTES_MAX))?;
    short("a reason", &request.reason, COMMENT_BYTES_MAX)
}

fn enroll(order: &EnrollOrder) -> Result<(), Refusal> {
    let name = |name: &str| short("a name", name, NAME_BYTES_MAX);
    match order {
        EnrollOrder::Agent { name: it } | EnrollOrder::Coordinator { name: it } => name(it),
        EnrollOrder::Operator { name: it, role } => {
            name(it)?;
            short("a role", role, NAME_BYTES_MAX)
        }
        EnrollOrder::Runner { name: it, agent, labels } => {
            name(it)?;
            name(agent)?;
            few("labels", labels.len(), LABELS_MAX)?;
            match labels.iter().find_map(|(key, value)| label_error(key, value)) {
                Some(why) => Err(refusal(error_code::USAGE, why)),
                None => Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use trimaran_wire::v1::operator::ArtifactVersion;

    use super::*;

    #[test]
    fn a_long_text_in_any_field_of_a_change_is_refused_without_repeating_it() {
        let long = || "x".repeat(1 << 20);
        let text = || "x".to_owned();
        let approve =
            |run, stage, option, comment| OperatorBody::Approve { run, stage, option, digest: None, comment };
        let rollback =
            |pipeline, environment, to, reason| OperatorBody::Rollback { pipeline, environment, to, reason };
        let deploy = || DeployRequest {
            pipeline: Some(text()),
            file: None,
            artifacts: BTreeMap::new(),
            plan_digest: None,
            overrides: Vec::new(),
            reason: text(),
        };
        let version = |version| ArtifactVersion { version, sha256: None };
        let named_file = || SourceFile { name: long(), text: Vec::new() };
        let runner = |name, agent, labels| OperatorBody::Enroll(EnrollOrder::Runner { name, agent, labels });
        for body in [
            OperatorBody::Apply { files: vec![named_file()] },
            OperatorBody::Deploy(DeployRequest { pipeline: Some(long()), ..deploy() }),
            OperatorBody::Deploy(DeployRequest { file: Some(named_file()), ..deploy() }),
            OperatorBody::Deploy(DeployRequest { reason: long(), ..deploy() }),
            OperatorBody::Deploy(DeployRequest { overrides: vec![long()], ..deploy() }),
            OperatorBody::Deploy(DeployRequest { overrides: vec![text(); OVERRIDES_MAX + 1], ..deploy() }),
            OperatorBody::Deploy(DeployRequest { artifacts: [(long(), version(text()))].into(), ..deploy() }),
            OperatorBody::Deploy(DeployRequest { artifacts: [(text(), version(long()))].into(), ..deploy() }),
            approve(long(), None, None, text()),
            approve(text(), Some(long()), None, text()),
            approve(text(), None, Some(long()), text()),
            approve(text(), None, None, long()),
            OperatorBody::Cancel { run: long() },
            OperatorBody::Resume { run: long(), stage: None },
            OperatorBody::Resume { run: text(), stage: Some(long()) },
            rollback(long(), text(), None, text()),
            rollback(text(), long(), None, text()),
            rollback(text(), text(), Some(long()), text()),
            rollback(text(), text(), None, long()),
            OperatorBody::Enroll(EnrollOrder::Agent { name: long() }),
            OperatorBody::Enroll(EnrollOrder::Coordinator { name: long() }),
            OperatorBody::Enroll(EnrollOrder::Operator { name: long(), role: text() }),
            OperatorBody::Enroll(EnrollOrder::Operator { name: text(), role: long() }),
            runner(long(), text(), BTreeMap::new()),
            runner(text(), long(), BTreeMap::new()),
            runner(text(), text(), [(long(), text())].into()),
        ] {
            let refused = check(&body).expect_err("it is too long");
            assert_eq!(refused.code, error_code::USAGE.0);
            assert!(refused.message.len() < 300, "{} bytes", refused.message.len());
        }
        assert_eq!(check(&OperatorBody::Deploy(deploy())), Ok(()));
        assert_eq!(check(&approve("web#12".into(), Some("prod/lab".into()), None, text())), Ok(()));
    }
}
