//! Free space on the disk of this member. While there is little, operators' changes are refused and an alarm is shown;
//! runs in progress continue, end and roll back. While there is hardly any, what agents report waits too: it is not
//! answered, so they keep it.
//!
//! The alarm is soft state, because writing it to the log would need the space that is missing. What happens
//! when a write fails all the same is the replica's: the process ends and says how much to free.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use trimaran_model::limits::DISK_FULL_BYTES;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::WallTime;
use trimaran_store::{Ballast, DiskSpace};
use trimaran_wire::document::{AlarmDocument, rfc3339};

/// Watches the free space of the data directory's file system.
pub(crate) struct DiskSpaceGuard {
    root: PathBuf,
    low_since: Mutex<Option<WallTime>>,
}

/// Too little disk space.
pub(crate) struct DiskPressure {
    pub(crate) message: String,
    pub(crate) since: WallTime,
}

impl DiskPressure {
    pub(crate) fn alarm(self) -> AlarmDocument {
        AlarmDocument {
            code: ReasonCode::DiskLow.as_str().to_owned(),
            message: self.message,
            since: rfc3339(self.since),
            clears: trimaran_model::reason::CLEARS_WAIT.to_owned(),
        }
    }
}

/// How much disk space there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Full,
    DiskPressure,
    Enough,
}

impl Level {
    fn of(space: DiskSpace) -> Self {
        if space.free < DISK_FULL_BYTES {
            Self::Full
        } else if space.is_low() {
            Self::DiskPressure
        } else {
            Self::Enough
        }
    }
}

impl DiskSpaceGuard {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), low_since: Mutex::new(None) }
    }

    /// Free bytes; 0 when the file system does not answer.
    pub(crate) fn free(&self) -> u64 {
        DiskSpace::of(&self.root).map_or(0, |space| space.free)
    }

    /// Checks now. A file system that does not answer is not counted as full: writes will show it.
    pub(crate) fn low(&self, now: WallTime) -> Option<DiskPressure> {
        let space = DiskSpace::of(&self.root).ok().filter(|space| Level::of(*space) < Level::Enough);
        let mut low_since = self.low_since.lock().expect("no panic while the lock is held");
        let Some(space) = space else {
            if low_since.take().is_some() {
                tracing::info!("the disk has enough space again");
            }
            return None;
        };
        let message = self.message(space);
        if low_since.is_none() {
            tracing::warn!("{message}");
        }
        Some(DiskPressure { message, since: *low_since.get_or_insert(now) })
    }

    /// Whether even what agents report has to wait.
    pub(crate) fn is_full(&self) -> bool {
        DiskSpace::of(&self.root).is_ok_and(|space| Level::of(space) == Level::Full)
    }

    fn message(&self, space: DiskSpace) -> String {
        let (free, missing) = (space.free >> 20, space.missing() >> 20);
        let effect = match Level::of(space) {
            Level::Full => "changes are refused and results of agents wait",
            Level::DiskPressure | Level::Enough => "changes are refused",
        };
        let mut message =
            format!("the coordinator has {free} MiB of free space; free {missing} MiB; {effect} until then");
        let mib = Ballast::new(&self.root).bytes() >> 20;
        if mib > 0 {
            let root = self.root.display();
            message.push_str(&format!(
                "; `trimaran-coordinator free-ballast --data-dir {root}` frees {mib} MiB"
            ));
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_space_refuses_changes_and_hardly_any_makes_agents_wait() {
        let mib = 1u64 << 20;
        for (free, total, level) in [
            (2048 * mib, 10_240 * mib, Level::Enough),
            (1023 * mib, 10_240 * mib, Level::DiskPressure),
            // Five percent of a large disk is little, and much more than what runs in progress need.
            (4096 * mib, 102_400 * mib, Level::DiskPressure),
            (128 * mib, 10_240 * mib, Level::DiskPressure),
            (128 * mib - 1, 10_240 * mib, Level::Full),
            (0, 10_240 * mib, Level::Full),
        ] {
            assert_eq!(Level::of(DiskSpace { free, total }), level, "{free} of {total}");
        }
    }
}
