//! The crates of the product and who may know whom: the design's section 3 as a table that other rules read.
//!
//! Not here: crates of tests and of these tasks, which may know everybody.

/// A crate of the product.
pub(crate) struct Crate {
    /// As cargo names it.
    pub(crate) name: &'static str,
    /// Its folder, from the top.
    pub(crate) folder: &'static str,
    /// A core decides and does no I/O: no tokio, clock, randomness, files or sockets.
    pub(crate) is_core: bool,
    /// The crates of the product that it may depend on.
    pub(crate) knows: &'static [&'static str],
}

const fn core(name: &'static str, folder: &'static str, knows: &'static [&'static str]) -> Crate {
    Crate { name, folder, is_core: true, knows }
}

const fn outer(name: &'static str, folder: &'static str, knows: &'static [&'static str]) -> Crate {
    Crate { name, folder, is_core: false, knows }
}

const MODEL: &str = "trimaran-model";
const LANGUAGE: &str = "trimaran-language";
const WIRE: &str = "trimaran-wire";
const TRANSPORT: &str = "trimaran-transport";
const ENGINE: &str = "trimaran-engine";
const QUERY: &str = "trimaran-query";
const PLANNER: &str = "trimaran-planner";
const REPLICA: &str = "trimaran-replica";
const MEMBER: &str = "trimaran-member";
const STORE: &str = "trimaran-store";
const AGENT_CORE: &str = "trimaran-agent-core";
const TARGETS: &str = "trimaran-targets";
const ARCHIVE: &str = "trimaran-archive";
const ARTIFACTS: &str = "trimaran-artifacts";
const HOST_CORE: &str = "trimaran-host-core";
const HOST: &str = "trimaran-host";
const KUBERNETES_CORE: &str = "trimaran-kubernetes-core";
const FLINK_CORE: &str = "trimaran-flink-core";
const FLINK: &str = "trimaran-flink";
const KUBERNETES_DRIVER: &str = "trimaran-kubernetes-driver";
const SEALING: &str = "trimaran-sealing";
const KUBERNETES: &str = "trimaran-kubernetes";
const KUBERNETES_STATE: &str = "trimaran-kubernetes-state";
const PROCESS: &str = "trimaran-process";
const CLIENT: &str = "trimaran-client";

pub(crate) const CRATES: &[Crate] = &[
    core(MODEL, "protocol/model", &[]),
    core(LANGUAGE, "protocol/language", &[MODEL]),
    core(WIRE, "protocol/wire", &[MODEL]),
    outer(TRANSPORT, "protocol/transport", &[MODEL, WIRE, PROCESS]),
    core(ENGINE, "coordinator/engine", &[MODEL, WIRE]),
    core(QUERY, "coordinator/query", &[MODEL, WIRE, ENGINE]),
    core(PLANNER, "coordinator/planner", &[MODEL, WIRE, ENGINE, HOST_CORE, KUBERNETES_CORE]),
    core(REPLICA, "coordinator/replica", &[MODEL, WIRE, ENGINE]),
    core(MEMBER, "coordinator/member", &[MODEL, WIRE, ENGINE, QUERY, REPLICA]),
    outer(STORE, "coordinator/store", &[MODEL, WIRE, ENGINE, REPLICA]),
    outer(
        "trimaran-coordinator",
        "coordinator/server",
        &[
            MODEL, LANGUAGE, WIRE, TRANSPORT, ENGINE, QUERY, PLANNER, REPLICA, MEMBER, STORE, HOST_CORE,
            PROCESS,
        ],
    ),
    core(AGENT_CORE, "agent/core", &[MODEL, WIRE]),
    outer(TARGETS, "agent/targets", &[MODEL, WIRE, AGENT_CORE, PROCESS]),
    core(ARCHIVE, "agent/archive", &[MODEL]),
    outer(ARTIFACTS, "agent/artifacts", &[MODEL, WIRE]),
    core(KUBERNETES_CORE, "agent/kubernetes/core", &[MODEL]),
    core(FLINK_CORE, "agent/flink/core", &[MODEL, WIRE, AGENT_CORE]),
    outer(FLINK, "agent/flink/io", &[MODEL, WIRE, AGENT_CORE, FLINK_CORE, PROCESS]),
    core(KUBERNETES_DRIVER, "agent/kubernetes/driver", &[MODEL, WIRE, AGENT_CORE, KUBERNETES_CORE]),
    core(SEALING, "agent/kubernetes/sealing", &[]),
    outer(
        KUBERNETES,
        "agent/kubernetes/io",
        &[MODEL, WIRE, AGENT_CORE, KUBERNETES_CORE, KUBERNETES_DRIVER, SEALING, PROCESS],
    ),
    outer(KUBERNETES_STATE, "agent/kubernetes/state", &[MODEL, KUBERNETES_CORE, PROCESS]),
    core(HOST_CORE, "agent/host/core", &[MODEL, WIRE, AGENT_CORE]),
    outer(HOST, "agent/host/io", &[MODEL, WIRE, AGENT_CORE, HOST_CORE, ARCHIVE, ARTIFACTS, PROCESS]),
    outer(
        "trimaran-agent",
        "agent/daemon",
        &[
            MODEL,
            LANGUAGE,
            WIRE,
            TRANSPORT,
            AGENT_CORE,
            TARGETS,
            ARTIFACTS,
            HOST_CORE,
            HOST,
            PROCESS,
            FLINK_CORE,
            FLINK,
            KUBERNETES_DRIVER,
            KUBERNETES,
            KUBERNETES_STATE,
        ],
    ),
    outer(PROCESS, "ops/process", &[MODEL]),
    outer(CLIENT, "ops/client", &[MODEL, WIRE, TRANSPORT, PROCESS]),
    outer(
        "trimaran",
        "ops/cli",
        &[MODEL, LANGUAGE, WIRE, CLIENT, PROCESS, ARCHIVE, KUBERNETES_CORE, SEALING],
    ),
];

/// Where crates live that are no part of the product.
const OUTSIDE: &[&str] = &["tests/", "ops/xtask"];

/// Whether a crate of this folder has to stand in [`CRATES`].
pub(crate) fn is_product(folder: &str) -> bool {
    !OUTSIDE.iter().any(|outside| folder.starts_with(outside))
}
