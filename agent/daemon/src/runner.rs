//! Role `runner`: one host, which drives its own steps, and its session with an agent.
//!
//! The host works without an agent: what was begun is finished or reverted, services are supervised. The session
//! carries goals in and reports out.

mod facts;
mod logs;
mod revoked_agents;
mod session;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use trimaran_host::{Host, HostIdentity, HostSettings, OpenError};
use trimaran_model::assignment::HostReport;
use trimaran_model::error_code;
use trimaran_model::id::{HostName, Identity};
use trimaran_model::report::Report;
use trimaran_process::Tasks;
use trimaran_transport::{Alpn, BindError, Endpoint, random};

use crate::addresses;
use crate::certificate::Own;
use crate::clock::ClusterClock;
use crate::dial::Dialer;
use crate::host_command::local_socket;
use crate::role_context::RoleContext;
use revoked_agents::RevokedAgents;
use session::Greeting;
use trimaran_process::DataDir;

/// How often it is checked whether the host has another address.
const ADDRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Runs until the process is asked to end, is superseded, or can't go on. Services stay in any case.
pub(crate) async fn run(start: RoleContext) -> Result<(), Report> {
    let RoleContext { data, settings, own, clock, stop, .. } = start;
    let Identity::Runner(name) = own.identity.clone() else {
        return Err(Report::new(error_code::BUG, "only a runner runs here"));
    };
    // Before any name is resolved: services start again without network. The address that the directory knows serves
    // until the present one is known; only a directory's very first start has to wait for it.
    let known = settings.address.or_else(|| HostIdentity::load(data.root()).map(|known| known.address));
    let address = match known {
        Some(address) => address,
        None => own_address(&settings.endpoints).await?,
    };
    let (host, reports) = open(&data, name, address, settings.secrets.clone()).await?;
    data.write_pid()?;
    let commands = local_socket::listen(data.root()).map_err(|error| {
        Report::because(error_code::DATA_DIR, "the socket for commands can't be opened", &error)
    })?;
    let revoked = RevokedAgents::load(data.root(), clock.now());
    let endpoint = bind(&own, &settings.endpoints, &clock, revoked.clone())
        .map_err(|error| Report::because(error_code::UNREACHABLE, "no socket can be opened", &error))?;
    let endpoint = Arc::new(endpoint);
    let tasks = Tasks::until(stop.clone());
    let renewal = own.clone().keep_renewed(endpoint.clone(), clock.clone(), settings.endpoints.clone());
    tasks.spawn(renewal);
    tasks.spawn(local_socket::serve(commands, host.clone()));
    if settings.address.is_none() {
        tasks.spawn(follow_address(host.clone(), settings.endpoints.clone()));
    }
    tracing::info!(%address, "serving");
    let facts = facts::facts(settings.zone.as_deref(), host.controllers(), host.is_root());
    let greeting = Greeting { incarnation: random::next_u64(), clock: clock.clone(), revoked, facts };
    let serving = async {
        own.renew_if_expired(&endpoint, &clock, &settings.endpoints).await;
        let dialer = Dialer::new(endpoint.clone(), own.clone(), Alpn::Runner, settings.endpoints.clone());
        keep_session(dialer, &host, reports, &greeting).await
    };
    let outcome = stop.run_until_cancelled(serving).await.unwrap_or(Ok(()));
    tasks.stop();
    endpoint.shutdown("the runner ends").await;
    tasks.ended().await;
    host.close().await;
    outcome
}

/// The socket towards the agent, which is refused with an earlier key and with a certificate by a removed coordinator.
fn bind(
    own: &Own,
    endpoints: &[String],
    clock: &ClusterClock,
    revoked: RevokedAgents,
) -> Result<Endpoint, BindError> {
    let mut config = own.endpoint(clock);
    config.revoked = Arc::new(move |certificate| revoked.refuses(certificate));
    Endpoint::bind(addresses::any_local(endpoints), config)
}

async fn open(
    data: &DataDir,
    name: HostName,
    address: IpAddr,
    secrets: Option<PathBuf>,
) -> Result<(Host, mpsc::Receiver<HostReport>), Report> {
    let binary = PathBuf::from(trimaran_host::shim::OWN_BINARY);
    let settings = HostSettings { data_dir: data.root().to_owned(), name, address, secrets, binary };
    Host::open(settings).await.map_err(|error| match &error {
        OpenError::Lock(locked) => crate::directory_lock::refused(data, locked),
        other => Report::because(error_code::DATA_DIR, "the host can't be opened", other),
    })
}

/// One session after the other.
async fn keep_session(
    mut dialer: Dialer,
    host: &Host,
    mut reports: mpsc::Receiver<HostReport>,
    greeting: &Greeting,
) -> Result<(), Report> {
    loop {
        let session = tokio::select! {
            session = dialer.dial() => session?,
            // No one listens: the greeting of the next session says everything again.
            () = async { while reports.recv().await.is_some() {} } => {
                return Err(Report::new(error_code::BUG, "the host ended"));
            }
        };
        tracing::info!(address = %session.remote_address(), "connected to an agent");
        let reason = session::serve(&session, host, &mut reports, greeting).await;
        dialer.ended(&reason).await?;
    }
}

/// Keeps the host's own address true: it may be another one after each boot, and resolving a name may take its time.
async fn follow_address(host: Host, endpoints: Vec<String>) {
    loop {
        match own_address(&endpoints).await {
            Ok(address) if address != host.address() => {
                tracing::info!(%address, "the host's own address is known now");
                if let Err(error) = host.set_address(address).await {
                    tracing::warn!(%error, "the host's own address can't be written");
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(message = %error.message, "the host's own address is not known yet")
            }
        }
        tokio::time::sleep(ADDRESS_INTERVAL).await;
    }
}

/// The local address from which the first endpoint is reached.
async fn own_address(endpoints: &[String]) -> Result<IpAddr, Report> {
    let unknown = |error: std::io::Error| {
        Report::because(
            error_code::USAGE,
            "the host's own address is not known; say it with `--address`",
            &error,
        )
    };
    addresses::towards(&endpoints[0]).await.map_err(unknown)
}
