//! Small libraries in front of the C library of one process: a wall clock that is wrong, and a disk that fails. They are compiled
//! by the machine's C compiler where a test needs them.
//!
//! Deliberately not here: a disk without space, which `trimaran_test_support::tmpfs` makes.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The wall clock of the processes that are started with its [`WallClock::environment`]; their monotonic clocks are right.
pub struct WallClock {
    library: PathBuf,
    shift: PathBuf,
}

impl WallClock {
    /// A clock that is right until it is moved, with its files in `folder`.
    pub fn new(folder: &Path, name: &str) -> Self {
        let library = compile(folder, "wall_clock", include_str!("preload/wall_clock.c"));
        let clock = Self { library, shift: folder.join(format!("{name}.shift")) };
        clock.shift_hours(0);
        clock
    }

    /// From now on it shows so many hours more than the machine's.
    pub fn shift_hours(&self, hours: i64) {
        let nanos = hours.checked_mul(3_600_000_000_000).expect("within 292 years");
        overwrite(&self.shift, &nanos.to_ne_bytes());
    }

    pub fn environment(&self) -> Preload {
        Preload::new(&self.library, "WALL_CLOCK_SHIFT", &self.shift)
    }
}

/// What a disk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskState {
    Works,
    /// Each write ends with an error of the device.
    FailsWrites,
    /// Each sync does: what was written before may be lost.
    FailsSyncs,
    /// Syncs take as long as this lasts.
    Hangs,
}

/// The disk below one directory, as the processes see it that are started with its [`FailingDisk::environment`].
pub struct FailingDisk {
    library: PathBuf,
    state: PathBuf,
    path: PathBuf,
}

impl FailingDisk {
    /// A disk that works, of what is below `path`; with its files in `folder`.
    pub fn new(folder: &Path, name: &str, path: &Path) -> Self {
        let library = compile(folder, "failing_disk", include_str!("preload/failing_disk.c"));
        let path = path.canonicalize().expect("the directory is there");
        let disk = Self { library, state: folder.join(format!("{name}.disk")), path };
        disk.set(DiskState::Works);
        disk
    }

    pub fn set(&self, state: DiskState) {
        let byte = match state {
            DiskState::Works => 0,
            DiskState::FailsWrites => b'w',
            DiskState::FailsSyncs => b's',
            DiskState::Hangs => b'h',
        };
        overwrite(&self.state, &[byte]);
    }

    pub fn environment(&self) -> Preload {
        let mut preload = Preload::new(&self.library, "FAILING_DISK_STATE", &self.state);
        preload.variables.push(("FAILING_DISK_PATH".to_owned(), self.path.display().to_string()));
        preload
    }
}

/// What a process is started with.
#[derive(Debug, Clone, Default)]
pub struct Preload {
    libraries: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Preload {
    fn new(library: &Path, variable: &str, file: &Path) -> Self {
        let variables = vec![(variable.to_owned(), file.display().to_string())];
        Self { libraries: vec![library.display().to_string()], variables }
    }

    /// Both.
    pub fn and(mut self, other: Self) -> Self {
        self.libraries.extend(other.libraries);
        self.variables.extend(other.variables);
        self
    }

    /// The variables of the process's environment.
    pub fn variables(self) -> Vec<(String, String)> {
        let mut variables = self.variables;
        if !self.libraries.is_empty() {
            variables.push(("LD_PRELOAD".to_owned(), self.libraries.join(":")));
        }
        variables
    }
}

/// Writes in place: the file is mapped by the processes that read it.
fn overwrite(path: &Path, bytes: &[u8]) {
    let file = File::options().create(true).truncate(false).write(true).open(path).expect("a file");
    file.write_all_at(bytes, 0).expect("it is written");
}

fn compile(folder: &Path, name: &str, source: &str) -> PathBuf {
    let library = folder.join(format!("{name}.so"));
    if library.exists() {
        return library;
    }
    let code = folder.join(format!("{name}.c"));
    std::fs::write(&code, source).expect("a file");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&library).arg(&code);
    let output = compiler.output().expect("`make setup` installs a C compiler");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    library
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const YEARS: i64 = 87_600;

    fn shell(preload: Preload, line: &str) -> (bool, String) {
        let output = Command::new("bash").args(["-c", line]).envs(preload.variables()).output();
        let output = output.expect("bash runs");
        let words = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&words).trim().to_owned())
    }

    #[test]
    fn a_wall_clock_is_moved_while_sleeps_take_as_long_as_they_say() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = WallClock::new(folder.path(), "c1");
        let year = |clock: &WallClock| -> i64 {
            let (_, text) = shell(clock.environment(), "date -u +%Y");
            text.parse().unwrap_or_else(|_| panic!("a year: {text}"))
        };
        let now = year(&clock);
        clock.shift_hours(YEARS);
        assert!((9..=10).contains(&(year(&clock) - now)), "ten years of 365 days");
        clock.shift_hours(-YEARS);
        assert!((-10..=-9).contains(&(year(&clock) - now)));
        let pipe = folder.path().join("pipe");
        let began = Instant::now();
        // The deadline of `read` is a date, that of `sleep` is not.
        let line = format!("mkfifo {0}; sleep 0.2; read -t 0.2 line <> {0}", pipe.display());
        shell(clock.environment(), &line);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(10), "{took:?}");
    }

    #[test]
    fn a_disk_fails_as_it_is_set_and_only_below_its_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let (on, beside) = (folder.path().join("on"), folder.path().join("beside"));
        std::fs::create_dir(&on).expect("a folder");
        let disk = FailingDisk::new(folder.path(), "c1", &on);
        let write =
            |path: &Path| format!("dd if=/dev/zero of={} bs=1 count=9 conv=fdatasync", path.display());
        let play = |path: &Path| shell(disk.environment(), &write(path));
        assert!(play(&on.join("file")).0);
        for state in [DiskState::FailsWrites, DiskState::FailsSyncs] {
            disk.set(state);
            let (worked, words) = play(&on.join("file"));
            assert!(!worked && words.contains("Input/output error"), "{state:?}: {words}");
            assert!(play(&beside).0, "{state:?}");
        }
        disk.set(DiskState::Hangs);
        let mut command = Command::new("bash");
        command.args(["-c", &write(&on.join("file"))]).envs(disk.environment().variables());
        let mut hangs = command.stderr(std::process::Stdio::null()).spawn().expect("bash runs");
        std::thread::sleep(Duration::from_millis(300));
        assert!(hangs.try_wait().expect("a child").is_none(), "its sync does not end");
        disk.set(DiskState::Works);
        assert!(hangs.wait().expect("a child").success());
    }
}
