//! What agents report of themselves, as operators see it: an agent that a test plays, over the real protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use trimaran_client::ClientError;
use trimaran_model::error_code;
use trimaran_transport::{
    Alpn, CertificateStore, Endpoint, EndpointConfig, EndpointLimits, FrameReceiver, FrameSender, Session,
    Trust, files,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::{
    AgentDown, AgentUp, AgentVerdict, HeldAssignment, KnownCluster, Progress, RefusedAssignment,
    RefusedCounts, ResultAnswer, RunnerState,
};
use trimaran_wire::v1::assignment::WireOutcome;
use trimaran_wire::v1::common::{WireInstallation, WireRun};
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody, OperatorReply, WirePosition};
use trimaran_wire::v1::runner::LogQuery;

use crate::world::{WAIT_MAX, World, ask, change};

/// An attached agent `lab` that listens on every address of its host.
pub(crate) struct Played {
    sender: FrameSender,
    receiver: FrameReceiver,
    pub(crate) session: Session,
    _endpoint: Endpoint,
}

impl Played {
    pub(crate) async fn attach(world: &World) -> Self {
        Self::attach_as(world, "lab").await
    }

    /// An attached agent of this name, whose identity is kept under it.
    pub(crate) async fn attach_as(world: &World, name: &str) -> Self {
        let mut played = Self::connect_as(world, name).await;
        played.greet().await;
        played
    }

    /// With a session, and not yet attached.
    async fn connect(world: &World) -> Self {
        Self::connect_as(world, "lab").await
    }

    async fn connect_as(world: &World, name: &str) -> Self {
        let folder = world.folder.path().join(name);
        let identity = files::load_identity(&folder).expect("readable").expect("enrolled");
        let config = EndpointConfig {
            alpns: Vec::new(),
            trust: Some(Trust::from_pem(&identity.ca).expect("a root")),
            store: CertificateStore::new(&identity).expect("an identity"),
            clock: Arc::new(now),
            revoked: Arc::new(|_| false),
            reset_key: None,
            limits: EndpointLimits::CLIENT,
        };
        let endpoint = Endpoint::bind(SocketAddr::from(([0, 0, 0, 0], 0)), config).expect("a free port");
        let session = endpoint.connect(world.address, Alpn::Agent).await.expect("accepted");
        let (sender, receiver) = session.open_stream().await.expect("a stream");
        Self { sender, receiver, session, _endpoint: endpoint }
    }

    /// As [`Played::attach`], with a driver for one platform alone.
    pub(crate) async fn attach_for(world: &World, platform: &str) -> Self {
        let mut played = Self::connect(world).await;
        played.hello_for(KnownCluster::default(), platform).await;
        played
    }

    /// Attaches; the revision since when.
    async fn greet(&mut self) -> u64 {
        self.hello(KnownCluster::default()).await;
        let welcome = |message: &AgentDown| match message {
            AgentDown::Welcome { revision, .. } => Some(*revision),
            _ => None,
        };
        self.expect_message(welcome).await
    }

    /// The first message, of an agent that knows so much of its cluster.
    async fn hello(&mut self, known: KnownCluster) {
        self.hello_for(known, "hosts").await;
    }

    async fn hello_for(&mut self, known: KnownCluster, platform: &str) {
        let listen = Some("0.0.0.0:4567".to_owned());
        self.say(AgentUp::Hello {
            incarnation: 7,
            known,
            held: Vec::new(),
            listen,
            platforms: vec![platform.to_owned()],
        })
        .await;
    }

    /// The revoked keys that it is sent before everything that the coordinator has for it is sent, and up to which number
    /// it knows them then.
    async fn revoked(&mut self) -> (u64, Vec<[u8; 32]>) {
        self.say(AgentUp::Ping { sent_ms: 1, refused: RefusedCounts::default() }).await;
        let (known, keys) = (std::cell::Cell::new(0), std::cell::RefCell::new(Vec::new()));
        let received = |message: &AgentDown| match message {
            AgentDown::Revoked { up_to, keys: page, .. } => {
                known.set(*up_to);
                keys.borrow_mut().extend(page.iter().map(|it| it.key));
                None
            }
            AgentDown::Pong { .. } => Some(()),
            _ => None,
        };
        self.expect_message(received).await;
        (known.get(), keys.into_inner())
    }

    pub(crate) async fn say(&mut self, message: AgentUp) {
        self.sender.send(&message.to_frame()).await.expect("sent");
    }

    /// Sends messages and reads what comes meanwhile, as an agent does: neither side waits for the other to read.
    pub(crate) async fn say_all(&mut self, messages: Vec<AgentUp>, mut came: impl FnMut(AgentDown)) {
        let Self { sender, receiver, .. } = self;
        let send = async {
            for message in messages {
                sender.send(&message.to_frame()).await.expect("sent");
            }
        };
        tokio::pin!(send);
        loop {
            tokio::select! {
                () = &mut send => return,
                frame = receiver.next() => {
                    let frame = frame.expect("a frame").expect("the session is open");
                    came(AgentDown::from_frame(&frame).expect("a message"));
                }
            }
        }
    }

    /// Reads until the coordinator ends the session.
    pub(crate) async fn expect_end(&mut self) {
        let ended = async { while let Ok(Some(_)) = self.receiver.next().await {} };
        tokio::time::timeout(WAIT_MAX, ended).await.expect("it ends soon");
    }

    /// Reads on until a message is the wanted one.
    pub(crate) async fn expect_message<T>(&mut self, wanted: impl Fn(&AgentDown) -> Option<T>) -> T {
        let received = async {
            loop {
                let frame = self.receiver.next().await.expect("a frame").expect("the session is open");
                if let Some(found) = wanted(&AgentDown::from_frame(&frame).expect("a message")) {
                    return found;
                }
            }
        };
        tokio::time::timeout(WAIT_MAX, received).await.expect("it comes soon")
    }
}

fn now() -> trimaran_model::time::WallTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    trimaran_model::time::WallTime(i64::try_from(since.as_millis()).expect("a date"))
}

/// Asks again until the document says so.
pub(crate) async fn until(
    world: &World,
    body: OperatorBody,
    what: &str,
    fits: impl Fn(&Value) -> bool,
) -> Value {
    let end = Instant::now() + WAIT_MAX;
    loop {
        let document = ask(&world.client("admin"), None, body.clone()).await.expect("a document");
        if fits(&document) {
            return document;
        }
        assert!(Instant::now() < end, "{what}: {document:#}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A cluster whose agent `lab` and runner `host-1` are enrolled.
pub(crate) async fn cluster() -> World {
    let world = World::start().await;
    enroll_machines(&world).await;
    world
}

pub(crate) async fn enroll_machines(world: &World) {
    let staging = [("group".to_owned(), "staging".to_owned())].into();
    let runner = EnrollOrder::Runner { name: "host-1".into(), agent: "lab".into(), labels: staging };
    for (order, name) in [(EnrollOrder::Agent { name: "lab".into() }, "lab"), (runner, "host-1")] {
        let token = world.token(order).await;
        world.enroll(&token, name).await.expect("enrolled");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_mixed_up_with_another_is_not_used() {
    let world = cluster().await;
    let token = world.token(EnrollOrder::Agent { name: "lab".into() }).await;
    let refused = async |wanted: &str| {
        let error = world.enroll_as(wanted, &token, "elsewhere").await.expect_err("it is for another");
        let ClientError::Refused(refusal) = error else { panic!("{error}") };
        assert_eq!(refusal.code, error_code::TOKEN_UNKNOWN.0);
        refusal.message
    };
    for wanted in ["operator", "runner/lab", "agent/lap"] {
        let message = format!("the token is for agent/lab, not for {wanted}; it was not used");
        assert_eq!(refused(wanted).await, message);
    }
    // Nothing was revoked meanwhile, and the token is as good as before, once.
    Played::attach(&world).await;
    world.enroll_as("agent/lab", &token, "lab").await.expect("its own token");
    assert_eq!(refused("operator").await, "the token is unknown, used or expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_are_listed_with_their_address_and_what_their_port_refused() {
    let world = cluster().await;
    let listed = ask(&world.client("admin"), None, OperatorBody::AgentList).await.expect("agents");
    assert_eq!(listed["agents"][0]["refused"], Value::Null);
    let mut lab = Played::attach(&world).await;
    lab.say(AgentUp::Ping { sent_ms: 1, refused: RefusedCounts { handshakes: 3, frames: 2 } }).await;
    lab.expect_message(|message| matches!(message, AgentDown::Pong { .. }).then_some(())).await;
    let listed = ask(&world.client("admin"), None, OperatorBody::AgentList).await.expect("agents");
    let agent = &listed["agents"][0];
    assert_eq!(agent["refused"], serde_json::json!({ "handshakes": 3, "frames": 2 }), "{agent:#}");
    let address: SocketAddr = agent["address"].as_str().expect("text").parse().expect("an address");
    assert_eq!(address.port(), 4567);
    assert!(address.ip().is_loopback(), "{address} is where peers reach it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_an_old_session_takes_nothing_from_the_next_one_of_the_same_incarnation() {
    let world = cluster().await;
    let admin = world.client("admin");
    let mut old = Played::attach(&world).await;
    // For each round when the next session attached, and a later revision at which it was still alive.
    let mut incarnations = Vec::new();
    for round in 0..100 {
        let mut next = Played::connect(&world).await;
        // The old session ends at each moment around the attachment of the next one, finer than timers are.
        let leaves = tokio::task::spawn_blocking(move || {
            std::thread::sleep(std::time::Duration::from_micros(20 * round));
            drop(old);
        });
        let (attached, left) = tokio::join!(next.greet(), leaves);
        left.expect("dropped");
        next.say(AgentUp::Ping { sent_ms: 1, refused: RefusedCounts::default() }).await;
        next.expect_message(|message| matches!(message, AgentDown::Pong { .. }).then_some(())).await;
        let (alive, _) = admin.request(None, OperatorBody::AgentList).await.expect("agents");
        incarnations.push((attached, alive));
        old = next;
    }
    let body =
        OperatorBody::Watch { run: None, since: Some(WirePosition { revision: 1, ordinal: u32::MAX }) };
    let mut events = admin.stream(body).await.expect("a stream");
    let end = incarnations.last().expect("a round").0;
    loop {
        let reply = events.next().await.expect("an event").expect("the stream continues");
        let OperatorReply::Event { position, json } = reply else { panic!("{reply:?}") };
        let Some(WirePosition { revision, .. }) = position else { continue };
        let alive_then =
            incarnations.iter().any(|(attached, alive)| (attached + 1..=*alive).contains(&revision));
        assert!(!(alive_then && json.contains("disconnected")), "{json}");
        if revision >= end {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_was_seen_is_lost_after_everything_was_started_again() {
    let mut world = cluster().await;
    let listed = ask(&world.client("admin"), None, OperatorBody::RunnerList).await.expect("runners");
    assert_eq!(listed["runners"][0]["state"], "never_connected");
    let mut lab = Played::attach(&world).await;
    let state = RunnerState {
        name: "host-1".into(),
        connected: true,
        incarnation: 5,
        address: "127.0.1.1".into(),
        last_seen_ms: now().0,
        facts: Default::default(),
    };
    lab.say(AgentUp::Runners(vec![state])).await;
    until(&world, OperatorBody::RunnerList, "connected", |it| it["runners"][0]["state"] == "connected").await;
    // Sent in the order of the session: the answer says that the log has what was sent before.
    lab.say(AgentUp::Ping { sent_ms: 1, refused: RefusedCounts::default() }).await;
    lab.expect_message(|message| matches!(message, AgentDown::Pong { .. }).then_some(())).await;
    drop(lab);
    world.restart();
    let listed =
        until(&world, OperatorBody::RunnerList, "lost", |it| it["runners"][0]["state"] == "lost").await;
    assert!(listed["runners"][0]["last_seen"].is_string(), "{listed:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_of_an_agent_that_is_away_say_who_since_when_and_what_to_do() {
    let world = cluster().await;
    world.apply().await;
    ask(&world.client("admin"), change(), crate::deploy("1")).await.expect("a run");
    let logs = || async {
        let query = LogQuery {
            pipeline: String::new(),
            target: String::new(),
            run: None,
            release: None,
            since_ms: None,
            tail: None,
            follow: false,
        };
        let body =
            OperatorBody::Logs { run: "web#1".into(), stage: None, host: None, previous: false, query };
        let client = world.client("admin");
        let mut replies = client.stream(body).await.expect("a stream");
        match replies.next().await {
            Err(ClientError::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    };
    let refused = logs().await;
    assert_eq!(refused.code, error_code::AGENT_AWAY.0);
    assert!(refused.cause.expect("a cause").contains("agent `lab` was never connected"));
    drop(Played::attach(&world).await);
    let away = |it: &Value| it["agents"][0]["state"] != "connected";
    let listed = until(&world, OperatorBody::AgentList, "away", away).await;
    let refused = logs().await;
    let (cause, since) = (refused.cause.expect("a cause"), listed["agents"][0]["last_seen"].as_str());
    assert!(cause.contains("agent `lab`") && cause.contains(since.expect("a time")), "{cause}");
    assert!(refused.help.expect("help").contains("start agent `lab` again"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_no_coordinator_knows_alarms_until_it_is_gone() {
    let world = cluster().await;
    world.apply().await;
    ask(&world.client("admin"), change(), crate::deploy("1")).await.expect("a run");
    let mut lab = Played::attach(&world).await;
    let progress = Progress {
        assignment: 40,
        fence: 1 << 48 | 40,
        done: 1,
        total: 1,
        failed: Vec::new(),
        lost: Vec::new(),
        failure: None,
        instances: Vec::new(),
    };
    let (assignment, fence) = (progress.assignment, progress.fence);
    lab.say(AgentUp::Result { assignment, fence, outcome: WireOutcome::Done, progress }).await;
    let answer = |message: &AgentDown| match message {
        AgentDown::Answer { answer, .. } => Some(answer.clone()),
        _ => None,
    };
    assert_eq!(lab.expect_message(answer).await, ResultAnswer::Unknown);
    let held = HeldAssignment {
        assignment,
        fence,
        installation: WireInstallation { pipeline: "web".into(), target: "lab-staging".into() },
        run: WireRun { pipeline: "web".into(), number: 1 },
    };
    lab.say(AgentUp::Unknown(vec![held])).await;
    let has = |status: &Value| status["alarms"].as_array().is_some_and(|alarms| !alarms.is_empty());
    let status = until(&world, OperatorBody::ClusterStatus, "an alarm", has).await;
    let alarm = &status["alarms"][0];
    assert_eq!(alarm["code"], "held_assignment");
    let message = alarm["message"].as_str().expect("words");
    for part in ["`lab`", "assignment 40", "web#1", "web/lab-staging"] {
        assert!(message.contains(part), "{message}");
    }
    let why = OperatorBody::Why { run: "web#1".into(), stage: Some("staging/lab-staging".into()) };
    let why = ask(&world.client("admin"), None, why).await.expect("why");
    let reasons = why["stages"][0]["reasons"].as_array().expect("reasons");
    let held = reasons.iter().find(|it| it["code"] == "held_assignment").expect("a reason");
    assert_eq!((&held["message"], &held["clears"]), (&alarm["message"], &alarm["clears"]));
    assert!(held["since"].is_string() && held["who"].as_array().is_some_and(|who| !who.is_empty()));
    lab.say(AgentUp::Unknown(Vec::new())).await;
    until(&world, OperatorBody::ClusterStatus, "no alarm", |status| !has(status)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_order_is_an_alarm_and_a_reason_until_its_run_is_over() {
    let world = cluster().await;
    world.apply().await;
    let client = world.client("admin");
    ask(&client, change(), crate::deploy("1")).await.expect("a run");
    let approve = OperatorBody::Approve {
        run: "web#1".to_owned(),
        stage: None,
        option: None,
        digest: None,
        comment: String::new(),
    };
    ask(&client, change(), approve).await.expect("approved");
    let mut lab = Played::attach(&world).await;
    let order = |message: &AgentDown| match message {
        AgentDown::Assign(order) => Some(order.clone()),
        _ => None,
    };
    let order = lab.expect_message(order).await;
    let refused = RefusedAssignment {
        assignment: order.id,
        fence: order.fence,
        installation: order.installation.clone(),
        code: "order_refused".to_owned(),
        message: "the agent holds 4096 assignments, which is the most".to_owned(),
    };
    // An order that is not live is shown nowhere.
    lab.say(AgentUp::Refused(RefusedAssignment { assignment: 77, ..refused.clone() })).await;
    lab.say(AgentUp::Refused(refused)).await;
    let has = |status: &Value| status["alarms"].as_array().is_some_and(|alarms| !alarms.is_empty());
    let status = until(&world, OperatorBody::ClusterStatus, "an alarm", has).await;
    let alarms = status["alarms"].as_array().expect("alarms");
    assert_eq!((alarms.len(), &alarms[0]["code"]), (1, &Value::from("order_refused")));
    let message = alarms[0]["message"].as_str().expect("a sentence");
    assert!(message.contains("agent `lab`") && message.contains("holds 4096 assignments"), "{message}");
    let stage = Some(format!("staging/{}", order.installation.target));
    let why = OperatorBody::Why { run: "web#1".into(), stage };
    let why = ask(&client, None, why).await.expect("why");
    let reasons = why["stages"][0]["reasons"].as_array().expect("reasons");
    let reason = reasons.iter().find(|it| it["code"] == "order_refused").expect("a reason");
    assert_eq!(reason["message"], alarms[0]["message"]);
    lab.say(crate::disk_space::result(&order)).await;
    until(&world, OperatorBody::ClusterStatus, "no alarm", |status| !has(status)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_lost_its_directory_is_believed_under_the_fences_that_its_hosts_know() {
    let world = cluster().await;
    world.apply().await;
    let client = world.client("admin");
    ask(&client, change(), crate::deploy("1")).await.expect("a run");
    let approve = OperatorBody::Approve {
        run: "web#1".to_owned(),
        stage: None,
        option: None,
        digest: None,
        comment: String::new(),
    };
    ask(&client, change(), approve).await.expect("approved");
    let mut lab = Played::attach(&world).await;
    let order = |message: &AgentDown| match message {
        AgentDown::Assign(order) => Some(order.clone()),
        _ => None,
    };
    let order = lab.expect_message(order).await;
    lab.say(crate::disk_space::result(&order)).await;
    let health = |health: &'static str| move |it: &Value| it["installations"][0]["health"] == health;
    let status = || OperatorBody::Status { pipeline: None };
    until(&world, status(), "healthy", health("healthy")).await;
    drop(lab);
    let mut next = Played::attach(&world).await;
    let verdict = AgentVerdict {
        installation: order.installation.clone(),
        fence: order.fence - 1,
        verdict: "degraded".to_owned(),
        failure: None,
        down: 1,
        hosts: None,
        blind_since_ms: None,
    };
    next.say(AgentUp::Verdicts(vec![verdict])).await;
    until(&world, status(), "degraded", health("degraded")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_reaches_the_runners_agent_once_also_over_a_reconnect() {
    let world = cluster().await;
    let mut lab = Played::connect(&world).await;
    lab.hello(KnownCluster::default()).await;
    let welcome = |message: &AgentDown| match message {
        AgentDown::Welcome { incarnation, .. } => Some(*incarnation),
        _ => None,
    };
    let incarnation = lab.expect_message(welcome).await;
    assert_eq!(lab.revoked().await, (0, Vec::new()), "no runner was replaced yet");
    let staging = [("group".to_owned(), "staging".to_owned())].into();
    let again = EnrollOrder::Runner { name: "host-1".into(), agent: "lab".into(), labels: staging };
    let token = world.token(again).await;
    world.enroll(&token, "host-1-again").await.expect("enrolled");
    let key = |message: &AgentDown| match message {
        AgentDown::Revoked { up_to, keys, .. } => Some((*up_to, keys.clone())),
        _ => None,
    };
    let (up_to, keys) = lab.expect_message(key).await;
    assert_eq!((up_to, keys.len()), (1, 1));
    drop(lab);

    let mut knows = Played::connect(&world).await;
    knows.hello(KnownCluster { epoch: 1, incarnation, revoked: up_to }).await;
    assert_eq!(knows.revoked().await, (0, Vec::new()), "it has it");
    drop(knows);
    // A process that has just begun, and one whose numbers are of another incarnation of the cluster.
    for known in [KnownCluster::default(), KnownCluster { epoch: 0, incarnation: 9, revoked: 50 }] {
        let mut forgot = Played::connect(&world).await;
        forgot.hello(known).await;
        assert_eq!(forgot.revoked().await, (1, vec![keys[0].key]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_knows_another_incarnation_of_the_cluster_is_refused_aloud() {
    let world = cluster().await;
    for known in [
        KnownCluster { epoch: 2, incarnation: 5, revoked: 0 },
        KnownCluster { epoch: 1, incarnation: 5, revoked: 0 },
    ] {
        let mut lab = Played::connect(&world).await;
        lab.hello(known).await;
        let refused = |message: &AgentDown| match message {
            AgentDown::OtherIncarnation { epoch, incarnation } => Some((*epoch, *incarnation)),
            other => panic!("{other:?}"),
        };
        let (epoch, incarnation) = lab.expect_message(refused).await;
        assert!(epoch == 1 && incarnation != known.incarnation);
        lab.expect_end().await;
        let alarms = |status: &Value| status["alarms"][0]["code"] == "other_incarnation";
        let status = until(&world, OperatorBody::ClusterStatus, "the alarm", alarms).await;
        let message = status["alarms"][0]["message"].as_str().expect("text");
        assert!(message.contains(&format!("epoch {}", known.epoch)), "{message}");
    }
    let _lab = Played::attach(&world).await;
    let alarms = |status: &Value| status["alarms"].as_array().is_some_and(Vec::is_empty);
    until(&world, OperatorBody::ClusterStatus, "no alarm any more", alarms).await;
}
