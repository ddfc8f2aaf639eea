//! Targets.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use trimaran_model::target::{Target, TargetClass, TargetPlatform};

use super::common::name;
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
    Hosts { select: BTreeMap<String, String> },
    Kubernetes { namespace: String, kubeconfig: Option<String> },
    Flink { urls: Vec<String>, savepoints: String },
}

impl From<&Target> for WireTarget {
    fn from(target: &Target) -> Self {
        let platform = match target.platform.clone() {
            TargetPlatform::Hosts { select } => WirePlatform::Hosts { select },
            TargetPlatform::Kubernetes { namespace, kubeconfig } => {
                WirePlatform::Kubernetes { namespace, kubeconfig }
            }
            TargetPlatform::Flink { urls, savepoints } => WirePlatform::Flink { urls, savepoints },
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
            WirePlatform::Hosts { select } => TargetPlatform::Hosts { select },
            WirePlatform::Kubernetes { namespace, kubeconfig } => {
                TargetPlatform::Kubernetes { namespace, kubeconfig }
            }
            WirePlatform::Flink { urls, savepoints } => TargetPlatform::Flink { urls, savepoints },
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
