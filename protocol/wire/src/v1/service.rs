//! The service of a release on hosts: part of the bytes that a release's digest is taken over, see `release`.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};
use trimaran_model::pipeline::{
    Account, Capability, Condition, HealthCheck, HttpExpect, HttpProbe, Probe, ProbeAddress, ProbeCheck,
    ProbeTls, ProbeUrl, Process, ProcessLimits, Reload, Restart, RestartOn, Stop, StopSignal,
};
use trimaran_model::time::Millis;

use super::common::spelled;
use crate::codec::CodecError;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireProcess {
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub environment_files: Vec<String>,
    pub secrets: BTreeMap<String, String>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub groups: Vec<String>,
    pub umask: u32,
    pub working_directory: String,
    pub limits: WireProcessLimits,
    /// Names in lower case.
    pub capabilities: Option<Vec<String>>,
    pub no_new_privileges: bool,
    pub stop_signal: String,
    pub stop_grace_ms: u64,
    pub reload: Option<WireReload>,
    pub restart_on: String,
    pub restart_delay_ms: u64,
    pub restart_max: u32,
    pub restart_per_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireReload {
    Signal(String),
    Command(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireProcessLimits {
    pub nofile: u64,
    pub nproc: Option<u64>,
    pub core: u64,
    pub memory: Option<u64>,
    pub cpu_percent: Option<u32>,
    pub tasks: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireHealth {
    /// By condition: `startup`, `readiness`, `liveness`.
    pub probes: BTreeMap<String, Vec<WireProbe>>,
    pub min_healthy_ms: u64,
    pub deadline_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireProbe {
    pub check: WireProbeCheck,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub successes: u32,
    pub failures: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireProbeCheck {
    Http(WireHttpProbe),
    Tcp { host: Option<String>, port: u16 },
    Command(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireHttpProbe {
    pub host: Option<String>,
    pub port: u16,
    pub path: String,
    pub method: String,
    pub host_header: Option<String>,
    pub headers: BTreeMap<String, String>,
    /// The file of certificates that are believed; `None`: plain http.
    pub tls_ca: Option<String>,
    pub status_from: u16,
    pub status_to: u16,
    pub contains: Option<String>,
}

impl From<&Process> for WireProcess {
    fn from(process: &Process) -> Self {
        let names = |all: &BTreeSet<Capability>| all.iter().map(|it| it.as_str().to_owned()).collect();
        Self {
            command: process.command.clone(),
            environment: process.environment.clone(),
            environment_files: process.environment_files.clone(),
            secrets: process.secrets.clone(),
            user: process.account.user.clone(),
            group: process.account.group.clone(),
            groups: process.account.groups.clone(),
            umask: process.umask,
            working_directory: process.working_directory.clone(),
            limits: (&process.limits).into(),
            capabilities: process.capabilities.as_ref().map(names),
            no_new_privileges: process.no_new_privileges,
            stop_signal: process.stop.signal.as_str().to_owned(),
            stop_grace_ms: process.stop.grace.0,
            reload: process.reload.as_ref().map(|reload| match reload {
                Reload::Signal(signal) => WireReload::Signal(signal.as_str().to_owned()),
                Reload::Command(command) => WireReload::Command(command.clone()),
            }),
            restart_on: process.restart.on.as_str().to_owned(),
            restart_delay_ms: process.restart.delay.0,
            restart_max: process.restart.max,
            restart_per_ms: process.restart.per.0,
        }
    }
}

impl TryFrom<WireProcess> for Process {
    type Error = CodecError;
    fn try_from(wire: WireProcess) -> Result<Self, CodecError> {
        if wire.command.is_empty() {
            return Err(CodecError::value("an empty command"));
        }
        let signal = StopSignal::ALL.into_iter().find(|signal| signal.as_str() == wire.stop_signal);
        let on = RestartOn::ALL.into_iter().find(|on| on.as_str() == wire.restart_on);
        let capability = |name: String| spelled(Capability::from_name(&name), "capability", &name);
        let capabilities = wire.capabilities.map(|names| names.into_iter().map(capability).collect());
        Ok(Self {
            command: wire.command,
            environment: wire.environment,
            environment_files: wire.environment_files,
            secrets: wire.secrets,
            account: Account { user: wire.user, group: wire.group, groups: wire.groups },
            umask: wire.umask,
            working_directory: wire.working_directory,
            limits: wire.limits.into(),
            capabilities: capabilities.transpose()?,
            no_new_privileges: wire.no_new_privileges,
            stop: Stop {
                signal: spelled(signal, "signal", &wire.stop_signal)?,
                grace: Millis(wire.stop_grace_ms),
            },
            reload: wire.reload.map(TryInto::try_into).transpose()?,
            restart: Restart {
                on: spelled(on, "restart", &wire.restart_on)?,
                delay: Millis(wire.restart_delay_ms),
                max: wire.restart_max,
                per: Millis(wire.restart_per_ms),
            },
        })
    }
}

impl TryFrom<WireReload> for Reload {
    type Error = CodecError;
    fn try_from(wire: WireReload) -> Result<Self, CodecError> {
        match wire {
            WireReload::Signal(name) => {
                let signal = Reload::SIGNALS.into_iter().find(|signal| signal.as_str() == name);
                Ok(Self::Signal(spelled(signal, "signal", &name)?))
            }
            WireReload::Command(command) if command.is_empty() => Err(CodecError::value("an empty command")),
            WireReload::Command(command) => Ok(Self::Command(command)),
        }
    }
}

impl From<&ProcessLimits> for WireProcessLimits {
    fn from(limits: &ProcessLimits) -> Self {
        let ProcessLimits { nofile, nproc, core, memory, cpu, tasks } = limits.clone();
        Self { nofile, nproc, core, memory, cpu_percent: cpu, tasks }
    }
}

impl From<WireProcessLimits> for ProcessLimits {
    fn from(wire: WireProcessLimits) -> Self {
        let WireProcessLimits { nofile, nproc, core, memory, cpu_percent, tasks } = wire;
        Self { nofile, nproc, core, memory, cpu: cpu_percent, tasks }
    }
}

impl From<&HealthCheck> for WireHealth {
    fn from(health: &HealthCheck) -> Self {
        let of = |condition| health.of(condition).iter().map(Into::into).collect::<Vec<WireProbe>>();
        let probes = Condition::ALL.map(|it| (it.as_str().to_owned(), of(it)));
        Self {
            probes: probes.into_iter().filter(|(_, probes)| !probes.is_empty()).collect(),
            min_healthy_ms: health.min_healthy.0,
            deadline_ms: health.deadline.0,
        }
    }
}

impl TryFrom<WireHealth> for HealthCheck {
    type Error = CodecError;
    fn try_from(mut wire: WireHealth) -> Result<Self, CodecError> {
        let mut of = |condition: Condition| {
            let probes = wire.probes.remove(condition.as_str()).unwrap_or_default();
            probes.into_iter().map(TryInto::try_into).collect::<Result<Vec<Probe>, CodecError>>()
        };
        let health = Self {
            startup: of(Condition::Startup)?,
            readiness: of(Condition::Readiness)?,
            liveness: of(Condition::Liveness)?,
            min_healthy: Millis(wire.min_healthy_ms),
            deadline: Millis(wire.deadline_ms),
        };
        if !wire.probes.is_empty() {
            return Err(CodecError::value("probes of an unknown condition"));
        }
        if health.readiness.is_empty() && health.liveness.is_empty() {
            return Err(CodecError::value("a health check without a probe that goes on"));
        }
        Ok(health)
    }
}

impl From<&Probe> for WireProbe {
    fn from(probe: &Probe) -> Self {
        let check = match &probe.check {
            ProbeCheck::Http(http) => WireProbeCheck::Http(http.into()),
            ProbeCheck::Tcp(address) => {
                WireProbeCheck::Tcp { host: address.host.clone(), port: address.port }
            }
            ProbeCheck::Command(command) => WireProbeCheck::Command(command.clone()),
        };
        Self {
            check,
            interval_ms: probe.interval.0,
            timeout_ms: probe.timeout.0,
            successes: probe.successes,
            failures: probe.failures,
        }
    }
}

impl TryFrom<WireProbe> for Probe {
    type Error = CodecError;
    fn try_from(wire: WireProbe) -> Result<Self, CodecError> {
        if wire.interval_ms == 0 || wire.timeout_ms == 0 || wire.successes == 0 || wire.failures == 0 {
            return Err(CodecError::value("a probe without an interval, timeout or count"));
        }
        let check = match wire.check {
            WireProbeCheck::Http(http) => ProbeCheck::Http(http.into()),
            WireProbeCheck::Tcp { host, port } => ProbeCheck::Tcp(ProbeAddress { host, port }),
            WireProbeCheck::Command(command) if command.is_empty() => {
                return Err(CodecError::value("an empty command"));
            }
            WireProbeCheck::Command(command) => ProbeCheck::Command(command),
        };
        Ok(Self {
            check,
            interval: Millis(wire.interval_ms),
            timeout: Millis(wire.timeout_ms),
            successes: wire.successes,
            failures: wire.failures,
        })
    }
}

impl From<&HttpProbe> for WireHttpProbe {
    fn from(http: &HttpProbe) -> Self {
        Self {
            host: http.url.address.host.clone(),
            port: http.url.address.port,
            path: http.url.path.clone(),
            method: http.method.clone(),
            host_header: http.host.clone(),
            headers: http.headers.clone(),
            tls_ca: http.tls.as_ref().map(|tls| tls.ca.clone()),
            status_from: http.expect.status.0,
            status_to: http.expect.status.1,
            contains: http.expect.contains.clone(),
        }
    }
}

impl From<WireHttpProbe> for HttpProbe {
    fn from(wire: WireHttpProbe) -> Self {
        Self {
            url: ProbeUrl { address: ProbeAddress { host: wire.host, port: wire.port }, path: wire.path },
            method: wire.method,
            host: wire.host_header,
            headers: wire.headers,
            tls: wire.tls_ca.map(|ca| ProbeTls { ca }),
            expect: HttpExpect { status: (wire.status_from, wire.status_to), contains: wire.contains },
        }
    }
}
