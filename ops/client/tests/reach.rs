//! How long a client tries when no coordinator answers, and when an answer is lost.
#![allow(clippy::disallowed_methods, reason = "sockets and clocks are what is tested")]

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use trimaran_client::ClientError;
use trimaran_client::client::Client;
use trimaran_client::config::Context;
use trimaran_client::enroll::enroll;
use trimaran_model::error_code;
use trimaran_model::id::{Identity, OperatorRole};
use trimaran_model::limits::LEAF_TTL;
use trimaran_model::time::WallTime;
use trimaran_transport::authority::{Authority, Issuer};
use trimaran_transport::enroll::{Csr, Token, make_key_and_csr};
use trimaran_transport::files::{self, IdentityFiles};
use trimaran_transport::{
    Alpn, CertificateStore, CloseCode, Endpoint, EndpointConfig, EndpointLimits, Trust,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::operator::{OperatorBody, OperatorReply, Refusal};

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    WallTime(i64::try_from(since.as_millis()).expect("a date"))
}

/// A cluster's authority and an operator's directory.
struct World {
    authority: Authority,
    issuer: Issuer,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::of(&Identity::Operator("ann".parse().expect("a name"), OperatorRole::Admin))
    }

    /// With this identity where the operator's should be.
    fn of(identity: &Identity) -> Self {
        let authority = Authority::new_root("lab", now()).expect("a root");
        let issuer = authority.new_issuer(&"c1".parse().expect("a name"), 0, now()).expect("an issuer");
        let world = Self { authority, issuer, folder: tempfile::tempdir().expect("a directory") };
        files::save_identity(world.folder.path(), &world.files(identity)).expect("written");
        world
    }

    fn files(&self, identity: &Identity) -> IdentityFiles {
        let (key, csr) = make_key_and_csr("any").expect("a key");
        let csr = Csr::parse(&csr).expect("a request");
        let issued = self.issuer.issue(identity, &csr, now(), LEAF_TTL).expect("a leaf");
        IdentityFiles { cert: issued.pem(), key, ca: self.authority.certificate_pem() }
    }

    fn client(&self, endpoints: &[SocketAddr]) -> Client {
        let file = |name: &str| Path::new(self.folder.path()).join("identity").join(name);
        Client::new(Context {
            endpoints: endpoints.iter().map(ToString::to_string).collect(),
            ca: file("ca.pem"),
            cert: file("cert.pem"),
            key: file("key.pem"),
        })
    }

    fn coordinator(&self) -> Endpoint {
        let files = self.files(&Identity::Coordinator("c1".parse().expect("a name")));
        let config = EndpointConfig {
            alpns: vec![Alpn::Operator, Alpn::Enroll],
            trust: Some(Trust::from_pem(&files.ca).expect("a root")),
            store: CertificateStore::new(&files).expect("an identity"),
            clock: Arc::new(now),
            revoked: Arc::new(|_| false),
            reset_key: None,
            limits: EndpointLimits::SERVER,
        };
        Endpoint::bind(SocketAddr::from(([127, 0, 82, 1], 0)), config).expect("a free port")
    }
}

#[tokio::test]
async fn a_silent_cluster_is_known_soon_and_names_every_endpoint() {
    let world = World::new();
    // One takes datagrams and says nothing, one does not exist.
    let silent = UdpSocket::bind("127.0.82.1:0").expect("a port");
    let gone = UdpSocket::bind("127.0.82.2:0").and_then(|socket| socket.local_addr()).expect("a port");
    let endpoints = [silent.local_addr().expect("bound"), gone];
    for change in [None, Some([7; 16])] {
        let client = world.client(&endpoints);
        let start = Instant::now();
        let error =
            client.request(change, OperatorBody::AgentList).await.expect_err("no coordinator is there");
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        let ClientError::Unreachable { attempts } = error else { panic!("{error}") };
        for part in [endpoints[0].to_string(), endpoints[1].to_string(), "tried 2 times".to_owned()] {
            assert!(attempts.contains(&part), "{attempts}");
        }
    }
}

#[tokio::test]
async fn a_dead_endpoint_does_not_hide_a_live_one() {
    let world = World::new();
    let silent = UdpSocket::bind("127.0.82.1:0").expect("a port");
    let server = world.coordinator();
    let endpoints = [silent.local_addr().expect("bound"), server.local_address().expect("bound")];
    let client = world.client(&endpoints);
    let start = Instant::now();
    let (asked, session) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(2), client.stream(OperatorBody::AgentList)),
        tokio::time::timeout(Duration::from_secs(2), server.accept()),
    );
    assert!(asked.expect("soon").is_ok() && session.expect("soon").is_some(), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_repeated_and_in_doubt_at_the_end() {
    let world = World::new();
    let server = world.coordinator();
    let address = server.local_address().expect("bound");
    let notes = Arc::new(Mutex::new(Vec::new()));
    let notes_of_client = notes.clone();
    let client = world.client(&[address]).on_repeat(Box::new(move |why, timeout| {
        notes_of_client.lock().expect("no panic").push((why.to_owned(), timeout));
    }));
    let requests = AtomicUsize::new(0);
    let serve = async {
        while let Some(session) = server.accept().await {
            let Ok((_sender, mut receiver)) = session.accept_stream().await else { continue };
            if receiver.next().await.is_ok() {
                requests.fetch_add(1, Ordering::Relaxed);
            }
            session.close(CloseCode::Shutdown, "it ends before it answers");
        }
    };
    let error = tokio::select! {
        () = serve => panic!("it serves until the test ends"),
        answer = client.request(Some([7; 16]), OperatorBody::AgentList) => answer.expect_err("never answered"),
    };
    assert!(matches!(error, ClientError::Indeterminate { .. }), "{error}");
    assert!(requests.load(Ordering::Relaxed) > 2);
    assert_eq!(notes.lock().expect("no panic").len(), 1, "said once");
}

/// A coordinator that was removed and does not know it answers for ever that it has no leader.
#[tokio::test]
async fn a_coordinator_without_a_leader_does_not_hide_one_with_a_leader() {
    let world = World::new();
    let servers = [world.coordinator(), world.coordinator()];
    let endpoints = servers.each_ref().map(|server| server.local_address().expect("bound"));
    let refusal = Refusal {
        code: error_code::NO_LEADER.0,
        message: "there is no leader".to_owned(),
        cause: None,
        help: None,
        diagnostics: Vec::new(),
    };
    let answers =
        [OperatorReply::Refused(refusal), OperatorReply::Document { revision: 7, json: "{}".to_owned() }];
    let serve = |at: usize| {
        let (server, answer) = (&servers[at], answers[at].to_frame());
        async move {
            while let Some(session) = server.accept().await {
                while let Ok((mut sender, mut receiver)) = session.accept_stream().await {
                    receiver.next().await.expect("a request");
                    sender.send(&answer).await.expect("sent");
                    sender.finish();
                }
            }
        }
    };
    let client = world.client(&endpoints);
    let asks = async {
        for change in [None, Some([7; 16])] {
            let answer = client.request(change, OperatorBody::AgentList).await;
            assert_eq!(answer.expect("the other one has a leader").0, 7);
        }
    };
    tokio::select! {
        () = serve(0) => panic!("it serves until the test ends"),
        () = serve(1) => panic!("it serves until the test ends"),
        () = asks => {}
    }
}

#[tokio::test]
async fn a_refused_certificate_is_reported_at_once_and_is_no_silence() {
    let world = World::of(&Identity::Agent("lab".parse().expect("a name")));
    let server = world.coordinator();
    let address = server.local_address().expect("bound");
    let serve = async { while server.accept().await.is_some() {} };
    let asks = async {
        for change in [None, Some([7; 16])] {
            let start = Instant::now();
            let asked = world.client(&[address]).request(change, OperatorBody::AgentList).await;
            let error = asked.expect_err("an agent is no operator");
            assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
            let ClientError::Identity { why } = error else { panic!("{error}") };
            assert!(why.contains("agent/lab"), "{why}");
        }
    };
    tokio::select! {
        () = serve => panic!("it serves until the test ends"),
        () = asks => {}
    }
}

#[tokio::test]
async fn a_token_of_another_cluster_is_refused_before_it_is_sent() {
    let (world, other) = (World::new(), World::new());
    let coordinator = world.coordinator();
    let endpoints = [coordinator.local_address().expect("bound").to_string()];
    let root = Trust::from_pem(&other.authority.certificate_pem()).expect("a root").root_fingerprint();
    let token = Token::new([7; 32], root).text();
    let folder = world.folder.path().join("elsewhere");
    for (token, what) in [(token.as_str(), "of another cluster"), ("hunter2", "this is not a token")] {
        let error = enroll(&endpoints, token, "operator", &folder).await.expect_err("refused");
        let ClientError::Refused(refusal) = error else { panic!("{error}") };
        assert_eq!(refusal.code, error_code::TOKEN_UNKNOWN.0);
        assert!(refusal.message.contains(what), "{}", refusal.message);
    }
    assert!(!folder.exists());
}
