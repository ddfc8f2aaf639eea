//! A cluster of three etcd members for comparisons: TLS towards clients and between members, every write synced. The
//! members are processes of their own on loopback, which end with this handle.
//!
//! `etcd.sh` of the folder `kubernetes` gets the programs: the server, its own load generator, and `writes`, a client of
//! etcd's own library.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use crate::ports::Ports;

const MEMBERS: u16 = 3;
const START_MAX: Duration = Duration::from_secs(30);

/// Three members that run.
pub struct EtcdCluster {
    programs: PathBuf,
    directory: tempfile::TempDir,
    /// By number; `None` for one that was killed.
    members: Vec<Option<Child>>,
    ports: Ports,
}

/// What the load generator measured.
#[derive(Debug, Clone, Copy)]
pub struct Puts {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
}

impl EtcdCluster {
    /// Starts one with its data below `folder`, and builds what it consists of when that was never done on this machine.
    /// Heartbeats come each 100 ms, elections after 1 s.
    pub fn start(folder: &Path) -> Self {
        let programs = PathBuf::from(script().trim());
        let directory = tempfile::Builder::new().prefix("etcd").tempdir_in(folder).expect("a directory");
        write_certificates(directory.path());
        let mut it = Self { programs, directory, members: Vec::new(), ports: Ports::reserve() };
        it.members = (0..MEMBERS).map(|number| Some(it.spawn(number))).collect();
        it.leader();
        it
    }

    /// The number of the member that leads; waits until there is one.
    pub fn leader(&self) -> usize {
        let begin = Instant::now();
        loop {
            let asked = self.writes().arg("leader").output().expect("the client runs");
            let found = String::from_utf8_lossy(&asked.stdout);
            if let Some(number) = (0..MEMBERS).find(|number| found.trim() == self.client_url(*number)) {
                return usize::from(number);
            }
            assert!(begin.elapsed() < START_MAX, "etcd has a leader: {}", error_of(&asked));
        }
    }

    /// Has etcd's own load generator put values of 256 bytes, by so many clients with a connection each to the leader.
    pub fn put(&self, clients: usize, total: usize) -> Puts {
        let count = clients.to_string();
        let output = Command::new(self.programs.join("benchmark"))
            .args(["put", "--target-leader", "--endpoints", &self.endpoints()])
            .args(["--conns", &count, "--clients", &count, "--total", &total.to_string()])
            .args(["--key-size", "8", "--val-size", "256", "--key-space-size", &count, "--precise"])
            .arg("--cacert")
            .arg(self.file("ca.pem"))
            .arg("--cert")
            .arg(self.file("cert.pem"))
            .arg("--key")
            .arg(self.file("key.pem"))
            .stdin(Stdio::null())
            .output()
            .expect("the load generator runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let is_clean = output.status.success() && !text.contains("Error distribution");
        assert!(is_clean, "puts without an error: {text}{}", error_of(&output));
        let number = |word: &str| -> Option<f64> {
            let line = text.lines().find(|line| line.contains(word))?;
            line.trim().split_once(word)?.1.split_whitespace().next()?.parse().ok()
        };
        let seconds = |word: &str| Duration::from_secs_f64(number(word).expect("a latency"));
        let per_second = number("Requests/sec:").expect("a rate");
        Puts { per_second, p50: seconds("50% in"), p99: seconds("99% in") }
    }

    /// The client that writes without a pause, and prints when each write that was accepted began and ended.
    pub fn writes(&self) -> Command {
        let mut command = Command::new(self.programs.join("writes"));
        command
            .env("ENDPOINTS", self.endpoints())
            .env("CA", self.file("ca.pem"))
            .env("CERT", self.file("cert.pem"))
            .env("KEY", self.file("key.pem"))
            .stdin(Stdio::null());
        command
    }

    /// Ends a member with SIGKILL.
    pub fn kill(&mut self, number: usize) {
        let mut member = self.members[number].take().expect("it runs");
        member.kill().expect("a child");
        member.wait().expect("a child");
    }

    /// Starts a member that was killed.
    pub fn restart(&mut self, number: usize) {
        assert!(self.members[number].is_none(), "it was killed");
        self.members[number] = Some(self.spawn(u16::try_from(number).expect("a few members")));
    }

    fn spawn(&self, number: u16) -> Child {
        let name = |number: u16| format!("m{number}");
        let all = (0..MEMBERS).map(|number| format!("{}={}", name(number), self.peer_url(number)));
        let all = all.collect::<Vec<_>>().join(",");
        let (client, peer) = (self.client_url(number), self.peer_url(number));
        let log = File::options().create(true).append(true).open(self.file(&format!("log{number}")));
        let (ca, cert, key) = (self.file("ca.pem"), self.file("cert.pem"), self.file("key.pem"));
        let mut command = Command::new(self.programs.join("etcd"));
        command
            .args(["--name", &name(number), "--log-level", "warn"])
            .arg("--data-dir")
            .arg(self.file(&name(number)))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &all, "--initial-cluster-state", "new"])
            .args(["--heartbeat-interval", "100", "--election-timeout", "1000"])
            .args(["--client-cert-auth", "--peer-client-cert-auth"]);
        for (flag, file) in [("trusted-ca-file", &ca), ("cert-file", &cert), ("key-file", &key)] {
            command.arg(format!("--{flag}")).arg(file).arg(format!("--peer-{flag}")).arg(file);
        }
        let log = log.expect("a log");
        let both = (log.try_clone().expect("a file"), log);
        command.stdin(Stdio::null()).stdout(both.0).stderr(both.1).spawn().expect("etcd starts")
    }

    fn endpoints(&self) -> String {
        (0..MEMBERS).map(|number| self.client_url(number)).collect::<Vec<_>>().join(",")
    }

    fn client_url(&self, number: u16) -> String {
        format!("https://127.0.0.1:{}", self.ports.first() + number)
    }

    fn peer_url(&self, number: u16) -> String {
        format!("https://127.0.0.1:{}", self.ports.first() + MEMBERS + number)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for member in self.members.iter_mut().flatten() {
            // One that has ended already needs no end.
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

/// An authority and one certificate of it, for members and clients alike.
fn write_certificates(folder: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let root = authority.self_signed(&authority_key).expect("a certificate");
    let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let issuer = Issuer::from_params(&authority, &authority_key);
    let certificate = leaf.signed_by(&key, &issuer).expect("a certificate");
    for (name, text) in
        [("ca.pem", root.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())]
    {
        std::fs::write(folder.join(name), text).expect("a file");
    }
}

fn script() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes/etcd.sh");
    let output = Command::new(path).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.expect("the script runs");
    assert!(output.status.success(), "etcd can't be had");
    String::from_utf8(output.stdout).expect("scripts print UTF-8")
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
