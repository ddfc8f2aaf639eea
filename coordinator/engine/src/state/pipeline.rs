//! Pipelines, their quarantined plans, and releases.

use std::sync::Arc;

use trimaran_model::id::{Digest, PipelineName, RunId};
use trimaran_model::release::{Content, Release};
use trimaran_model::time::{Timestamp, WallTime};
use trimaran_model::why::Why;

/// A pipeline by name. Its file is a cold row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    pub name: PipelineName,
    /// Digest of the stored file; `None`: none was ever stored.
    pub source: Option<Digest>,
    /// Number of its last run.
    pub runs: u64,
}

/// A release by digest, shared by everything that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseEntry {
    pub digest: Digest,
    pub release: Arc<Release>,
}

/// Content that releases name by digest. Its bytes are cold rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentEntry {
    pub content: Content,
    /// So many of its parts are stored.
    pub parts: u32,
    /// When its first part came.
    pub begun: Timestamp,
}

impl ContentEntry {
    pub fn is_whole(&self) -> bool {
        self.parts == self.content.parts()
    }
}

/// A plan that failed: it is not deployed again without an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    pub pipeline: PipelineName,
    pub plan: Digest,
    pub run: RunId,
    pub cause: Why,
    pub at: WallTime,
}

/// A run that has to be settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleEntry {
    pub run: RunId,
}
