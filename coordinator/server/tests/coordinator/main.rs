//! A real coordinator process from outside: what is durable, who may do what, what repeated and bad requests get.
#![allow(clippy::disallowed_methods, reason = "processes, files and clocks are what is tested")]

mod agents;
mod backup;
mod contents;
mod damage;
mod disk_space;
mod history;
mod hostile_agent;
mod large_fleet;
mod watching;
mod world;

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use trimaran_client::ClientError;
use trimaran_model::error_code;
use trimaran_model::event::EventPosition;
use trimaran_wire::v1::operator::{
    ArtifactVersion, DeployRequest, EnrollOrder, OperatorBody, OperatorReply, SourceFile, WirePosition,
};
use world::{WAIT_MAX, World, ask, change, holds};

fn deploy(version: &str) -> OperatorBody {
    let artifact = ArtifactVersion { version: version.to_owned(), sha256: Some([5; 32]) };
    OperatorBody::Deploy(DeployRequest {
        pipeline: Some("web".to_owned()),
        file: None,
        artifacts: BTreeMap::from([("bundle".to_owned(), artifact)]),
        manifests: None,
        files: None,
        plan_digest: None,
        overrides: Vec::new(),
        reason: String::new(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_is_answered_as_the_first_also_after_kill_9() {
    let mut world = World::start().await;
    world.apply().await;
    let client = world.client("admin");
    let id = change();
    let first = ask(&client, id, deploy("1")).await.expect("a run");
    assert_eq!((first["run"].as_str(), first["status"].as_str()), (Some("web#1"), Some("waiting")));
    for restart in [false, true, true] {
        if restart {
            world.restart();
        }
        let again = ask(&client, id, deploy("1")).await.expect("the same run");
        assert_eq!(again["run"], first["run"]);
        let other = ask(&client, id, deploy("2")).await.expect_err("another body");
        assert_eq!(other.code, error_code::REQUEST_ID_REUSED.0);
    }
    let runs = ask(&client, None, OperatorBody::RunList { pipeline: None, limit: 10 }).await.expect("runs");
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1));
    let mut wrong = id.expect("an id");
    wrong[6] = 0x40;
    let refused = ask(&client, Some(wrong), deploy("1")).await.expect_err("version 4");
    assert_eq!(refused.code, error_code::REQUEST_ID.0);
    let refused = ask(&client, None, deploy("1")).await.expect_err("no id");
    assert_eq!(refused.code, error_code::REQUEST_ID.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_applied_is_deployed_at_once() {
    let world = World::start().await;
    let client = world.client("admin");
    for number in 0..60 {
        let pipeline = format!("web{number}");
        let text = world::FILES.replace("pipeline: web", &format!("pipeline: {pipeline}")).into_bytes();
        let files = vec![SourceFile { name: "all.yaml".to_owned(), text }];
        ask(&client, change(), OperatorBody::Apply { files }).await.expect("applied");
        let OperatorBody::Deploy(order) = deploy("1") else { panic!("a deploy") };
        let order = OperatorBody::Deploy(DeployRequest { pipeline: Some(pipeline), ..order });
        ask(&client, change(), order).await.expect("a run");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_decide_at_once_learn_who_was_first() {
    let world = World::start().await;
    world.apply().await;
    world.operator("op1", "operator").await;
    world.operator("op2", "operator").await;
    ask(&world.client("op1"), change(), deploy("1")).await.expect("a run");
    let approve = |option: &str| OperatorBody::Approve {
        run: "web#1".to_owned(),
        stage: None,
        option: Some(option.to_owned()),
        digest: None,
        comment: String::new(),
    };
    let (one, two) = (world.client("op1"), world.client("op2"));
    let (first, second) =
        tokio::join!(ask(&one, change(), approve("promote")), ask(&two, change(), approve("stop")));
    let (won, lost) = match (first, second) {
        (Ok(won), Err(lost)) => (won, lost),
        (Err(lost), Ok(won)) => (won, lost),
        other => panic!("exactly one wins: {other:?}"),
    };
    assert_eq!(lost.code, error_code::ALREADY_DECIDED.0);
    let winner = won["by"].as_str().expect("a name");
    assert!(lost.message.contains(winner), "`{}` names {winner}", lost.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_token_stays_used_and_no_token_is_kept() {
    let mut world = World::start().await;
    let admin = world.client("admin");
    let order = EnrollOrder::Agent { name: "lab".to_owned() };
    let id = change().expect("an id");
    let first = admin.enroll(id, order.clone()).await.expect("a token");
    let token = first.token.clone();
    // A process of its own, as a command that is run again with the same `--request-id`.
    assert_eq!(world.client("admin").enroll(id, order.clone()).await.expect("the same answer"), first);
    // What travels is its hash: no one is given that hash again, for it would be good once more.
    let token_sha256 = trimaran_transport::enroll::token_hash(&token).0;
    let again = ask(&admin, change(), OperatorBody::Enroll { order, token_sha256 }).await;
    assert_eq!(again.expect_err("it was made before").message, "a token with this hash was made before");
    world.enroll(&token, "agent").await.expect("once");
    for restart in [false, true] {
        if restart {
            world.restart();
        }
        for used in [token.clone(), world.token.clone()] {
            let refused = world.enroll(&used, "again").await;
            assert!(
                matches!(refused, Err(ClientError::Refused(_) | ClientError::Identity { .. })),
                "{refused:?}"
            );
        }
    }
    // What the coordinator and the enrolled ones keep is not a token, nor the secret inside of it.
    for token in [token, world.token.clone()] {
        let secret = token.rsplit(['.', '-', '_']).next().expect("a last part").to_owned();
        for text in [token, secret] {
            assert!(text.len() > 16, "`{text}` is long enough to be looked for");
            assert_eq!(holds(world.folder.path(), &text), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_may_do_what_they_may_and_refusals_are_recorded() {
    let world = World::start().await;
    world.apply().await;
    for role in ["viewer", "operator"] {
        world.operator(role, role).await;
    }
    let files = Vec::new();
    let cancel = OperatorBody::Cancel { run: "web#9".to_owned() };
    let enroll =
        OperatorBody::Enroll { order: EnrollOrder::Agent { name: "x".to_owned() }, token_sha256: [1; 32] };
    let apply = OperatorBody::Apply { files };
    let denied = error_code::DENIED.0;
    let table = [
        ("viewer", OperatorBody::AgentList, None, false),
        ("viewer", deploy("1"), change(), true),
        ("viewer", cancel.clone(), change(), true),
        ("viewer", apply.clone(), change(), true),
        ("viewer", enroll.clone(), change(), true),
        ("operator", OperatorBody::AgentList, None, false),
        ("operator", cancel.clone(), change(), false),
        ("operator", apply.clone(), change(), true),
        ("operator", enroll.clone(), change(), true),
        ("admin", cancel, change(), false),
        ("admin", apply, change(), false),
        ("admin", enroll, change(), false),
    ];
    for (who, body, id, refused) in table {
        let answer = ask(&world.client(who), id, body.clone()).await;
        let is_denied = answer.as_ref().is_err_and(|refusal| refusal.code == denied);
        assert_eq!(is_denied, refused, "{who} {body:?}: {answer:?}");
    }
    // An operator of another cluster is no one here.
    let other = World::start().await;
    let stranger = trimaran_client::config::Context {
        endpoints: vec![world.address.to_string()],
        ..context(&other, "admin")
    };
    let answer = trimaran_client::client::Client::new(stranger).request(None, OperatorBody::AgentList).await;
    assert!(answer.is_err(), "{answer:?}");
}

fn context(world: &World, name: &str) -> trimaran_client::config::Context {
    let identity = world.folder.path().join(name).join("identity");
    trimaran_client::config::Context {
        endpoints: vec![world.address.to_string()],
        ca: identity.join("ca.pem"),
        cert: identity.join("cert.pem"),
        key: identity.join("key.pem"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enrolling_a_name_again_ends_the_earlier_certificate() {
    let world = World::start().await;
    world.operator("op1", "viewer").await;
    let before = world.client("op1");
    ask(&before, None, OperatorBody::AgentList).await.expect("a viewer");
    let old = world.folder.path().join("op1");
    std::fs::rename(&old, world.folder.path().join("op1-old")).expect("renamed");
    world.operator("op1", "operator").await;
    let until = Instant::now() + WAIT_MAX;
    let old = trimaran_client::client::Client::new(context(&world, "op1-old"));
    while old.request(None, OperatorBody::AgentList).await.is_ok() {
        assert!(Instant::now() < until, "the earlier certificate still works");
    }
    ask(&world.client("op1"), None, OperatorBody::AgentList).await.expect("the new one works");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_foreigners_are_refused_counted_and_harmless() {
    let world = World::start().await;
    let admin = world.client("admin");
    let refused = |status: &Value| {
        let refused = &status["members"][0]["refused"];
        refused["handshakes"].as_u64().expect("a count") + refused["frames"].as_u64().expect("a count")
    };
    let before = refused(&ask(&admin, None, OperatorBody::ClusterStatus).await.expect("a status"));
    let socket = UdpSocket::bind("127.0.24.2:0").expect("an address");
    for size in [1, 21, 1200, 1472, 60_000] {
        socket.send_to(&vec![0xC3; size], world.address).expect("sent");
    }
    // An operator without a certificate of this cluster.
    let other = World::start().await;
    let stranger = trimaran_client::config::Context {
        endpoints: vec![world.address.to_string()],
        ca: context(&world, "admin").ca,
        ..context(&other, "admin")
    };
    let answer = trimaran_client::client::Client::new(stranger).request(None, OperatorBody::AgentList).await;
    assert!(answer.is_err(), "{answer:?}");
    let until = Instant::now() + WAIT_MAX;
    loop {
        let status = ask(&admin, None, OperatorBody::ClusterStatus).await.expect("a status");
        if refused(&status) > before {
            break;
        }
        assert!(Instant::now() < until, "{status}");
    }
    world.apply().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_of_the_cluster_has_what_is_promised() {
    let mut world = World::start().await;
    let status = ask(&world.client("admin"), None, OperatorBody::ClusterStatus).await.expect("a status");
    for field in
        ["schema", "cluster_id", "epoch", "leader", "term", "revision", "now", "wall", "members", "alarms"]
    {
        assert!(!status[field].is_null(), "{field} of {status}");
    }
    let member = &status["members"][0];
    for field in [
        "name",
        "role",
        "address",
        "applied",
        "hash",
        "first_index",
        "snapshot_index",
        "disk_free",
        "state",
        "refused",
        "feature_levels",
    ] {
        assert!(!member[field].is_null(), "{field} of {member}");
    }
    assert_eq!(
        status["feature_level"], member["feature_levels"]["max"],
        "a new cluster has what its first build brings"
    );
    assert!(status["next_feature_level"].is_null(), "{status}");
    let hash = member["hash"].clone();
    assert!(hash["value"].as_str().is_some_and(|value| value.len() == 32), "{hash}");
    // The member reports where it is now; `check` finds the same state as the process had.
    assert_eq!(member["address"].as_str(), Some(world.address.to_string().as_str()));
    world.kill();
    let checked = world.command("check", &[]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && text.contains("state hash"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_of_an_environment_that_is_not_there_is_not_found() {
    let world = World::start().await;
    world.apply().await;
    let client = world.client("admin");
    let history = |environment: &str| OperatorBody::History {
        pipeline: "web".to_owned(),
        environment: Some(environment.to_owned()),
        limit: 10,
    };
    let empty = ask(&client, None, history("staging")).await.expect("it has this one");
    assert_eq!(empty["entries"].as_array().map(Vec::len), Some(0), "nothing was deployed there yet");
    let refused = ask(&client, None, history("stagin")).await.expect_err("it has no such one");
    assert_eq!(refused.code, error_code::NOT_FOUND.0);
    assert_eq!(refused.message, "pipeline `web` has no environment `stagin`");
    assert_eq!(refused.help.as_deref(), Some("did you mean `staging`?"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_listens_everywhere_has_the_address_by_which_it_was_reached() {
    let mut world = World::made();
    world.listen.set_ip(std::net::Ipv4Addr::UNSPECIFIED.into());
    world.run(&[]);
    world.enroll(&world.token.clone(), "admin").await.expect("the first admin");
    let status = ask(&world.client("admin"), None, OperatorBody::ClusterStatus).await.expect("a status");
    assert_eq!(status["members"][0]["address"].as_str(), Some(world.address.to_string().as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_resumes_over_a_restart_without_a_gap() {
    let mut world = World::start().await;
    world.apply().await;
    let client = world.client("admin");
    ask(&client, change(), deploy("1")).await.expect("a run");
    ask(&client, change(), OperatorBody::Cancel { run: "web#1".to_owned() }).await.expect("canceled");
    world.restart();
    ask(&client, None, OperatorBody::AgentList).await.expect("it is back");
    let watch = OperatorBody::Watch {
        run: Some("web#1".to_owned()),
        since: Some(WirePosition { revision: 1, ordinal: u32::MAX }),
    };
    let mut replies = client.stream(watch).await.expect("a stream");
    let mut seen = Vec::new();
    let until = Instant::now() + WAIT_MAX;
    while !seen.iter().any(|status| status == "canceled") {
        assert!(Instant::now() < until, "{seen:?}");
        let Some(OperatorReply::Event { position, json }) = replies.next().await.expect("an event") else {
            panic!("the stream ended: {seen:?}")
        };
        let event: Value = serde_json::from_str(&json).expect("an event");
        let shown = position.map(|it| EventPosition::from(it).to_string());
        assert_eq!(event["position"].as_str(), shown.as_deref());
        if event["event"] == "run" {
            seen.push(event["status"].as_str().unwrap_or_default().to_owned());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_a_change_and_its_reply_the_disk_is_synced() {
    let mut world = World::made();
    let trace = world.folder.path().join("trace").display().to_string();
    world.run(&["strace", "-f", "-ttt", "-e", "trace=fdatasync,fsync", "-o", &trace]);
    world.enroll(&world.token.clone(), "admin").await.expect("the first admin");
    let client = world.client("admin");
    world.apply().await;
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let mut spans = Vec::new();
    for version in 1..6 {
        let before = seconds();
        ask(&client, change(), deploy(&version.to_string())).await.expect("a run");
        spans.push((before, seconds()));
    }
    let text = std::fs::read_to_string(&trace).expect("a trace");
    let syncs: Vec<f64> = text
        .lines()
        .filter(|line| line.contains("fdatasync(") || line.contains("fsync("))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
        .collect();
    for (before, after) in spans {
        assert!(syncs.iter().any(|at| (before..after).contains(at)), "none between {before} and {after}");
    }
    // The tracer is the child; the coordinator below it ends by its own number.
    let pid = std::fs::read_to_string(world.data().join("pid")).expect("a pid");
    assert_ne!(pid.trim(), world.pid().to_string());
    let ended = std::process::Command::new("kill").args(["-9", pid.trim()]).status().expect("kill runs");
    assert!(ended.success());
}

#[test]
fn commands_of_the_binary_say_what_is_wrong() {
    let world = World::made();
    let words = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let again = world.command("init", &[]);
    assert_eq!(again.status.code(), Some(6), "{}", words(&again));
    assert!(words(&again).contains("belongs to coordinator/c1 already"), "{}", words(&again));
    let joined = world.command("join", &["--endpoint", "127.0.24.3:1"]);
    assert_eq!(joined.status.code(), Some(6), "{}", words(&joined));
    assert!(words(&joined).contains("belongs to coordinator/c1 already"), "{}", words(&joined));
    let mut arguments = world.arguments("join");
    arguments[4] = world.folder.path().join("other").display().to_string();
    let token = std::process::Command::new(world::BINARY).args(arguments).output().expect("it runs");
    assert!(!token.status.success() && words(&token).contains("not a token"), "{}", words(&token));
    let mut arguments = world.arguments("run");
    arguments[2] = "c2".to_owned();
    let named = std::process::Command::new(world::BINARY).args(arguments).output().expect("it runs");
    assert_eq!(named.status.code(), Some(6), "{}", words(&named));
    assert!(words(&named).contains("belongs to `coordinator/c1`"), "{}", words(&named));
    let mut arguments = world.arguments("run");
    arguments[4] = world.folder.path().join("nowhere").display().to_string();
    let empty = std::process::Command::new(world::BINARY).args(arguments).output().expect("it runs");
    assert_eq!(empty.status.code(), Some(6), "{}", words(&empty));
    assert!(words(&empty).contains("is not a data directory"), "{}", words(&empty));
    let usage = world.command("run", &["--no-such-flag"]);
    assert_eq!(usage.status.code(), Some(2));
}
