//! The start of a dev cluster: identities first, then the processes, then the wait until all are connected.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use trimaran_client::client::Client;
use trimaran_client::config::Context;
use trimaran_client::enroll;
use trimaran_model::error_code;
use trimaran_wire::document::{AgentList, Document as _, RunnerList};
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody, SourceFile};

use super::io_error::io_error;
use super::join;
use super::layout::{Layout, Part};
use super::processes::Processes;
use super::register::{Registered, register};
use crate::error::CliError;
use crate::remote::client_error;

/// How long the parts may take to find each other.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is checked that a part which is waited for still runs.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Is there while a cluster is made and its admin has no identity yet.
const BEGUN: &str = "begun";

/// What came of a start.
#[derive(Debug)]
pub(crate) struct Started {
    /// Parts that ran already, as after a `dev` that was killed.
    pub(crate) taken_over: Vec<String>,
    pub(crate) context: String,
    pub(super) registered: Registered,
}

pub(crate) async fn start(
    layout: &Layout,
    processes: &mut Processes,
    context: String,
) -> Result<Started, CliError> {
    let coordinator = &layout.coordinators[0];
    if layout.data.join(BEGUN).exists() {
        // Left by a `dev` that was killed; its cluster is made again from nothing.
        processes.end(coordinator);
    }
    let mut taken_over = Vec::new();
    let token = initialise(layout, coordinator)?;
    launch(processes, coordinator, &mut taken_over)?;
    // Those that joined before are needed for a quorum.
    for further in layout.coordinators[1..].iter().filter(|part| has_identity(part)) {
        launch(processes, further, &mut taken_over)?;
    }
    let identity = identity(layout, coordinator, token, processes).await?;
    let registered = register(&context, &identity)?;
    let client = Client::new(identity);
    apply_targets(&client, coordinator, processes).await?;
    for further in &layout.coordinators[1..] {
        join::join(&client, layout, further).await?;
        if !taken_over.contains(&further.name) {
            launch(processes, further, &mut taken_over)?;
        }
        join::wait_vote(&client, further, || check_running(processes, further)).await?;
    }
    let lab = &layout.agent;
    let order = EnrollOrder::Agent { name: lab.name.clone() };
    enroll_part(&client, coordinator, lab, order, processes).await?;
    launch(processes, lab, &mut taken_over)?;
    for runner in &layout.runners {
        let labels = runner.labels.iter().cloned().collect();
        let order = EnrollOrder::Runner { name: runner.name.clone(), agent: lab.name.clone(), labels };
        enroll_part(&client, lab, runner, order, processes).await?;
        launch(processes, runner, &mut taken_over)?;
    }
    wait_connected(&client, layout, processes).await?;
    processes.follow();
    Ok(Started { taken_over, context, registered })
}

fn has_identity(part: &Part) -> bool {
    part.data_dir.join("identity/cert.pem").exists()
}

fn launch(processes: &mut Processes, part: &Part, taken_over: &mut Vec<String>) -> Result<(), CliError> {
    let started = processes.start(part).map_err(|error| io_error(&part.name, &error))?;
    if !started {
        taken_over.push(part.name.clone());
    }
    Ok(())
}

/// The error of a part that ended while it was waited for, with the end of its log.
fn check_running(processes: &mut Processes, part: &Part) -> Result<(), CliError> {
    match processes.ended(part) {
        None => Ok(()),
        Some(end) => {
            Err(CliError::new(error_code::DATA_DIR, format!("`{}` ended while it started", part.name))
                .cause(end)
                .help("correct what the log says, then start again"))
        }
    }
}

/// Makes the cluster at the first start; the token of the first admin then.
fn initialise(layout: &Layout, coordinator: &Part) -> Result<Option<String>, CliError> {
    let directory = |error: std::io::Error| io_error("the data directory", &error);
    let begun = layout.data.join(BEGUN);
    if begun.exists() {
        // The token of its only admin went with the process that was ended, so no one can ever use what is there.
        match std::fs::remove_dir_all(&coordinator.data_dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(directory(error)),
            _ => {}
        }
    } else if has_identity(coordinator) {
        return Ok(None);
    }
    std::fs::write(&begun, "").map_err(directory)?;
    std::fs::create_dir_all(&coordinator.data_dir).map_err(directory)?;
    let output = Command::new(&coordinator.argv[0])
        .args(["init", "--name", &coordinator.name, "--listen", &coordinator.address, "--data-dir"])
        .arg(&coordinator.data_dir)
        .arg("--root-key")
        .arg(layout.data.join("root.key.pem"))
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| io_error("trimaran-coordinator", &error))?;
    if !output.status.success() {
        return Err(CliError::new(error_code::DATA_DIR, "the cluster could not be made")
            .cause(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

/// The first admin: enrolled with its token, or as it was stored beside the data.
async fn identity(
    layout: &Layout,
    coordinator: &Part,
    token: Option<String>,
    processes: &mut Processes,
) -> Result<Context, CliError> {
    let folder = layout.data.join("admin");
    if let Some(token) = token {
        enroll_when_ready(coordinator, &token, "operator", &folder, processes).await?;
        std::fs::remove_file(layout.data.join(BEGUN))
            .map_err(|error| io_error("the data directory", &error))?;
    }
    let file = |name: &str| folder.join("identity").join(name);
    let context = Context {
        endpoints: layout.coordinators.iter().map(|part| part.address.clone()).collect(),
        ca: file("ca.pem"),
        cert: file("cert.pem"),
        key: file("key.pem"),
    };
    if !context.cert.exists() {
        return Err(CliError::new(error_code::DATA_DIR, "the identity of this cluster's admin is gone")
            .cause(format!("there is no {}", context.cert.display()))
            .help("start with another directory; nothing but this identity can enroll another admin"));
    }
    Ok(context)
}

/// Enrolls at a part. A process that was just started may not listen yet; one that ended never will.
async fn enroll_when_ready(
    via: &Part,
    token: &str,
    wanted: &str,
    folder: &Path,
    processes: &mut Processes,
) -> Result<(), CliError> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    loop {
        let enrolled = {
            let addresses = [via.address.clone()];
            let mut enrolled = std::pin::pin!(enroll::enroll(&addresses, token, wanted, folder));
            loop {
                tokio::select! {
                    enrolled = &mut enrolled => break enrolled,
                    () = tokio::time::sleep(CHECK_INTERVAL) => check_running(processes, via)?,
                }
            }
        };
        match enrolled {
            Ok(_) => return Ok(()),
            Err(error @ trimaran_client::ClientError::Unreachable { .. }) => {
                check_running(processes, via)?;
                if Instant::now() > deadline {
                    return Err(client_error(error));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(client_error(error)),
        }
    }
}

async fn enroll_part(
    client: &Client,
    via: &Part,
    part: &Part,
    order: EnrollOrder,
    processes: &mut Processes,
) -> Result<(), CliError> {
    if has_identity(part) {
        return Ok(());
    }
    let id = uuid::Uuid::now_v7().into_bytes();
    let token = client.enroll(id, order).await.map_err(client_error)?.token;
    enroll_when_ready(via, &token, &format!("{}/{}", part.role, part.name), &part.data_dir, processes).await
}

/// The two targets of a dev cluster.
async fn apply_targets(
    client: &Client,
    coordinator: &Part,
    processes: &mut Processes,
) -> Result<(), CliError> {
    let text = "\
trimaran: v1
target: lab-staging
agent: lab
class: staging
hosts: { select: { group: staging } }
---
trimaran: v1
target: lab-prod
agent: lab
class: prod
hosts: { select: { group: prod } }
";
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let id = uuid::Uuid::now_v7().into_bytes();
    loop {
        let files = vec![SourceFile { name: "targets.yaml".to_owned(), text: text.as_bytes().to_vec() }];
        match client.request(Some(id), OperatorBody::Apply { files }).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(client_error(error)),
            Err(trimaran_client::ClientError::Refused(refusal)) => {
                return Err(client_error(trimaran_client::ClientError::Refused(refusal)));
            }
            Err(_) => {
                check_running(processes, coordinator)?;
                tokio::time::sleep(CHECK_INTERVAL).await;
            }
        }
    }
}

async fn wait_connected(client: &Client, layout: &Layout, processes: &mut Processes) -> Result<(), CliError> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    loop {
        processes.follow();
        layout.parts().try_for_each(|part| check_running(processes, part))?;
        let missing = missing(client, layout).await;
        match missing {
            Ok(missing) if missing.is_empty() => return Ok(()),
            Ok(missing) if Instant::now() > deadline => {
                return Err(CliError::new(
                    error_code::UNREACHABLE,
                    format!("not connected: {}", missing.join(", ")),
                )
                .help("each part's directory has its `log`"));
            }
            Err(error) if Instant::now() > deadline => return Err(error),
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The agent and runners that are not connected.
async fn missing(client: &Client, layout: &Layout) -> Result<Vec<String>, CliError> {
    let parse = |error: serde_json::Error| CliError::new(error_code::BUG, error.to_string());
    let (_, json) = client.request(None, OperatorBody::AgentList).await.map_err(client_error)?;
    let agents = AgentList::from_json(&json).map_err(parse)?.agents;
    let (_, json) = client.request(None, OperatorBody::RunnerList).await.map_err(client_error)?;
    let runners = RunnerList::from_json(&json).map_err(parse)?.runners;
    let connected: Vec<String> =
        agents.into_iter().chain(runners).filter(|it| it.state == "connected").map(|it| it.name).collect();
    let wanted = std::iter::once(&layout.agent).chain(&layout.runners);
    Ok(wanted.map(|part| part.name.clone()).filter(|name| !connected.contains(name)).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A coordinator whose `init` counts itself and makes an identity.
    fn layout(data: &Path) -> Layout {
        let binary = data.join("init.sh");
        let made = data.join("c1/identity");
        let script = format!(
            "#!/bin/sh\necho x >> {count}\nmkdir -p {made}\n: > {made}/cert.pem\necho token\n",
            count = data.join("count").display(),
            made = made.display(),
        );
        std::fs::write(&binary, script).expect("a file");
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let part = |name: &str| Part {
            name: name.to_owned(),
            role: "coordinator",
            data_dir: data.join(name),
            address: "127.0.84.1:1".to_owned(),
            argv: vec![binary.display().to_string()],
            labels: Vec::new(),
        };
        Layout {
            data: data.to_owned(),
            coordinators: vec![part("c1")],
            agent: part("lab"),
            runners: Vec::new(),
        }
    }

    #[test]
    fn a_first_start_that_was_ended_begins_again_and_a_cluster_in_use_is_kept() {
        let folder = tempfile::tempdir().expect("a directory");
        let layout = layout(folder.path());
        let times = || std::fs::read_to_string(folder.path().join("count")).expect("a count").lines().count();
        let start = || initialise(&layout, &layout.coordinators[0]).expect("it is made");
        assert_eq!(start().as_deref(), Some("token"));
        std::fs::write(folder.path().join("c1/half"), "").expect("a file");
        assert_eq!(start().as_deref(), Some("token"), "the admin never had an identity");
        assert!(!folder.path().join("c1/half").exists(), "nothing is kept of the first one");
        std::fs::remove_file(folder.path().join(BEGUN)).expect("a start in progress");
        assert_eq!(start(), None);
        assert_eq!(times(), 2);
    }

    #[test]
    fn a_cluster_without_its_admin_is_an_error_at_once() {
        let folder = tempfile::tempdir().expect("a directory");
        let layout = layout(folder.path());
        let mut processes = Processes::new(&layout);
        let identity = identity(&layout, &layout.coordinators[0], None, &mut processes);
        let error = crate::remote::runtime().block_on(identity).expect_err("there is no identity");
        assert_eq!(error.code, error_code::DATA_DIR);
    }
}
