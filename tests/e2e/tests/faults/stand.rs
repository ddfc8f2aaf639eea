//! The stand: a lab of three coordinators whose network, disks and wall clocks can be disturbed, each on its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, is_alive, signal};
use trimaran_e2e::network::Network;
use trimaran_e2e::preload::{FailingDisk, WallClock};
use trimaran_test_support::tmpfs::Tmpfs;
use trimaran_test_support::wait::until;

pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);
/// An agent at a coordinator that is cut off works with another one after this time at the latest.
const AGENT_MOVES: Duration = Duration::from_secs(10);
/// What the file system of a small disk has, and what it has while it fills.
const SMALL_DISK: &str = "4096m";
const FILLING_DISK: &str = "640m";
/// Lines of a log that a failed test shows.
const LOG_LINES: usize = 40;

/// What may be wrong with one coordinator's machine.
struct Machine {
    clock: WallClock,
    disk: FailingDisk,
}

/// A lab whose coordinators reach each other by a network that can be disturbed.
pub(crate) struct Stand {
    /// Unmounted first: the lab's folder is removed with it.
    small_disks: BTreeMap<String, Tmpfs>,
    pub(crate) lab: Lab,
    pub(crate) network: Network,
    pub(crate) names: Vec<String>,
    machines: BTreeMap<String, Machine>,
    /// Of coordinators that were started here.
    pids: Mutex<BTreeMap<String, u32>>,
    /// Of each coordinator that is started from now on.
    pub(crate) more_arguments: Vec<String>,
}

/// What a stand begins with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Setup {
    /// Each coordinator has a file system of its own, small enough to be filled. Needs root.
    pub(crate) small_disks: bool,
}

impl Stand {
    pub(crate) fn new(seed: u64, setup: Setup) -> Self {
        let lab = Lab::fresh_with(3, 3);
        let parts = lab.parts().into_iter().filter(|part| part.role == "coordinator");
        let coordinators: Vec<_> =
            parts.map(|part| (part.name, part.address.parse().expect("an address"))).collect();
        let network = Network::between(&coordinators, seed);
        let names: Vec<String> = coordinators.into_iter().map(|(name, _)| name).collect();
        let machine = |name: &String| {
            let clock = WallClock::new(lab.folder.path(), name);
            let disk = FailingDisk::new(lab.folder.path(), name, &lab.part(name).data_dir.join("store"));
            (name.clone(), Machine { clock, disk })
        };
        let machines = names.iter().map(machine).collect();
        let more_arguments = Vec::new();
        let (small_disks, pids) = Default::default();
        let mut stand = Self { small_disks, lab, network, names, machines, pids, more_arguments };
        for name in stand.names.clone() {
            stand.wait_whole();
            stand.lab.kill(&name);
            if setup.small_disks {
                stand.give_small_disk(&name);
            }
            stand.start(&name);
            let front = stand.network.front(&name).to_string();
            until("the others know its new address", WAIT_MAX, || {
                let status = stand.status()?;
                let mut members = status["members"].as_array()?.iter();
                members.any(|it| it["address"] == front.as_str()).then_some(())
            });
        }
        stand
    }

    fn give_small_disk(&mut self, name: &str) {
        let folder = self.lab.part(name).data_dir;
        // What it says last has to be read when its disk takes nothing any more.
        let log = self.lab.folder.path().join(format!("{name}.log"));
        std::fs::rename(folder.join("log"), &log).expect("it has a log");
        std::os::unix::fs::symlink(log, folder.join("log")).expect("its place is free");
        let disk = Tmpfs::over(folder, &format!("size={SMALL_DISK}"));
        self.small_disks.insert(name.to_owned(), disk);
    }

    pub(crate) fn start(&self, name: &str) {
        let front = self.network.front(name).to_string();
        let Machine { clock, disk } = &self.machines[name];
        let environment = clock.environment().and(disk.environment()).variables();
        let more = self.more_arguments.iter().map(String::as_str);
        let arguments: Vec<&str> = ["--advertise", &front].into_iter().chain(more).collect();
        let pid = self.lab.start_part_in(name, &arguments, &environment);
        self.pids.lock().expect("no thread panics with the lock").insert(name.to_owned(), pid);
    }

    /// The wall clock of one coordinator's machine.
    pub(crate) fn clock(&self, name: &str) -> &WallClock {
        &self.machines[name].clock
    }

    /// The disk of one coordinator.
    pub(crate) fn disk(&self, name: &str) -> &FailingDisk {
        &self.machines[name].disk
    }

    /// Fills the small disk of one coordinator until nothing more can be written.
    pub(crate) fn fill_disk(&self, name: &str) {
        self.shrink_disk(name);
        let mut file = File::create(self.filler(name)).expect("there is space yet");
        let block = vec![7; 1 << 16];
        while file.write_all(&block).is_ok() {}
    }

    /// Leaves one coordinator little space on its small disk.
    pub(crate) fn shrink_disk(&self, name: &str) {
        self.small_disks[name].resize(FILLING_DISK);
    }

    /// As it was before.
    pub(crate) fn empty_disk(&self, name: &str) {
        // One that was never filled has none.
        drop(std::fs::remove_file(self.filler(name)));
        self.small_disks[name].resize(SMALL_DISK);
    }

    fn filler(&self, name: &str) -> std::path::PathBuf {
        self.small_disks[name].folder().join("filler")
    }

    /// What a part wrote.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.lab.part(name).data_dir.join("log")).unwrap_or_default()
    }

    /// `cluster status`, once it can be had.
    pub(crate) fn status(&self) -> Option<Value> {
        let output = self.lab.run(&["cluster", "status", "-o", "json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// The alarms of the cluster with this code.
    pub(crate) fn alarms(&self, code: &str) -> Option<Vec<String>> {
        let status = self.status()?;
        let alarms = status["alarms"].as_array()?.iter().filter(|it| it["code"] == code);
        Some(alarms.filter_map(|it| it["message"].as_str().map(str::to_owned)).collect())
    }

    pub(crate) fn leader(&self) -> String {
        until("there is a leader", WAIT_MAX, || Some(self.status()?["leader"].as_str()?.to_owned()))
    }

    /// Waits until another one than this leads.
    pub(crate) fn wait_leads_another(&self, than: &str) {
        until("another one leads", WAIT_MAX, || {
            let status = self.status()?;
            status["leader"].as_str().is_some_and(|it| it != than).then_some(())
        });
    }

    /// Makes this one lead.
    pub(crate) fn make_lead(&self, name: &str) {
        until(&format!("{name} leads"), WAIT_MAX, || {
            if self.leader() != name {
                self.lab.run(&["cluster", "transfer", name]);
            }
            (self.leader() == name).then_some(())
        });
    }

    /// Waits until every member says that it is well, and all of them have the same state.
    pub(crate) fn wait_whole(&self) -> Value {
        until("all three are at the same state", WAIT_MAX, || {
            let status = self.status()?;
            status["leader"].as_str()?;
            let members = status["members"].as_array()?;
            let first = &members.first()?["hash"];
            let is_well =
                |it: &Value| it["state"] == "alive" && it["hash"] == *first && it["role"] != "learner";
            (members.len() == 3 && members.iter().all(is_well)).then(|| status.clone())
        })
    }

    /// Waits until the run is done, also while the CLI reaches no one.
    pub(crate) fn wait_finished(&self, run: &str) -> Value {
        until("the run is finished", Duration::from_secs(120), || {
            let output = self.lab.run(&["run", "show", run, "-o", "json"]);
            let shown: Value = serde_json::from_slice(&output.stdout).ok()?;
            (!shown["finished_at"].is_null()).then_some(shown)
        })
    }

    /// The coordinator that the agent has a session with, as the agent's log says.
    pub(crate) fn agents_coordinator(&self) -> String {
        until("the agent is connected", WAIT_MAX, || {
            let log = self.log("lab");
            let line = log.lines().rfind(|line| line.contains("connected to a coordinator"))?;
            let name = self.names.iter().find(|name| line.contains(&self.lab.part(name).address))?;
            Some(name.clone())
        })
    }

    /// Waits until the agent works with another coordinator than one that is of no use to it.
    pub(crate) fn wait_agent_moves(&self, from: &str) {
        until("the agent goes to another coordinator", AGENT_MOVES, || {
            (self.agents_coordinator() != from).then_some(())
        });
    }

    /// Makes the coordinator lead that the agent has its session with, so that a fault of the leader is one of the agent's too.
    pub(crate) fn lead_where_the_agent_is(&self) -> String {
        until("the agent's coordinator leads", WAIT_MAX, || {
            let name = self.agents_coordinator();
            if self.leader() != name {
                self.lab.run(&["cluster", "transfer", &name]);
            }
            (self.leader() == name).then_some(name)
        })
    }

    /// The process of a part, as it was started last.
    pub(crate) fn pid(&self, name: &str) -> u32 {
        let started = self.pids.lock().expect("no thread panics with the lock").get(name).copied();
        started.or_else(|| self.lab.part(name).pid).expect("it was started")
    }

    /// Waits until the process of a part has ended on its own account.
    pub(crate) fn wait_ends(&self, name: &str) {
        let pid = self.pid(name);
        until(&format!("{name} ends"), WAIT_MAX, || (!is_alive(pid)).then_some(()));
    }

    /// Stops a process while `during` is done.
    pub(crate) fn stand_still(&self, name: &str, during: impl Fn()) {
        let pid = self.pid(name);
        signal(pid, "STOP");
        during();
        signal(pid, "CONT");
    }

    pub(crate) fn followers(&self, leader: &str) -> [&str; 2] {
        let others: Vec<&str> =
            self.names.iter().map(String::as_str).filter(|name| *name != leader).collect();
        others.try_into().expect("there are three")
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // Logs of small disks are gone when the lab shows those of its parts.
        for name in self.small_disks.keys().filter(|_| std::thread::panicking()) {
            let log = self.log(name);
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "log of {name}, at its end:\n{}",
                lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
            );
        }
        self.small_disks.clear();
    }
}
