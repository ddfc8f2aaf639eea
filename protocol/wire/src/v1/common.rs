//! What the structs of this version share: how names, enums with public spellings and maps are written.
//!
//! Enums that have a public spelling (statuses, reasons, signals) travel as that spelling: it is promised
//! anyway, and a list that grows keeps old bytes readable.

use std::str::FromStr;

use bincode::{Decode, Encode};
use trimaran_model::id::{
    Digest, EnvironmentName, Identity, InstallationId, InvalidName, OperatorRole, PipelineName, RunId,
    StageName, StagePart, TargetName,
};
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::PlatformKind;

use crate::codec::CodecError;

/// Reads a name and checks its rule.
pub fn name<T: FromStr<Err = InvalidName>>(text: &str) -> Result<T, CodecError> {
    text.parse().map_err(CodecError::from)
}

/// Finds a public spelling.
pub fn spelled<T>(found: Option<T>, what: &str, text: &str) -> Result<T, CodecError> {
    found.ok_or_else(|| CodecError::value(format_args!("{what} `{text}` is not known to this build")))
}

pub fn reason_code(text: &str) -> Result<ReasonCode, CodecError> {
    spelled(ReasonCode::from_name(text), "reason", text)
}

pub fn platform(text: &str) -> Result<PlatformKind, CodecError> {
    spelled(PlatformKind::from_name(text), "platform", text)
}

/// An installation: pipeline and target.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireInstallation {
    pub pipeline: String,
    pub target: String,
}

impl From<&InstallationId> for WireInstallation {
    fn from(id: &InstallationId) -> Self {
        Self { pipeline: id.pipeline.to_string(), target: id.target.to_string() }
    }
}

impl TryFrom<WireInstallation> for InstallationId {
    type Error = CodecError;
    fn try_from(wire: WireInstallation) -> Result<Self, CodecError> {
        Ok(Self {
            pipeline: name::<PipelineName>(&wire.pipeline)?,
            target: name::<TargetName>(&wire.target)?,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireRun {
    pub pipeline: String,
    pub number: u64,
}

impl From<&RunId> for WireRun {
    fn from(id: &RunId) -> Self {
        Self { pipeline: id.pipeline.to_string(), number: id.number }
    }
}

impl TryFrom<WireRun> for RunId {
    type Error = CodecError;
    fn try_from(wire: WireRun) -> Result<Self, CodecError> {
        Ok(Self { pipeline: name(&wire.pipeline)?, number: wire.number })
    }
}

/// A stage; no target means the approval.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireStage {
    pub environment: String,
    pub target: Option<String>,
}

impl From<&StageName> for WireStage {
    fn from(stage: &StageName) -> Self {
        let target = match &stage.part {
            StagePart::Approve => None,
            StagePart::Deploy(target) => Some(target.to_string()),
        };
        Self { environment: stage.environment.to_string(), target }
    }
}

impl TryFrom<WireStage> for StageName {
    type Error = CodecError;
    fn try_from(wire: WireStage) -> Result<Self, CodecError> {
        let part = match wire.target {
            None => StagePart::Approve,
            Some(target) => StagePart::Deploy(name(&target)?),
        };
        Ok(Self { environment: name::<EnvironmentName>(&wire.environment)?, part })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireIdentity {
    System,
    Coordinator(String),
    Agent(String),
    Runner(String),
    Operator { name: String, role: String },
}

impl From<&Identity> for WireIdentity {
    fn from(identity: &Identity) -> Self {
        match identity {
            Identity::System => Self::System,
            Identity::Coordinator(name) => Self::Coordinator(name.to_string()),
            Identity::Agent(name) => Self::Agent(name.to_string()),
            Identity::Runner(name) => Self::Runner(name.to_string()),
            Identity::Operator(name, role) => {
                Self::Operator { name: name.to_string(), role: role.as_str().to_owned() }
            }
        }
    }
}

impl TryFrom<WireIdentity> for Identity {
    type Error = CodecError;
    fn try_from(wire: WireIdentity) -> Result<Self, CodecError> {
        Ok(match wire {
            WireIdentity::System => Self::System,
            WireIdentity::Coordinator(text) => Self::Coordinator(name(&text)?),
            WireIdentity::Agent(text) => Self::Agent(name(&text)?),
            WireIdentity::Runner(text) => Self::Runner(name(&text)?),
            WireIdentity::Operator { name: text, role } => {
                Self::Operator(name(&text)?, operator_role(&role)?)
            }
        })
    }
}

pub fn operator_role(text: &str) -> Result<OperatorRole, CodecError> {
    spelled(OperatorRole::ALL.into_iter().find(|role| role.as_str() == text), "role", text)
}

/// Digests travel as their 32 bytes.
pub fn digests<'a>(set: impl IntoIterator<Item = &'a Digest>) -> Vec<[u8; 32]> {
    set.into_iter().map(|digest| digest.0).collect()
}
