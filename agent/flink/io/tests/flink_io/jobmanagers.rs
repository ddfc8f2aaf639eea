//! Which JobManager is asked, and how the agent and they know each other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;
use trimaran_agent_core::platform::Answer;
use trimaran_flink::Access;
use trimaran_flink_core::call::{Call, Reply};
use trimaran_flink_core::files::ShippedFiles;
use trimaran_flink_core::id::FlinkId;
use trimaran_flink_core::ledger::RunRequest;
use trimaran_model::id::Digest;
use trimaran_model::release::{Artifact, ArtifactLocation, Content, FlinkFiles};
use trimaran_model::target::FlinkAccess;

use crate::server::{Answer as Said, Server};
use crate::{FILE, ask, is_list, no_savepoints, target};

fn jobs() -> Said {
    Some((200, r#"{"jobs":[]}"#.to_owned()))
}

/// A JobManager that counts its requests, and its URL.
async fn counted(answer: fn() -> Said) -> (Server, String, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let counts = count.clone();
    let server = Server::start(None, move |_| {
        counts.fetch_add(1, Ordering::Relaxed);
        answer()
    })
    .await;
    let url = format!("http://{}", server.address);
    (server, url, count)
}

#[tokio::test]
async fn one_that_is_away_is_passed_over_and_not_asked_first_again() {
    let (_second, url, count) = counted(jobs).await;
    let (gone, gone_url, _) = counted(jobs).await;
    drop(gone);
    tokio::task::yield_now().await;
    let it = target(&[gone_url.clone(), url], Access::default(), no_savepoints());
    for _ in 0..3 {
        assert!(is_list(&ask(&it, Call::Jobs).await));
    }
    assert_eq!(count.load(Ordering::Relaxed), 3);
    let alone = target(&[gone_url], Access::default(), no_savepoints());
    let answer = ask(&alone, Call::Jobs).await;
    assert!(matches!(&answer, Answer::Reply(Reply::Unreachable { .. })), "{answer:?}");
}

/// A standby that knows no leader has done nothing with the request.
#[tokio::test]
async fn one_without_a_leader_is_passed_over() {
    let standby = || Some((503, r#"{"errors":["Service temporarily unavailable"]}"#.to_owned()));
    let (_standby, standby_url, asked) = counted(standby).await;
    let (_leader, url, count) = counted(jobs).await;
    let it = target(&[standby_url.clone(), url], Access::default(), no_savepoints());
    assert!(is_list(&ask(&it, Call::Jobs).await) && is_list(&ask(&it, Call::Jobs).await));
    assert_eq!((asked.load(Ordering::Relaxed), count.load(Ordering::Relaxed)), (1, 2));
    let answer = ask(&target(&[standby_url], Access::default(), no_savepoints()), Call::Jobs).await;
    assert!(matches!(&answer, Answer::Reply(Reply::Unavailable { .. })), "{answer:?}");
}

/// One that hangs takes the connection and never answers: whoever waits gives up, and the next request goes elsewhere.
#[tokio::test]
async fn one_that_hangs_is_not_asked_first_again() {
    let (_hung, hung_url, _) = counted(|| None).await;
    let (_leader, url, count) = counted(jobs).await;
    let it = target(&[hung_url, url], Access::default(), no_savepoints());
    assert!(tokio::time::timeout(Duration::from_millis(300), ask(&it, Call::Jobs)).await.is_err());
    assert!(is_list(&ask(&it, Call::Jobs).await));
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

/// A JobManager with uploads of its own, that knows no leader for `refused`; it counts its runs.
async fn with_uploads(root: &'static str, refused: &'static str) -> (Server, String, Arc<AtomicU32>) {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let server = Server::start(None, move |asked| match asked.path.as_str() {
        path if path == refused => {
            Some((503, r#"{"errors":["Service temporarily unavailable"]}"#.to_owned()))
        }
        "/jars" => Some((200, r#"{"files":[]}"#.to_owned())),
        "/jars/upload" => Some((200, format!(r#"{{"filename":"{root}/x_job.jar"}}"#))),
        "/jars/x_job.jar/run" => {
            counted.fetch_add(1, Ordering::Relaxed);
            Some((200, r#"{"jobid":"00"}"#.to_owned()))
        }
        _ => jobs(),
    })
    .await;
    let url = format!("http://{}", server.address);
    (server, url, runs)
}

fn upload() -> Call {
    let jar = Artifact {
        name: "job".parse().expect("a name"),
        version: "v1".to_owned(),
        sha256: Digest([1; 32]),
        location: ArtifactLocation::Path("/srv/v1.jar".to_owned()),
    };
    let content = Content { digest: Digest(Sha256::digest(FILE).into()), bytes: FILE.len() as u64 };
    let files = FlinkFiles::new(content.digest, [("rules.json".to_owned(), content)].into()).expect("a file");
    let shipped = ShippedFiles { pipeline: "clicks".to_owned(), release: Digest([7; 32]), files };
    Call::Upload { name: "job.jar".to_owned(), jar, files: Some(shipped), is_fresh: false }
}

fn run(at: &str) -> Call {
    let request = RunRequest { jar: "x_job.jar".to_owned(), body: "{}".to_owned() };
    Call::Run { job: FlinkId([1; 16]), request, at: Some(at.to_owned()) }
}

/// Also when another one has answered since; and that one gets it where the first is away, since nothing was received.
#[tokio::test]
async fn a_run_goes_to_the_one_that_took_the_uploads() {
    let (first, first_url, first_runs) = with_uploads("/one", "/jobs/overview").await;
    let (_second, second_url, second_runs) = with_uploads("/two", "").await;
    let it = target(&[first_url.clone(), second_url], Access::default(), no_savepoints());
    let answer = ask(&it, upload()).await;
    let Answer::Reply(Reply::Uploaded { files, at, .. }) = &answer else { panic!("{answer:?}") };
    assert_eq!((at, files["rules.json"].as_str()), (&first_url, "/one/x_job.jar"));
    let counts = || (first_runs.load(Ordering::Relaxed), second_runs.load(Ordering::Relaxed));
    for n in 1..=3 {
        assert!(is_list(&ask(&it, Call::Jobs).await), "the second one answers");
        assert_eq!(ask(&it, run(at)).await, Answer::Reply(Reply::Started));
        assert_eq!(counts(), (n, 0));
    }
    drop(first);
    tokio::task::yield_now().await;
    assert_eq!(ask(&it, run(at)).await, Answer::Reply(Reply::Started));
    assert_eq!(counts(), (3, 1));
}

/// Half of the uploads at one and half at the other are of no use to a run.
#[tokio::test]
async fn uploads_are_not_divided_between_two() {
    let (_first, first_url, _) = with_uploads("/one", "/jars/upload").await;
    let (_second, second_url, _) = with_uploads("/two", "").await;
    let it = target(&[first_url, second_url.clone()], Access::default(), no_savepoints());
    let answer = ask(&it, upload()).await;
    let Answer::Reply(Reply::Unavailable { message }) = &answer else { panic!("{answer:?}") };
    assert!(message.contains("in the middle of the uploads"), "{message}");
    let answer = ask(&it, upload()).await;
    let Answer::Reply(Reply::Uploaded { at, .. }) = &answer else { panic!("{answer:?}") };
    assert_eq!(*at, second_url);
}

/// An authority and what it has signed.
struct Pki {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
    roots: RootCertStore,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("a root");
        Self { params, key, pem: certificate.pem(), roots }
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.params, &self.key);
        (params.signed_by(&key, &issuer).expect("a certificate"), key)
    }

    /// A server of this authority, which wants certificates of it.
    fn acceptor(&self) -> TlsAcceptor {
        let (certificate, key) = self.sign("127.0.0.1");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = Arc::new(self.roots.clone());
        let clients = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients.build().expect("a verifier"))
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate");
        TlsAcceptor::from(Arc::new(config))
    }
}

fn access(folder: &Path, ca: bool, client_cert: bool) -> Access {
    let settings = FlinkAccess {
        ca: ca.then(|| folder.join("ca.pem").display().to_string()),
        headers: BTreeMap::from([("Authorization".to_owned(), "token".to_owned())]),
        client_cert: client_cert.then(|| "agent.pem".to_owned()),
    };
    Access::new(settings, Some(folder.to_owned()))
}

#[tokio::test]
async fn certificates_and_headers_are_those_of_the_agents_files() {
    let pki = Pki::new();
    let folder = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("a file");
    write("ca.pem", pki.pem.clone());
    let (certificate, key) = pki.sign("agent");
    write("agent.pem", format!("{}{}", certificate.pem(), key.serialize_pem()));
    write("token", "Bearer first\n".to_owned());
    let server = Server::start(Some(pki.acceptor()), |asked| {
        match asked.headers.get("authorization").map(String::as_str) {
            Some("Bearer second") => jobs(),
            _ => Some((401, r#"{"errors":["this token is not welcome"]}"#.to_owned())),
        }
    })
    .await;
    let urls = [format!("https://{}", server.address)];
    let it = target(&urls, access(folder.path(), true, true), no_savepoints());
    let refused = ask(&it, Call::Jobs).await;
    let Answer::Reply(Reply::Unavailable { message }) = &refused else { panic!("{refused:?}") };
    assert!(message.contains("not welcome") && message.contains("401"), "{message}");
    // A rotated secret is used at once, also one without the end of a line.
    write("token", "Bearer second".to_owned());
    assert!(is_list(&ask(&it, Call::Jobs).await));
    // Without a certificate of its own, and without knowing the authority of the other side, there is no connection.
    for (ca, client_cert) in [(true, false), (false, true)] {
        let stranger = target(&urls, access(folder.path(), ca, client_cert), no_savepoints());
        let answer = ask(&stranger, Call::Jobs).await;
        assert!(!is_list(&answer), "ca {ca}, certificate {client_cert}: {answer:?}");
    }
    std::fs::remove_file(folder.path().join("token")).expect("it was there");
    let answer = ask(&it, Call::Jobs).await;
    let Answer::Reply(Reply::Unreachable { message }) = &answer else { panic!("{answer:?}") };
    assert!(message.contains("token"), "{message}");
}
