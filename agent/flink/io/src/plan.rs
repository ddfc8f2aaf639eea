//! What an order would change: the new version beside the job that runs, as it would be compared before a stop.
//!
//! Nothing is stopped and nothing runs afterwards. The jar is brought to the JobManager, which runs its `main` to plan it: so
//! a question of this kind is only for those who may deploy.

use std::time::Duration;

use trimaran_agent_core::platform::{Answer, Part, PartSink, PlatformError};
use trimaran_flink_core::call::{Call, Cluster, Reply, Topology, Vertex};
use trimaran_flink_core::files::{FilePaths, jar_name};
use trimaran_flink_core::id::{AttemptKey, FlinkId, IdStep};
use trimaran_flink_core::journal::ledger_from_bytes;
use trimaran_flink_core::ledger::{Ledger, Standing, Start};
use trimaran_flink_core::preflight::{Check, check, difference, files_difference};
use trimaran_flink_core::rest::run_request;
use trimaran_model::assignment::Assignment;
use trimaran_model::pipeline::UpgradeMode;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{FlinkFiles, FlinkRelease, ReleaseWorkload};

use crate::target::{FlinkTarget, JarSource};

/// For one question to the JobManager; a plan runs the program's `main`, and a jar may have to be fetched.
const READ: Duration = Duration::from_secs(10);
const PREPARE: Duration = Duration::from_secs(60);

/// Lines of the difference, then what people should know before they deploy.
pub(crate) async fn answer<J: JarSource>(
    target: &FlinkTarget<J>,
    order: &Assignment,
    answer: &impl PartSink,
) -> Result<(), PlatformError> {
    let release = match order.release.as_ref().map(|release| &release.workload) {
        Some(ReleaseWorkload::Flink(release)) => release,
        _ => return Err(unusable("a plan without a job on Flink".to_owned())),
    };
    let ledger = match order.committed.as_ref().map(|commit| ledger_from_bytes(&commit.body)) {
        None => Ledger::default(),
        Some(Ok(ledger)) => ledger,
        Some(Err(error)) => {
            return Err(unusable(format!("what is known of the job can't be read by this version: {error}")));
        }
    };
    let Reply::Cluster(cluster) = ask(target, Call::Cluster, READ).await? else { return Err(no_answer()) };
    let plan = planned(target, order, release).await?;
    let topology = running(target, &ledger).await?;
    let upgrade = &release.job.upgrade;
    let checked = check(&Check { cluster: &cluster, plan: &plan, topology: topology.as_ref(), upgrade });
    let mut lines = difference(&plan, topology.as_ref());
    lines.extend(files_difference(release.files.as_ref(), files_before(target, &ledger).await.as_ref()));
    lines.push(state_line(release, &ledger, topology.as_ref(), &cluster));
    match checked {
        Ok(warnings) => lines.extend(warnings.into_iter().map(|warning| format!("! {warning}"))),
        Err(failure) => lines.push(format!("! it would be refused: {}", failure.message)),
    }
    // When it can't be put, whoever asked has gone.
    let _ = answer.put(Part::Plan(lines)).await;
    Ok(())
}

/// The files that the installation's job has, as far as its release is still known.
async fn files_before<J: JarSource>(target: &FlinkTarget<J>, ledger: &Ledger) -> Option<FlinkFiles> {
    let before = target.release(ledger.job.as_ref()?.release).await?;
    match &before.workload {
        ReleaseWorkload::Flink(flink) => flink.files.clone(),
        ReleaseWorkload::Host(_) | ReleaseWorkload::Kubernetes(_) => None,
    }
}

/// The tasks of the new version.
async fn planned<J: JarSource>(
    target: &FlinkTarget<J>,
    order: &Assignment,
    release: &FlinkRelease,
) -> Result<Vec<Vertex>, PlatformError> {
    let name = jar_name(order.installation.pipeline.as_str(), release.jar.sha256);
    // What is planned does not depend on files: they are read where tasks run.
    let upload = Call::Upload { name, jar: release.jar.clone(), files: None, is_fresh: false };
    let Reply::Uploaded { jar, .. } = ask(target, upload, PREPARE).await? else { return Err(no_answer()) };
    let key = AttemptKey { run: order.run.clone(), attempt: order.attempt };
    // No job gets this id: a plan makes none.
    let id = FlinkId::derive(&order.installation, &key, IdStep::Run, 0);
    let request = run_request(jar, id, release, &FilePaths::new(), &Start::Empty);
    match ask(target, Call::Plan(request), PREPARE).await? {
        Reply::Planned(plan) => Ok(plan),
        _ => Err(no_answer()),
    }
}

/// The tasks of the installation's job; `None`: none runs.
async fn running<J: JarSource>(
    target: &FlinkTarget<J>,
    ledger: &Ledger,
) -> Result<Option<Topology>, PlatformError> {
    let Some(job) = ledger.job.as_ref().filter(|job| job.standing == Standing::Started) else {
        return Ok(None);
    };
    let Reply::Jobs { jobs, .. } = ask(target, Call::Jobs, READ).await? else { return Err(no_answer()) };
    if !jobs.iter().any(|it| it.id == job.id && !it.state.is_terminal()) {
        return Ok(None);
    }
    match ask(target, Call::Topology { job: job.id }, READ).await? {
        Reply::Topology(topology) => Ok(Some(topology)),
        Reply::Gone => Ok(None),
        _ => Err(no_answer()),
    }
}

/// What becomes of the state.
fn state_line(
    release: &FlinkRelease,
    ledger: &Ledger,
    topology: Option<&Topology>,
    cluster: &Cluster,
) -> String {
    let job = ledger.job.as_ref();
    match (release.job.upgrade.mode, job, topology) {
        (UpgradeMode::Stateless, Some(job), Some(_)) => {
            format!("state: job {} is canceled and its state dropped", job.id)
        }
        (UpgradeMode::Savepoint, Some(job), Some(_)) => {
            let root = &cluster.savepoints;
            format!(
                "state: job {} is stopped with a savepoint below {root}, the new one begins from it",
                job.id
            )
        }
        (UpgradeMode::LastCheckpoint, Some(job), Some(_)) => {
            format!("state: job {} is canceled, the new one begins from its last checkpoint", job.id)
        }
        (UpgradeMode::Stateless, _, None) => "state: the job begins without".to_owned(),
        (UpgradeMode::Savepoint | UpgradeMode::LastCheckpoint, _, _) => {
            let last = ledger.checkpoint.as_ref().map(|state| state.path.as_str());
            let from = ledger.next.as_ref().map_or(last, Start::path);
            match from.or_else(|| job.and_then(|job| job.from.path())) {
                Some(path) => format!("state: no job runs; the new one begins from {path}"),
                None => "state: the job begins without".to_owned(),
            }
        }
        (UpgradeMode::Stateless, None, Some(_)) => unreachable!("what runs is the job of the ledger"),
    }
}

/// A reply that can be used.
async fn ask<J: JarSource>(
    target: &FlinkTarget<J>,
    call: Call,
    limit: Duration,
) -> Result<Reply, PlatformError> {
    match tokio::time::timeout(limit, target.perform(call, || true)).await {
        Ok(Answer::Reply(Reply::Unreachable { message } | Reply::Unavailable { message })) => {
            Err(PlatformError { code: ReasonCode::JobmanagerUnreachable, message })
        }
        Ok(Answer::Reply(Reply::Refused(refusal))) => {
            let failure = refusal.failure;
            Err(PlatformError { code: failure.code, message: failure.message })
        }
        Ok(Answer::Reply(reply)) => Ok(reply),
        Ok(Answer::Lost | Answer::Unmade) | Err(_) => Err(no_answer()),
    }
}

fn no_answer() -> PlatformError {
    let message = "the JobManager did not answer in time".to_owned();
    PlatformError { code: ReasonCode::JobmanagerUnreachable, message }
}

fn unusable(message: String) -> PlatformError {
    PlatformError { code: ReasonCode::OrderRefused, message }
}
