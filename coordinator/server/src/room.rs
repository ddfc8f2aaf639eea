//! Room on the disk of this member. While there is little, operators' changes are refused and an alarm is shown;
//! what is under way goes on, ends and goes back. While there is hardly any, what agents tell waits too: it is not
//! answered, so they keep it.
//!
//! The alarm is soft state, because writing it to the log would need the room that is missing. What happens
//! when a write fails all the same is the replica's: the process ends and says how much to free.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use trimaran_model::limits::DISK_FULL_BYTES;
use trimaran_model::time::WallTime;
use trimaran_store::{Ballast, DiskSpace};
use trimaran_wire::document::{AlarmDocument, rfc3339};

/// Looks at the file system of the data directory.
pub(crate) struct Room {
    root: PathBuf,
    low_since: Mutex<Option<WallTime>>,
}

/// Too little room.
pub(crate) struct Low {
    pub(crate) message: String,
    pub(crate) since: WallTime,
}

impl Low {
    pub(crate) fn alarm(self) -> AlarmDocument {
        AlarmDocument {
            code: "disk_low".to_owned(),
            message: self.message,
            since: rfc3339(self.since),
            clears: trimaran_model::reason::CLEARS_WAIT.to_owned(),
        }
    }
}

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Full,
    Low,
    Enough,
}

impl Level {
    fn of(space: DiskSpace) -> Self {
        if space.free < DISK_FULL_BYTES {
            Self::Full
        } else if space.is_low() {
            Self::Low
        } else {
            Self::Enough
        }
    }
}

impl Room {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), low_since: Mutex::new(None) }
    }

    /// Free bytes; 0 when the file system does not answer.
    pub(crate) fn free(&self) -> u64 {
        DiskSpace::of(&self.root).map_or(0, |space| space.free)
    }

    /// Looks now. A file system that does not answer is not counted as full: writes will tell.
    pub(crate) fn low(&self, now: WallTime) -> Option<Low> {
        let space = DiskSpace::of(&self.root).ok().filter(|space| Level::of(*space) < Level::Enough);
        let mut low_since = self.low_since.lock().expect("no panic while the lock is held");
        let Some(space) = space else {
            if low_since.take().is_some() {
                tracing::info!("the disk has room again");
            }
            return None;
        };
        let message = self.message(space);
        if low_since.is_none() {
            tracing::warn!("{message}");
        }
        Some(Low { message, since: *low_since.get_or_insert(now) })
    }

    /// Whether even what agents tell has to wait.
    pub(crate) fn is_full(&self) -> bool {
        DiskSpace::of(&self.root).is_ok_and(|space| Level::of(space) == Level::Full)
    }

    fn message(&self, space: DiskSpace) -> String {
        let (free, missing) = (space.free >> 20, space.missing() >> 20);
        let effect = match Level::of(space) {
            Level::Full => "changes are refused and results of agents wait",
            Level::Low | Level::Enough => "changes are refused",
        };
        let mut message =
            format!("the coordinator has {free} MiB of free space; free {missing} MiB; {effect} until then");
        let mib = Ballast::new(&self.root).bytes() >> 20;
        if mib > 0 {
            let root = self.root.display();
            message.push_str(&format!(
                "; `trimaran-coordinator free-ballast --data-dir {root}` gives {mib} MiB back"
            ));
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_room_refuses_changes_and_hardly_any_makes_agents_wait() {
        let mib = 1u64 << 20;
        for (free, total, level) in [
            (2048 * mib, 10_240 * mib, Level::Enough),
            (1023 * mib, 10_240 * mib, Level::Low),
            // Five percent of a large disk is little, and much more than what is under way needs.
            (4096 * mib, 102_400 * mib, Level::Low),
            (128 * mib, 10_240 * mib, Level::Low),
            (128 * mib - 1, 10_240 * mib, Level::Full),
            (0, 10_240 * mib, Level::Full),
        ] {
            assert_eq!(Level::of(DiskSpace { free, total }), level, "{free} of {total}");
        }
    }
}
