//! Other coordinators: a session to each that is dialed from here, on which everything for it leaves, and the sessions
//! that they dial, on which everything of theirs arrives.
//!
//! A session carries streams of four kinds with priorities: control, append, requests, and one for each snapshot. Every
//! stream begins with who opens it and who is meant ([`PeerOpen`](trimaran_wire::v1::peer::PeerOpen)), which is checked
//! against the certificate, the cluster and the disk that a raft id is bound to. Queues are bounded: what does not fit is
//! lost as on the way, which replication survives and askers notice by their deadline.
//!
//! Not here: what the messages mean (`trimaran-replica`, `trimaran-member`).

mod accept;
mod agent_path;
mod answer;
mod care;
mod link;
mod live_progress;
mod outbox;
mod question;
mod sessions;
mod snapshot_files;
mod snapshot_intake;

pub(crate) use accept::serve;
pub(crate) use agent_path::{AgentPath, agent_path, ask_agent};
pub(crate) use care::{hand_over, keep_links, promote_learners};
pub(crate) use live_progress::follow_progress;
pub(crate) use outbox::Peers;
pub(crate) use question::{Reported, reports};
pub(crate) use sessions::refresh as refresh_sessions;
pub(crate) use snapshot_files::{SnapshotEvent, SnapshotFiles};
pub(crate) use snapshot_intake::SnapshotIntake;
