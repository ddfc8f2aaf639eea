//! Free space on the disk of this member: observed here, decided on by the member (`DiskLevel`), which refuses what would
//! begin something while there is little and accepts what ends, undoes or decides. While there is hardly any, what agents
//! report waits too: it is not answered, so they keep it. The leader's disk decides for all that others pass on to it.
//!
//! Not here: what users are shown of it (`low_disk`). What happens when a write fails all the same is the replica's: the
//! process ends and says how much to free.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use trimaran_member::DiskLevel;
use trimaran_model::id::CoordinatorName;
use trimaran_model::limits::DISK_FULL_BYTES;
use trimaran_model::time::WallTime;
use trimaran_store::{Ballast, DiskSpace};
use trimaran_wire::v1::peer::MemberAlarm;

use crate::node::Node;

/// Watches the free space of the data directory's file system.
pub(crate) struct DiskSpaceGuard {
    root: PathBuf,
    /// The coordinator's name.
    name: CoordinatorName,
    known: Mutex<Known>,
}

/// What was observed last, and the member knows.
struct Known {
    level: DiskLevel,
    low_since: Option<WallTime>,
}

fn level_of(space: DiskSpace) -> DiskLevel {
    if space.free < DISK_FULL_BYTES {
        DiskLevel::Full
    } else if space.is_low() {
        DiskLevel::Low
    } else {
        DiskLevel::Enough
    }
}

impl DiskSpaceGuard {
    pub(crate) fn new(root: &Path, name: CoordinatorName) -> Self {
        let known = Known { level: DiskLevel::Enough, low_since: None };
        Self { root: root.to_owned(), name, known: Mutex::new(known) }
    }

    /// Free bytes; 0 when the file system does not answer.
    pub(crate) fn free(&self) -> u64 {
        DiskSpace::of(&self.root).map_or(0, |space| space.free)
    }

    /// Asks the file system now; what is proposed from here on is judged by its answer. A file system that does not
    /// answer is not counted as full: writes will show it.
    pub(crate) fn observe(&self, node: &Node) {
        let level = DiskSpace::of(&self.root).map_or(DiskLevel::Enough, level_of);
        let mut known = self.known.lock();
        // A level that the loop had no space for is noted the next time.
        if level == known.level || !node.set_disk_level(level) {
            return;
        }
        known.level = level;
        if level == DiskLevel::Enough {
            known.low_since = None;
            tracing::info!("the disk has enough space again");
        } else {
            known.low_since.get_or_insert_with(|| node.wall());
            tracing::warn!("{}", self.message());
        }
    }

    /// Observes, and says what is to be done when there is too little space.
    pub(crate) fn pressure(&self, node: &Node) -> Option<MemberAlarm> {
        self.observe(node);
        let since = self.known.lock().low_since?;
        let message =
            [Some(self.message()), self.ballast()].into_iter().flatten().collect::<Vec<_>>().join("; ");
        Some(MemberAlarm { message, since_ms: since.0 })
    }

    /// How little space there is, and what that means.
    pub(crate) fn message(&self) -> String {
        let name = &self.name;
        let Ok(space) = DiskSpace::of(&self.root) else {
            return format!("the file system of the coordinator `{name}` does not answer");
        };
        let (free, missing) = (space.free >> 20, space.missing() >> 20);
        let effect = match level_of(space) {
            DiskLevel::Full => "changes are refused and results of agents wait",
            DiskLevel::Low | DiskLevel::Enough => {
                "until then only cancel, rollback, approve and resume are accepted"
            }
        };
        format!("the coordinator `{name}` has {free} MiB of free space; free {missing} MiB; {effect}")
    }

    /// What frees space.
    pub(crate) fn help(&self) -> String {
        let ballast = self.ballast().map(|how| format!("; {how}")).unwrap_or_default();
        format!("Free space on the disk of `{}`{ballast}.", self.name)
    }

    /// How the space of the ballast file is freed, when there is one.
    fn ballast(&self) -> Option<String> {
        let mib = Some(Ballast::new(&self.root).bytes() >> 20).filter(|mib| *mib > 0)?;
        let root = self.root.display();
        Some(format!("`trimaran-coordinator free-ballast --data-dir {root}` frees {mib} MiB"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_space_refuses_changes_and_hardly_any_makes_agents_wait() {
        let mib = 1u64 << 20;
        for (free, total, level) in [
            (2048 * mib, 10_240 * mib, DiskLevel::Enough),
            (1023 * mib, 10_240 * mib, DiskLevel::Low),
            // Five percent of a large disk is little, and much more than what runs in progress need.
            (4096 * mib, 102_400 * mib, DiskLevel::Low),
            (128 * mib, 10_240 * mib, DiskLevel::Low),
            (128 * mib - 1, 10_240 * mib, DiskLevel::Full),
            (0, 10_240 * mib, DiskLevel::Full),
        ] {
            assert_eq!(level_of(DiskSpace { free, total }), level, "{free} of {total}");
        }
    }
}
