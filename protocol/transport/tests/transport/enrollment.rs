//! How newcomers get their certificates, and how old ones are renewed.

use trimaran_model::time::{Millis, WallTime};
use trimaran_transport::enroll::{
    Csr, RenewalError, Token, is_wanted, make_csr, make_key_and_csr, token_hash, verify_renewal,
};
use trimaran_transport::files::{self, IdentityFiles};
use trimaran_transport::pki::identity::CertificateError;
use trimaran_transport::{Alpn, CertificateStore, CloseReason, ConnectError, Endpoint, Role, random};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::enroll::{EnrollReply, EnrollRequest};

use crate::world::{ALL_COORDINATOR, DAY, NOW, World, address, agent, bind, coordinator, session, soon};

/// An endpoint of a host that knows nothing but a token.
fn newcomer(world: &World) -> Endpoint {
    let mut config = world.config(&world.files(&agent("unused")), &[]);
    config.store = CertificateStore::empty();
    config.trust = None;
    bind(config)
}

/// What a coordinator does with one enrolment session.
async fn serve_one(world: &World, server: &Endpoint, known: &Token) {
    let far = soon(server.accept()).await.expect("a newcomer");
    let (mut sender, mut receiver) = soon(far.accept_stream()).await.expect("a request");
    let frame = soon(receiver.next()).await.expect("a frame").expect("one");
    let now = WallTime(world.clock.load(std::sync::atomic::Ordering::Relaxed));
    let (identity, csr) = match EnrollRequest::from_frame(&frame).expect("a request") {
        EnrollRequest::Token { token, csr } => {
            assert_eq!(token_hash(&token), known.hash());
            (agent("lab"), Csr::parse(&csr).expect("a proof"))
        }
        EnrollRequest::Renew { chain, csr } => {
            let (info, csr) =
                verify_renewal(&world.trust(), &chain, &csr, now, &|_| false).expect("renewable");
            (info.identity, csr)
        }
        EnrollRequest::Join(_) => panic!("no coordinator joins here"),
    };
    let issued = world.issuer.issue(&identity, &csr, now, DAY).expect("a leaf");
    let reply = EnrollReply::Issued {
        cert: issued.pem(),
        ca: world.authority.certificate_pem(),
        cluster: world.issuer.cluster().to_owned(),
        name: "lab".into(),
        role: "agent".into(),
        endpoints: vec![address(server).to_string()],
        agent: None,
    };
    soon(sender.send(&reply.to_frame())).await.expect("sent");
    soon(sender.finish_and_wait()).await.expect("arrived");
}

async fn ask(near: &trimaran_transport::Session, request: EnrollRequest) -> (String, String) {
    let reply = soon(near.request_one(&request.to_frame())).await.expect("a reply");
    match EnrollReply::from_frame(&reply).expect("a reply") {
        EnrollReply::Issued { cert, ca, .. } => (cert, ca),
        EnrollReply::Refused { message, .. } => panic!("{message}"),
        EnrollReply::Joined(_) => panic!("no coordinator joins here"),
    }
}

#[tokio::test]
async fn a_token_turns_a_newcomer_into_an_agent() {
    let world = World::new("one");
    let server = world.coordinator();
    let token = Token::new(random::bytes(), world.trust().root_fingerprint());
    let host = newcomer(&world);
    let near = soon(host.enroll(address(&server), token.root())).await.expect("the right cluster");
    assert_eq!(near.identity(), Some(&coordinator("c1")));
    let (key, csr) = make_key_and_csr("lab").expect("a key");
    let request = EnrollRequest::Token { token: token.text(), csr };
    let ((cert, ca), ()) = tokio::join!(ask(&near, request), serve_one(&world, &server, &token));
    let dir = tempfile::tempdir().expect("a directory");
    files::save_identity(dir.path(), &IdentityFiles { cert, key, ca }).expect("saved");
    drop((near, host));

    let files = files::load_identity(dir.path()).expect("readable").expect("there");
    let member = bind(world.config(&files, &[]));
    let (_near, far) = session(&member, &server, Alpn::Agent).await;
    assert_eq!(far.identity(), Some(&agent("lab")));
}

#[tokio::test]
async fn a_newcomer_sends_its_token_to_no_other_cluster() {
    let (world, other) = (World::new("one"), World::new("one"));
    let root = world.trust().root_fingerprint();
    let host = newcomer(&world);
    let imposter = other.coordinator();
    // A server that shows the right root beside a chain of its own.
    let mut files = other.files(&coordinator("c1"));
    files.ca = world.authority.certificate_pem();
    let with_our_root = bind(other.config(&files, &ALL_COORDINATOR));
    // A member of the cluster that is no coordinator.
    let fellow = world.endpoint(&trimaran_model::id::Identity::Runner("h".parse().unwrap()), &[Alpn::Enroll]);
    for server in [&imposter, &with_our_root, &fellow] {
        let error = soon(host.enroll(address(server), root)).await.expect_err("an imposter");
        let refused = matches!(error, ConnectError::Closed { reason: CloseReason::Refused { .. }, .. });
        assert!(refused, "{error}");
    }
    soon(host.enroll(address(&world.coordinator()), root)).await.expect("the cluster itself");
    let relay = world.endpoint(&agent("fleet"), &[Alpn::Enroll]);
    let near = soon(host.enroll(address(&relay), root)).await.expect("an agent relays for its runners");
    assert_eq!(near.identity(), Some(&agent("fleet")));
    let error = soon(host.connect(address(&imposter), Alpn::Agent)).await.expect_err("nothing else works");
    assert_eq!(error, ConnectError::NoTrust);
}

#[tokio::test]
async fn an_expired_agent_renews_with_its_old_key_and_returns() {
    let world = World::new("one");
    let month = Millis(DAY.0 * 60);
    let server = bind(world.config(&world.files_for(&coordinator("c1"), month), &ALL_COORDINATOR));
    let mut files = world.files(&agent("lab"));
    let config = world.config(&files, &[]);
    let store = config.store.clone();
    let client = bind(config);
    world.set_clock(NOW + Millis::hours(24 * 3));
    soon(client.connect(address(&server), Alpn::Agent)).await.expect_err("expired");
    let root = world.trust().root_fingerprint();
    let near = soon(client.enroll(address(&server), root)).await.expect("open for one request");
    let request =
        EnrollRequest::Renew { chain: chain(&files), csr: make_csr(&files.key, "lab").expect("a request") };
    let unused = Token::new([0; 32], root);
    let ((cert, _), ()) = tokio::join!(ask(&near, request), serve_one(&world, &server, &unused));
    drop(near);
    let before = store.info().expect("a certificate");
    files.cert = cert;
    store.replace(&files).expect("the new certificate");
    let after = store.info().expect("a certificate");
    assert_eq!(before.spki, after.spki);
    let (_near, far) = session(&client, &server, Alpn::Agent).await;
    assert_eq!(far.certificate(), Some(&after));
}

#[test]
fn a_request_says_who_its_sender_wants_to_be() {
    let (_, csr) = make_key_and_csr("agent/lab").expect("a key");
    assert_eq!(Csr::parse(&csr).expect("a request").name, "agent/lab");
    for (wanted, fits) in [
        ("agent/lab", true),
        ("agent", true),
        ("agent/lap", false),
        ("runner/lab", false),
        ("operator", false),
        ("", true),
        ("lab", true),
        ("trimaran", true),
    ] {
        assert_eq!(is_wanted(wanted, Role::Agent, "lab"), fits, "{wanted}");
    }
}

fn chain(files: &IdentityFiles) -> Vec<Vec<u8>> {
    trimaran_transport::files::chain(files).expect("PEM")
}

#[test]
fn renewals_are_proved_with_the_same_key_within_thirty_days() {
    let world = World::new("one");
    let files = world.files(&agent("lab"));
    let (old, csr) = (chain(&files), make_csr(&files.key, "lab").expect("a request"));
    let renew = |after: Millis| verify_renewal(&world.trust(), &old, &csr, NOW + after, &|_| false);
    let days = |n: u64| Millis(DAY.0 * n);
    for (after, good) in [
        (Millis::ZERO, true),
        (Millis::hours(26), true),
        (days(31), true),
        (Millis(days(31).0 + 1000), false),
        (days(32), false),
        (days(4000), false),
    ] {
        assert_eq!(renew(after).is_ok(), good, "{after} after it was issued");
    }
    assert!(matches!(renew(days(32)), Err(RenewalError::TooLate { ago }) if ago == days(31)));
    let (info, csr_of_lab) = renew(Millis::hours(26)).expect("renewable");
    assert_eq!((info.identity, info.spki), (agent("lab"), csr_of_lab.spki));

    let (_, other_csr) = make_key_and_csr("lab").expect("a key");
    let now = NOW + Millis::hours(26);
    let verify = |trust: &World, chain: &[Vec<u8>], csr: &[u8], now| {
        verify_renewal(&trust.trust(), chain, csr, now, &|_| false).expect_err("refused")
    };
    assert_eq!(verify(&world, &old, &other_csr, now), RenewalError::OtherKey);
    assert_eq!(verify(&world, &[], &csr, now), CertificateError::Missing.into());
    assert_eq!(verify(&world, &old, &csr, WallTime(NOW.0 - 700_000)), CertificateError::NotYetValid.into());
    let other = World::new("one");
    assert_eq!(verify(&other, &old, &csr, now), CertificateError::UnknownIssuer.into());
    assert_eq!(verify(&world, &old[..1], &csr, now), CertificateError::UnknownIssuer.into());
    let revoked = verify_renewal(&world.trust(), &old, &csr, now, &|_| true).expect_err("revoked");
    assert_eq!(revoked, CertificateError::Revoked.into());
}
