//! `DATA/runner.sock`: what commands on the same machine ask a running runner. One line of JSON each way.
//!
//! The socket is open to the runner's user and root alone: by its mode, and by who the kernel says is at the other end
//! (unix(7), `SO_PEERCRED`). Not here: what changes the goal of an installation, which belongs to the cluster as long as a
//! runner serves it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use trimaran_host::{Host, InstallationView};
use trimaran_model::assignment::HostState;
use trimaran_model::error_code;
use trimaran_model::id::InstallationId;
use trimaran_model::reason::ReasonCode;

use super::output::{Shown, installation};
use super::problem::Problem;
use super::service;

const SOCKET: &str = "runner.sock";
/// A request is one command and the name of a service.
const REQUEST_BYTES_MAX: u64 = 4096;
/// A document of all installations of a host.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Who connects says what he wants within this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const CLIENTS_MAX: usize = 16;
/// A service that was restarted is healthy within this time, or the command says that it is not.
const RESTART_TIMEOUT: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(50);

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// All installations, as the runner sees them. Answer: `{installations}`.
    Status,
    /// End a service and start it again. Answer, once it is healthy or not: `{installations}` with this one.
    Restart { service: String },
}

impl Request {
    fn line(&self) -> String {
        let request = match self {
            Self::Status => json!({"command": "status"}),
            Self::Restart { service } => json!({"command": "restart", "service": service}),
        };
        format!("{request}\n")
    }

    fn parse(line: &str) -> Option<Self> {
        let request: Value = serde_json::from_str(line).ok()?;
        match request["command"].as_str()? {
            "status" => Some(Self::Status),
            "restart" => Some(Self::Restart { service: request["service"].as_str()?.to_owned() }),
            _ => None,
        }
    }
}

/// The socket of a data directory, by a path of few bytes wherever that is (unix(7): 108 at most).
fn path_of(directory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))
}

/// Opens the socket. The caller holds the directory's lock, so one that is there already is a dead one's.
pub(crate) fn listen(data_dir: &Path) -> io::Result<UnixListener> {
    let directory = File::open(data_dir)?;
    let path = path_of(&directory);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until it is dropped.
pub(crate) async fn serve(listener: UnixListener, host: Host) {
    let clients = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&clients).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) if is_allowed(&stream) => {
                let host = host.clone();
                tokio::spawn(async move {
                    let _permit = permit;
                    if let Err(error) = answer(stream, &host).await {
                        tracing::debug!(%error, "a command on this machine went away");
                    }
                });
            }
            Ok(_) => tracing::warn!("another user of this machine was refused at {SOCKET}"),
            // As many files as may be open are open: that passes.
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

fn is_allowed(stream: &UnixStream) -> bool {
    // The directory of a process belongs to its user (proc_pid(5)).
    let own = std::fs::metadata("/proc/self").map(|found| found.uid());
    let peer = stream.peer_cred().map(|peer| peer.uid());
    peer.is_ok_and(|peer| peer == 0 || own.is_ok_and(|own| peer == own))
}

async fn answer(stream: UnixStream, host: &Host) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader).take(REQUEST_BYTES_MAX);
    tokio::time::timeout(REQUEST_TIMEOUT, reader.read_line(&mut line)).await??;
    let document = match Request::parse(&line) {
        Some(Request::Status) => Ok(installations(host).await),
        Some(Request::Restart { service }) => restart(host, &service).await,
        None => Err(Problem::new(error_code::USAGE, "the runner does not know this request")),
    };
    let document = document.unwrap_or_else(|problem| problem.document());
    writer.write_all(format!("{document}\n").as_bytes()).await
}

async fn installations(host: &Host) -> Value {
    let mut all = Vec::new();
    for id in host.installations().await {
        all.extend(shown(host, &id).await);
    }
    json!({"installations": all})
}

async fn shown(host: &Host, id: &InstallationId) -> Option<Value> {
    match host.show(id).await {
        Some(view) => Some(document(&view)),
        None => host.broken_report(id).map(|report| {
            installation(&Shown {
                report: &report,
                current: None,
                previous: None,
                running: false,
                probe: None,
            })
        }),
    }
}

fn document(view: &InstallationView) -> Value {
    installation(&Shown {
        report: &view.report,
        current: view.current.as_ref(),
        previous: view.rollback_target.as_ref(),
        running: view.running,
        probe: view.probe.as_ref(),
    })
}

async fn restart(host: &Host, name: &str) -> Result<Value, Problem> {
    let Some(id) = service::choose(host.installations().await, name)? else {
        return Err(service::unknown(name));
    };
    if !host.restart(&id).await {
        return Err(service::nothing_runs(&id));
    }
    let began = tokio::time::Instant::now();
    loop {
        let Some(view) = host.show(&id).await else { return Err(service::unknown(name)) };
        let waits = view.report.code == Some(ReasonCode::Interrupted)
            || matches!(view.report.state, HostState::Updating | HostState::Preparing);
        // One that is not healthy by then is shown as it is.
        if !waits || began.elapsed() >= RESTART_TIMEOUT {
            return Ok(json!({"installations": [document(&view)]}));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Asks the runner of a directory; `None` where none listens.
pub(super) async fn ask(data_dir: &Path, request: &Request) -> Result<Option<Value>, Problem> {
    let Ok(directory) = File::open(data_dir) else { return Ok(None) };
    let failed = |error: io::Error| {
        Problem::new(error_code::DATA_DIR, "the runner of this directory can't be asked").cause(error)
    };
    let stream = match UnixStream::connect(path_of(&directory)).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let (reader, mut writer) = stream.into_split();
    writer.write_all(request.line().as_bytes()).await.map_err(failed)?;
    let mut line = String::new();
    BufReader::new(reader).take(ANSWER_BYTES_MAX).read_line(&mut line).await.map_err(failed)?;
    let document: Value = serde_json::from_str(&line).map_err(|error| failed(error.into()))?;
    match Problem::from_document(&document) {
        Some(problem) => Err(problem),
        None => Ok(Some(document)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_were_written() {
        for request in [Request::Status, Request::Restart { service: "web@lab \"x\"".to_owned() }] {
            assert_eq!(Request::parse(&request.line()), Some(request));
        }
        for foreign in ["", "{}", "{\"command\":\"apply\"}", "{\"command\":\"restart\"}", "[1]", "status"] {
            assert_eq!(Request::parse(foreign), None, "{foreign}");
        }
    }

    #[tokio::test]
    async fn the_socket_is_closed_to_others_and_replaces_a_dead_one() {
        let folder = tempfile::tempdir().expect("a directory");
        let deep = folder.path().join("d".repeat(150));
        std::fs::create_dir(&deep).expect("made");
        drop(listen(&deep).expect("a socket"));
        assert!(ask(&deep, &Request::Status).await.expect("no error").is_none(), "no one listens");
        let _listener = listen(&deep).expect("a socket again");
        let mode = std::fs::metadata(deep.join(SOCKET)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(ask(&folder.path().join("nowhere"), &Request::Status).await.expect("no error").is_none());
    }
}
