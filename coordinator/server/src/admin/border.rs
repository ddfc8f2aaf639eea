//! The border for operators: every text of a change within its bound, before anything of it is stored, repeated in
//! an answer that is remembered, or compiled.
//!
//! Not here: whether a name exists (the engine), and the size of the whole request (transport).

use trimaran_member::border::texts;
use trimaran_model::error_code;
use trimaran_model::limits::{
    ARTIFACTS_MAX, COMMENT_BYTES_MAX, FILE_NAME_BYTES_MAX, FLINK_FILE_NAME_BYTES_MAX, FLINK_FILES_MAX,
    LABEL_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX, OVERRIDES_MAX, RUNNERS_PER_CHANGE_MAX, VERSION_BYTES_MAX,
};
use trimaran_model::release::Content;
use trimaran_wire::v1::command::RunnerChange;
use trimaran_wire::v1::operator::{DeployRequest, EnrollOrder, OperatorBody, Refusal, SourceFile};
use trimaran_wire::v1::release_platforms::WireContent;

use super::reply::refusal;

/// Refuses a change with a text that is too long. The refusal does not repeat it.
pub(super) fn check(body: &OperatorBody) -> Result<(), Refusal> {
    match body {
        OperatorBody::Apply { files } => files.iter().try_for_each(file),
        OperatorBody::PutContent { content, part, bytes } => content_part(*content, *part, bytes),
        OperatorBody::Deploy(request) => deploy(request),
        OperatorBody::Approve { run, stage, option, digest: _, comment } => {
            run_and_stage(run, stage.as_deref())?;
            short("an option", option.as_deref().unwrap_or_default(), NAME_BYTES_MAX)?;
            short("a comment", comment, COMMENT_BYTES_MAX)
        }
        OperatorBody::Cancel { run } => run_and_stage(run, None),
        OperatorBody::Resume { run, stage } => run_and_stage(run, stage.as_deref()),
        OperatorBody::Rollback { pipeline, environment, to, from, restore_from, reason, overrides } => {
            few("overrides", overrides.len(), OVERRIDES_MAX)?;
            overrides.iter().try_for_each(|it| short("an override", it, NAME_BYTES_MAX))?;
            name("a pipeline's name", pipeline)?;
            name("an environment's name", environment)?;
            short("a release", to.as_deref().unwrap_or_default(), VERSION_BYTES_MAX)?;
            short("a version", from.as_deref().unwrap_or_default(), VERSION_BYTES_MAX)?;
            short("a state", restore_from.as_deref().unwrap_or_default(), NAME_BYTES_MAX)?;
            short("a reason", reason, COMMENT_BYTES_MAX)
        }
        OperatorBody::Enroll { order, token_sha256: _ } => enroll(order),
        OperatorBody::ChangeMember { name, change: _ } => short("a name", name, NAME_BYTES_MAX),
        OperatorBody::Runners { names, change } => runners(names, change),
        OperatorBody::ResumeCluster { epoch: _ } | OperatorBody::Finalize => Ok(()),
        OperatorBody::Adopt { pipeline, environment, target }
        | OperatorBody::Reapply { pipeline, environment, target } => {
            name("a pipeline's name", pipeline)?;
            name("an environment's name", environment)?;
            name("a target's name", target)
        }
        // Reads store nothing.
        read if read.is_read() => Ok(()),
        _ => Err(refusal(error_code::BUG, "a change whose texts nothing checks")),
    }
}

fn usage(why: String) -> Refusal {
    refusal(error_code::USAGE, why)
}

fn short(what: &str, text: &str, max: usize) -> Result<(), Refusal> {
    texts::short(what, text, max).map_err(usage)
}

fn name(what: &str, text: &str) -> Result<(), Refusal> {
    texts::name(what, text).map_err(usage)
}

fn few(what: &str, count: usize, max: usize) -> Result<(), Refusal> {
    texts::few(what, count, max).map_err(usage)
}

fn content_part(content: WireContent, part: u32, bytes: &[u8]) -> Result<(), Refusal> {
    let invalid = |message: String| refusal(error_code::CONTENT_INVALID, message);
    let content = Content::try_from(content).map_err(|error| invalid(error.to_string()))?;
    if content.part_bytes(part) != Some(bytes.len()) {
        return Err(invalid(format!(
            "part {part} of {} bytes in an upload of {} bytes",
            bytes.len(),
            content.bytes
        )));
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
    // What is in them is the planner's: their names are not repeated in a refusal when there are too many.
    few("files", request.files.iter().map(|it| it.files.len()).sum(), FLINK_FILES_MAX)?;
    let mut names = request.files.iter().flat_map(|it| it.files.keys());
    names.try_for_each(|it| short("a file's name", it, FLINK_FILE_NAME_BYTES_MAX))?;
    few("overrides", request.overrides.len(), OVERRIDES_MAX)?;
    request.overrides.iter().try_for_each(|it| short("an override", it, NAME_BYTES_MAX))?;
    short("a reason", &request.reason, COMMENT_BYTES_MAX)
}

fn runners(names: &[String], change: &RunnerChange) -> Result<(), Refusal> {
    few("runners", names.len(), RUNNERS_PER_CHANGE_MAX)?;
    names.iter().try_for_each(|it| name("a name", it))?;
    let RunnerChange::Label { set, remove } = change else { return Ok(()) };
    few("labels", remove.len(), LABELS_MAX)?;
    remove.iter().try_for_each(|it| short("a label", it, LABEL_BYTES_MAX))?;
    texts::labels(set).map_err(usage)
}

fn enroll(order: &EnrollOrder) -> Result<(), Refusal> {
    let name = |it: &str| name("a name", it);
    match order {
        EnrollOrder::Agent { name: it } | EnrollOrder::Coordinator { name: it } => name(it),
        EnrollOrder::Operator { name: it, role } => {
            name(it)?;
            short("a role", role, NAME_BYTES_MAX)
        }
        EnrollOrder::Runner { name: it, agent, labels }
        | EnrollOrder::Runners { group: it, agent, labels, uses: _, ttl_ms: _ } => {
            name(it)?;
            name(agent)?;
            texts::labels(labels).map_err(usage)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use trimaran_wire::v1::operator::ArtifactVersion;
    use trimaran_wire::v1::release_platforms::WireFlinkFiles;

    use super::*;

    #[test]
    fn a_long_text_in_any_field_of_a_change_is_refused_without_repeating_it() {
        let long = || "x".repeat(1 << 20);
        let text = || "x".to_owned();
        let approve =
            |run, stage, option, comment| OperatorBody::Approve { run, stage, option, digest: None, comment };
        let rollback = |pipeline, environment, to, from, reason| OperatorBody::Rollback {
            pipeline,
            environment,
            to,
            from,
            restore_from: None,
            reason,
            overrides: Vec::new(),
        };
        let deploy = || DeployRequest {
            pipeline: Some(text()),
            file: None,
            artifacts: BTreeMap::new(),
            manifests: None,
            files: None,
            plan_digest: None,
            overrides: Vec::new(),
            reason: text(),
        };
        let version = |version| ArtifactVersion { version, sha256: None };
        let files = |names: Vec<String>| {
            let files = names.into_iter().map(|name| (name, WireContent { sha256: [0; 32], bytes: 1 }));
            WireFlinkFiles { sha256: [0; 32], files: files.collect() }
        };
        let many = || (0..=FLINK_FILES_MAX).map(|n| n.to_string()).collect();
        let named_file = || SourceFile { name: long(), text: Vec::new() };
        let token = |order| OperatorBody::Enroll { order, token_sha256: [0; 32] };
        let runner = |name, agent, labels| token(EnrollOrder::Runner { name, agent, labels });
        for body in [
            OperatorBody::Apply { files: vec![named_file()] },
            OperatorBody::Deploy(DeployRequest { pipeline: Some(long()), ..deploy() }),
            OperatorBody::Deploy(DeployRequest { file: Some(named_file()), ..deploy() }),
            OperatorBody::Deploy(DeployRequest { reason: long(), ..deploy() }),
            OperatorBody::Deploy(DeployRequest { overrides: vec![long()], ..deploy() }),
            OperatorBody::Deploy(DeployRequest { overrides: vec![text(); OVERRIDES_MAX + 1], ..deploy() }),
            OperatorBody::Deploy(DeployRequest { files: Some(files([long()].into())), ..deploy() }),
            OperatorBody::Deploy(DeployRequest { files: Some(files(many())), ..deploy() }),
            OperatorBody::Deploy(DeployRequest { artifacts: [(long(), version(text()))].into(), ..deploy() }),
            OperatorBody::Deploy(DeployRequest { artifacts: [(text(), version(long()))].into(), ..deploy() }),
            approve(long(), None, None, text()),
            approve(text(), Some(long()), None, text()),
            approve(text(), None, Some(long()), text()),
            approve(text(), None, None, long()),
            OperatorBody::Cancel { run: long() },
            OperatorBody::Resume { run: long(), stage: None },
            OperatorBody::Resume { run: text(), stage: Some(long()) },
            rollback(long(), text(), None, None, text()),
            rollback(text(), long(), None, None, text()),
            rollback(text(), text(), Some(long()), None, text()),
            rollback(text(), text(), None, Some(long()), text()),
            rollback(text(), text(), None, None, long()),
            token(EnrollOrder::Agent { name: long() }),
            token(EnrollOrder::Coordinator { name: long() }),
            token(EnrollOrder::Operator { name: long(), role: text() }),
            token(EnrollOrder::Operator { name: text(), role: long() }),
            runner(long(), text(), BTreeMap::new()),
            runner(text(), long(), BTreeMap::new()),
            runner(text(), text(), [(long(), text())].into()),
        ] {
            let refused = check(&body).expect_err("it is too long");
            assert_eq!(refused.code, error_code::USAGE.0);
            assert!(refused.message.len() < 300, "{} bytes", refused.message.len());
        }
        for body in [
            rollback("Web!".into(), text(), None, None, text()),
            rollback(text(), "-".into(), None, None, text()),
            token(EnrollOrder::Agent { name: "a b".into() }),
            runner("h/1".into(), text(), BTreeMap::new()),
            runner(text(), String::new(), BTreeMap::new()),
        ] {
            let refused = check(&body).expect_err("it is no name");
            assert!(
                refused.code == error_code::USAGE.0 && refused.message.contains("is not a name"),
                "{refused:?}"
            );
        }
        assert_eq!(check(&rollback(text(), text(), None, None, text())), Ok(()));
        assert_eq!(check(&OperatorBody::Deploy(deploy())), Ok(()));
        assert_eq!(check(&approve("web#12".into(), Some("prod/lab".into()), None, text())), Ok(()));
    }
}
