//! Further coordinators of a dev cluster: each joins with a token of its own, and is waited for until it has a vote.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use trimaran_client::client::Client;
use trimaran_model::error_code;
use trimaran_wire::document::{ClusterStatus, Document as _};
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody};

use super::io_error::io_error;
use super::layout::{Layout, Part};
use crate::error::CliError;
use crate::remote::client_error;

/// How long a coordinator may take to catch up.
const VOTE_TIMEOUT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// Makes a member of a coordinator that is none yet.
pub(super) async fn join(client: &Client, layout: &Layout, part: &Part) -> Result<(), CliError> {
    if part.data_dir.join("identity/cert.pem").exists() {
        return Ok(());
    }
    let id = uuid::Uuid::now_v7().into_bytes();
    let order = EnrollOrder::Coordinator { name: part.name.clone() };
    let token = client.enroll(id, order).await.map_err(client_error)?.token;
    let mut command = Command::new(&part.argv[0]);
    command.args(["join", "--name", &part.name, "--listen", &part.address, "--data-dir"]);
    command.arg(&part.data_dir).args(["--token-file", "-", "--endpoint", &layout.coordinators[0].address]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let failed = |error: std::io::Error| io_error("trimaran-coordinator", &error);
    let mut child = command.spawn().map_err(failed)?;
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(token.as_bytes()).map_err(failed)?;
    drop(input);
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(CliError::new(error_code::DATA_DIR, format!("`{}` could not join the cluster", part.name))
        .cause(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Waits until a coordinator has a vote; `check` says when it never will.
pub(super) async fn wait_vote(
    client: &Client,
    part: &Part,
    mut check: impl FnMut() -> Result<(), CliError>,
) -> Result<(), CliError> {
    let deadline = Instant::now() + VOTE_TIMEOUT;
    loop {
        check()?;
        if votes(client, &part.name).await? {
            return Ok(());
        }
        if Instant::now() > deadline {
            let message = format!("`{}` has not caught up with the other coordinators", part.name);
            return Err(CliError::new(error_code::UNREACHABLE, message).help("its directory has its `log`"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn votes(client: &Client, name: &str) -> Result<bool, CliError> {
    let (_, json) = client.request(None, OperatorBody::ClusterStatus).await.map_err(client_error)?;
    let status =
        ClusterStatus::from_json(&json).map_err(|error| CliError::new(error_code::BUG, error.to_string()))?;
    let is_voter = |role: &str| matches!(role, "leader" | "follower");
    Ok(status
        .members
        .iter()
        .any(|member| member.name == name && is_voter(&member.role) && member.state == "alive"))
}
