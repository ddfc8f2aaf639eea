//! Enrolment and renewal with a real authority behind a real socket.

use std::net::SocketAddr;

use parking_lot::Mutex;
use trimaran_model::id::CoordinatorName;
use trimaran_model::limits::{LEAF_RENEWABLE_AFTER_END, LEAF_TTL};
use trimaran_model::time::{Millis, WallTime};
use trimaran_transport::Alpn;
use trimaran_transport::authority::{Authority, Issuer};
use trimaran_transport::enroll::{Csr, verify_renewal};
use trimaran_transport::files;

use super::*;
use crate::settings::Settings;
use trimaran_process::DataDir;

/// A coordinator that issues at the time of its clock and takes any token for one name.
struct Authorities {
    authority: Authority,
    issuer: Issuer,
    clock: ClusterClock,
    grants: Identity,
    /// The roots that it names, once they are others than its own.
    roots: Mutex<Option<String>>,
}

impl Authorities {
    fn new(now: WallTime, grants: &str) -> Arc<Self> {
        trimaran_transport::install_crypto_provider();
        let clock = ClusterClock::default();
        clock.set(now);
        let authority = Authority::new_root("lab", now).expect("a root");
        let name: CoordinatorName = "c1".parse().expect("a name");
        let issuer = authority.new_issuer(&name, 0, now).expect("an issuer");
        let grants = Identity::Runner(grants.parse().expect("a name"));
        Arc::new(Self { authority, issuer, clock, grants, roots: Mutex::default() })
    }

    fn trust(&self) -> Trust {
        Trust::from_pem(&self.authority.certificate_pem()).expect("the root")
    }

    fn files(&self, identity: &Identity) -> IdentityFiles {
        let (key, csr) = make_key_and_csr("any").expect("a key");
        let csr = Csr::parse(&csr).expect("a request");
        let issued = self.issuer.issue(identity, &csr, self.clock.now(), LEAF_TTL).expect("a leaf");
        IdentityFiles { cert: issued.pem(), key, ca: self.authority.certificate_pem() }
    }

    /// Serves until the test ends; returns the address.
    fn serve(self: &Arc<Self>) -> (SocketAddr, Arc<Endpoint>) {
        let own = self.files(&Identity::Coordinator("c1".parse().expect("a name")));
        let config = EndpointConfig {
            alpns: vec![Alpn::Enroll],
            trust: Some(self.trust()),
            store: CertificateStore::new(&own).expect("an identity"),
            clock: self.clock.for_transport(),
            revoked: Arc::new(|_| false),
            reset_key: None,
            limits: EndpointLimits::SERVER,
        };
        let local = SocketAddr::from(([127, 0, 23, 200], 0));
        let endpoint = Arc::new(Endpoint::bind(local, config).expect("a free port"));
        let (this, accepting) = (self.clone(), endpoint.clone());
        tokio::spawn(async move {
            while let Some(session) = accepting.accept().await {
                let (mut sender, mut receiver) = session.accept_stream().await.expect("a stream");
                let frame = receiver.next().await.expect("a frame").expect("a request");
                let reply = this.reply(EnrollRequest::from_frame(&frame).expect("readable"));
                sender.send(&reply.to_frame()).await.expect("sent");
                drop(sender.finish_and_wait().await);
            }
        });
        (endpoint.local_address().expect("bound"), endpoint)
    }

    fn reply(&self, request: EnrollRequest) -> EnrollReply {
        let judged = match request {
            EnrollRequest::Token { csr, .. } => {
                Ok((self.grants.clone(), Csr::parse(&csr).expect("a request")))
            }
            EnrollRequest::Renew { chain, csr } => {
                let judged = verify_renewal(&self.trust(), &chain, &csr, self.clock.now(), &|_| false);
                judged.map(|(info, csr)| (info.identity, csr))
            }
            EnrollRequest::Join(_) => panic!("an agent joins nothing"),
        };
        match judged {
            Ok((identity, csr)) => {
                let issued = self.issuer.issue(&identity, &csr, self.clock.now(), LEAF_TTL).expect("a leaf");
                let Identity::Runner(name) = &identity else { panic!("only runners come here") };
                EnrollReply::Issued {
                    cert: issued.pem(),
                    ca: self.roots.lock().clone().unwrap_or_else(|| self.authority.certificate_pem()),
                    cluster: "lab".to_owned(),
                    name: name.to_string(),
                    role: "runner".to_owned(),
                    endpoints: Vec::new(),
                    agent: Some("lab".to_owned()),
                }
            }
            Err(error) => {
                EnrollReply::Refused { code: error_code::IDENTITY.0, message: with_sources(&error) }
            }
        }
    }

    fn token(&self) -> String {
        Token::new([7; 32], self.trust().root_fingerprint()).text()
    }
}

const NOW: WallTime = WallTime(1_800_000_000_000);

fn runner(name: &str) -> Identity {
    Identity::Runner(name.parse().expect("a name"))
}

fn data() -> (tempfile::TempDir, State) {
    let folder = tempfile::tempdir().expect("a directory");
    let data = DataDir::at(folder.path()).expect("usable");
    (folder, State::Directory(data))
}

#[tokio::test]
async fn a_token_gives_an_identity_and_is_written_nowhere() {
    let authorities = Authorities::new(NOW, "web-1");
    let (address, _serving) = authorities.serve();
    let (folder, data) = data();
    let via = vec![address.to_string()];
    let token = authorities.token();
    let clock = authorities.clock.clone();
    let own = enroll(&data, &runner("web-1"), &token, &via, &clock).await.expect("enrolled");
    assert_eq!(own.store.info().expect("a certificate").identity, runner("web-1"));
    let lab = Identity::Agent("lab".parse().expect("a name"));
    assert_eq!(own.agent, Some(lab.clone()), "it takes orders of no other one");
    assert_eq!(Own::load(&data, &runner("web-1")).expect("usable").expect("enrolled").agent, Some(lab));
    for file in ["cert.pem", "key.pem", "ca.pem"] {
        let text = std::fs::read_to_string(folder.path().join("identity").join(file)).expect("written");
        assert!(!text.contains(&token));
    }
    let other = Own::load(&data, &runner("web-2")).err().expect("another's directory");
    assert_eq!(other.code, error_code::DATA_DIR);
    own.is_of_the_cluster_of(&token.parse().expect("a token")).expect("its own cluster");
    let foreign = Authorities::new(NOW, "web-1").token().parse().expect("a token");
    let refused = own.is_of_the_cluster_of(&foreign).expect_err("another cluster");
    assert_eq!(refused.code, error_code::DATA_DIR);
}

#[tokio::test]
async fn a_token_for_another_name_is_refused_and_leaves_nothing() {
    let authorities = Authorities::new(NOW, "web-1");
    let (address, _serving) = authorities.serve();
    let (folder, data) = data();
    let (via, clock) = (vec![address.to_string()], authorities.clock.clone());
    let refused = enroll(&data, &runner("web-2"), &authorities.token(), &via, &clock).await.err();
    assert_eq!(refused.expect("refused").code, error_code::TOKEN_UNKNOWN);
    assert!(!folder.path().join("identity").exists());
    let no_token = enroll(&data, &runner("web-2"), "hunter2", &via, &clock).await.err().expect("refused");
    assert!(!format!("{no_token:?}").contains("hunter2"), "a token is never shown");
}

#[tokio::test]
async fn a_token_of_another_cluster_is_refused_at_once() {
    let authorities = Authorities::new(NOW, "web-1");
    let (address, _serving) = authorities.serve();
    let (folder, data) = data();
    let foreign = Authorities::new(NOW, "web-1").token();
    let via = vec![address.to_string()];
    let refused = enroll(&data, &runner("web-1"), &foreign, &via, &authorities.clock).await.err();
    assert_eq!(refused.expect("refused").code, error_code::TOKEN_UNKNOWN);
    assert!(!folder.path().join("identity").exists());
}

#[tokio::test]
async fn an_expired_certificate_renews_itself_with_the_same_key() {
    let authorities = Authorities::new(NOW, "web-1");
    let (folder, data) = data();
    files::save_identity(folder.path(), &authorities.files(&runner("web-1"))).expect("written");
    // 26 h of everything stopped.
    authorities.clock.set(NOW + Millis::hours(26));
    let (address, _serving) = authorities.serve();
    let own = Own::load(&data, &runner("web-1")).expect("usable").expect("enrolled");
    let before = own.store.info().expect("a certificate");
    let clock = authorities.clock.clone();
    assert!(clock.now() > before.not_after);
    let any = SocketAddr::from(([127, 0, 23, 201], 0));
    let endpoint = Endpoint::bind(any, own.endpoint(&clock)).expect("a socket");
    let settings = Settings { endpoints: vec![address.to_string()], ..Settings::default() };
    own.renew_if_expired(&endpoint, &clock, &settings.endpoints).await;
    let after = own.store.info().expect("a certificate");
    assert_eq!((after.spki, after.identity), (before.spki, before.identity));
    assert!(after.not_after > clock.now());
    let again = Own::load(&data, &runner("web-1")).expect("usable").expect("enrolled");
    assert_eq!(again.store.info().expect("a certificate").fingerprint, after.fingerprint, "it was written");
}

#[tokio::test]
async fn changed_roots_reach_whoever_renews_when_they_overlap_with_those_before() {
    let authorities = Authorities::new(NOW, "web-1");
    let (folder, data) = data();
    let before = authorities.files(&runner("web-1"));
    files::save_identity(folder.path(), &before).expect("written");
    let (address, _serving) = authorities.serve();
    let own = Own::load(&data, &runner("web-1")).expect("usable").expect("enrolled");
    let any = SocketAddr::from(([127, 0, 23, 204], 0));
    let endpoint = Endpoint::bind(any, own.endpoint(&authorities.clock)).expect("a socket");
    let via = [address.to_string()];
    let next = Authorities::new(NOW, "web-1");
    // None of them is one that is trusted: the certificate is renewed, and they are not believed.
    *authorities.roots.lock() = Some(next.authority.certificate_pem());
    own.renew(&endpoint, &via).await.expect("renewed");
    let written = files::load_identity(folder.path()).expect("readable").expect("enrolled");
    assert_eq!(written.ca, before.ca);
    assert_ne!(written.cert, before.cert);
    assert_eq!(own.trust.root_fingerprint(), authorities.trust().root_fingerprint());

    let both = next.authority.certificate_pem() + &authorities.authority.certificate_pem();
    *authorities.roots.lock() = Some(both.clone());
    own.renew(&endpoint, &via).await.expect("renewed");
    assert_eq!(own.trust.root_fingerprint(), next.trust().root_fingerprint(), "trusted without a restart");
    assert_eq!(files::load_identity(folder.path()).expect("readable").expect("enrolled").ca, both);
    let again = Own::load(&data, &runner("web-1")).expect("usable").expect("enrolled");
    assert_eq!(again.trust.root_fingerprint(), next.trust().root_fingerprint(), "and after one");
    // A coordinator under the new root alone is one of this cluster now.
    let (moved, _moved) = next.serve();
    endpoint.connect(moved, Alpn::Enroll).await.expect("its chain ends at a root that is trusted");
}

#[tokio::test]
async fn a_certificate_that_expired_too_long_ago_is_refused_and_stays_what_it_was() {
    let authorities = Authorities::new(NOW, "web-1");
    let (folder, data) = data();
    files::save_identity(folder.path(), &authorities.files(&runner("web-1"))).expect("written");
    authorities.clock.set(NOW + LEAF_TTL + LEAF_RENEWABLE_AFTER_END + Millis::hours(1));
    let (address, _serving) = authorities.serve();
    let own = Own::load(&data, &runner("web-1")).expect("usable").expect("enrolled");
    let any = SocketAddr::from(([127, 0, 23, 202], 0));
    let endpoint = Endpoint::bind(any, own.endpoint(&authorities.clock)).expect("a socket");
    let before = own.store.info();
    let refused = own.renew(&endpoint, &[address.to_string()]).await.expect_err("too late");
    assert!(refused.contains("expired"), "{refused}");
    assert_eq!(own.store.info(), before);
}

#[tokio::test]
async fn no_one_there_is_reported_and_tried_again() {
    let authorities = Authorities::new(NOW, "web-1");
    let (_folder, data) = data();
    let clock = authorities.clock.clone();
    let (address, serving) = authorities.serve();
    // The first endpoint refuses at once: nothing listens there.
    let closed = tokio::net::UdpSocket::bind("127.0.23.203:0").await.expect("a port");
    let via = vec![closed.local_addr().expect("bound").to_string(), address.to_string()];
    drop(closed);
    let (name, token) = (runner("web-1"), authorities.token());
    let enrolled = enroll(&data, &name, &token, &via, &clock);
    let enrolled = tokio::time::timeout(Duration::from_secs(60), enrolled).await.expect("in time");
    assert!(enrolled.is_ok(), "the second endpoint answers");
    drop(serving);
}
