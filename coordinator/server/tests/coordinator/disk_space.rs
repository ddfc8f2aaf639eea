//! A disk that fills: changes are refused first, what agents report is kept by them, and nothing is lost.

use std::path::{Path, PathBuf};

use trimaran_model::error_code;
use trimaran_wire::v1::agent::{AgentDown, AgentUp, Progress, RefusedCounts, ResultAnswer};
use trimaran_wire::v1::assignment::{WireAssignment, WireOutcome};
use trimaran_wire::v1::operator::OperatorBody;

use crate::agents::{Played, enroll_machines, until};
use crate::deploy;
use crate::world::{World, ask, change};

/// A file system of its own in memory; it takes what is written to it and no more.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path) -> Self {
        std::fs::create_dir(folder).expect("a folder");
        as_root(&[
            "mount",
            "-t",
            "tmpfs",
            "-o",
            "size=4096m,mode=777",
            "tmpfs",
            &folder.display().to_string(),
        ]);
        Self(folder.to_owned())
    }

    fn resize(&self, mib: u32) {
        as_root(&["mount", "-o", &format!("remount,size={mib}m"), &self.0.display().to_string()]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        as_root(&["umount", "--lazy", &self.0.display().to_string()]);
    }
}

fn as_root(words: &[&str]) {
    let root = std::process::Command::new("id").arg("-u").output().expect("id runs").stdout == b"0\n";
    let all: Vec<&str> = if root { words.to_vec() } else { [&["sudo"], words].concat() };
    let status = std::process::Command::new(all[0]).args(&all[1..]).status().expect("it runs");
    assert!(status.success(), "{words:?}");
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
        failure: None,
        instances: Vec::new(),
    };
    AgentUp::Result { assignment, fence, outcome: WireOutcome::Done, progress }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_wait_with_their_agent_while_the_disk_is_full() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::mount(&folder.path().join("c1"));
    let mut world = World::made_in(folder);
    world.run(&[]);
    world.enroll(&world.token.clone(), "admin").await.expect("the first admin");
    enroll_machines(&world).await;
    world.apply().await;
    let client = world.client("admin");
    ask(&client, change(), deploy("1")).await.expect("a run");
    let mut lab = Played::attach(&world).await;
    let run = "web#1".to_owned();
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
    let alarmed = |it: &serde_json::Value| it["alarms"][0]["code"] == "disk_low";
    let status = until(&world, OperatorBody::ClusterStatus, "an alarm", alarmed).await;
    let message = status["alarms"][0]["message"].as_str().expect("words");
    assert!(message.contains("results of agents wait") && message.contains("free-ballast"), "{message}");
    let refused =
        ask(&client, change(), OperatorBody::Cancel { run: run.clone() }).await.expect_err("no room");
    assert_eq!(refused.code, error_code::DISK_FULL.0);
    // The answer to the ping comes behind the result, which is not answered.
    lab.say(result(&order)).await;
    lab.say(AgentUp::Ping { sent_ms: 5, refused: RefusedCounts::default() }).await;
    let next = |message: &AgentDown| match message {
        AgentDown::Answer { answer, .. } => Some(Some(answer.clone())),
        AgentDown::Pong { sent_ms: 5, .. } => Some(None),
        _ => None,
    };
    assert_eq!(lab.expect_message(next).await, None, "it is not answered while there is no room");
    let shown = ask(&client, None, OperatorBody::RunShow { run: run.clone() }).await.expect("the run");
    assert_eq!(shown["status"], "running");

    // There is little room, and what is in progress ends.
    disk.resize(900);
    assert_eq!(lab.expect_message(next).await, Some(ResultAnswer::Applied));
    let shown = ask(&client, None, OperatorBody::RunShow { run: run.clone() }).await.expect("the run");
    assert_eq!(shown["status"], "succeeded");
    let refused = ask(&client, change(), deploy("2")).await.expect_err("little room");
    assert_eq!(refused.code, error_code::DISK_FULL.0);
    disk.resize(4096);
    ask(&client, change(), deploy("2")).await.expect("room again");

    let data = world.data().display().to_string();
    let free = || {
        std::process::Command::new(crate::world::BINARY)
            .args(["free-ballast", "--data-dir", &data])
            .output()
            .expect("it runs")
    };
    assert!(world.data().join("ballast").exists());
    assert_eq!(String::from_utf8_lossy(&free().stdout), "1 MiB freed\n");
    assert!(!world.data().join("ballast").exists());
    assert_eq!(String::from_utf8_lossy(&free().stdout), "0 MiB freed\n");
    // Ended before its disk goes.
    world.kill();
}
