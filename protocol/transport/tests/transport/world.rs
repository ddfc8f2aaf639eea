//! A cluster's authority, clocks and endpoints.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use trimaran_model::id::{Identity, OperatorRole};
use trimaran_model::time::{Millis, WallTime};
use trimaran_transport::authority::{Authority, Issuer};
use trimaran_transport::enroll::{Csr, make_key_and_csr};
use trimaran_transport::files::IdentityFiles;
use trimaran_transport::{
    Alpn, CertificateStore, Clock, Endpoint, EndpointConfig, EndpointLimits, Revoked, Session, Trust,
};
use trimaran_wire::frame::Frame;

/// 15 January 2027.
pub(crate) const NOW: WallTime = WallTime(1_800_000_000_000);
pub(crate) const DAY: Millis = Millis::hours(24);
pub(crate) const ALL_COORDINATOR: [Alpn; 4] = [Alpn::Peer, Alpn::Agent, Alpn::Operator, Alpn::Enroll];

pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) issuer: Issuer,
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) revoked: Arc<Mutex<BTreeSet<Vec<u8>>>>,
}

impl World {
    pub(crate) fn new(cluster: &str) -> Self {
        let authority = Authority::new_root(cluster, NOW).expect("a root");
        let issuer = authority.new_issuer(&"c1".parse().unwrap(), 0, NOW).expect("an issuer");
        Self { authority, issuer, clock: Arc::new(AtomicI64::new(NOW.0)), revoked: Arc::default() }
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::from_pem(&self.authority.certificate_pem()).expect("the root")
    }

    pub(crate) fn set_clock(&self, at: WallTime) {
        self.clock.store(at.0, Ordering::Relaxed);
    }

    pub(crate) fn revoke(&self, serial: &[u8]) {
        self.revoked.lock().unwrap().insert(serial.to_vec());
    }

    pub(crate) fn files_for(&self, identity: &Identity, ttl: Millis) -> IdentityFiles {
        let (key, csr) = make_key_and_csr("any").expect("a key");
        let csr = Csr::parse(&csr).expect("a request");
        let issued = self.issuer.issue(identity, &csr, NOW, ttl).expect("a leaf");
        IdentityFiles { cert: issued.pem(), key, ca: self.authority.certificate_pem() }
    }

    pub(crate) fn files(&self, identity: &Identity) -> IdentityFiles {
        self.files_for(identity, DAY)
    }

    pub(crate) fn config(&self, files: &IdentityFiles, alpns: &[Alpn]) -> EndpointConfig {
        let (clock, revoked) = (self.clock.clone(), self.revoked.clone());
        let clock: Clock = Arc::new(move || WallTime(clock.load(Ordering::Relaxed)));
        let revoked: Revoked = Arc::new(move |info| revoked.lock().unwrap().contains(&info.serial));
        EndpointConfig {
            alpns: alpns.to_vec(),
            trust: Some(Trust::from_pem(&files.ca).expect("a root")),
            store: CertificateStore::new(files).expect("an identity"),
            clock,
            revoked,
            reset_key: None,
            limits: EndpointLimits::SERVER,
        }
    }

    pub(crate) fn endpoint(&self, identity: &Identity, alpns: &[Alpn]) -> Endpoint {
        bind(self.config(&self.files(identity), alpns))
    }

    /// A coordinator `c1` that serves all that a coordinator serves.
    pub(crate) fn coordinator(&self) -> Endpoint {
        self.endpoint(&coordinator("c1"), &ALL_COORDINATOR)
    }
}

pub(crate) fn bind(config: EndpointConfig) -> Endpoint {
    trimaran_transport::install_crypto_provider();
    Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)), config).expect("a free port")
}

pub(crate) fn address(endpoint: &Endpoint) -> SocketAddr {
    endpoint.local_address().expect("bound")
}

pub(crate) fn coordinator(name: &str) -> Identity {
    Identity::Coordinator(name.parse().unwrap())
}

pub(crate) fn agent(name: &str) -> Identity {
    Identity::Agent(name.parse().unwrap())
}

pub(crate) fn runner(name: &str) -> Identity {
    Identity::Runner(name.parse().unwrap())
}

pub(crate) fn operator(name: &str) -> Identity {
    Identity::Operator(name.parse().unwrap(), OperatorRole::Admin)
}

pub(crate) fn frame(body: &[u8]) -> Frame {
    Frame { kind: 1, version: 1, body: body.to_vec() }
}

/// Waits for what must happen soon, on a machine that may be slow.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("this happens soon")
}

/// Both ends of a new session.
pub(crate) async fn session(client: &Endpoint, server: &Endpoint, alpn: Alpn) -> (Session, Session) {
    let near = soon(client.connect(address(server), alpn)).await.expect("accepted");
    let far = soon(server.accept()).await.expect("serves");
    (near, far)
}

/// Asks again, with a bound, until `ready` says yes.
pub(crate) async fn until(mut ready: impl FnMut() -> bool) {
    soon(async {
        while !ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
