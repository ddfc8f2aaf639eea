//! Things that a user, a tool or a file system put into the directory of a service: no command waits for ever, none
//! removes what is not its own, and what can't be repaired is named.

use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::lab::{Lab, words_of};

/// Longer than any of these commands takes, and much shorter than for ever.
const LIMIT: Duration = Duration::from_secs(25);

/// What can be in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    Nothing,
    File,
    Directory,
    Dangling,
    /// A link to a directory elsewhere.
    Link,
    Pipe,
    Socket,
    /// One that can be read without end.
    Device,
}

const THINGS: [Thing; 8] = [
    Thing::Nothing,
    Thing::File,
    Thing::Directory,
    Thing::Dangling,
    Thing::Link,
    Thing::Pipe,
    Thing::Socket,
    Thing::Device,
];

impl Thing {
    /// Replaces what is at `path`.
    fn put(self, path: &Path) {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(path).expect("removable"),
            Ok(_) => std::fs::remove_file(path).expect("removable"),
            Err(_) => {}
        }
        match self {
            Self::Nothing => {}
            Self::File => std::fs::write(path, "a note").expect("writable"),
            Self::Directory => {
                std::fs::create_dir(path).expect("writable");
                std::fs::write(path.join("note"), "a note").expect("writable");
            }
            Self::Dangling => symlink("/nowhere", path).expect("writable"),
            Self::Link => symlink("/usr/share", path).expect("writable"),
            Self::Pipe => {
                let made = Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
                assert!(made.success());
            }
            Self::Device => {
                let made =
                    Command::new("mknod").arg(path).args(["c", "1", "5"]).status().expect("mknod runs");
                assert!(made.success());
            }
            Self::Socket => drop(std::os::unix::net::UnixListener::bind(path).expect("a short path")),
        }
    }
}

/// A command that has to come back; its exit code and all that it printed.
fn run(lab: &Lab, words: &[&str], context: &str) -> (i32, String) {
    let begin = Instant::now();
    let mut child = lab.spawn(words);
    while child.try_wait().expect("a child").is_none() {
        if begin.elapsed() > LIMIT {
            child.kill().expect("a child");
            let (out, err) = words_of(&child.wait_with_output().expect("a child"));
            panic!("{context}: {words:?} hangs: {out}{err}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("a child");
    let (out, err) = words_of(&output);
    (output.status.code().expect("not killed"), format!("{out}{err}"))
}

/// A lab with v1, healthy.
fn deployed() -> Lab {
    let lab = Lab::new();
    lab.apply(&lab.spec("v1", "good"), 0);
    lab
}

/// v2 is applied, or what is in its way is named; then everything can be ended.
fn check(lab: &Lab, name: &str, context: &str) {
    let spec = lab.spec("v2", "good");
    let (code, status) = run(lab, &["status"], context);
    assert_eq!(code, 0, "{context}: {status}");
    let (code, said) = run(lab, &["apply", &spec.display().to_string()], context);
    if code == 0 {
        assert_eq!(
            (lab.alive(), lab.current()),
            (vec!["v2".to_owned()], "v2".to_owned()),
            "{context}: {said}"
        );
    } else {
        assert!([3, 6].contains(&code) && said.contains(name), "{context}: exit {code}: {said}");
    }
    let (_, said) = run(lab, &["rollback", "web"], context);
    assert!(!said.is_empty(), "{context}");
    let (code, said) = run(lab, &["stop-all"], context);
    assert!(code == 0 || said.contains(name), "{context}: exit {code}: {said}");
    assert!(lab.alive().is_empty() || code != 0, "{context}: {said}");
}

#[test]
fn whatever_is_in_the_place_of_a_file_of_an_installation_is_repaired_or_named() {
    for place in ["current", "current.tmp", "state", "state.prev", "state.tmp", "releases", "log"] {
        at_once(&THINGS, |thing| {
            let lab = deployed();
            thing.put(&lab.installation().join(place));
            check(&lab, place, &format!("{place} is {thing:?}"));
        });
    }
}

/// Makes what is at a path immutable, until it is dropped.
struct Immutable(PathBuf);

impl Immutable {
    fn new(path: PathBuf) -> Self {
        chattr("+i", &path);
        Self(path)
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        chattr("-i", &self.0);
    }
}

fn chattr(flag: &str, path: &Path) {
    let done = Command::new("chattr").arg(flag).arg(path).status().expect("chattr runs");
    assert!(done.success(), "chattr {flag} {}", path.display());
}

#[test]
fn what_can_not_be_changed_is_named_and_the_service_can_still_be_ended() {
    for place in ["state", "releases", "run", "log", ""] {
        let lab = deployed();
        let path = lab.installation().join(place);
        let name = path.file_name().expect("a name").to_str().expect("ours").to_owned();
        let immutable = Immutable::new(path);
        check(&lab, &name, &format!("`{place}` is immutable"));
        drop(immutable);
        let (code, said) = run(&lab, &["stop-all"], "nothing is immutable any more");
        assert_eq!((code, lab.alive()), (0, Vec::new()), "{said}");
    }
}

#[test]
fn a_file_system_on_which_nothing_can_be_run_is_named() {
    let lab = Lab::new();
    let (spec, data) = (lab.spec("v1", "good"), lab.data());
    std::fs::create_dir(&data).expect("a directory");
    let apply = format!(
        "mount -t tmpfs -o noexec,mode=700 tmpfs '{data}' && '{agent}' host apply '{spec}' --data-dir '{data}' \
         --address {address} --name host-1",
        data = data.display(),
        agent = crate::lab::agent().display(),
        spec = spec.display(),
        address = lab.address,
    );
    // The mount ends with its namespace, in which nothing is left running.
    let mut shell = Command::new("unshare");
    let output = shell.args(["--mount", "sh", "-c", &apply]).output().expect("unshare runs");
    let (out, err) = words_of(&output);
    assert_eq!(output.status.code(), Some(3), "{out}{err}");
    let place = data.join("services").display().to_string();
    assert!(out.contains("start_failed") && out.contains("noexec") && out.contains(&place), "{out}{err}");
    assert!(lab.alive().is_empty());
}

#[test]
fn whatever_is_in_the_place_of_a_release_is_repaired_or_named() {
    for record in [false, true] {
        for thing in THINGS {
            let lab = deployed();
            let link = std::fs::read_link(lab.installation().join("current")).expect("a link");
            let release = link.file_name().expect("a name").to_str().expect("ours").to_owned();
            let name = if record { format!("{release}.release") } else { release };
            thing.put(&lab.installation().join("releases").join(&name));
            check(&lab, &name, &format!("{name} is {thing:?}"));
        }
    }
}

#[test]
fn whatever_is_in_the_place_of_a_file_of_a_shim_is_repaired_or_named() {
    let cases = [
        ("state", Thing::Directory),
        ("state", Thing::Pipe),
        ("state.next", Thing::Directory),
        ("lock", Thing::Nothing),
        ("lock", Thing::Directory),
        ("lock", Thing::Pipe),
        ("control", Thing::Nothing),
        ("control", Thing::File),
    ];
    at_once(&cases, |(place, thing)| {
        let lab = deployed();
        let run = std::fs::read_dir(lab.installation().join("run")).expect("there").next();
        let dir = run.expect("one start").expect("readable").path();
        thing.put(&dir.join(place));
        check(&lab, dir.to_str().expect("ours"), &format!("{place} of the shim is {thing:?}"));
        lab.kill_all();
    });
}

/// Cases beside each other: most of their time they wait.
fn at_once<T: Copy + Send + 'static>(cases: &[T], case: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for it in cases.iter().copied() {
            let case = &case;
            scope.spawn(move || case(it));
        }
    });
}

#[test]
fn what_a_user_left_among_the_releases_is_passed_over_and_kept() {
    let lab = deployed();
    let releases = lab.installation().join("releases");
    let runs = lab.installation().join("run");
    let left: Vec<(PathBuf, Thing)> = vec![
        (releases.join("notes.txt"), Thing::File),
        (releases.join(".DS_Store"), Thing::File),
        (releases.join("backup of monday"), Thing::Directory),
        (releases.join("old"), Thing::Dangling),
        (releases.join("pipe.release"), Thing::Pipe),
        (releases.join("7-web"), Thing::Directory),
        (releases.join("x.tmp"), Thing::File),
        (releases.join(".tmp-backup"), Thing::Directory),
        (runs.join("9-note"), Thing::File),
        (runs.join("8-pipe"), Thing::Pipe),
        (lab.data().join("services/note"), Thing::File),
        (lab.data().join("services/other@local"), Thing::Pipe),
        (lab.data().join("cache/note"), Thing::File),
    ];
    for (path, thing) in &left {
        thing.put(path);
    }
    let (code, said) = run(&lab, &["apply", &lab.spec("v2", "good").display().to_string()], "apply");
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&lab, &["rollback", "web"], "rollback");
    assert_eq!((code, lab.current()), (0, "v1".to_owned()), "{said}");
    for (path, thing) in &left {
        let found = std::fs::symlink_metadata(path).expect("it is kept");
        let same = match thing {
            Thing::File => found.is_file(),
            Thing::Directory => path.join("note").is_file(),
            Thing::Pipe => found.file_type().is_fifo(),
            _ => found.is_symlink(),
        };
        assert!(same, "{} is kept as it was", path.display());
    }
}

#[test]
fn what_is_moved_aside_is_said_and_kept() {
    let lab = deployed();
    let current = lab.installation().join("current");
    Thing::Directory.put(&current);
    let (code, said) = run(&lab, &["apply", &lab.spec("v2", "good").display().to_string()], "apply");
    assert_eq!(code, 0, "{said}");
    let aside = lab.installation().join("current.displaced-1");
    assert!(said.contains(&format!("it is now {}", aside.display())), "{said}");
    assert_eq!(std::fs::read_to_string(aside.join("note")).expect("kept"), "a note");
    lab.check("v2", "after the repair");
}

#[test]
fn one_broken_installation_holds_no_other_one_up() {
    let lab = deployed();
    let broken = lab.data().join("services/api@local");
    std::fs::write(&broken, "a note").expect("writable");
    let (code, said) = run(&lab, &["status"], "status");
    assert!(code == 0 && said.contains("api") && said.contains("healthy"), "{said}");
    let (code, said) = run(&lab, &["apply", &lab.spec("v2", "good").display().to_string()], "apply");
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&lab, &["rollback", "api"], "rollback");
    assert!(code == 6 && said.contains(broken.to_str().expect("ours")), "{code}: {said}");
}
