//! What is on the disks: two of three have a change before it is answered, and a byte that is not what was written ends one
//! coordinator alone.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use trimaran_e2e::lab::{Lab, signal};
use trimaran_test_support::wait::until;

use crate::stand::{Setup, Stand, WAIT_MAX};

const CHANGES: u32 = 20;

/// Counts what one process syncs.
struct Syncs {
    strace: Child,
    trace: PathBuf,
}

impl Syncs {
    fn of(lab: &Lab, name: &str, pid: u32) -> Self {
        let trace = lab.folder.path().join(format!("{name}.trace"));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", "trace=fdatasync,fsync", "-o"]).arg(&trace).args(["-p", &pid.to_string()]);
        let strace = strace.stderr(Stdio::null()).spawn().expect("`make setup` installs strace");
        until("strace watches", WAIT_MAX, || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
            status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")).then_some(())
        });
        Self { strace, trace }
    }

    /// Those that have ended.
    fn count(&self) -> usize {
        let text = std::fs::read_to_string(&self.trace).unwrap_or_default();
        text.lines().filter(|line| line.contains("sync") && line.contains("= 0")).count()
    }
}

impl Drop for Syncs {
    fn drop(&mut self) {
        signal(self.strace.id(), "INT");
        // It ends with the signal.
        drop(self.strace.wait());
    }
}

/// One client changes one thing after the other: between each request and its answer at least two coordinators sync.
pub(crate) fn two_have_it_before_it_is_answered(seed: u64) {
    let stand = Stand::new(seed, Setup::default());
    stand.wait_whole();
    let all: Vec<Syncs> =
        stand.names.iter().map(|name| Syncs::of(&stand.lab, name, stand.pid(name))).collect();
    let counts = || all.iter().map(Syncs::count).collect::<Vec<_>>();
    for number in 0..CHANGES {
        // What an earlier one left to do is done: a sync counts for what comes next alone.
        let mut before = counts();
        until("the disks rest", WAIT_MAX, || {
            std::thread::sleep(Duration::from_millis(200));
            let now = counts();
            (std::mem::replace(&mut before, now) == before).then_some(())
        });
        stand.lab.ok(&["operator", "enroll", &format!("someone-{number}"), "--role", "viewer"]);
        let after = counts();
        let synced = before.iter().zip(&after).filter(|(before, after)| after > before).count();
        assert!(synced >= 2, "change {number} was answered with {before:?} and then {after:?} syncs");
    }
}

/// The newest file of a store with this ending.
fn newest(folder: &Path, ending: &str) -> PathBuf {
    let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
    let mut found: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == ending)).collect();
    found.sort();
    found.pop().expect("there is one")
}

/// A byte in the middle of a follower's log is another one: it alone ends, says how to go on, and that works.
pub(crate) fn a_flipped_byte(seed: u64) {
    let stand = Stand::new(seed, Setup::default());
    let lab = &stand.lab;
    let change = |number: u32| {
        lab.ok(&["operator", "enroll", &format!("someone-{number}"), "--role", "viewer"]);
    };
    (0..CHANGES).for_each(change);
    let leader = stand.leader();
    let [broken, _] = stand.followers(&leader);
    let before = stand.wait_whole();
    lab.kill(broken);
    let part = lab.part(broken);
    let file = newest(&part.data_dir.join("store"), "log");
    let mut bytes = std::fs::read(&file).expect("a file");
    let middle = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty") / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&file, bytes).expect("written");
    stand.start(broken);
    let log = until("it ends and says why", WAIT_MAX, || {
        let log = stand.log(broken);
        log.contains("TR4202").then_some(log)
    });
    assert!(log.contains("join"), "it says how to go on: {log}");
    (CHANGES..CHANGES + 5).for_each(change);
    let status = stand.status().expect("the others answer");
    assert_eq!((&status["leader"], &status["term"]), (&before["leader"], &before["term"]));

    // As it says: another one in its place, with an empty directory.
    lab.ok(&["cluster", "remove", broken, "--yes"]);
    std::fs::remove_dir_all(&part.data_dir).expect("it is there");
    lab.join_coordinator(broken, &part.address, &lab.part(&leader).address);
    stand.wait_whole();
    change(CHANGES + 5);
}
