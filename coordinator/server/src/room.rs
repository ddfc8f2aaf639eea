//! Room on the disk of this member: while there is too little, changes are refused and an alarm is shown.
//!
//! The alarm is soft state, because writing it to the log would need the room that is missing. What happens
//! when a write fails all the same is the replica's: the process ends and says how much to free.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use trimaran_model::time::Wall;
use trimaran_store::DiskSpace;
use trimaran_wire::document::{AlarmDocument, rfc3339};

/// Looks at the file system of the data directory.
pub(crate) struct Room {
    root: PathBuf,
    low_since: Mutex<Option<Wall>>,
}

/// Too little room.
pub(crate) struct Low {
    pub(crate) message: String,
    pub(crate) since: Wall,
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

impl Room {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), low_since: Mutex::new(None) }
    }

    /// Free bytes; 0 when the file system does not answer.
    pub(crate) fn free(&self) -> u64 {
        DiskSpace::of(&self.root).map_or(0, |space| space.free)
    }

    /// Looks now. A file system that does not answer is not counted as full: writes will tell.
    pub(crate) fn low(&self, now: Wall) -> Option<Low> {
        let space = DiskSpace::of(&self.root).ok().filter(|space| space.is_low());
        let mut low_since = self.low_since.lock().expect("no panic while the lock is held");
        let Some(space) = space else {
            if low_since.take().is_some() {
                tracing::info!("the disk has room again");
            }
            return None;
        };
        let message = format!(
            "the coordinator has {} MiB of free space; free {} MiB",
            space.free >> 20,
            space.missing() >> 20
        );
        if low_since.is_none() {
            tracing::warn!("{message}; changes are refused until then");
        }
        Some(Low { message, since: *low_since.get_or_insert(now) })
    }
}
