//! File systems of a test's own, which are small enough to be filled.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory, mounted on a folder until this ends. Needs root or `sudo`.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `options` as of `mount -t tmpfs -o`, for example `size=16k`.
    pub fn mount(folder: PathBuf, options: &str) -> Self {
        as_root(&["mount", "-t", "tmpfs", "-o", options, "tmpfs", &text(&folder)]);
        Self(folder)
    }

    /// Mounts one over a folder that stays as it is: its files are copied to the new file system.
    pub fn over(folder: PathBuf, options: &str) -> Self {
        let beside = folder.with_extension("beside");
        std::fs::rename(&folder, &beside).expect("the folder is there");
        std::fs::create_dir(&folder).expect("its place is free");
        let mounted = Self::mount(folder, options);
        as_root(&["cp", "--archive", &format!("{}/.", text(&beside)), &text(&mounted.0)]);
        std::fs::remove_dir_all(beside).expect("it was copied");
        mounted
    }

    /// Changes its size, as of `size=`; what is used stays.
    pub fn resize(&self, size: &str) {
        as_root(&["mount", "-o", &format!("remount,size={size}"), &text(&self.0)]);
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        if self.0.exists() {
            as_root(&["umount", "--lazy", &text(&self.0)]);
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Runs a command as root.
pub fn as_root(words: &[&str]) {
    let root = Command::new("id").arg("-u").output().expect("id runs").stdout == b"0\n";
    let all: Vec<&str> = if root { words.to_vec() } else { [&["sudo"], words].concat() };
    let status = Command::new(all[0]).args(&all[1..]).status().expect("it runs");
    assert!(status.success(), "{words:?}");
}
