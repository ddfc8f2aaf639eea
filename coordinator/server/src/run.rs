//! `trimaran-coordinator run`: opens the store, starts the threads, serves until it is stopped.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast};
use trimaran_engine::rows::COLD_TABLES_FROM;
use trimaran_engine::state::token::{Audience, Revoked};
use trimaran_engine::{Engine, Event};
use trimaran_member::{EngineStateMachine, Proposed, StateChange};
use trimaran_model::feature_level::Levels;
use trimaran_model::id::{AssignmentId, CoordinatorName, Identity};
use trimaran_model::limits::{BALLAST_BYTES, CHANGES_PER_SECOND, EVENTS_LIVE_MAX};
use trimaran_model::time::Millis;
use trimaran_process::{Tasks, clock};
use trimaran_query as query;
use trimaran_store::{Ballast, Options, Store};
use trimaran_transport::authority::Issuer;
use trimaran_transport::{
    Alpn, CertificateStore, Endpoint, EndpointConfig, EndpointLimits, RevokedKeys, Trust, enroll, files,
    random,
};
use trimaran_wire::v1::agent::Progress;
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;

use crate::agent_attachments::AgentAttachments;
use crate::agent_wakeups::AgentWakeups;
use crate::config::Settings;
use crate::damaged::Damaged;
use crate::disk_space::DiskSpaceGuard;
use crate::events::EventLog;
use crate::expected_agents;
use crate::gateway;
use crate::init::new_leaf;
use crate::low_disk;
use crate::node::Node;
use crate::own_clock::OwnClock;
use crate::peer;
use crate::place::Place;
use crate::quotas::Quotas;
use crate::raft_loop::{NodeError, Published};
use crate::reads::Reads;
use crate::refusals::Refusals;
use crate::revocations::{Revocations, is_refused};
use crate::rows::View;
use crate::server::{Parts, Server};
use crate::soft_state::SharedSoftState;
use trimaran_process::DataDir;

/// Renewal is checked this often.
const RENEW_INTERVAL: std::time::Duration = std::time::Duration::from_secs(30);

/// The pause before a member says again where it is.
const ANNOUNCE_PAUSE: std::time::Duration = std::time::Duration::from_millis(300);
/// A leader that is one no more lets requests wait so long for their outcome. They are repeated safely.
const INDETERMINATE_AFTER: Millis = Millis(300);

#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Data(#[from] trimaran_process::data_dir::DataDirError),
    #[error("the issuing key can't be read")]
    IssuerKey(#[from] std::io::Error),
    #[error(transparent)]
    Open(#[from] trimaran_store::OpenError),
    #[error("the rows can't be loaded")]
    Rows(#[from] trimaran_store::LoadError),
    #[error("{row} is damaged, or of another build")]
    Engine { row: String, source: trimaran_engine::LoadError },
    #[error(
        "the rows at revision {revision} are not those that were written: their hash is {found:032x} and not {stored:032x}"
    )]
    Hash { revision: u64, stored: u128, found: u128 },
    #[error("{0}")]
    Level(String),
    #[error("a thread could not be started")]
    Node(#[from] crate::node::StartNodeError),
    #[error("the identity can't be used")]
    Files(#[from] files::FilesError),
    #[error("there is no identity; run `trimaran-coordinator init` first")]
    NoIdentity,
    #[error(
        "the data directory belongs to `{found}`, not to a coordinator `{wanted}`; check `--name` and `--data-dir`"
    )]
    Name { found: Identity, wanted: CoordinatorName },
    #[error("the issuing key can't be used")]
    Authority(#[from] trimaran_transport::authority::AuthorityError),
    #[error("the certificate can't be used")]
    Store(#[from] trimaran_transport::pki::certificate_store::CertificateStoreError),
    #[error("the root certificate can't be used")]
    Trust(#[from] trimaran_transport::pki::trust::TrustError),
    #[error("the certificate could not be renewed")]
    Renew(#[from] crate::init::InitError),
    #[error("the address can't be used")]
    Bind(#[from] trimaran_transport::quic::endpoint::BindError),
    #[error("the coordinator has to end: {0}")]
    Fatal(#[from] NodeError),
}

/// Runs until SIGTERM, SIGINT or a fatal fault.
pub(crate) async fn run(data: DataDir, place: Place, settings: Settings) -> Result<(), RunError> {
    let Place { name, listen, .. } = place.clone();
    data.create()?;
    let (store, loaded) = Store::open(&data.store(), &Options::default())?;
    let revision = store.applied();
    let engine = load_engine(&store)?;
    fill_ballast(&data, settings.ballast.map_or(BALLAST_BYTES, |mib| mib << 20));
    let revocations = Revocations::default();
    revocations.keys.add_issuers(engine.members().map(|member| member.issuer.0));
    revocations.add(engine.wall(), engine.revoked().cloned());
    let raft_id = store.identity().raft_id;
    let levels = place.levels();
    check_level(&engine, levels)?;
    let (replica, machine) = (replica_settings(raft_id, &settings), EngineStateMachine::new(engine, levels));
    let (node, ended) = Node::start(replica, store, machine, loaded, data.snapshots())?;
    let issuer = load_issuer(&data)?;
    wait_wall(&node, raft_id).await;
    let certificates = own_certificate(&data, &issuer, &name, &node)?;
    let endpoint = bind(listen, &data, &issuer, certificates.clone(), &node, &revocations.keys)?;
    let address = place.advertise.map_or_else(|| endpoint.local_address().map(|it| it.to_string()), Ok)?;
    data.write_pid()?;
    let server = Server(Arc::new(Parts {
        disk_space: DiskSpaceGuard::new(data.root(), name.clone()),
        own_clock: OwnClock::new(name.clone()),
        name,
        address,
        levels,
        data,
        node,
        issuer,
        endpoint,
        certificates,
        soft_state: SharedSoftState::default(),
        events: EventLog::new(revision),
        live_progress: broadcast::channel(EVENTS_LIVE_MAX).0,
        agent_attachments: AgentAttachments::default(),
        agent_wakeups: AgentWakeups::default(),
        revocations,
        refusals: Refusals::default(),
        quotas: Quotas::new(settings.changes_per_second.unwrap_or(CHANGES_PER_SECOND)),
        reads: Reads::default(),
        change_reads: Reads::default(),
        agent_reads: Reads::default(),
        backups: Arc::new(Semaphore::new(1)),
        tasks: Tasks::default(),
    }));
    tracing::info!(address = server.address, "serving");
    server.tasks.spawn(gateway::run(server.clone()));
    let refused = server.clone();
    server.tasks.spawn(async move { refused.refusals.report(&refused.node).await });
    server.tasks.spawn(low_disk::watch(server.clone()));
    server.tasks.spawn(publish_applied(server.clone()));
    server.tasks.spawn(peer::keep_links(server.clone()));
    server.tasks.spawn(peer::promote_learners(server.clone()));
    server.tasks.spawn(peer::follow_progress(server.clone()));
    server.tasks.spawn(expected_agents::watch(server.clone()));
    server.tasks.spawn(announce(server.clone()));
    server.tasks.spawn(renew(server.clone()));
    let result = tokio::select! {
        ended = ended => ended.unwrap_or(Err(NodeError::Panicked)).map_err(RunError::from),
        () = trimaran_process::terminated() => Ok(()),
    };
    if result.is_ok() {
        peer::hand_over(&server).await;
    }
    server.tasks.stop();
    server.node.shutdown();
    server.endpoint.shutdown("the coordinator ends").await;
    server.tasks.ended().await;
    result
}

/// Refuses a state whose feature level is not among those of this build.
pub(crate) fn check_level(engine: &Engine, levels: Levels) -> Result<(), RunError> {
    EngineStateMachine::refuse_level(engine.level(), levels).map_or(Ok(()), |why| Err(RunError::Level(why)))
}

/// The state of the stored rows, which must be the one whose hash was stored with them.
pub(crate) fn load_engine(store: &Store) -> Result<Engine, RunError> {
    let (mut key, mut unread) = (Vec::new(), None);
    // With the last row of all a table that this build does not know is noticed.
    let last = store.last_row()?.filter(|(key, _)| key.first().is_some_and(|it| *it >= COLD_TABLES_FROM));
    let hot = store.load_rows_below(&[COLD_TABLES_FROM]);
    let rows = hot.map_while(|row| row.map_err(|error| unread = Some(error)).ok());
    let loaded = Engine::from_rows(rows.chain(last).inspect(|row| key.clone_from(&row.0)));
    if let Some(error) = unread {
        return Err(error.into());
    }
    let engine = loaded.map_err(|source| RunError::Engine { row: query::describe_key(&key), source })?;
    match store.state_hash()? {
        Some(stored) if stored != engine.hash() => {
            Err(RunError::Hash { revision: store.applied(), stored, found: engine.hash() })
        }
        Some(_) | None => Ok(engine),
    }
}

/// Whether a stored row can be read.
pub(crate) fn check_row((key, value): &(Vec<u8>, Vec<u8>)) -> Result<(), RunError> {
    let checked = Engine::check_row(key, value);
    checked.map_err(|source| RunError::Engine { row: query::describe_key(key), source })
}

fn replica_settings(raft_id: u64, settings: &Settings) -> trimaran_replica::Settings {
    let mut replica = trimaran_replica::Settings::new(raft_id, random::next_u64());
    replica.indeterminate_after = INDETERMINATE_AFTER;
    if settings.heartbeat.is_some() || settings.election.is_some() {
        let heartbeat = Millis(settings.heartbeat.unwrap_or(100));
        replica = replica.with_times(heartbeat, Millis(settings.election.unwrap_or(1000)));
    }
    if let Some(entries) = settings.snapshot_entries {
        replica.snapshot_entries = entries;
        replica.kept_entries = entries / 2;
    }
    replica
}

/// A full disk must not keep a coordinator from starting.
fn fill_ballast(data: &DataDir, bytes: u64) {
    let space = trimaran_store::DiskSpace::of(data.root());
    if space.is_ok_and(|space| space.is_low()) {
        tracing::warn!("the disk is almost full; the ballast file is not made");
        return;
    }
    if let Err(error) = Ballast::new(data.root()).fill(bytes) {
        tracing::warn!(%error, "the ballast file could not be made");
    }
}

/// The cluster's time follows a restart within a moment; certificates are judged by it, so it is awaited by who leads
/// without asking anyone. Others have to be reachable first.
async fn wait_wall(node: &Node, raft_id: u64) {
    let mut status = node.member_status();
    if status.borrow().voters != [raft_id] {
        return;
    }
    let settled = status.wait_for(|status| {
        status.leads() && (clock::system_wall() - status.wall_at(clock::boot_time())).0 <= 2000
    });
    // A clock that is behind or too far ahead is not followed; certificates then go by cluster time.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(3), settled).await;
}

fn load_issuer(data: &DataDir) -> Result<Issuer, RunError> {
    let identity = files::load_identity(data.root())?.ok_or(RunError::NoIdentity)?;
    let key = std::fs::read_to_string(data.identity().join("issuer.key.pem"))?;
    let chain = std::fs::read_to_string(data.identity().join("issuer.pem"))?;
    Ok(Issuer::from_pem(&key, &chain, &identity.ca)?)
}

/// The own certificate, made anew when the old one is past its time: a coordinator needs no one for that.
fn own_certificate(
    data: &DataDir,
    issuer: &Issuer,
    name: &CoordinatorName,
    node: &Node,
) -> Result<Arc<CertificateStore>, RunError> {
    let identity = files::load_identity(data.root())?.ok_or(RunError::NoIdentity)?;
    let certificates = CertificateStore::new(&identity)?;
    if let Some(info) = certificates.info()
        && info.identity != Identity::Coordinator(name.clone())
    {
        return Err(RunError::Name { found: info.identity.clone(), wanted: name.clone() });
    }
    let due = certificates
        .info()
        .is_none_or(|info| node.wall() >= enroll::renew_at(info.not_before, info.not_after, 0));
    if due {
        let renewed = new_leaf(issuer, name, node.wall())?;
        files::save_identity(data.root(), &renewed)?;
        certificates.replace(&renewed)?;
    }
    Ok(certificates)
}

fn bind(
    listen: SocketAddr,
    data: &DataDir,
    issuer: &Issuer,
    store: Arc<CertificateStore>,
    node: &Node,
    revoked: &RevokedKeys,
) -> Result<Endpoint, RunError> {
    let (clock_node, rows_node, revoked) = (node.clone(), node.clone(), revoked.clone());
    let config = EndpointConfig {
        alpns: vec![Alpn::Peer, Alpn::Agent, Alpn::Operator, Alpn::Enroll],
        trust: Some(Trust::from_pem(issuer.root_pem())?),
        store,
        clock: Arc::new(move || clock_node.wall()),
        revoked: Arc::new(move |certificate| is_refused(&revoked, &rows_node, certificate)),
        reset_key: Some(files::load_or_create_reset_key(data.root())?),
        limits: EndpointLimits::SERVER,
    };
    Ok(Endpoint::bind(listen, config)?)
}

/// Passes applied entries on: to watchers, to the sessions of agents that they concern, and revoked keys to the
/// handshakes.
async fn publish_applied(server: Server) {
    let mut applied = server.node.subscribe();
    loop {
        match applied.recv().await {
            Ok(Published::Applied(applied)) => {
                let revoked = applied.events.iter().filter_map(|event| match event {
                    Event::Revoked(revoked) => Some(revoked.clone()),
                    _ => None,
                });
                let revoked: Vec<Revoked> = revoked.collect();
                if revoked.iter().any(|it| it.audience == Audience::Issuer) {
                    // Who it certified before is known from the rows.
                    server.node.wait_rows(applied.revision).await;
                    if server.learn_issuers().is_err() {
                        return;
                    }
                }
                server.revoke(revoked);
                let change = StateChange::Applied(&applied);
                server.agent_wakeups.on_change(change);
                server.events.on_change(change);
            }
            Ok(Published::Replaced(revision)) => {
                tracing::info!(revision, "the leader's snapshot is installed");
                if server.show_state_again().is_err() {
                    return;
                }
            }
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "events were lost; watchers come again");
                if server.show_state_again().is_err() {
                    return;
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Reports to the log who this member is and where; it may have moved since its last start.
async fn announce(server: Server) {
    let mut status = server.node.member_status();
    let led = |status: &trimaran_member::MemberStatus| match status.role.leader {
        Some(leader) if leader == status.id => status.leads(),
        leader => leader.is_some(),
    };
    if status.wait_for(led).await.is_err() {
        return;
    }
    let certificate_sha256 = server.certificates.info().map_or([0; 32], |info| info.spki.0);
    let body = CommandBody::Member {
        name: server.name.to_string(),
        raft_id: server.node.store.identity().raft_id,
        disk: server.node.store.identity().disk_id,
        address: server.address.clone(),
        certificate_sha256,
        issuer_sha256: server.issuer.key_digest().0,
        levels: (server.levels.min, server.levels.max),
    };
    let command = Command { identity: WireIdentity::System, request: None, body };
    // Until it is known: a leader may be lost meanwhile.
    while !matches!(server.node.propose(command.clone()).await, Proposed::Done { .. }) {
        tokio::time::sleep(ANNOUNCE_PAUSE).await;
    }
}

/// Keeps the own certificate young.
async fn renew(server: Server) {
    let certificates = Arc::clone(&server.certificates);
    let entropy = random::next_u64();
    loop {
        tokio::time::sleep(RENEW_INTERVAL).await;
        let Some(info) = certificates.info() else { continue };
        if server.node.wall() < enroll::renew_at(info.not_before, info.not_after, entropy) {
            continue;
        }
        let renewed = new_leaf(&server.issuer, &server.name, server.node.wall());
        let stored = renewed.and_then(|files| {
            files::save_identity(server.data.root(), &files)?;
            Ok(files)
        });
        match stored {
            Ok(files) => {
                if let Err(error) = certificates.replace(&files) {
                    tracing::error!(%error, "the renewed certificate can't be used");
                }
            }
            Err(error) => tracing::error!(%error, "the certificate could not be renewed"),
        }
    }
}

impl Server {
    /// Events were missed: watchers and sessions are shown the state again.
    fn show_state_again(&self) -> Result<(), Damaged> {
        let change = StateChange::Missed { revision: self.node.store.applied() };
        self.events.on_change(change);
        self.learn_issuers()?;
        let keys = View::new(&self.node).read(|rows| query::revoked_keys(rows))?;
        self.revoke(keys);
        // Behind the keys, which every session sends again from where its agent is.
        self.agent_wakeups.on_change(change);
        Ok(())
    }

    /// Learns the keys with which coordinators sign or signed.
    fn learn_issuers(&self) -> Result<(), Damaged> {
        let members = View::new(&self.node).read(|rows| query::members_ever(rows))?;
        self.revocations.keys.add_issuers(members.into_iter().map(|member| member.issuer.0));
        Ok(())
    }

    /// Refuses these keys from now on, also where a session is open.
    fn revoke(&self, revoked: Vec<Revoked>) {
        if !revoked.is_empty() {
            self.revocations.add(self.node.wall(), revoked);
            self.endpoint.close_revoked();
        }
    }

    /// Notifies watchers of a run, here and at other coordinators, that live progress of an agent of this one came.
    pub(crate) fn publish_progress(&self, progress: &Progress) {
        if self.live_progress.receiver_count() > 0 {
            // An error says that no one listens any more.
            drop(self.live_progress.send(Arc::new(progress.clone())));
        }
        self.show_progress(progress);
    }

    /// Notifies those who watch here.
    pub(crate) fn show_progress(&self, progress: &Progress) {
        let found =
            View::new(&self.node).read(|rows| query::assignment(rows, AssignmentId(progress.assignment)));
        // Of a damaged view nothing is shown, and the process ends.
        if let Ok(Some(live)) = found {
            self.events.progress(self.node.store.applied(), self.node.wall(), &live, progress);
        }
    }
}
