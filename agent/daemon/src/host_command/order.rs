//! What `apply` and `rollback` share: find the installation, give an order, follow it to its end.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc;
use trimaran_host::{Host, InstallationView};
use trimaran_model::assignment::{HostAction, HostGoal, HostReport, HostState};
use trimaran_model::error_code;
use trimaran_model::id::{
    AssignmentId, Attempt, Digest, Fence, InstallationId, RunId, ServiceName, TargetName,
};
use trimaran_model::reason::ReasonCode;

use super::logs;
use super::output::{OutputForm, outline, print, print_document, progress_line};
use super::problem::Problem;
use super::{HostOptions, service};

/// The target of a service that no cluster deployed.
pub(super) const LOCAL: &str = "local";
/// How long the first inspection of a host may take.
const INSPECT_TRIES_MAX: u32 = 1500;
const POLL: Duration = Duration::from_millis(20);

/// The installation of a service: `web`, or `web@lab-prod` where a host has several of the name.
pub(super) async fn find(host: &Host, name: &str) -> Result<Option<InstallationId>, Problem> {
    let chosen = service::choose(host.installations().await, name)?;
    match chosen.as_ref().and_then(|id| Some((id, host.broken(id)?))) {
        Some((id, why)) => Err(obstructed(id, why.to_owned())),
        None => Ok(chosen),
    }
}

/// An order by hand. Fence and attempt are set where it is taken.
pub(super) fn goal(id: &InstallationId, action: HostAction) -> HostGoal {
    HostGoal {
        installation: id.clone(),
        service: ServiceName::from(&id.pipeline),
        assignment: AssignmentId(0),
        fence: Fence(0),
        run: RunId { pipeline: id.pipeline.clone(), number: 0 },
        attempt: Attempt(1),
        action,
        retained: std::collections::BTreeSet::new(),
    }
}

pub(super) fn local_target() -> TargetName {
    TargetName::new(LOCAL).expect("the rule of names allows this")
}

/// Waits for the first inspection of an installation.
pub(super) async fn inspected(host: &Host, id: &InstallationId) -> Result<InstallationView, Problem> {
    for _ in 0..INSPECT_TRIES_MAX {
        let shown = host.show(id).await.ok_or_else(|| gone(id))?;
        if shown.inspected {
            return Ok(shown);
        }
        if let Some(why) = shown.obstacle {
            return Err(obstructed(id, why));
        }
        tokio::time::sleep(POLL).await;
    }
    Err(Problem::new(error_code::DATA_DIR, format!("{id} can't be inspected"))
        .cause(host.show(id).await.map_or_else(String::new, |shown| shown.report.message)))
}

/// What keeps the work on an installation from going on is given so long to pass.
const OBSTACLE_TIMEOUT: Duration = Duration::from_secs(10);

fn obstructed(id: &InstallationId, why: String) -> Problem {
    Problem::new(error_code::DATA_DIR, format!("nothing can be done for {id}"))
        .cause(why)
        .help("repair what is named, then run the command again: it continues where this one stopped")
}

fn gone(id: &InstallationId) -> Problem {
    Problem::new(error_code::BUG, format!("the work on {id} ended"))
}

/// Sends the order and follows it. Every change is printed once.
pub(super) async fn execute_order(
    host: &Host,
    reports: &mut mpsc::Receiver<HostReport>,
    goal: HostGoal,
) -> Result<InstallationView, Problem> {
    let id = goal.installation.clone();
    let taken = host.accept_manual_goal(goal).await?;
    let mut printed = None;
    let mut obstructed_since = None;
    loop {
        let shown = host.show(&id).await.ok_or_else(|| gone(&id))?;
        if shown.goal == taken {
            let line = progress_line(&shown.report);
            if printed.as_ref() != Some(&line) && shown.inspected {
                eprintln!("{line}");
                printed = Some(line);
            }
            if shown.settled {
                return Ok(shown);
            }
        }
        // What a crash left, or a user does meanwhile, may pass; no command waits for it without a word.
        match shown.obstacle {
            None => obstructed_since = None,
            Some(why) if obstructed_since.get_or_insert_with(Instant::now).elapsed() >= OBSTACLE_TIMEOUT => {
                return Err(obstructed(&id, why));
            }
            Some(_) => {}
        }
        // A report is a reason to check at once; the settling after it is not reported.
        let _ = tokio::time::timeout(POLL, reports.recv()).await;
    }
}

/// Whether the service's own output may show the cause.
fn is_of_the_process(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::ProcessExited
            | ReasonCode::OomKilled
            | ReasonCode::LivenessFailed
            | ReasonCode::ProbeFailed
            | ReasonCode::ProbeFlap
            | ReasonCode::RevertFailed
    )
}

/// Prints the result and says how the command ends.
pub(super) async fn conclude(options: &HostOptions, shown: &InstallationView, wanted: Digest) -> u8 {
    let report = &shown.report;
    let done = report.state == HostState::Healthy && report.current == Some(wanted);
    let version = shown.current.as_ref().map_or("nothing", |stored| stored.release.version.as_str());
    match options.output {
        OutputForm::Json => {
            let document = json!({"schema": "trimaran.host/v1",
                                  "installations": [outline(report, shown.current.as_ref())]});
            print_document(&document);
        }
        OutputForm::Table => {
            let name = &report.installation.pipeline;
            let cause = report.code.map_or_else(String::new, |code| format!(" ({})", code.as_str()));
            print(&match report.state {
                HostState::Healthy => format!("{name} {version} is healthy"),
                HostState::Reverted => format!("{name} went back to {version}{cause}: {}", report.message),
                state => format!("{name} is {}{cause}: {}", state.as_str(), report.message),
            });
        }
    }
    if let Some(code) = report.code.filter(|_| done) {
        eprintln!("warning[{}]: {}", code.as_str(), report.message);
    } else if !done && report.code.is_some_and(is_of_the_process) {
        logs::print_place(&options.data_dir, &report.installation).await;
    }
    match report.state {
        _ if done => 0,
        HostState::Reverted => 12,
        _ => 3,
    }
}
