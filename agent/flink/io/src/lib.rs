//! The platform of a Flink cluster: its JobManagers over REST, jars, and the directories of savepoints.
//!
//! Everything that is decided, and everything that an answer means, is in `trimaran-flink-core`; here requests are sent.
//! A cluster may have several JobManagers: the one that answered last is asked first, and the next one when it can't be
//! reached. A request that was not received by any of them has had no effect, and that is said, since only then may it
//! be sent again without thinking.
//!
//! Certificates and secrets of headers are files of the agent; they are read again whenever a connection can't be made, and
//! header values before each request, so that a rotated one is used without a restart.
//!
//! Deliberately not here: how jars are fetched and kept ([`JarSource`]), and the start of any JVM.

mod access;
mod client;
mod directory;
mod logs;
mod observe;
mod plan;
mod platform;
mod s3;
mod target;

pub use access::Access;
pub use directory::Savepoints;
pub use platform::FlinkPlatforms;
pub use s3::S3Settings;
pub use target::{FlinkTarget, Jar, JarSource};
