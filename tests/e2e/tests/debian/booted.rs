//! The units under a real systemd: it is the first process of a tree of Debian in namespaces of its own.
//!
//! The cluster runs outside. What is asked here is what systemd does by what the units say: who is ended by a stop, who is
//! started again, whose control group a service is in, and what runs after a boot without any network.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use trimaran_e2e::lab::{Lab, binaries};
use trimaran_e2e::web::{Shape, Web};
use trimaran_test_support::seed;
use trimaran_test_support::wait::until;

use crate::tree::{Tree, succeeded};

const WAIT_MAX: Duration = Duration::from_secs(60);
/// From the start of a runner until its services run.
const SERVES_AFTER: Duration = Duration::from_secs(5);
const UNITS: [&str; 2] = ["trimaran-runner", "trimaran-agent"];
/// The second hierarchy of control groups, where the first one is that of the machine.
const GROUPS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// Mounts what systemd expects, as for a container (systemd.io/CONTAINER_INTERFACE): nothing of the machine's own can be changed.
const BOOT: &str = r#"
mount --make-rprivate /
mount --bind "$0" "$0"
cd "$0"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mkdir dev/shm
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
if [ "$1" = apart ]; then ip link set lo up; fi
exec chroot . /usr/bin/env -i container=trimaran PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=multi-user.target
"#;

/// What there is of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The cluster.
    Cluster,
    /// Its own loopback device and nothing else.
    Nothing,
}

/// A machine that runs, and ends as by a loss of power.
struct Machine {
    /// It becomes unshare(1), whose only child is systemd.
    unshare: Child,
    group: PathBuf,
}

impl Machine {
    fn boot(tree: &Tree, reach: Reach) -> Self {
        let parent = GROUPS.into_iter().find(|it| fs::exists(format!("{it}/cgroup.procs")).unwrap_or(false));
        let parent = parent.expect("a hierarchy of control groups, version 2");
        let group = PathBuf::from(format!("{parent}/trimaran-debian-{}", std::process::id()));
        fs::create_dir_all(&group).expect("root makes groups");
        let mut unshare = Command::new("sh");
        // It has to be in its group before its namespace of groups is made.
        unshare.args(["-ec", "echo $$ >\"$1/cgroup.procs\"; shift; exec \"$@\"", "sh"]).arg(&group);
        unshare.args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup"]);
        unshare.args((reach == Reach::Nothing).then_some("--net"));
        unshare.args(["sh", "-ec", BOOT]).arg(tree.folder.path());
        unshare.arg(if reach == Reach::Nothing { "apart" } else { "joined" });
        unshare.stdin(Stdio::null()).stdout(Stdio::null());
        let machine = Self { unshare: unshare.spawn().expect("unshare(1) is there"), group };
        until("systemd has booted", WAIT_MAX, || {
            let state = machine.try_run(&["systemctl", "is-system-running"])?;
            state.starts_with("running").then_some(())
        });
        machine
    }

    /// What a program on the machine prints, where it runs and succeeds.
    fn try_run(&self, arguments: &[&str]) -> Option<String> {
        let output = self.command(arguments)?.output().expect("nsenter(1) is there");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).expect("it runs").output().expect("nsenter(1) is there");
        succeeded(&arguments.join(" "), &output);
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn command(&self, arguments: &[&str]) -> Option<Command> {
        let children = format!("/proc/{0}/task/{0}/children", self.unshare.id());
        let first = fs::read_to_string(children).ok()?;
        let mut command = Command::new("nsenter");
        command.args(["--all", "--root", "--wd", "--target", first.trim()]).args(arguments);
        command.stdin(Stdio::null());
        Some(command)
    }

    /// A property of a unit (org.freedesktop.systemd1(5)).
    fn property(&self, unit: &str, name: &str) -> String {
        self.run(&["systemctl", "show", "--value", "--property", name, unit]).trim().to_owned()
    }

    fn main_pid(&self, unit: &str) -> String {
        self.property(unit, "MainPID")
    }

    fn is_active(&self, unit: &str) -> bool {
        self.try_run(&["systemctl", "is-active", unit]).is_some()
    }

    /// Whether a process of the machine's own table runs.
    fn is_alive(&self, pid: &str) -> bool {
        self.try_run(&["sh", "-c", &format!("kill -0 {pid}")]).is_some()
    }

    /// Version and process of each start of the service, in order, over all boots.
    fn starts_in(tree: &Tree, lab: &Lab) -> Vec<(String, String)> {
        let file = tree.path(&lab.folder.path().join("starts.log").display().to_string());
        let text = fs::read_to_string(file).unwrap_or_default();
        let start = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[1].to_owned(), words[4].to_owned())
        };
        text.lines().map(start).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its first process ends with it, and with that one all of its processes.
        let _ = self.unshare.kill();
        self.unshare.wait().expect("a child");
        let removed = || remove_group(&self.group).ok();
        if std::thread::panicking() {
            removed();
        } else {
            until("its processes have ended", WAIT_MAX, removed);
        }
    }
}

/// Control groups are removed from the innermost one; none with a process can be.
fn remove_group(group: &std::path::Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.path().is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// A tree with systemd and the agent's program, and the tokens of a runner and an agent.
fn prepare(lab: &Lab) -> Tree {
    let tree = Tree::new("systemd,systemd-sysv,iproute2,libstdc++6");
    fs::copy(binaries().join("trimaran-agent"), tree.path("usr/bin/trimaran-agent")).expect("copied");
    // The service counts its starts where the lab's folder is outside; a boot removes what is in /tmp unless this file says nothing.
    tree.make_dir(&lab.folder.path().display().to_string());
    fs::write(tree.path("etc/tmpfiles.d/tmp.conf"), "").expect("a file");
    for (name, arguments) in [
        ("runner", ["runner", "enroll", "vm-1", "--label", "group=prod"].as_slice()),
        ("agent", ["agent", "enroll", "cell"].as_slice()),
    ] {
        let made = lab.json(arguments);
        let token = made["token"].as_str().expect("a token");
        fs::write(tree.path(&format!("etc/{name}.token")), token).expect("a file");
    }
    tree
}

#[test]
fn units_do_under_systemd_what_they_say() {
    if !seed::is_full() {
        return;
    }
    let lab = Lab::fresh(1);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    let tree = prepare(&lab);
    let machine = Machine::boot(&tree, Reach::Cluster);
    let [own, cell] = [lab.host(101, 0).ip(), lab.host(102, 0).ip()].map(|it| it.to_string());
    let install = ["trimaran-agent", "install", "--role"];
    let (agent, coordinator) = (lab.part("lab").address, lab.part("c1").address);
    let runner = ["runner", "--name", "vm-1", "--endpoint", &agent, "--address", &own];
    machine.run(&[install.as_slice(), &runner, &["--token-file", "/etc/runner.token"]].concat());
    let listen = format!("{cell}:7800");
    let agent = ["agent", "--name", "cell", "--endpoint", &coordinator, "--listen", &listen];
    machine.run(&[install.as_slice(), &agent, &["--token-file", "/etc/agent.token"]].concat());
    for (list, name) in [("runner", "vm-1"), ("agent", "cell")] {
        wait_connected(&lab, list, name);
    }
    for unit in UNITS {
        assert_eq!(machine.property(unit, "NRestarts"), "0", "{unit}");
        assert_eq!(machine.run(&["systemctl", "is-enabled", unit]).trim(), "enabled");
    }

    web.deploy_until(&lab, "v1", "succeeded");
    let [(_, service)] = Machine::starts_in(&tree, &lab).try_into().expect("one start");
    let group = machine.run(&["cat", &format!("/proc/{service}/cgroup")]);
    assert!(group.contains("/system.slice/trimaran-runner.service/"), "{group}");
    restart_runner(&machine, &service);
    wait_connected(&lab, "runner", "vm-1");
    web.deploy_until(&lab, "v2", "succeeded");
    assert!(!machine.is_alive(&service), "the new runner ended what the old one had started");
    drop(machine);
    boot_alone_and_return(&lab, &tree);
}

/// A runner that is restarted, killed or stopped leaves its service alone.
fn restart_runner(machine: &Machine, service: &str) {
    let runner = UNITS[0];
    let first = machine.main_pid(runner);
    machine.run(&["systemctl", "restart", runner]);
    let second = machine.main_pid(runner);
    assert!(first != second && machine.is_alive(service), "a restart of the runner ends it alone");
    machine.run(&["sh", "-c", &format!("kill -KILL {second}")]);
    until("systemd starts it again", WAIT_MAX, || {
        let third = machine.main_pid(runner);
        (third != second && third != "0" && machine.is_active(runner)).then_some(())
    });
    assert!(machine.is_alive(service), "nor does its death");
    machine.run(&["systemctl", "stop", runner]);
    assert!(!machine.is_active(runner) && machine.is_alive(service), "nor a stop");
    machine.run(&["systemctl", "start", runner]);
    assert!(machine.is_alive(service), "nor its start");
}

/// The machine boots, first cut from everything, then with its cluster; at last its units go.
fn boot_alone_and_return(lab: &Lab, tree: &Tree) {
    let runner = UNITS[0];
    let started = Machine::starts_in(tree, lab).len();
    let alone = Machine::boot(tree, Reach::Nothing);
    let since = Instant::now();
    until("the service runs", WAIT_MAX, || {
        let (version, service) = Machine::starts_in(tree, lab).get(started)?.clone();
        (version == "v2" && alone.is_alive(&service)).then_some(())
    });
    // Systemd had started the runner when the machine counted as booted.
    let after = since.elapsed();
    assert!(after <= SERVES_AFTER, "the service runs {after:?} after a boot without network");
    drop(alone);

    let machine = Machine::boot(tree, Reach::Cluster);
    until("the service runs again", WAIT_MAX, || {
        (Machine::starts_in(tree, lab).len() > started + 1).then_some(())
    });
    wait_connected(lab, "runner", "vm-1");
    let starts = Machine::starts_in(tree, lab);
    assert_eq!(starts.len(), started + 2, "one start a boot: {starts:?}");
    let (_, service) = &starts[started + 1];
    for role in ["runner", "agent"] {
        machine.run(&["trimaran-agent", "uninstall", "--role", role]);
    }
    for unit in UNITS {
        assert!(!machine.is_active(unit), "{unit}");
        assert!(!tree.path(&format!("etc/systemd/system/{unit}.service")).exists(), "{unit}");
    }
    assert!(machine.is_alive(service), "a service goes on without its runner's unit");
    assert!(machine.property(runner, "LoadState") == "not-found", "systemd has forgotten the unit");
}

fn wait_connected(lab: &Lab, list: &str, name: &str) {
    until(&format!("{list} {name} is connected"), WAIT_MAX, || {
        let all = lab.json(&[list, "list"]);
        let row = all[format!("{list}s")].as_array()?.iter().find(|it| it["name"] == name)?.clone();
        (row["state"] == "connected").then_some(())
    });
}
