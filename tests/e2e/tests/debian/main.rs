//! The Debian packages in a fresh tree of Debian: they install, what they install starts, is upgraded under running services, and
//! goes again. What systemd does with the units is in `booted.rs`.
//!
//! They need root, debootstrap(8) and a mirror of Debian, and take minutes: played with `TRIMARAN_FULL` alone.
#![allow(clippy::disallowed_methods, reason = "a test of processes starts processes and reads clocks")]

mod booted;
mod tree;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::artifacts::pack;
use trimaran_e2e::lab::{binaries, is_alive, signal};
use trimaran_test_support::seed;
use trimaran_test_support::wait::until;

use tree::{Tree, succeeded};

const PACKAGES: [&str; 3] = ["trimaran-coordinator", "trimaran-agent", "trimaran"];
/// No other test has hosts there.
const SUBNET: &str = "127.0.250";
const PORT: u16 = 8080;

/// A tree with the packages and a cluster of what is installed.
struct Installed {
    tree: Tree,
    dev: Option<Child>,
    by_hand: Vec<Child>,
}

impl Installed {
    fn new(packages: &[PathBuf]) -> Self {
        let tree = Tree::new("");
        for dir in ["packages", "srv/builds", "etc/systemd/system"] {
            tree.make_dir(dir);
        }
        let it = Self { tree, dev: None, by_hand: Vec::new() };
        it.install(packages);
        it
    }

    fn path(&self, path: &str) -> PathBuf {
        self.tree.path(path)
    }

    fn command(&self, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Command {
        let mut command = self.tree.command(arguments);
        command.env("TRIMARAN_CONFIG", "/srv/config.toml").env("TRIMARAN_CONTEXT", "dev");
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("unshare(1) is there");
        succeeded(&arguments.join(" "), &output);
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["-o", "json"]].concat())).expect("JSON")
    }

    /// Installs packages of a directory, as an administrator does.
    fn install(&self, packages: &[PathBuf]) {
        let mut files = Vec::new();
        for package in packages {
            let name = package.file_name().expect("a file").to_str().expect("UTF-8");
            fs::copy(package, self.path("packages").join(name)).expect("copied");
            files.push(format!("/packages/{name}"));
        }
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        println!("{}", self.run(&[&["dpkg", "--install"], files.as_slice()].concat()));
    }

    /// Starts a cluster of what is installed.
    fn start(&mut self) {
        let dev = ["trimaran", "dev", "--hosts", "3", "--subnet", SUBNET, "--data-dir", "/var/lib/lab"];
        let mut dev = self.command(&dev).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(dev.stdout.take().expect("a pipe")).lines();
        let ready = lines.map_while(Result::ok).any(|line| line == "ready");
        self.dev = Some(dev);
        assert!(ready, "`trimaran dev` did not get ready");
    }

    /// A row of `processes.json`.
    fn part(&self, name: &str) -> (u32, Vec<String>) {
        let text = fs::read_to_string(self.path("var/lib/lab/processes.json")).expect("a file");
        let rows: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        let row = rows.iter().find(|it| it["name"] == name).expect("a part");
        let words = row["argv"].as_array().expect("a list").iter();
        let argv = words.map(|it| it.as_str().expect("a word").to_owned()).collect();
        (u32::try_from(row["pid"].as_u64().expect("it runs")).expect("a pid"), argv)
    }

    /// Ends a part and starts it with the binary that is installed now, as its unit does.
    fn restart(&mut self, name: &str) {
        let (pid, argv) = self.part(name);
        signal(pid, "TERM");
        until("the part ends", Duration::from_secs(20), || (!is_alive(pid)).then_some(()));
        let child = self.command(&argv).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.by_hand.push(child.expect("it starts"));
        until("dev sees it", Duration::from_secs(20), || (self.part(name).0 != pid).then_some(()));
    }

    fn deploy(&self, version: &str) {
        let artifact = format!("bundle={version}");
        self.run(&[
            "trimaran",
            "deploy",
            "-f",
            "/srv/web.yaml",
            "--artifact",
            &artifact,
            "--wait",
            "--timeout",
            "120s",
        ]);
    }

    /// Hosts with the processes that they started for a version.
    fn services(&self, version: &str) -> Vec<(String, u32)> {
        let text = fs::read_to_string(self.path("srv/starts.log")).unwrap_or_default();
        let start = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[1] == version).then(|| (words[0].to_owned(), words[4].parse().expect("a pid")))
        };
        text.lines().filter_map(start).collect()
    }

    fn end(&mut self) {
        if let Some(mut dev) = self.dev.take() {
            signal(dev.id(), "TERM");
            dev.wait().expect("a child");
        }
        for mut child in self.by_hand.drain(..) {
            // `dev` has ended it already, if it knew it.
            let _ = child.kill();
            child.wait().expect("a child");
        }
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        self.end();
    }
}

/// Packages of this build, and those of the next version.
fn packages(out: &Path) -> [Vec<PathBuf>; 2] {
    let began = Instant::now();
    let made = Command::new(binaries().join("xtask")).arg("package").arg(binaries()).arg(out).output();
    let made = made.expect("xtask is built");
    succeeded("xtask package", &made);
    let text = String::from_utf8(made.stdout).expect("UTF-8");
    let is_program = |file: &&str| PACKAGES.iter().any(|name| file.contains(&format!("/{name}_")));
    let now: Vec<PathBuf> = text.lines().filter(is_program).map(PathBuf::from).collect();
    assert_eq!(now.len(), PACKAGES.len(), "{text}");
    let next = PACKAGES.iter().map(|name| next_version(out, name)).collect();
    println!("packages of two versions took {:?}", began.elapsed());
    [now, next]
}

/// The package whose tree is below `out`, with a later version.
fn next_version(out: &Path, name: &str) -> PathBuf {
    let control = out.join(name).join("DEBIAN/control");
    let text = fs::read_to_string(&control).expect("a package's tree");
    let later =
        |line: &str| if line.starts_with("Version: ") { format!("{line}+1") } else { line.to_owned() };
    fs::write(&control, text.lines().map(|line| later(line) + "\n").collect::<String>()).expect("written");
    let file = out.join(format!("{name}_next.deb"));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zgzip", "--build"]).arg(out.join(name)).arg(&file);
    succeeded("dpkg-deb", &build.output().expect("dpkg-deb(1) is there"));
    file
}

fn pipeline() -> String {
    format!(
        "trimaran: v1
pipeline: web
owner: team-web
artifacts:
  bundle: {{ path: \"/srv/builds/web-{{version}}.tar.zst\" }}
workload:
  host:
    unpack: bundle
    process:
      command: [bin/web, \"--port\", \"{PORT}\"]
      environment: {{ START_LOG_DIR: /srv }}
      stop: {{ signal: TERM, grace: 5s }}
    health: {{ http: \":{PORT}/healthz\", interval: 200ms, min_healthy: 1s, deadline: 20s }}
environments:
  - name: staging
    targets: [lab-staging]
"
    )
}

/// What runs a process, where its file was replaced since.
fn is_of_a_replaced_file(pid: u32) -> bool {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).expect("it runs");
    exe.to_string_lossy().ends_with(" (deleted)")
}

/// The shim of a service.
fn parent(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    line.trim().parse().expect("a pid")
}

#[test]
fn packages_install_start_are_upgraded_under_running_services_and_go() {
    if !seed::is_full() {
        return;
    }
    let began = Instant::now();
    let out = tempfile::tempdir().expect("a directory");
    let [now, next] = packages(out.path());
    let mut tree = Installed::new(&now);
    for version in ["v1", "v2"] {
        pack(&tree.path("srv/builds"), version, "good", &binaries().join("demo-service"))
            .expect("an archive");
    }
    fs::write(tree.path("srv/web.yaml"), pipeline()).expect("written");
    tree.start();
    tree.deploy("v1");
    let services = tree.services("v1");
    let [(host, service)] = services.as_slice() else { panic!("one host is staging: {services:?}") };

    tree.install(&next);
    for package in PACKAGES {
        let version = tree.run(&["dpkg-query", "--show", "--showformat=${Version}", package]);
        assert!(version.ends_with("+1"), "{package} {version}");
    }
    let runner = tree.part(host).0;
    assert!(is_alive(*service) && is_of_a_replaced_file(runner) && is_of_a_replaced_file(parent(*service)));
    tree.restart(host);
    tree.restart("lab");
    tree.restart("c1");
    until("the upgraded parts are one cluster", Duration::from_secs(60), || {
        let list = tree.json(&["trimaran", "runner", "list"]);
        let runners = list["runners"].as_array()?;
        let connected = runners.iter().find(|it| it["name"] == host.as_str())?["state"] == "connected";
        connected.then_some(())
    });
    assert!(!is_of_a_replaced_file(tree.part(host).0) && is_of_a_replaced_file(parent(*service)));
    assert!(is_alive(*service), "its service went on under the shim of the old build");
    tree.deploy("v2");
    assert!(!is_alive(*service), "and that shim ended it when it was asked");
    let [(_, service)] = tree.services("v2")[..] else { panic!("one start") };
    assert!(is_alive(service) && !is_of_a_replaced_file(parent(service)));

    let unit = tree.path("etc/systemd/system/trimaran-runner.service");
    tree.run(&[
        "trimaran-agent",
        "install",
        "--role",
        "runner",
        "--name",
        "web-1",
        "--endpoint",
        "agent:7800",
    ]);
    assert!(unit.exists());
    tree.end();
    assert!(!is_alive(service));
    println!("{}", tree.run(&[&["dpkg", "--remove"], PACKAGES.as_slice()].concat()));
    let left: Vec<&str> =
        PACKAGES.into_iter().filter(|name| tree.path("usr/bin").join(name).exists()).collect();
    assert!(left.is_empty() && !unit.exists(), "{left:?}");
    assert!(tree.path("var/lib/lab").exists(), "data stays");
    println!("all of it took {:?}", began.elapsed());
}
