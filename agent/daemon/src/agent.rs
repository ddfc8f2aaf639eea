//! Role `agent`: one loop owns the executor, the hosts and the session with a coordinator.
//!
//! The loop has a thread of its own. Everything else is a task that turns sockets into events for it, or a thread
//! that makes records durable. The loop never waits for any of them, nor they for it.

mod coordinator;
mod drivers;
mod event;
mod event_loop;
mod fleet_platform;
mod flink_jars;
mod hosts;
mod journal;
mod journal_file;
mod journal_secret;
mod kubernetes_releases;
mod logs;
mod needed;
mod pages;
mod queries;
mod refused_keys;
mod relay;
mod release_source;
mod runner_events;
mod runner_trust;
mod runners;
mod running;

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use trimaran_agent_core::Executor;
use trimaran_agent_core::unsupported::Unsupported;
use trimaran_artifacts::{Artifacts, Needed};
use trimaran_flink::{FlinkPlatforms, S3Settings};
use trimaran_kubernetes::KubernetesPlatforms;
use trimaran_model::error_code;
use trimaran_model::id::Identity;
use trimaran_model::limits::AGENT_EVENTS_MAX;
use trimaran_model::report::Report;
use trimaran_process::{DataDir, Tasks};
use trimaran_transport::files::RESET_KEY_BYTES;
use trimaran_transport::{Alpn, Endpoint, EndpointLimits, FrameSender, random};
use trimaran_wire::codec::Message;
use trimaran_wire::v1::agent_journal::JournalRecord;

use crate::addresses;
use crate::dial::Dialer;
use crate::role_context::RoleContext;
use crate::state::State;
use drivers::{AgentTargets, DRIVERS};
use event::Event;
use event_loop::AgentLoop;
use fleet_platform::{FleetOrder, FleetPlatforms};
use flink_jars::StoredJars;
use hosts::Hosts;
use journal::Journal;
use journal_file::JournalFile;
use journal_secret::JournalSecret;
use kubernetes_releases::StoredReleases;
use needed::NeededReleases;
use refused_keys::RefusedKeys;
use relay::Relay;
use release_source::ReleaseSource;

/// Runs until the process is asked to end, is superseded, or can't go on.
pub(crate) async fn run(start: RoleContext) -> Result<(), Report> {
    let RoleContext { data, state, settings, own, clock, stop } = start;
    let _lock = crate::directory_lock::acquire(&data)?;
    data.write_pid()?;
    let (journal, records) = open_journal(&data, &state)?;
    let mut executor = Executor::restore(DRIVERS, &records)
        .map_err(|error| Report::because(error_code::STORE_DAMAGED, "the journal can't be used", &error))?;
    executor.set_ownership(state.ownership());
    let refused = RefusedKeys::load(&state, &own, clock.now());
    let reset_key = match stop.run_until_cancelled(state.reset_key()).await {
        Some(key) => key?,
        None => return Ok(()),
    };
    let endpoint = Arc::new(bind(reset_key, &settings, &own, &clock, &refused)?);
    let listen = match settings.listen {
        Some(_) => endpoint.local_address().ok().map(|address| address.to_string()),
        None => None,
    };
    let (events, inbox) = mpsc::channel(AGENT_EVENTS_MAX);
    let hosts = Hosts::default();
    let (orders, fleet_orders) = mpsc::unbounded_channel();
    let fleet = FleetPlatforms { orders, runners: hosts.live() };
    let (current, session) = watch::channel(None);
    let artifacts = Artifacts::new(data.artifacts(), ReleaseSource(session));
    let s3 = S3Settings::from_variables(|name| std::env::var(name).ok());
    let flink = FlinkPlatforms::new(StoredJars(artifacts.clone()), settings.secrets.clone(), s3);
    let kubernetes = KubernetesPlatforms::new(StoredReleases(artifacts.clone()));
    let targets = AgentTargets::new((fleet, (flink, (kubernetes, Unsupported))), Handle::current());
    let tasks = Tasks::until(stop.clone());
    let renewed = own.renew_if_expired(&endpoint, &clock, &settings.endpoints);
    if stop.run_until_cancelled(renewed).await.is_none() {
        return Ok(());
    }
    let relay = Relay::new(endpoint.clone(), settings.endpoints.clone());
    tasks.spawn(runners::accept(endpoint.clone(), events.clone(), relay, tasks.clone()));
    let dialer = Dialer::new(endpoint.clone(), own.clone(), Alpn::Agent, settings.endpoints.clone());
    tasks.spawn(coordinator::dial(dialer, events, targets.platforms(), current));
    tasks.spawn(refused.keep(state.clone()));
    let (needed, releases) = watch::channel(Needed::new());
    tasks.spawn(artifacts.keep(releases));
    let renewal = own.keep_renewed(endpoint.clone(), clock.clone(), settings.endpoints);
    tasks.spawn(renewal);
    tracing::info!(address = listen.as_deref().unwrap_or("none"), "serving");
    let agent = AgentLoop::new(
        executor,
        journal,
        hosts,
        targets,
        NeededReleases::new(needed),
        endpoint.clone(),
        clock,
        refused,
        listen,
        random::next_u64(),
        state.ownership(),
    );
    let outcome = run_loop(agent, inbox, fleet_orders, stop).await;
    tasks.stop();
    endpoint.shutdown("the agent ends").await;
    tasks.ended().await;
    outcome
}

/// Runs the loop on a thread of its own: no session waits for a step of it, and no session delays one.
async fn run_loop(
    agent: AgentLoop,
    inbox: mpsc::Receiver<Event>,
    fleet_orders: mpsc::UnboundedReceiver<FleetOrder>,
    stop: CancellationToken,
) -> Result<(), Report> {
    let (ended, outcome) = oneshot::channel();
    let bug = |error: &std::io::Error| {
        Report::because(error_code::BUG, "the agent's loop could not be started", error)
    };
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(agent.run(inbox, fleet_orders, &stop)),
            Err(error) => Err(bug(&error)),
        };
        // No one waits for it when the process is ending anyway.
        drop(ended.send(outcome));
    };
    std::thread::Builder::new().name("agent".to_owned()).spawn(run).map_err(|error| bug(&error))?;
    outcome.await.unwrap_or_else(|_| Err(Report::new(error_code::BUG, "the agent's loop panicked")))
}

/// The journal where the state is, with what it holds.
fn open_journal(data: &DataDir, state: &State) -> Result<(Journal, Vec<JournalRecord>), Report> {
    match state {
        State::Directory(_) => JournalFile::open(&data.journal()),
        State::Secret(state) => JournalSecret::open(state),
    }
}

/// Sends what comes into a queue until either end is gone.
async fn send_all<M: Message>(mut sender: FrameSender, mut queue: mpsc::Receiver<M>) {
    while let Some(message) = queue.recv().await {
        if let Err(error) = sender.send(&message.to_frame()).await {
            tracing::debug!(%error, "a message was not sent");
            return;
        }
    }
}

fn bind(
    reset_key: [u8; RESET_KEY_BYTES],
    settings: &crate::settings::Settings,
    own: &crate::certificate::Own,
    clock: &crate::clock::ClusterClock,
    refused: &RefusedKeys,
) -> Result<Endpoint, Report> {
    let mut config = own.endpoint(clock);
    let keys = refused.handshakes();
    // Whose key a runner enrolled with the coordinators know; it keeps its certificate until it renews.
    config.revoked = Arc::new(move |certificate| {
        let coordinator = matches!(certificate.identity, Identity::Coordinator(_));
        keys.contains(certificate) || (coordinator && keys.refuses_issuer(certificate))
    });
    let address = match settings.listen {
        Some(listen) => {
            config.alpns = vec![Alpn::Runner, Alpn::Enroll];
            config.limits = EndpointLimits::SERVER;
            listen
        }
        None => addresses::any_local(&settings.endpoints),
    };
    config.reset_key = Some(reset_key);
    Endpoint::bind(address, config)
        .map_err(|error| Report::because(error_code::USAGE, "the address can't be used", &error))
}
