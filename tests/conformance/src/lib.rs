//! Models of the seams below the drivers, for suites that crash a machine at every step.
//!
//! [`disk::ModelDisk`] stands behind the store of a host and forgets what was not synced; [`host::ModelHost`]
//! has scripted processes and counts what is done to them; [`flink::ModelJobManager`] has jobs whose records are counted. [`driver`] is the suite for every driver. Time is a number.

pub mod disk;
pub mod driver;
pub mod flink;
pub mod host;
