//! The host as a runner uses it: goals in, reports out, services that outlive it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use trimaran_host::{GoalRefused, Host, HostSettings};
use trimaran_model::assignment::{HostAction, HostGoal, HostOrder, HostReport, HostState};
use trimaran_model::id::{
    ArtifactName, AssignmentId, Attempt, Fence, HostName, InstallationId, PipelineName, RunId, ServiceName,
    TargetName,
};
use trimaran_model::limits::HOST_CALL;
use trimaran_model::pipeline::{
    HealthCheck, Lifecycle, Probe, Process, Restart, RestartOn, Stop, StopSignal,
};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{Artifact, ArtifactLocation, HostRelease, Release, ReleaseWorkload};
use trimaran_model::time::Millis;
use trimaran_wire::v1::release::WireRelease;
use trimaran_wire::v1::runner::LogQuery;

use crate::lab::{Lab, agent, is_alive, run, until};

async fn open(lab: &Lab) -> (Host, Receiver<HostReport>) {
    let settings = HostSettings {
        data_dir: lab.data(),
        name: HostName::new("host-1").expect("a name"),
        address: lab.address.parse().expect("an address"),
        secrets: None,
        binary: agent(),
    };
    Host::open(settings).await.expect("the host opens")
}

fn installation(pipeline: &str) -> InstallationId {
    InstallationId {
        pipeline: PipelineName::new(pipeline).expect("a name"),
        target: TargetName::new("local").expect("a name"),
    }
}

pub(crate) fn order(lab: &Lab, pipeline: &str, version: &str, behaviour: &str) -> HostOrder {
    let (archive, digest) = lab.pack(version);
    let command = ["bin/web", &format!("{}:{}", lab.address, lab.port)];
    let log = lab.start_log().display().to_string();
    let release = Release {
        pipeline: installation(pipeline).pipeline,
        target: installation(pipeline).target,
        version: version.to_owned(),
        workload: ReleaseWorkload::Host(HostRelease {
            bundle: Artifact {
                name: ArtifactName::new("bundle").expect("a name"),
                version: version.to_owned(),
                sha256: digest.parse().expect("a digest"),
                location: ArtifactLocation::Path(archive.display().to_string()),
            },
            process: Process::new(
                command.into_iter().chain([&*log, version, behaviour]).map(str::to_owned).collect(),
                Stop { signal: StopSignal::Term, grace: Millis(500) },
                Restart { on: RestartOn::Failure, delay: Millis(50), max: 3, per: Millis::minutes(1) },
            ),
            health: HealthCheck::ready(
                Probe::get(lab.port, "/", Millis(50), Millis(500)),
                Millis(200),
                Millis::seconds(5),
            ),
            lifecycle: Lifecycle::default(),
        }),
    };
    HostOrder { digest: WireRelease::from(&release).digest(), release }
}

pub(crate) fn goal(pipeline: &str, fence: u64, action: HostAction) -> HostGoal {
    let id = installation(pipeline);
    HostGoal {
        service: ServiceName::from(&id.pipeline),
        assignment: AssignmentId(fence),
        fence: Fence(fence),
        run: RunId { pipeline: id.pipeline.clone(), number: fence },
        attempt: Attempt(1),
        action,
        retained: BTreeSet::new(),
        installation: id,
    }
}

/// Sends a host an order that it accepts.
async fn accept_goal(host: &Host, pipeline: &str, fence: u64, action: HostAction) {
    host.accept_goal(goal(pipeline, fence, action)).await.expect("the goal is taken");
}

/// Reads reports until one of the installation has this state.
async fn wait(reports: &mut Receiver<HostReport>, pipeline: &str, state: HostState) -> HostReport {
    wait_code(reports, pipeline, state, None).await
}

/// Reads reports until one has this state and, when one is given, this code.
async fn wait_code(
    reports: &mut Receiver<HostReport>,
    pipeline: &str,
    state: HostState,
    code: Option<ReasonCode>,
) -> HostReport {
    let id = installation(pipeline);
    let reading = async {
        loop {
            let report = reports.recv().await.expect("the host runs");
            if report.installation == id && report.state == state && (code.is_none() || report.code == code) {
                return report;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading)
        .await
        .unwrap_or_else(|_| panic!("{pipeline} is not {} within 30 s", state.as_str()))
}

/// A host that was opened on a new lab and given `version` of `web` under `fence`, and is healthy with it.
async fn deployed(lab: &Lab, fence: u64, version: &str) -> (Host, Receiver<HostReport>, HostOrder) {
    let (host, mut reports) = open(lab).await;
    let order = order(lab, "web", version, "good");
    accept_goal(&host, "web", fence, HostAction::Apply(order.clone())).await;
    wait(&mut reports, "web", HostState::Healthy).await;
    (host, reports, order)
}

#[test]
fn a_service_outlives_its_host_and_is_found_again() {
    run(async {
        let lab = Lab::new();
        let (host, _, _) = deployed(&lab, 1, "v1").await;
        let pid = lab.pid().expect("the service runs");
        host.close().await;
        assert!(is_alive(pid), "the service outlives the host");

        let (host, mut reports) = open(&lab).await;
        let states: Vec<_> = host.reports().into_iter().map(|report| report.state).collect();
        assert_eq!(states, [HostState::Healthy], "a host that is open knows what it has");
        assert_eq!(lab.pid(), Some(pid), "it is the same process");
        kill(pid);
        // On a busy machine three probes may fail before the end is seen.
        let ended = Some(ReasonCode::ProcessExited);
        let degraded = wait_code(&mut reports, "web", HostState::Degraded, ended).await;
        assert!(degraded.message.contains("signal 9"), "{}", degraded.message);
        wait(&mut reports, "web", HostState::Healthy).await;
        assert_eq!(lab.starts()["v1"], 2, "the policy restarted it once");
        let lines = lines(&host).await;
        assert_eq!(lines.iter().filter(|line| *line == "v1 started").count(), 2, "{lines:?}");
        host.close().await;
    });
}

#[test]
fn an_end_that_no_one_watched_is_seen_later() {
    run(async {
        let lab = Lab::new();
        let (host, _, _) = deployed(&lab, 1, "v1").await;
        let pid = lab.pid().expect("the service runs");
        host.close().await;
        kill(pid);
        until("the service ends", || (!is_alive(pid)).then_some(()));
        let (host, mut reports) = open(&lab).await;
        let degraded = wait(&mut reports, "web", HostState::Degraded).await;
        assert!(degraded.message.contains("signal 9"), "{}", degraded.message);
        wait(&mut reports, "web", HostState::Healthy).await;
        host.close().await;
    });
}

#[test]
fn a_service_whose_directory_was_removed_serves_until_the_next_release_takes_its_place() {
    run(async {
        let lab = Lab::new();
        let (host, _, _) = deployed(&lab, 1, "v1").await;
        let first = lab.pid().expect("the service runs");
        host.close().await;
        std::fs::remove_dir_all(lab.data()).expect("removable");

        let (host, mut reports) = open(&lab).await;
        assert!(host.reports().is_empty() && is_alive(first), "no one asked for its end");
        let next = order(&lab, "web", "v2", "good");
        host.accept_goal(goal("web", 2, HostAction::Apply(next))).await.expect("the goal is taken");
        let healthy = wait(&mut reports, "web", HostState::Healthy).await;
        assert_eq!(healthy.code, None, "{}", healthy.message);
        assert!(!is_alive(first));
        assert_eq!((lab.starts()["v1"], lab.starts()["v2"]), (1, 1));

        let second = lab.pid().expect("the service runs");
        host.close().await;
        std::fs::remove_dir_all(lab.data()).expect("removable");
        assert_eq!(trimaran_host::stop_all(&lab.data()).await.expect("nothing is stuck"), 1);
        assert!(!is_alive(second));
    });
}

#[test]
fn a_fence_is_kept_for_ever() {
    run(async {
        let lab = Lab::new();
        let (host, _, first) = deployed(&lab, 7, "v1").await;
        let apply = goal("web", 7, HostAction::Apply(first.clone()));
        let pid = lab.pid();
        host.close().await;
        let (host, _reports) = open(&lab).await;
        host.accept_goal(apply.clone()).await.expect("the same goal again is no error");
        let lower = goal("web", 6, HostAction::Stop { only: first.digest });
        let refused = host.accept_goal(lower).await.expect_err("a lower fence is refused");
        assert!(matches!(refused, GoalRefused::Fenced { largest: Fence(7), .. }), "{refused}");
        let other = HostGoal { assignment: AssignmentId(8), ..apply };
        let refused = host.accept_goal(other).await.expect_err("another assignment of the fence is refused");
        assert!(matches!(refused, GoalRefused::Mismatch { assignment: AssignmentId(7), .. }), "{refused}");
        assert_eq!(lab.pid(), pid, "nothing was touched");
        host.close().await;
    });
}

#[test]
fn installations_take_turns_with_what_disrupts() {
    run(async {
        let labs = [Lab::new(), Lab::new()];
        let (host, mut reports) = open(&labs[0]).await;
        for (fence, version) in [(1, "v1"), (2, "v2")] {
            let web = order(&labs[0], "web", version, "stubborn");
            let api = order_at(&labs[0], labs[1].port, "api", version);
            accept_goal(&host, "web", fence, HostAction::Apply(web)).await;
            accept_goal(&host, "api", fence, HostAction::Apply(api)).await;
            take_turns_until_healthy(&host, &mut reports, fence).await;
        }
        host.close().await;
    });
}

#[test]
fn a_runner_that_comes_back_in_the_middle_of_a_change_begins_no_other_one_before_its_end() {
    run(async {
        let labs = [Lab::new(), Lab::new()];
        let (mut host, mut reports) = open(&labs[0]).await;
        for (fence, version) in [(1, "v1"), (2, "v2"), (3, "v3")] {
            let web = order(&labs[0], "web", version, "stubborn");
            let api = order_at(&labs[0], labs[1].port, "api", version);
            accept_goal(&host, "web", fence, HostAction::Apply(web)).await;
            if fence > 1 {
                wait(&mut reports, "web", HostState::Updating).await;
            }
            accept_goal(&host, "api", fence, HostAction::Apply(api)).await;
            if fence > 1 {
                while !wait(&mut reports, "api", HostState::Preparing).await.message.contains("waiting") {}
                host.close().await;
                (host, reports) = open(&labs[0]).await;
            }
            take_turns_until_healthy(&host, &mut reports, fence).await;
        }
        host.close().await;
    });
}

/// An order for a further service of the lab's host, which listens at a port of its own.
fn order_at(lab: &Lab, port: u16, pipeline: &str, version: &str) -> HostOrder {
    let mut made = order(lab, pipeline, version, "stubborn");
    let ReleaseWorkload::Host(host) = &mut made.release.workload else {
        unreachable!("it was made for a host")
    };
    host.process.command[1] = format!("{}:{port}", lab.address);
    host.health.readiness = vec![Probe::get(port, "/", Millis(50), Millis(500))];
    made.digest = WireRelease::from(&made.release).digest();
    made
}

/// Until both services of the host are healthy at `fence`; never are two of them updated at once.
async fn take_turns_until_healthy(host: &Host, reports: &mut Receiver<HostReport>, fence: u64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !both_healthy(host, fence) {
        assert!(Instant::now() < deadline, "not healthy: {:?}", host.reports());
        let _ = tokio::time::timeout(Duration::from_secs(5), reports.recv()).await;
        let updating = host.reports().iter().filter(|it| it.state == HostState::Updating).count();
        assert!(updating <= 1, "two disruptive steps at once: {:?}", host.reports());
    }
}

fn both_healthy(host: &Host, fence: u64) -> bool {
    let reports = host.reports();
    reports.len() == 2 && reports.iter().all(|it| it.fence == Fence(fence) && it.state == HostState::Healthy)
}

#[test]
fn a_damaged_journal_disturbs_nothing() {
    run(async {
        let lab = Lab::new();
        let (host, _, first) = deployed(&lab, 3, "v1").await;
        let pid = lab.pid();
        host.close().await;
        for name in ["state", "state.prev"] {
            let path = lab.installation().join(name);
            let bytes = std::fs::read(&path).expect("a journal");
            std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("a journal");
        }
        let (host, mut reports) = open(&lab).await;
        let report = wait(&mut reports, "web", HostState::Healthy).await;
        assert_eq!((report.fence, lab.pid()), (Fence(3), pid));
        let lower = goal("web", 2, HostAction::Apply(first));
        assert!(host.accept_goal(lower).await.is_err(), "the fence is known from the releases");
        host.close().await;
    });
}

#[test]
fn after_a_shutdown_services_run_again() {
    run(async {
        let lab = Lab::new();
        let (host, _, _) = deployed(&lab, 1, "v1").await;
        host.close().await;
        assert_eq!(trimaran_host::stop_all(&lab.data()).await.expect("all end"), 1);
        assert!(lab.alive().is_empty());
        std::fs::remove_dir_all(lab.data().join("cache")).expect("a cache");
        let (host, mut reports) = open(&lab).await;
        wait(&mut reports, "web", HostState::Healthy).await;
        assert_eq!(lab.alive(), ["v1"]);
        host.close().await;
    });
}

#[test]
fn a_newer_goal_takes_over_from_one_that_is_being_verified() {
    run(async {
        let lab = Lab::new();
        let (host, mut reports, first) = deployed(&lab, 1, "v1").await;
        accept_goal(&host, "web", 2, HostAction::Apply(order(&lab, "web", "v2", "sick"))).await;
        until("v2 runs", || (lab.alive() == ["v2"]).then_some(()));
        let begin = Instant::now();
        accept_goal(&host, "web", 3, HostAction::Restore(first)).await;
        let report = wait(&mut reports, "web", HostState::Healthy).await;
        assert_eq!(report.fence, Fence(3));
        assert!(begin.elapsed() < Duration::from_secs(4), "it did not wait for v2's deadline");
        lab.check("v1", "after the restore");
        host.close().await;
    });
}

/// A disk that does not answer, by the failpoint for it.
struct HangingDisk {
    file: std::path::PathBuf,
}

impl HangingDisk {
    /// Lets every inspection of the releases of `web` hang.
    fn below(lab: &Lab) -> Self {
        let file = lab.installation().join("failpoint.hang");
        std::fs::write(&file, "").expect("a file");
        Self { file }
    }
}

impl Drop for HangingDisk {
    /// Everything that waits gets its answer, and nothing waits any more.
    fn drop(&mut self) {
        std::fs::remove_file(&self.file).expect("a file");
    }
}

#[test]
fn an_installation_whose_disk_hangs_says_so_and_delays_no_other() {
    run(async {
        let (lab, other) = (Lab::new(), Lab::new());
        let (host, mut reports, _) = deployed(&lab, 1, "v1").await;
        let disk = HangingDisk::below(&lab);
        let pid = lab.pid().expect("the service runs");
        let v2 = || goal("web", 2, HostAction::Apply(order(&lab, "web", "v2", "good")));
        host.accept_goal(v2()).await.expect("the goal is taken");
        let begin = Instant::now();
        let api = order_at(&lab, other.port, "api", "v3");
        accept_goal(&host, "api", 1, HostAction::Apply(api)).await;
        wait(&mut reports, "api", HostState::Healthy).await;
        assert!(begin.elapsed() < HOST_CALL.to_std(), "it waited for the other one");
        let limit = HOST_CALL.to_std() + Duration::from_secs(30);
        let refused = tokio::time::timeout(limit, async {
            loop {
                let report = reports.recv().await.expect("the host runs");
                if report.state == HostState::Refused {
                    return report;
                }
            }
        });
        let refused = refused.await.expect("a call ends by its deadline");
        assert_eq!(refused.code, Some(ReasonCode::HostInternal), "{}", refused.message);
        assert!(refused.message.contains("in time"), "{}", refused.message);
        assert!(is_alive(pid), "what ran was not touched");
        drop(disk);
        host.accept_goal(HostGoal { assignment: AssignmentId(3), fence: Fence(3), ..v2() })
            .await
            .expect("taken");
        wait(&mut reports, "web", HostState::Healthy).await;
        assert_eq!(lab.current(), "v2");
        host.close().await;
    });
}

async fn lines(host: &Host) -> Vec<String> {
    let query = LogQuery {
        pipeline: "web".to_owned(),
        target: "local".to_owned(),
        run: Some("web#1".to_owned()),
        release: None,
        since_ms: None,
        tail: None,
        follow: false,
    };
    let mut reader = host.logs(&query);
    let mut lines = Vec::new();
    while let Some(batch) = reader.next().await {
        lines.extend(batch.into_iter().map(|line| line.line));
    }
    lines
}

fn kill(pid: u32) {
    let status = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(status.expect("kill runs").success());
}
