//! A disk that fills: what begins something is refused first, what ends or undoes is accepted for as long as it can be,
//! what agents report is kept by them, and nothing is lost.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use trimaran_model::error_code;
use trimaran_wire::v1::agent::{AgentDown, AgentUp, Progress, RefusedCounts, ResultAnswer};
use trimaran_wire::v1::assignment::{WireAssignment, WireOutcome};
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody};

use crate::agents::{Played, enroll_machines, until};
use crate::deploy;
use crate::world::{BINARY, WAIT_MAX, World, ask, change};

/// A mount namespace with a small file system in memory in the place of the data directory; it goes with its holder, and
/// nothing of the machine sees it.
struct Disk {
    holder: Child,
    data: PathBuf,
}

impl Disk {
    /// Moves what is in the data directory to a new file system of 4 GiB.
    fn over(data: &Path) -> Self {
        let holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sleep", "infinity"])
            .spawn()
            .expect("unshare runs");
        let disk = Self { holder, data: data.to_owned() };
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).expect("it runs");
        let until = Instant::now() + WAIT_MAX;
        while namespace(&disk.holder.id().to_string()) == namespace("self") {
            assert!(Instant::now() < until, "it has no namespace of its own");
            std::thread::sleep(Duration::from_millis(10));
        }
        let (data, new) = (data.display(), data.with_extension("new"));
        std::fs::create_dir(&new).expect("a folder");
        let new = new.display();
        disk.shell(&format!("mount -t tmpfs -o size=4096m tmpfs {new}"));
        disk.shell(&format!("cp -a {data}/. {new}/ && mount --move {new} {data}"));
        disk
    }

    /// What a program is started under to see it.
    fn prefix(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        ["nsenter", "--target", &pid, "--user", "--mount", "--preserve-credentials", "--"]
            .map(str::to_owned)
            .to_vec()
    }

    fn shell(&self, line: &str) {
        let prefix = self.prefix();
        let status = Command::new(&prefix[0]).args(&prefix[1..]).args(["sh", "-c", line]).status();
        assert!(status.expect("nsenter runs").success(), "{line}");
    }

    fn resize(&self, mib: u32) {
        self.shell(&format!("mount -o remount,size={mib}m {}", self.data.display()));
    }

    /// The data directory as the outside sees it.
    fn outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.data.strip_prefix("/").expect("an absolute path"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

pub(crate) fn result(order: &WireAssignment) -> AgentUp {
    let (assignment, fence) = (order.id, order.fence);
    let total = u32::try_from(order.hosts.len()).expect("few");
    let progress = Progress {
        assignment,
        fence,
        done: total,
        total,
        failed: Vec::new(),
        lost: Vec::new(),
        failure: None,
        instances: Vec::new(),
    };
    AgentUp::Result { assignment, fence, outcome: WireOutcome::Done, progress }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_refuses_what_begins_and_a_full_one_makes_results_wait_with_their_agent() {
    let mut world = World::made();
    let disk = Disk::over(&world.data());
    let prefix = disk.prefix();
    world.run(&prefix.iter().map(String::as_str).collect::<Vec<_>>());
    world.enroll(&world.token.clone(), "admin").await.expect("the first admin");
    enroll_machines(&world).await;
    world.apply().await;
    let client = world.client("admin");
    ask(&client, change(), deploy("1")).await.expect("a run");
    let mut lab = Played::attach(&world).await;
    let run = "web#1".to_owned();

    // There is little space: the run goes on, and can be ended.
    disk.resize(900);
    let alarmed = |it: &serde_json::Value| it["alarms"][0]["code"] == "disk_low";
    let status = until(&world, OperatorBody::ClusterStatus, "an alarm", alarmed).await;
    let message = status["alarms"][0]["message"].as_str().expect("words").to_owned();
    assert!(message.contains("only cancel, rollback, approve and resume are accepted"), "{message}");
    let refused = ask(&client, change(), deploy("2")).await.expect_err("it would begin something");
    assert_eq!(refused.code, error_code::DISK_FULL.0);
    assert!(refused.help.as_ref().is_some_and(|help| help.contains("free-ballast")), "{refused:?}");
    let token = EnrollOrder::Operator { name: "late".to_owned(), role: "viewer".to_owned() };
    let refused = world.client("admin").enroll(change().expect("an id"), token).await;
    assert!(
        refused.is_err_and(|error| error.to_string().contains("free space")),
        "a token would begin something"
    );
    let approve = OperatorBody::Approve {
        run: run.clone(),
        stage: None,
        option: None,
        digest: None,
        comment: String::new(),
    };
    ask(&client, change(), approve).await.expect("approved");
    let order = |message: &AgentDown| match message {
        AgentDown::Assign(order) => Some(order.clone()),
        _ => None,
    };
    let order = lab.expect_message(order).await;

    disk.resize(100);
    let waits = |it: &serde_json::Value| {
        it["alarms"][0]["message"].as_str().is_some_and(|it| it.contains("results of agents wait"))
    };
    until(&world, OperatorBody::ClusterStatus, "another alarm", waits).await;
    let refused =
        ask(&client, change(), OperatorBody::Cancel { run: run.clone() }).await.expect_err("no space");
    assert_eq!(refused.code, error_code::DISK_FULL.0);
    // The answer to the ping comes behind the result, which is not answered.
    lab.say(result(&order)).await;
    lab.say(AgentUp::Ping { sent_ms: 5, refused: RefusedCounts::default() }).await;
    let next = |message: &AgentDown| match message {
        AgentDown::Answer { answer, .. } => Some(Some(answer.clone())),
        AgentDown::Pong { sent_ms: 5, .. } => Some(None),
        _ => None,
    };
    assert_eq!(lab.expect_message(next).await, None, "it is not answered while there is no space");
    let shown = ask(&client, None, OperatorBody::RunShow { run: run.clone() }).await.expect("the run");
    assert_eq!(shown["status"], "running");

    // There is little space again, and what is in progress ends.
    disk.resize(900);
    assert_eq!(lab.expect_message(next).await, Some(ResultAnswer::Applied));
    let shown = ask(&client, None, OperatorBody::RunShow { run: run.clone() }).await.expect("the run");
    assert_eq!(shown["status"], "succeeded");
    let rollback = OperatorBody::Rollback {
        pipeline: "web".to_owned(),
        environment: "staging".to_owned(),
        to: None,
        from: None,
        restore_from: None,
        reason: String::new(),
        overrides: Vec::new(),
    };
    let refused = ask(&client, change(), rollback).await.expect_err("there is nothing to go back to");
    assert_ne!(refused.code, error_code::DISK_FULL.0, "the state decides: {refused:?}");
    disk.resize(4096);
    ask(&client, change(), deploy("2")).await.expect("space again");
    disk.resize(900);
    ask(&client, change(), OperatorBody::Cancel { run: "web#2".to_owned() }).await.expect("it is ended");

    let data = world.data().display().to_string();
    let free = || {
        let command = Command::new(&prefix[0])
            .args(&prefix[1..])
            .arg(BINARY)
            .args(["free-ballast", "--data-dir", &data])
            .output();
        command.expect("it runs")
    };
    assert!(disk.outside().join("ballast").exists());
    assert_eq!(String::from_utf8_lossy(&free().stdout), "1 MiB freed\n");
    assert!(!disk.outside().join("ballast").exists());
    assert_eq!(String::from_utf8_lossy(&free().stdout), "0 MiB freed\n");
    // Ended before its disk goes.
    world.kill();
}
