//! What this agent drives. A platform joins with its driver here and its platform beside it, in front of `Unsupported`,
//! which takes what is left; nothing else of the agent changes.

use trimaran_agent_core::both::Both;
use trimaran_agent_core::platform::Connect;
use trimaran_agent_core::unsupported::Unsupported;
use trimaran_flink::FlinkPlatforms;
use trimaran_flink_core::machine::Flink;
use trimaran_host_core::fleet::Fleet;
use trimaran_kubernetes::KubernetesPlatforms;
use trimaran_kubernetes_driver::Assigned;
use trimaran_model::target::PlatformKind;
use trimaran_targets::Targets;

use super::fleet_platform::FleetPlatforms;
use super::flink_jars::StoredJars;
use super::kubernetes_releases::StoredReleases;

/// The drivers, each asked in turn whether an order is its own.
pub(crate) type Drivers = Both<Fleet, Both<Flink, Both<Assigned, Unsupported>>>;

pub(crate) const DRIVERS: Drivers = Both {
    first: Fleet,
    second: Both { first: Flink, second: Both { first: Assigned, second: Unsupported } },
};

/// Their platforms, in the same order.
pub(crate) type Platforms =
    (FleetPlatforms, (FlinkPlatforms<StoredJars>, (KubernetesPlatforms<StoredReleases>, Unsupported)));

/// What this agent says to the coordinators that it drives.
pub(crate) const DRIVEN: &[PlatformKind] = PlatformKind::ALL.as_slice();

/// The platform of one target.
pub(crate) type AgentPlatform = <Platforms as Connect<Drivers>>::Platform;

pub(crate) type AgentTargets = Targets<Drivers, Platforms>;
