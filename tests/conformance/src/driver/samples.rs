//! A release of one service, as models order it, and what hosts report of it.

use trimaran_model::action::Failure;
use trimaran_model::assignment::{HostAction, HostGoal, HostOrder, HostReport, HostState};
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, HostName, InstallationId};
use trimaran_model::pipeline::{
    HealthCheck, Lifecycle, Probe, Process, Restart, RestartOn, Stop, StopSignal,
};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{Artifact, ArtifactLocation, HostRelease, Release, ReleaseWorkload};
use trimaran_model::time::Millis;

pub fn release() -> Release {
    numbered(1)
}

/// Version `n`: healthy for 3 s within 20 s, restarted on failure.
pub(super) fn numbered(n: u8) -> Release {
    let bundle = Artifact {
        name: "bundle".parse().expect("a name"),
        version: format!("v{n}"),
        sha256: Digest([n; 32]),
        location: ArtifactLocation::Url(format!("http://127.0.0.1/web-v{n}.tar.zst")),
    };
    let process = Process::new(
        vec!["bin/web".to_owned()],
        Stop { signal: StopSignal::Term, grace: Millis::seconds(5) },
        Restart { on: RestartOn::Failure, delay: Millis::seconds(1), max: 3, per: Millis::minutes(10) },
    );
    let health = HealthCheck::ready(
        Probe::get(8080, "/healthz", Millis(500), Millis::seconds(2)),
        Millis::seconds(3),
        Millis::seconds(20),
    );
    Release {
        pipeline: "web".parse().expect("a name"),
        target: "lab".parse().expect("a name"),
        version: format!("v{n}"),
        workload: ReleaseWorkload::Host(HostRelease {
            bundle,
            process,
            health,
            lifecycle: Lifecycle::default(),
        }),
    }
}

/// The goal that brings version `n` to a host.
pub(super) fn apply(n: u8, digest: Digest) -> HostGoal {
    let release = numbered(n);
    let number = u64::from(n);
    HostGoal {
        installation: InstallationId { pipeline: release.pipeline.clone(), target: release.target.clone() },
        service: trimaran_model::id::ServiceName::from(&release.pipeline),
        assignment: AssignmentId(number),
        fence: Fence(number),
        run: format!("web#{n}").parse().expect("a run"),
        attempt: Attempt(1),
        action: HostAction::Apply(HostOrder { digest, release }),
        retained: std::collections::BTreeSet::new(),
    }
}

/// What a host reports of an order that stopped what ran before.
pub fn report(
    installation: InstallationId,
    (assignment, fence): (AssignmentId, Fence),
    (state, current): (HostState, Option<Digest>),
) -> HostReport {
    HostReport {
        installation,
        fence,
        assignment,
        disruptive: true,
        state,
        current,
        prepared: None,
        code: None,
        message: String::new(),
        restarting: false,
    }
}

pub(super) fn failure(code: ReasonCode, host: &HostName) -> Failure {
    Failure { code, message: String::new(), instance: Some(host.into()) }
}
