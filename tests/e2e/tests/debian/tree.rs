//! A fresh tree of Debian, as debootstrap(8) makes it.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

/// Runs its arguments in the tree, with the process table of this system: a mount that ends with the process.
const ENTER: &str = "mount -t proc proc \"$0/proc\" && exec chroot \"$0\" \"$@\"";

pub(crate) struct Tree {
    pub(crate) folder: tempfile::TempDir,
}

impl Tree {
    /// With these packages beside the smallest set; comma-separated.
    pub(crate) fn new(packages: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("trimaran-debian").tempdir().expect("a directory");
        let began = Instant::now();
        let mut make = Command::new("debootstrap");
        make.arg("--variant=minbase");
        make.args((!packages.is_empty()).then(|| format!("--include={packages}")));
        let made = make.arg("bookworm").arg(folder.path()).output();
        succeeded("debootstrap", &made.expect("debootstrap(8) is installed"));
        println!("a tree of Debian took {:?}", began.elapsed());
        Self { folder }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn make_dir(&self, path: &str) {
        fs::create_dir_all(self.path(path)).expect("made");
    }

    pub(crate) fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", ENTER]).arg(self.folder.path()).args(arguments);
        command.stdin(Stdio::null());
        command
    }
}

pub(crate) fn succeeded(what: &str, output: &Output) {
    let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    assert!(output.status.success(), "{what}: {}: {out}{err}", output.status);
}
