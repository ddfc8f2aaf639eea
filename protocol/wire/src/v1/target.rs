//! Targets.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use trimaran_model::target::{FlinkAccess, HostSettings, OnLeave, Target, TargetClass, TargetPlatform};
use trimaran_model::time::Millis;

use super::assignment::WireIntOrPercent;
use super::common::{name, spelled};
use crate::codec::CodecError;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireTarget {
    pub name: String,
    pub agent: String,
    pub prod: bool,
    pub platform: WirePlatform,
    pub parallel: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WirePlatform {
    Hosts { select: BTreeMap<String, String>, require_user: bool, settings: WireHostSettings },
    Kubernetes { namespace: String, kubeconfig: Option<String> },
    Flink { urls: Vec<String>, savepoints: String, access: WireFlinkAccess },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireFlinkAccess {
    pub ca: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub client_cert: Option<String>,
}

impl From<FlinkAccess> for WireFlinkAccess {
    fn from(FlinkAccess { ca, headers, client_cert }: FlinkAccess) -> Self {
        Self { ca, headers, client_cert }
    }
}

impl From<WireFlinkAccess> for FlinkAccess {
    fn from(WireFlinkAccess { ca, headers, client_cert }: WireFlinkAccess) -> Self {
        Self { ca, headers, client_cert }
    }
}

/// `trimaran_model::target::HostSettings`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireHostSettings {
    pub lost_after_ms: u64,
    pub join_parallel: WireIntOrPercent,
    pub on_leave: Option<String>,
}

impl From<&HostSettings> for WireHostSettings {
    fn from(it: &HostSettings) -> Self {
        Self {
            lost_after_ms: it.lost_after.0,
            join_parallel: it.join_parallel.into(),
            on_leave: it.on_leave.map(|it| it.as_str().to_owned()),
        }
    }
}

impl TryFrom<WireHostSettings> for HostSettings {
    type Error = CodecError;
    fn try_from(wire: WireHostSettings) -> Result<Self, CodecError> {
        let on_leave =
            |text: &str| spelled(OnLeave::ALL.into_iter().find(|it| it.as_str() == text), "`on_leave`", text);
        Ok(Self {
            lost_after: Millis(wire.lost_after_ms),
            join_parallel: wire.join_parallel.into(),
            on_leave: wire.on_leave.as_deref().map(on_leave).transpose()?,
        })
    }
}

impl From<&Target> for WireTarget {
    fn from(target: &Target) -> Self {
        let platform = match target.platform.clone() {
            TargetPlatform::Hosts { select, require_user, settings } => {
                WirePlatform::Hosts { select, require_user, settings: (&settings).into() }
            }
            TargetPlatform::Kubernetes { namespace, kubeconfig } => {
                WirePlatform::Kubernetes { namespace, kubeconfig }
            }
            TargetPlatform::Flink { urls, savepoints, access } => {
                WirePlatform::Flink { urls, savepoints, access: access.into() }
            }
        };
        Self {
            name: target.name.to_string(),
            agent: target.agent.to_string(),
            prod: target.class == TargetClass::Prod,
            platform,
            parallel: target.parallel,
        }
    }
}

impl TryFrom<WireTarget> for Target {
    type Error = CodecError;
    fn try_from(wire: WireTarget) -> Result<Self, CodecError> {
        let platform = match wire.platform {
            WirePlatform::Hosts { select, require_user, settings } => {
                TargetPlatform::Hosts { select, require_user, settings: settings.try_into()? }
            }
            WirePlatform::Kubernetes { namespace, kubeconfig } => {
                TargetPlatform::Kubernetes { namespace, kubeconfig }
            }
            WirePlatform::Flink { urls, savepoints, access } => {
                TargetPlatform::Flink { urls, savepoints, access: access.into() }
            }
        };
        Ok(Self {
            name: name(&wire.name)?,
            agent: name(&wire.agent)?,
            class: if wire.prod { TargetClass::Prod } else { TargetClass::Staging },
            platform,
            parallel: wire.parallel,
        })
    }
}
