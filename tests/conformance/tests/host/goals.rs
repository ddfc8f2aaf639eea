//! Releases and goals of one service.

use std::collections::BTreeSet;

use trimaran_conformance::host::LIVENESS_PORT;
use trimaran_model::assignment::{HostAction, HostGoal, HostOrder};
use trimaran_model::id::{
    ArtifactName, AssignmentId, Attempt, Digest, Fence, InstallationId, PipelineName, RunId, ServiceName,
    TargetName,
};
use trimaran_model::pipeline::{
    Drain, DrainBy, HealthCheck, Hook, HookEvent, Lifecycle, MayStop, Probe, ProbeAddress, ProbeUrl, Process,
    Restart, RestartOn, Stop, StopSignal,
};
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
    order(n, on, Vec::new())
}

/// As [`release`], with a liveness probe beside the other one.
pub(crate) fn release_that_runs(n: u8, on: RestartOn) -> HostOrder {
    order(n, on, vec![Probe::get(LIVENESS_PORT, "/", Millis(500), Millis::seconds(2))])
}

fn order(n: u8, on: RestartOn, liveness: Vec<Probe>) -> HostOrder {
    let mut host = host(n, on);
    host.health.liveness = liveness;
    pinned(n, host)
}

/// As [`release`], with everything around its stop and its start.
pub(crate) fn release_with_lifecycle(n: u8) -> HostOrder {
    let url = ProbeUrl { address: ProbeAddress { host: None, port: 8080 }, path: "/".to_owned() };
    let wait = Millis::seconds(10);
    let hook = |event: HookEvent, place: u8| {
        let command = vec![event.as_str().to_owned(), place.to_string()];
        Hook { command, timeout: Millis::seconds(30) }
    };
    let hooks = HookEvent::ALL.map(|event| (event, vec![hook(event, 0), hook(event, 1)]));
    let lifecycle = Lifecycle {
        may_stop: Some(MayStop {
            http: url.clone(),
            every: Millis::seconds(10),
            deadline: Millis::minutes(1),
        }),
        drain: Some(Drain { by: DrainBy::Http(url.clone()), wait }),
        undrain: Some(Drain { by: DrainBy::Http(url), wait }),
        hooks: hooks.into_iter().collect(),
    };
    pinned(n, HostRelease { lifecycle, ..host(n, RestartOn::Failure) })
}

fn host(n: u8, on: RestartOn) -> HostRelease {
    HostRelease {
        bundle: Artifact {
            name: ArtifactName::new("bundle").expect("a name"),
            version: format!("v{n}"),
            sha256: Digest([n; 32]),
            location: ArtifactLocation::Url(format!("http://127.0.0.1/web-v{n}.tar.zst")),
        },
        process: Process::new(
            vec!["bin/web".to_owned()],
            Stop { signal: StopSignal::Term, grace: Millis::seconds(5) },
            Restart { on, delay: Millis::seconds(1), max: 3, per: Millis::minutes(10) },
        ),
        health: HealthCheck::ready(
            Probe::get(8080, "/healthz", Millis(500), Millis::seconds(2)),
            Millis::seconds(3),
            Millis::seconds(20),
        ),
        lifecycle: Lifecycle::default(),
    }
}

fn pinned(n: u8, host: HostRelease) -> HostOrder {
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
        retained: BTreeSet::new(),
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
