//! How the parts of rows are frozen: names as text, enums by their public spelling, times and ids as numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use trimaran_model::action::{Commit, Failure, InstanceReport};
use trimaran_model::amount::IntOrPercent;
use trimaran_model::assignment::Assignment;
use trimaran_model::feature_level::Levels;
use trimaran_model::id::{
    AgentName, AssignmentId, Attempt, CoordinatorName, Digest, EnvironmentName, Epoch, Fence, HostName,
    Identity, Incarnation, InstallationId, InstanceName, OperatorName, OperatorRole, PipelineName, RequestId,
    Revision, RunId, StageName, TargetName,
};
use trimaran_model::pipeline::{ApproveOption, RollbackScope};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{Artifact, Release};
use trimaran_model::run::{RunKind, Status};
use trimaran_model::target::{PlatformKind, Target};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_model::verdict::Verdict;
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::artifact::WireArtifact;
use trimaran_wire::v1::assignment::{
    WireAssignment, WireCommit, WireFailure, WireInstance, WireIntOrPercent,
};
use trimaran_wire::v1::common::{
    WireIdentity, WireInstallation, WireRun, WireStage, name, reason_code, spelled,
};
use trimaran_wire::v1::plan::WireScope;
use trimaran_wire::v1::release::WireRelease;
use trimaran_wire::v1::target::WireTarget;

use super::Frozen;

/// Freezes a struct field by field: first those with the same name in both, then `field: frozen_field`.
macro_rules! frozen_struct {
    ($type:ident => $module:ident :: $wire:ident { $($same:ident),* } $({ $($field:ident : $frozen:ident),* })?) => {
        impl $crate::rows::Frozen for $type {
            type Wire = $module::$wire;
            fn freeze(&self) -> Self::Wire {
                $module::$wire {
                    $($same: self.$same.freeze(),)*
                    $($($frozen: self.$field.freeze(),)*)?
                }
            }
            fn thaw(wire: Self::Wire) -> Result<Self, trimaran_wire::codec::CodecError> {
                Ok(Self {
                    $($same: $crate::rows::Frozen::thaw(wire.$same)?,)*
                    $($($field: $crate::rows::Frozen::thaw(wire.$frozen)?,)*)?
                })
            }
        }
    };
}

/// Freezes an enum variant by variant: both have the same variants and fields.
macro_rules! frozen_enum {
    ($type:ident => $module:ident :: $wire:ident { $($variant:ident $({ $($field:ident),* })?),* $(,)? }) => {
        impl $crate::rows::Frozen for $type {
            type Wire = $module::$wire;
            fn freeze(&self) -> Self::Wire {
                match self {
                    $(Self::$variant $({ $($field),* })? => {
                        $module::$wire::$variant $({ $($field: $field.freeze()),* })?
                    })*
                }
            }
            fn thaw(wire: Self::Wire) -> Result<Self, trimaran_wire::codec::CodecError> {
                Ok(match wire {
                    $($module::$wire::$variant $({ $($field),* })? => {
                        Self::$variant $({ $($field: $crate::rows::Frozen::thaw($field)?),* })?
                    })*
                })
            }
        }
    };
}

pub(super) use {frozen_enum, frozen_struct};

/// Frozen as they are.
macro_rules! plain {
    ($($type:ty),* $(,)?) => {
        $(impl Frozen for $type {
            type Wire = Self;
            fn freeze(&self) -> Self {
                self.clone()
            }
            fn thaw(wire: Self) -> Result<Self, CodecError> {
                Ok(wire)
            }
        })*
    };
}

/// Frozen as its two ends.
impl Frozen for Levels {
    type Wire = (u16, u16);
    fn freeze(&self) -> (u16, u16) {
        (self.min, self.max)
    }
    fn thaw((min, max): (u16, u16)) -> Result<Self, CodecError> {
        if min > max {
            return Err(CodecError::value(format_args!("feature levels {min} to {max}")));
        }
        Ok(Self { min, max })
    }
}

/// Frozen as the one value inside.
macro_rules! number {
    ($($type:ident($inner:ty)),* $(,)?) => {
        $(impl Frozen for $type {
            type Wire = $inner;
            fn freeze(&self) -> $inner {
                self.0
            }
            fn thaw(wire: $inner) -> Result<Self, CodecError> {
                Ok(Self(wire))
            }
        })*
    };
}

/// Frozen as text that is checked again.
macro_rules! named {
    ($($type:ident),* $(,)?) => {
        $(impl Frozen for $type {
            type Wire = String;
            fn freeze(&self) -> String {
                self.to_string()
            }
            fn thaw(wire: String) -> Result<Self, CodecError> {
                name(&wire)
            }
        })*
    };
}

/// Frozen by the public spelling.
macro_rules! spelling {
    ($($type:ident $what:literal),* $(,)?) => {
        $(impl Frozen for $type {
            type Wire = String;
            fn freeze(&self) -> String {
                self.as_str().to_owned()
            }
            fn thaw(wire: String) -> Result<Self, CodecError> {
                spelled(Self::ALL.into_iter().find(|it| it.as_str() == wire), $what, &wire)
            }
        })*
    };
}

/// Frozen as the wire has them anyway.
macro_rules! shared {
    ($($type:ident => $wire:ident),* $(,)?) => {
        $(impl Frozen for $type {
            type Wire = $wire;
            fn freeze(&self) -> $wire {
                self.into()
            }
            fn thaw(wire: $wire) -> Result<Self, CodecError> {
                wire.try_into()
            }
        })*
    };
}

plain!(bool, u8, u16, u32, u64, i64, String, [u8; 16], BTreeMap<String, String>);
number!(
    AssignmentId(u64),
    Attempt(u32),
    Digest([u8; 32]),
    Epoch(u16),
    Fence(u64),
    Incarnation(u64),
    Millis(u64),
    RequestId([u8; 16]),
    Revision(u64),
    Timestamp(u64),
    WallTime(i64),
);
named!(
    AgentName,
    CoordinatorName,
    EnvironmentName,
    HostName,
    InstanceName,
    OperatorName,
    PipelineName,
    TargetName
);
spelling!(ApproveOption "option", OperatorRole "role", PlatformKind "platform", RunKind "run kind",
    Status "status", Verdict "verdict");
shared!(
    Artifact => WireArtifact,
    Assignment => WireAssignment,
    Failure => WireFailure,
    Identity => WireIdentity,
    InstallationId => WireInstallation,
    InstanceReport => WireInstance,
    Release => WireRelease,
    RunId => WireRun,
    StageName => WireStage,
    Target => WireTarget,
);

impl Frozen for ReasonCode {
    type Wire = String;
    fn freeze(&self) -> String {
        self.as_str().to_owned()
    }
    fn thaw(wire: String) -> Result<Self, CodecError> {
        reason_code(&wire)
    }
}

impl Frozen for Commit {
    type Wire = WireCommit;
    fn freeze(&self) -> WireCommit {
        self.into()
    }
    fn thaw(wire: WireCommit) -> Result<Self, CodecError> {
        Ok(wire.into())
    }
}

impl Frozen for IntOrPercent {
    type Wire = WireIntOrPercent;
    fn freeze(&self) -> WireIntOrPercent {
        (*self).into()
    }
    fn thaw(wire: WireIntOrPercent) -> Result<Self, CodecError> {
        Ok(wire.into())
    }
}

impl Frozen for RollbackScope {
    type Wire = WireScope;
    fn freeze(&self) -> WireScope {
        match self {
            Self::Target => WireScope::Target,
            Self::Environment => WireScope::Environment,
            Self::Run => WireScope::Run,
        }
    }
    fn thaw(wire: WireScope) -> Result<Self, CodecError> {
        Ok(match wire {
            WireScope::Target => Self::Target,
            WireScope::Environment => Self::Environment,
            WireScope::Run => Self::Run,
        })
    }
}

impl<T: Frozen> Frozen for Option<T> {
    type Wire = Option<T::Wire>;
    fn freeze(&self) -> Self::Wire {
        self.as_ref().map(T::freeze)
    }
    fn thaw(wire: Self::Wire) -> Result<Self, CodecError> {
        wire.map(T::thaw).transpose()
    }
}

impl<T: Frozen> Frozen for Vec<T> {
    type Wire = Vec<T::Wire>;
    fn freeze(&self) -> Self::Wire {
        self.iter().map(T::freeze).collect()
    }
    fn thaw(wire: Self::Wire) -> Result<Self, CodecError> {
        wire.into_iter().map(T::thaw).collect()
    }
}

impl<T: Frozen> Frozen for Box<T> {
    type Wire = T::Wire;
    fn freeze(&self) -> Self::Wire {
        T::freeze(self)
    }
    fn thaw(wire: Self::Wire) -> Result<Self, CodecError> {
        T::thaw(wire).map(Self::new)
    }
}

impl<T: Frozen> Frozen for Arc<T> {
    type Wire = T::Wire;
    fn freeze(&self) -> Self::Wire {
        T::freeze(self)
    }
    fn thaw(wire: Self::Wire) -> Result<Self, CodecError> {
        T::thaw(wire).map(Self::new)
    }
}
