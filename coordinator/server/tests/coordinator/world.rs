//! A real coordinator in a directory of its own, and operators who talk to it.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use trimaran_client::ClientError;
use trimaran_client::client::Client;
use trimaran_client::config::Context;
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody, Refusal, SourceFile};

/// Everything that a test waits for comes within this time, or the test fails.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(40);

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_trimaran-coordinator");

pub(crate) const FILES: &str = "trimaran: v1
target: lab-staging
agent: lab
class: staging
hosts: { select: { group: staging } }
---
trimaran: v1
pipeline: web
owner: team-web
artifacts:
  bundle: { path: \"/srv/builds/web-{version}.tar\" }
workload:
  host:
    unpack: bundle
    process: { command: [bin/web] }
    health: { http: \":8080/healthz\" }
environments:
  - name: staging
    approve: { options: [promote, stop], timeout: 1h }
    targets: [lab-staging]
";

/// One coordinator and its first admin.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    /// Where it is dialed.
    pub(crate) address: SocketAddr,
    /// Where it listens; the same at first.
    pub(crate) listen: SocketAddr,
    pub(crate) token: String,
    child: Option<Child>,
}

impl World {
    /// A new cluster whose coordinator runs.
    pub(crate) async fn start() -> Self {
        let mut world = Self::made();
        world.run(&[]);
        world.enroll(&world.token.clone(), "admin").await.expect("the first admin");
        world
    }

    /// A new cluster whose coordinator does not run yet.
    pub(crate) fn made() -> Self {
        Self::made_in(tempfile::tempdir().expect("a folder"))
    }

    /// As [`World::made`], in a folder where the data directory may be something special.
    pub(crate) fn made_in(folder: TempDir) -> Self {
        let socket = UdpSocket::bind("127.0.24.1:0").expect("an address");
        let address = socket.local_addr().expect("an address");
        drop(socket);
        let mut world = Self { folder, address, listen: address, token: String::new(), child: None };
        let made = world.command("init", &[]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        world.token = String::from_utf8(made.stdout).expect("text").trim().to_owned();
        world
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("c1")
    }

    /// Arguments of one of its commands.
    pub(crate) fn arguments(&self, verb: &str) -> Vec<String> {
        let text = |text: &str| text.to_owned();
        let data = self.data().display().to_string();
        let address = self.listen.to_string();
        vec![text(verb), text("--name"), text("c1"), text("--data-dir"), data, text("--listen"), address]
    }

    /// Runs a command of the binary to its end.
    pub(crate) fn command(&self, verb: &str, more: &[&str]) -> Output {
        Command::new(BINARY).args(self.arguments(verb)).args(more).output().expect("the binary runs")
    }

    /// Starts the coordinator, under another program when `before` names one.
    pub(crate) fn run(&mut self, before: &[&str]) {
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log");
        let mut command = match before {
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(BINARY);
                command
            }
            [] => Command::new(BINARY),
        };
        let child = command
            .args(self.arguments("run"))
            .args(["--ballast", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the coordinator starts");
        self.child = Some(child);
    }

    /// Ends it without a word, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        self.run(&[]);
    }

    /// Whether it ended without being asked to.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().expect("it is ours").is_some())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Uses a token of anybody, whose identity is kept under a name.
    pub(crate) async fn enroll(&self, token: &str, name: &str) -> Result<(), ClientError> {
        self.enroll_as("", token, name).await
    }

    /// The same for one who wants to be `wanted`.
    pub(crate) async fn enroll_as(&self, wanted: &str, token: &str, name: &str) -> Result<(), ClientError> {
        let folder = self.folder.path().join(name);
        let until = Instant::now() + WAIT_MAX;
        loop {
            let endpoints = [self.address.to_string()];
            match trimaran_client::enroll::enroll(&endpoints, token, wanted, &folder).await {
                Err(ClientError::Unreachable { .. }) if Instant::now() < until => {}
                other => return other.map(|_| ()),
            }
        }
    }

    pub(crate) fn client(&self, name: &str) -> Client {
        let identity = self.folder.path().join(name).join("identity");
        Client::new(Context {
            endpoints: vec![self.address.to_string()],
            ca: identity.join("ca.pem"),
            cert: identity.join("cert.pem"),
            key: identity.join("key.pem"),
        })
    }

    /// A token that the admin asked for.
    pub(crate) async fn token(&self, order: EnrollOrder) -> String {
        let id = change().expect("an id");
        self.client("admin").enroll(id, order).await.expect("a token").token
    }

    /// A token for a new operator, used at once.
    pub(crate) async fn operator(&self, name: &str, role: &str) {
        let order = EnrollOrder::Operator { name: name.to_owned(), role: role.to_owned() };
        let token = self.token(order).await;
        self.enroll(&token, name).await.expect("enrolled");
    }

    pub(crate) async fn apply(&self) {
        let files = vec![SourceFile { name: "all.yaml".to_owned(), text: FILES.as_bytes().to_vec() }];
        ask(&self.client("admin"), change(), OperatorBody::Apply { files }).await.expect("applied");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A request id for a change.
pub(crate) fn change() -> Option<[u8; 16]> {
    Some(uuid::Uuid::now_v7().into_bytes())
}

/// Asks until the coordinator answers; a refusal is an error.
pub(crate) async fn ask(client: &Client, id: Option<[u8; 16]>, body: OperatorBody) -> Result<Value, Refusal> {
    let until = Instant::now() + WAIT_MAX;
    loop {
        match client.request(id, body.clone()).await {
            Ok((_, json)) => return Ok(serde_json::from_str(&json).expect("a document")),
            Err(ClientError::Refused(refusal)) => return Err(refusal),
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    }
}

/// Whether a text is in any file below a folder.
pub(crate) fn holds(folder: &Path, text: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if let Some(found) = holds(&path, text) {
                return Some(found);
            }
        } else if std::fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
        {
            return Some(path);
        }
    }
    None
}
