//! Releases and goals of one service.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::assignment::{HostAction, HostGoal, HostOrder};
use trimaran_model::id::{
    ArtifactName, AssignmentId, Attempt, Digest, Fence, InstallationId, PipelineName, RunId, ServiceName,
    TargetName,
};
use trimaran_model::pipeline::{HealthCheck, ProbeUrl, Process, Restart, RestartOn, Stop, StopSignal};
use trimaran_model::release::{Artifact, ArtifactLocation, HostRelease, Release, ReleaseWorkload};
use trimaran_model::time::Millis;
use trimaran_wire::v1::release::WireRelease;

pub(crate) fn installation() -> InstallationId {
    InstallationId {
        pipeline: PipelineName::new("web").expect("a name"),
        target: TargetName::new("lab").expect("a name"),
    }
}

/// Version `n` of the service: healthy for 3 s within 20 s, restarted on failure.
pub(crate) fn release(n: u8) -> HostOrder {
    release_with(n, RestartOn::Failure)
}

pub(crate) fn release_with(n: u8, on: RestartOn) -> HostOrder {
    let host = HostRelease {
        bundle: Artifact {
            name: ArtifactName::new("bundle").expect("a name"),
            version: format!("v{n}"),
            sha256: Digest([n; 32]),
            location: ArtifactLocation::Url(format!("http://127.0.0.1/web-v{n}.tar.zst")),
        },
        process: Process {
            command: vec!["bin/web".to_owned()],
            environment: BTreeMap::new(),
            stop: Stop { signal: StopSignal::Term, grace: Millis::seconds(5) },
            restart: Restart { on, delay: Millis::seconds(1), max: 3, per: Millis::minutes(10) },
        },
        health: HealthCheck {
            http: ProbeUrl { host: None, port: 8080, path: "/healthz".to_owned() },
            interval: Millis(500),
            timeout: Millis::seconds(2),
            min_healthy: Millis::seconds(3),
            deadline: Millis::seconds(20),
        },
    };
    let release = Release {
        pipeline: installation().pipeline,
        target: installation().target,
        version: format!("v{n}"),
        workload: ReleaseWorkload::Host(host),
    };
    HostOrder { digest: WireRelease::from(&release).digest(), release }
}

pub(crate) fn goal(fence: u64, action: HostAction) -> HostGoal {
    HostGoal {
        installation: installation(),
        service: ServiceName::from(&installation().pipeline),
        assignment: AssignmentId(fence),
        fence: Fence(fence),
        run: RunId { pipeline: installation().pipeline, number: fence },
        attempt: Attempt(1),
        action,
        keep: BTreeSet::new(),
    }
}

pub(crate) fn apply(fence: u64, n: u8) -> HostGoal {
    goal(fence, HostAction::Apply(release(n)))
}

pub(crate) fn restore(fence: u64, n: u8) -> HostGoal {
    goal(fence, HostAction::Restore(release(n)))
}

pub(crate) fn prepare(fence: u64, n: u8) -> HostGoal {
    goal(fence, HostAction::Prepare(release(n)))
}

pub(crate) fn digest(n: u8) -> Digest {
    release(n).digest
}
