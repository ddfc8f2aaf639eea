//! The processes of a dev cluster: started in sessions of their own, followed by their `pid` files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::json;

use super::layout::{Layout, Part};

/// How long a part may take to end before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Processes {
    file: PathBuf,
    parts: Vec<Part>,
    children: BTreeMap<String, Child>,
    written: String,
    /// The process of each part when it was looked for last.
    pids: BTreeMap<String, u32>,
}

/// What became of a part since it was looked for last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Ended { name: String, log: PathBuf },
    Started { name: String, pid: u32 },
}

impl Processes {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self {
            file: layout.data.join("processes.json"),
            parts: layout.parts().cloned().collect(),
            children: BTreeMap::new(),
            written: String::new(),
            pids: BTreeMap::new(),
        }
    }

    /// Starts a part unless the process of its `pid` file runs; whether it was started. Its output goes to `log` in its
    /// directory.
    pub(crate) fn start(&mut self, part: &Part) -> io::Result<bool> {
        if running_pid(&part.data_dir).is_some() {
            return Ok(false);
        }
        std::fs::create_dir_all(&part.data_dir)?;
        let log = File::options().create(true).append(true).open(part.data_dir.join("log"))?;
        let child = Command::new(&part.argv[0])
            .args(&part.argv[1..])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A process group of its own: Ctrl-C on the terminal reaches `dev` alone, which then ends the parts.
            .process_group(0)
            .spawn()?;
        self.children.insert(part.name.clone(), child);
        Ok(true)
    }

    /// Reaps children that ended, writes `processes.json` when it changed, and says which parts ended or were started
    /// since the last time.
    pub(crate) fn follow(&mut self) -> Vec<Change> {
        self.write_list();
        let mut changes = Vec::new();
        for part in &self.parts {
            let (name, now) = (part.name.clone(), running_pid(&part.data_dir));
            match (self.pids.get(&name), now) {
                (Some(_), None) => changes.push(Change::Ended { name: name.clone(), log: log_of(part) }),
                (before, Some(pid)) if before != Some(&pid) => {
                    changes.push(Change::Started { name: name.clone(), pid });
                }
                (_, _) => {}
            }
            match now {
                Some(pid) => drop(self.pids.insert(name, pid)),
                None => drop(self.pids.remove(&name)),
            }
        }
        changes
    }

    fn write_list(&mut self) {
        for child in self.children.values_mut() {
            // An error means that it was reaped already; either way nothing is left to do.
            let _ = child.try_wait();
        }
        let list: Vec<_> = self
            .parts
            .iter()
            .map(|part| {
                json!({
                    "name": part.name, "role": part.role, "pid": running_pid(&part.data_dir), "argv": part.argv,
                    "data_dir": part.data_dir, "address": part.address,
                })
            })
            .collect();
        let text = serde_json::to_string_pretty(&list).expect("plain data");
        if text != self.written {
            let temporary = self.file.with_extension("tmp");
            // A full disk must not end the cluster; the next round tries again.
            if std::fs::write(&temporary, &text)
                .and_then(|()| std::fs::rename(&temporary, &self.file))
                .is_ok()
            {
                self.written = text;
            }
        }
    }

    /// Whether a part that was started here has ended, with the last lines of its log.
    pub(crate) fn ended(&mut self, part: &Part) -> Option<String> {
        let child = self.children.get_mut(&part.name)?;
        let status = child.try_wait().ok().flatten()?;
        let log = std::fs::read_to_string(log_of(part)).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(8).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Some(format!(
            "{} ended with {status}; the end of {}:\n{}",
            part.name,
            log_of(part).display(),
            tail.join("\n")
        ))
    }

    /// Ends one part.
    pub(crate) fn end(&mut self, part: &Part) {
        if let Some(pid) = self.running(part) {
            signal(pid, Signal::TERM);
            self.wait_end(part, Instant::now() + END_TIMEOUT);
        }
    }

    /// Ends every part, runners first, then the services that they left running.
    pub(crate) fn end_all(&mut self) {
        let parts: Vec<Part> = self.parts.iter().rev().cloned().collect();
        for part in &parts {
            if let Some(pid) = self.running(part) {
                signal(pid, Signal::TERM);
            }
        }
        let deadline = Instant::now() + END_TIMEOUT;
        for part in &parts {
            self.wait_end(part, deadline);
        }
        for part in parts.iter().filter(|part| part.role == "runner" && part.data_dir.exists()) {
            // Services outlive their runner; this ends them. What it can't end it says itself.
            let stop = Command::new(&part.argv[0])
                .args(["host", "stop-all", "--data-dir"])
                .arg(&part.data_dir)
                .stdout(Stdio::null())
                .status();
            if let Err(error) = stop {
                eprintln!("the services of {} could not be stopped: {error}", part.name);
            }
        }
        self.follow();
    }

    /// The process of a part, also one that was started a moment ago and has no `pid` file yet.
    fn running(&mut self, part: &Part) -> Option<u32> {
        let child = self.children.get_mut(&part.name);
        let child = child.and_then(|child| matches!(child.try_wait(), Ok(None)).then(|| child.id()));
        running_pid(&part.data_dir).or(child)
    }

    fn wait_end(&mut self, part: &Part, deadline: Instant) {
        while let Some(pid) = self.running(part) {
            if Instant::now() > deadline {
                signal(pid, Signal::KILL);
                return;
            }
            #[expect(clippy::disallowed_methods, reason = "bounded wait for the end of another process")]
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Where the output of a part is.
fn log_of(part: &Part) -> PathBuf {
    part.data_dir.join("log")
}

/// The process of a directory's `pid` file, when it runs and works on this directory.
pub(crate) fn running_pid(data_dir: &Path) -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(data_dir.join("pid")).ok()?.trim().parse().ok()?;
    let argv = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let dir = data_dir.as_os_str().as_encoded_bytes();
    argv.split(|byte| *byte == 0).any(|word| word == dir).then_some(pid)
}

fn signal(pid: u32, signal: Signal) {
    // By no program: a small system has no kill(1).
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A process that ended in between is what was wanted.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part that was only just started is ended too.
    #[test]
    fn a_process_without_pid_file_is_ended() {
        let folder = tempfile::tempdir().expect("a directory");
        let part = |name: &str| Part {
            name: name.to_owned(),
            role: "coordinator",
            data_dir: folder.path().join(name),
            address: String::new(),
            argv: vec!["sleep".to_owned(), "60".to_owned()],
            labels: Vec::new(),
        };
        let layout = Layout {
            data: folder.path().to_owned(),
            coordinators: vec![part("c1")],
            agent: part("lab"),
            runners: Vec::new(),
        };
        let mut processes = Processes::new(&layout);
        processes.start(&layout.agent).expect("it starts");
        let pid = processes.running(&layout.agent).expect("it runs");
        processes.end_all();
        assert_eq!(processes.running(&layout.agent), None);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
