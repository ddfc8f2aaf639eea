//! Plans and targets from short text: `prod targets=lab-prod after=staging approve=promote,roll_back bake=10s`.

use std::collections::BTreeMap;

use trimaran_model::id::Digest;
use trimaran_model::pipeline::{
    HealthCheck, Lifecycle, Probe, Process, Restart, RestartOn, Stop, StopSignal,
};
use trimaran_model::target::{FlinkAccess, HostSettings};
use trimaran_model::time::Millis;
use trimaran_wire::v1::artifact::{WireArtifact, WireLocation};
use trimaran_wire::v1::assignment::WireIntOrPercent;
use trimaran_wire::v1::plan::{
    WireApprove, WirePlan, WirePlannedEnvironment, WirePlannedStage, WireScope, plan_digest,
};
use trimaran_wire::v1::release::{WireRelease, WireReleaseWorkload};
use trimaran_wire::v1::target::{WirePlatform, WireTarget};

/// `key=value` words by key; a word without `=` is its own key.
pub fn words(text: &str) -> BTreeMap<String, String> {
    text.split_whitespace()
        .map(|word| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

/// Milliseconds of `500ms`, `10s`, `5m`, `2h`, `3d`, `10y`.
pub fn millis(text: &str) -> u64 {
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().unwrap_or_else(|_| panic!("`{text}` is a length"));
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "y" => 365 * 86_400_000,
        other => panic!("`{other}` is a unit"),
    };
    number * unit
}

fn amount(text: &str) -> WireIntOrPercent {
    match text.strip_suffix('%') {
        Some(percent) => WireIntOrPercent::Percent(percent.parse().expect("a percentage")),
        None => WireIntOrPercent::Count(text.parse().expect("a count")),
    }
}

/// The release of a version on a target.
pub fn release(pipeline: &str, target: &str, version: &str) -> WireRelease {
    let mut sha256 = [0; 32];
    sha256[..version.len().min(32)].copy_from_slice(&version.as_bytes()[..version.len().min(32)]);
    WireRelease {
        pipeline: pipeline.to_owned(),
        target: target.to_owned(),
        version: version.to_owned(),
        workload: WireReleaseWorkload::Host {
            bundle: WireArtifact {
                name: "bundle".to_owned(),
                version: version.to_owned(),
                sha256,
                location: WireLocation::Path(format!("/srv/{pipeline}-{version}.tar")),
            },
            process: (&process()).into(),
            health: (&health()).into(),
            lifecycle: (&Lifecycle::default()).into(),
        },
    }
}

fn process() -> Process {
    let stop = Stop { signal: StopSignal::Term, grace: Millis(5000) };
    let restart = Restart { on: RestartOn::Failure, delay: Millis(1000), max: 5, per: Millis(600_000) };
    Process::new(vec!["bin/web".to_owned()], stop, restart)
}

fn health() -> HealthCheck {
    HealthCheck::ready(Probe::get(8080, "/healthz", Millis(500), Millis(2000)), Millis(3000), Millis(20_000))
}

/// The plan of a version: one line an environment.
pub fn plan(pipeline: &str, environments: &[String], version: &str) -> WirePlan {
    let environments: Vec<_> = environments.iter().map(|line| environment(pipeline, line, version)).collect();
    let stages = environments.iter().flat_map(|it: &WirePlannedEnvironment| &it.stages);
    let digest = plan_digest(stages.map(|it| (it.target.as_str(), Digest(it.release_digest))));
    let artifacts = vec![match release(pipeline, "", version).workload {
        WireReleaseWorkload::Host { bundle, .. } => bundle,
        WireReleaseWorkload::Kubernetes(_)
        | WireReleaseWorkload::Flink(_)
        | WireReleaseWorkload::FlinkWithFiles { .. } => {
            unreachable!("`release` is of hosts")
        }
    }];
    WirePlan { pipeline: pipeline.to_owned(), digest: digest.0, artifacts, environments }
}

fn environment(pipeline: &str, line: &str, version: &str) -> WirePlannedEnvironment {
    let (name, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let words = words(rest);
    let get = |key: &str, default: &str| words.get(key).cloned().unwrap_or_else(|| default.to_owned());
    let list = |key: &str| -> Vec<String> {
        words.get(key).map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_default()
    };
    let stage = |target: &String| {
        let release = release(pipeline, target, version);
        WirePlannedStage {
            target: target.clone(),
            release_digest: release.digest().0,
            release: std::sync::Arc::new(release),
            bake_ms: millis(&get("bake", "0s")),
            sizes: get("sizes", "100%").split(',').map(amount).collect(),
            max_unavailable: amount(&get("unavailable", "1")),
            max_failures: amount(&get("failures", "0")),
            max_lost: amount(&get("lost", "5%")),
            pause_between_ms: millis(&get("pause", "0s")),
        }
    };
    let options = list("approve");
    let timeout_ms = millis(&get("timeout", "1h"));
    WirePlannedEnvironment {
        name: name.to_owned(),
        after: list("after"),
        approve: (!options.is_empty()).then_some(WireApprove { options, timeout_ms }),
        rollback_on_health: get("rollback", "on") == "on",
        scope: match get("scope", "environment").as_str() {
            "target" => WireScope::Target,
            "environment" => WireScope::Environment,
            "run" => WireScope::Run,
            other => panic!("`{other}` is a scope"),
        },
        stages: list("targets").iter().map(stage).collect(),
    }
}

/// `lab-prod agent=lab select=prod parallel=1`: the hosts whose label `group` has the value.
pub fn target(text: &str) -> WireTarget {
    let (name, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let words = words(rest);
    let get = |key: &str, default: &str| words.get(key).cloned().unwrap_or_else(|| default.to_owned());
    let platform = match get("platform", "hosts").as_str() {
        "hosts" => {
            let select = BTreeMap::from([("group".to_owned(), get("select", name))]);
            WirePlatform::Hosts { select, require_user: false, settings: (&HostSettings::default()).into() }
        }
        "kubernetes" => WirePlatform::Kubernetes { namespace: "shop".to_owned(), kubeconfig: None },
        "flink" => WirePlatform::Flink {
            urls: vec!["http://127.0.0.1:8081".to_owned()],
            savepoints: "file:///savepoints".to_owned(),
            access: FlinkAccess::default().into(),
        },
        other => panic!("`{other}` is a platform"),
    };
    WireTarget {
        name: name.to_owned(),
        agent: get("agent", "lab"),
        prod: get("class", "prod") == "prod",
        platform,
        parallel: get("parallel", "64").parse().expect("a count"),
    }
}
