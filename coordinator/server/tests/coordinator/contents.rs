//! Releases by digest: what they name is uploaded in parts, and an agent fetches it, whole and checked.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use trimaran_model::error_code;
use trimaran_model::limits::{CONTENT_BYTES_MAX, CONTENT_PART_BYTES};
use trimaran_transport::{FrameSender, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::{
    AgentAnswer, AgentDown, AgentQuery, AgentQuestion, AgentUp, AgentVerdict, ContentAnswer, ContentPiece,
    ContentQuery, WireStanding,
};
use trimaran_wire::v1::assignment::WireAction;
use trimaran_wire::v1::operator::{
    ArtifactVersion, DeployRequest, OperatorBody, OperatorReply, Refusal, SourceFile,
};
use trimaran_wire::v1::release_platforms::WireContent;

use crate::agents::{Played, cluster, until};
use crate::world::{World, ask, change};

const TARGETS: &str = "trimaran: v1
target: shop
agent: lab
class: staging
kubernetes: { namespace: shop }
---
trimaran: v1
target: elsewhere
agent: other
class: staging
kubernetes: { namespace: elsewhere }
";

const PIPELINE: &str = "trimaran: v1
pipeline: shop
owner: team
artifacts:
  app: { image: registry.corp/shop/app }
workload:
  kubernetes: { manifests: deploy, images: { app: app }, stability: 1s }
environments:
- { name: staging, targets: [TARGET], rollback: { on: [health], bake: 1h } }
";

/// Bytes that are no manifests: what they are is the agent's to say.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|it| u8::try_from(it * it % 251).expect("below 251")).collect()
}

fn content(bytes: &[u8]) -> WireContent {
    WireContent { sha256: Sha256::digest(bytes).into(), bytes: bytes.len() as u64 }
}

async fn put(world: &World, content: WireContent, part: u32, bytes: &[u8]) -> Result<u64, Refusal> {
    let body = OperatorBody::PutContent { content, part, bytes: bytes.to_vec() };
    let stored = ask(&world.client("admin"), change(), body).await?;
    Ok(stored["parts"].as_u64().expect("a number"))
}

fn deploy(target: &str, content: Option<WireContent>) -> OperatorBody {
    let text = PIPELINE.replace("TARGET", target).into_bytes();
    let image = ArtifactVersion { version: "v1".to_owned(), sha256: Some([5; 32]) };
    OperatorBody::Deploy(DeployRequest {
        pipeline: None,
        file: Some(SourceFile { name: "trimaran.yaml".to_owned(), text }),
        artifacts: BTreeMap::from([("app".to_owned(), image)]),
        manifests: content,
        files: None,
        plan_digest: None,
        overrides: Vec::new(),
        reason: String::new(),
    })
}

async fn with_targets() -> World {
    let world = cluster().await;
    let files = vec![SourceFile { name: "targets.yaml".to_owned(), text: TARGETS.as_bytes().to_vec() }];
    ask(&world.client("admin"), change(), OperatorBody::Apply { files }).await.expect("applied");
    world
}

/// What an agent gets for a question, or the refusal at its end.
async fn fetch(session: &Session, release: [u8; 32], what: ContentPiece) -> Result<Vec<u8>, String> {
    let query = ContentQuery { release, what };
    let mut answer = session.request(&query.to_frame()).await.expect("asked");
    let mut all = Vec::new();
    while let Some(frame) = answer.next().await.expect("the session is open") {
        match ContentAnswer::from_frame(&frame).expect("a part") {
            ContentAnswer::Part(part) => all.extend(part),
            ContentAnswer::Refused { message } => return Err(message),
        }
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_of_more_than_a_frame_is_uploaded_fetched_and_stands_until_a_bake_fails() {
    let world = with_targets().await;
    let client = world.client("admin");
    let bytes = bytes(3 * CONTENT_PART_BYTES + 77);
    let content = content(&bytes);
    let refused = ask(&client, change(), deploy("shop", Some(content))).await.expect_err("nothing is there");
    assert_eq!(refused.code, error_code::CONTENT_MISSING.0);
    let refused = ask(&client, change(), deploy("shop", None)).await.expect_err("nothing is named");
    assert_eq!(refused.code, error_code::CONTENT_MISSING.0);
    let parts: Vec<&[u8]> = bytes.chunks(CONTENT_PART_BYTES).collect();
    assert_eq!(put(&world, content, 1, parts[1]).await, Ok(0), "the first part comes first");
    for (part, stored) in [(0, 1), (1, 2), (1, 2), (2, 3)] {
        assert_eq!(put(&world, content, part, parts[part as usize]).await, Ok(stored));
    }
    let refused = ask(&client, change(), deploy("shop", Some(content))).await.expect_err("it is not whole");
    assert_eq!(refused.code, error_code::CONTENT_MISSING.0);
    let wrong = put(&world, content, 3, &[0; 77]).await.expect_err("another digest");
    assert_eq!(wrong.code, error_code::CONTENT_INVALID.0);
    assert_eq!(put(&world, content, 3, parts[3]).await, Ok(4));
    assert_eq!(put(&world, content, 0, parts[0]).await, Ok(4), "nothing more has to be sent");

    let mut lab = Played::attach_for(&world, "kubernetes").await;
    ask(&client, change(), deploy("shop", Some(content))).await.expect("a run");
    let order = lab.expect_message(|message| match message {
        AgentDown::Assign(order) => Some(order.clone()),
        _ => None,
    });
    let order = order.await;
    let WireAction::Release(digest) = order.action else { panic!("{:?}", order.action) };
    let release = fetch(&lab.session, digest, ContentPiece::Release).await.expect("it is this agent's");
    let expected = order.release.clone().expect("an order has its release");
    assert_eq!(trimaran_wire::codec::encode(&*expected), release);
    assert_eq!(<[u8; 32]>::from(Sha256::digest(&release)), digest);
    assert_eq!(expected.version, "v1");
    for from in [0_u32, 2] {
        let rest = fetch(&lab.session, digest, ContentPiece::Content { from }).await.expect("it is stored");
        assert!(rest == bytes[from as usize * CONTENT_PART_BYTES..], "from part {from}");
    }
    let foreign = fetch(&lab.session, [9; 32], ContentPiece::Release).await.expect_err("of no one");
    assert!(foreign.contains("no target with a release"), "{foreign}");

    // What stands is said behind the end of the order, and its health counts under its fence.
    lab.say(crate::disk_space::result(&order)).await;
    let standing = lab.expect_message(|message| match message {
        AgentDown::Installations { installations, whole: false, .. } => Some(installations.clone()),
        _ => None,
    });
    let expected = WireStanding {
        installation: order.installation.clone(),
        fence: order.fence,
        release: Some(digest),
        retained: vec![digest],
        committed: None,
        hosts: None,
    };
    assert_eq!(standing.await, std::slice::from_ref(&expected));
    let blind = |verdict: &str, blind_since_ms| AgentVerdict {
        installation: order.installation.clone(),
        fence: order.fence,
        verdict: verdict.to_owned(),
        failure: None,
        down: 0,
        blind_since_ms,
        hosts: None,
    };
    let status = || OperatorBody::Status { pipeline: None };
    lab.say(AgentUp::Verdicts(vec![blind("unknown", Some(i64::MAX))])).await;
    let seen = until(&world, status(), "unknown", |it| it["installations"][0]["health"] == "unknown").await;
    let since = seen["installations"][0]["blind_since"].as_str().expect("a time").to_owned();
    assert!(!since.starts_with("292"), "not later than now: {since}");
    // Another session is sent everything that stands.
    drop(lab);
    let mut lab = Played::attach_for(&world, "kubernetes").await;
    let whole = lab.expect_message(|message| match message {
        AgentDown::Installations { installations, whole: true, last: true } => Some(installations.clone()),
        _ => None,
    });
    assert_eq!(whole.await, [expected]);
    lab.say(AgentUp::Verdicts(vec![blind("degraded", None)])).await;
    let stop = lab.expect_message(|message| match message {
        AgentDown::Assign(order) if order.action == WireAction::Stop(digest) => Some(()),
        _ => None,
    });
    stop.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_upload_says_of_itself_is_checked() {
    let world = with_targets().await;
    let bytes = bytes(10);
    for (content, part, bytes) in [
        (WireContent { bytes: CONTENT_BYTES_MAX + 1, ..content(&bytes) }, 0, &bytes[..]),
        (content(&bytes), 1, &bytes[..]),
        (content(&bytes), 0, &bytes[1..]),
        (WireContent { sha256: [1; 32], ..content(&bytes) }, 0, &bytes[..]),
    ] {
        let refused = put(&world, content, part, bytes).await.expect_err("it contradicts itself");
        assert_eq!(refused.code, error_code::CONTENT_INVALID.0);
    }
    assert_eq!(put(&world, content(&bytes), 0, &bytes).await, Ok(1));
    let viewer = OperatorBody::PutContent { content: content(&bytes), part: 0, bytes };
    world.operator("eva", "viewer").await;
    let refused = ask(&world.client("eva"), change(), viewer).await.expect_err("a viewer uploads nothing");
    assert_eq!(refused.code, error_code::DENIED.0);
}

/// The next question of the coordinator, with the parts that follow it; its answer goes into the sender.
async fn question(lab: &Played) -> (AgentQuery, Vec<u8>, FrameSender) {
    let (sender, mut receiver) = lab.session.accept_stream().await.expect("a stream");
    let frame = receiver.next().await.expect("the session is open").expect("a question");
    let query = AgentQuery::from_frame(&frame).expect("a question");
    let mut bytes = Vec::new();
    while let Some(frame) = receiver.next().await.expect("the session is open") {
        match ContentAnswer::from_frame(&frame).expect("a part") {
            ContentAnswer::Part(part) => bytes.extend(part),
            ContentAnswer::Refused { message } => panic!("{message}"),
        }
    }
    (query, bytes, sender)
}

async fn answer(mut sender: FrameSender, parts: Vec<AgentAnswer>) {
    for part in parts {
        sender.send(&part.to_frame()).await.expect("sent");
    }
    sender.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plan_would_change_is_asked_of_the_agent_with_its_manifests() {
    let world = with_targets().await;
    let client = world.client("admin");
    let bytes = bytes(CONTENT_PART_BYTES + 1);
    let content = content(&bytes);
    for (part, piece) in (0..).zip(bytes.chunks(CONTENT_PART_BYTES)) {
        put(&world, content, part, piece).await.expect("stored");
    }
    let OperatorBody::Deploy(request) = deploy("shop", Some(content)) else { unreachable!("as it is made") };
    let lab = Played::attach_for(&world, "kubernetes").await;
    until(&world, OperatorBody::AgentList, "connected", |it| it["agents"][0]["state"] == "connected").await;
    let difference = async || {
        let mut replies = client.stream(OperatorBody::PlanDifference(request.clone())).await.expect("asked");
        let (mut all, mut why, mut reason) = (Vec::new(), None, None);
        while let Some(reply) = replies.next().await.expect("an answer") {
            let OperatorReply::Difference { target, lines, missing, code } = reply else {
                panic!("{reply:?}")
            };
            assert_eq!(target, "shop");
            all.extend(lines);
            why = missing.or(why);
            reason = code.or(reason);
        }
        (all, why, reason)
    };
    let played = async |parts: Vec<AgentAnswer>| {
        let (asked, with, sender) = question(&lab).await;
        let AgentQuery { target, question: AgentQuestion::Plan(order) } = asked else { panic!("{asked:?}") };
        assert_eq!((target.as_str(), order.fence, with.len()), ("shop", 0, bytes.len()));
        assert!(with == bytes && matches!(order.action, WireAction::Release(_)));
        answer(sender, parts).await;
    };
    let lines = |text: &str| AgentAnswer::Plan(vec![text.to_owned()]);
    let (found, ()) = tokio::join!(difference(), played(vec![lines("+ a"), lines("- b")]));
    assert_eq!(found, (vec!["+ a".to_owned(), "- b".to_owned()], None, None));
    // A code that no reason has is none.
    for (code, shown) in [("api_unavailable", Some("api_unavailable")), ("of_the_agent", None)] {
        let refused = AgentAnswer::Refused { code: code.to_owned(), message: "no answer".to_owned() };
        let (found, ()) = tokio::join!(difference(), played(vec![lines("+ a"), refused]));
        let shown = shown.map(str::to_owned);
        assert_eq!(found, (vec!["+ a".to_owned()], Some("no answer".to_owned()), shown));
    }

    let key = async || ask(&client, None, OperatorBody::SealingKey { target: "shop".to_owned() }).await;
    let played = async |parts| {
        let (asked, _, sender) = question(&lab).await;
        assert_eq!(asked.question, AgentQuestion::SealingKey);
        answer(sender, parts).await;
    };
    let (found, ()) = tokio::join!(key(), played(vec![AgentAnswer::SealingKey(vec![0xab, 1])]));
    assert_eq!(found.expect("a key")["key"], "ab01");
    let (found, ()) = tokio::join!(key(), played(vec![lines("no key")]));
    assert_eq!(found.expect_err("no key").code, error_code::QUESTION_UNANSWERED.0);
    let away = ask(&client, None, OperatorBody::SealingKey { target: "elsewhere".to_owned() }).await;
    assert_eq!(away.expect_err("its agent is not there").code, error_code::AGENT_AWAY.0);
}
