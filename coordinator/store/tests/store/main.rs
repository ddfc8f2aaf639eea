//! The store on a real RocksDB: the suite it shares with the model store of simulations, damage, kill -9,
//! snapshot files, views, and a whole node of the member's thread and the writer's.
#![allow(clippy::disallowed_methods, reason = "real files, processes and threads")]

mod conformance;
mod damage;
mod generations;
mod memory;
mod node;
mod recover;
mod views;
mod wiring;

use std::path::Path;

use trimaran_store::{Options, Store};
use trimaran_wire::raft::Identity;

pub(crate) const IDENTITY: Identity = Identity { cluster_id: [1; 16], disk_id: [2; 16], raft_id: 1 };

pub(crate) fn options() -> Options {
    Options { write_buffer_bytes: 1 << 20, block_cache_bytes: 1 << 20, ..Options::default() }
}

pub(crate) fn init(dir: &Path) {
    Store::init(dir, IDENTITY, &[], &options()).unwrap();
}

/// Copies a data directory as it is on the disk at this moment: what a kill -9 leaves.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &to.join(file.file_name()));
        } else if file.file_name() != "LOCK" {
            match std::fs::copy(file.path(), to.join(file.file_name())) {
                // RocksDB removed it meanwhile: it was of no use.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

/// The WAL that is being written.
pub(crate) fn wal(dir: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ext| ext == "log")).max().expect("a WAL")
}

/// All rows, hot and cold.
pub(crate) fn rows(store: &Store) -> Vec<trimaran_replica::Row> {
    store.load_rows().collect::<Result<_, _>>().unwrap()
}
