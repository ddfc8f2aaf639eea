//! `trimaran-coordinator recover`: a quorum is lost for good, and the member of this data directory goes on alone, in another
//! incarnation of the cluster.
//!
//! Nothing of its log is left out (`trimaran_replica::survivor`). The other members are removed, so that whichever comes back is
//! refused; agents refuse its orders, which are of an earlier epoch. Before anything is written the others are dialed: one
//! that answers is no lost one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use trimaran_engine::Outcome;
use trimaran_engine::state::cluster::Member;
use trimaran_member::{EngineMachine as _, EngineStateMachine};
use trimaran_model::error_code;
use trimaran_model::feature_level::SUPPORTED;
use trimaran_model::id::{Identity, Incarnation};
use trimaran_model::report::Report;
use trimaran_process::{DataDir, clock};
use trimaran_replica::survivor::{self, Replayed, SurvivorError};
use trimaran_replica::{EntryMeta, Loaded, StateMachine as _};
use trimaran_store::{Options, Store, WriteError};
use trimaran_transport::{
    Alpn, CertificateStore, CloseCode, CloseReason, ConnectError, Endpoint, EndpointConfig, EndpointLimits,
    Trust, files, random,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::command::{Command, CommandBody, Entry};
use trimaran_wire::v1::common::WireIdentity;

use crate::{exit_codes, run};

/// How long another member may take to answer, before it counts as gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// A survivor, with its log applied and nothing written.
struct Survivor {
    store: Store,
    loaded: Loaded,
    machine: EngineStateMachine,
    replayed: Replayed,
    own: Member,
    /// Members that are to be removed.
    others: Vec<Member>,
}

/// Recovers the data directory; what it says is for its operator.
pub(crate) async fn recover(data: &DataDir, yes: bool) -> Result<String, Report> {
    let survivor = read(data)?;
    if !yes {
        return Err(unconfirmed(&survivor));
    }
    refuse_alive(data, &survivor.others).await?;
    write(survivor)
}

fn read(data: &DataDir) -> Result<Survivor, Report> {
    let (store, loaded) =
        Store::open(&data.store(), &Options::default()).map_err(|error| exit_codes::open(&error))?;
    let engine = run::load_engine(&store)?;
    run::check_level(&engine, SUPPORTED)?;
    let mut machine = EngineStateMachine::new(engine, SUPPORTED);
    let id = store.identity().raft_id;
    let replayed = survivor::replay(id, &loaded, &mut machine).map_err(|error| unfit(&error))?;
    let (own, others): (Vec<Member>, Vec<Member>) =
        machine.engine().members().filter(|it| !it.removed).cloned().partition(|it| it.raft_id == id);
    let Some(own) = own.into_iter().next() else { return Err(unfit(&SurvivorError::NoMember)) };
    if loaded.conf_state.voters == [id] && loaded.conf_state.voters_outgoing.is_empty() && others.is_empty() {
        let message = format!("`{}` is the only coordinator already; start it", own.name);
        return Err(Report::new(error_code::MEMBERS, message));
    }
    Ok(Survivor { store, loaded, machine, replayed, own, others })
}

fn unfit(error: &SurvivorError) -> Report {
    let code = match error {
        SurvivorError::Learner | SurvivorError::NoMember | SurvivorError::Leaves { .. } => {
            error_code::MEMBERS
        }
        SurvivorError::Log(_) | SurvivorError::Change { .. } | SurvivorError::Unreadable(_) => {
            error_code::STORE_DAMAGED
        }
    };
    let help = (code == error_code::MEMBERS).then(|| {
        "Recover another coordinator, one that had a vote; without any, restore a backup.".to_owned()
    });
    Report { help, ..Report::because(code, "this coordinator can't go on alone", error) }
}

/// What the survivor has, for the choice between several: the one whose log ends with the largest term, and of these the
/// largest revision, has the most.
fn shown(survivor: &Survivor) -> String {
    let Survivor { loaded, replayed: Replayed { last, .. }, own, .. } = survivor;
    format!(
        "`{}` has applied revision {} and its log ends with revision {} of term {}",
        own.name, loaded.applied.index, last.index, last.term
    )
}

fn unconfirmed(survivor: &Survivor) -> Report {
    let others = names(&survivor.others);
    let cause = format!(
        "{}. What other coordinators answered and this one never received is lost; {others} can't come back.",
        shown(survivor)
    );
    let help = "Recover the one whose log ends with the largest term, and of these the largest revision. With more than half \
                of the coordinators there is nothing to recover: start them. Otherwise say `--yes`.";
    Report {
        cause: Some(cause),
        help: Some(help.to_owned()),
        ..Report::new(error_code::USAGE, "going on alone needs a confirmation, `--yes`; nothing was changed")
    }
}

fn names(members: &[Member]) -> String {
    members.iter().map(|it| format!("`{}`", it.name)).collect::<Vec<_>>().join(", ")
}

/// Refuses when another member answers: it may have more in its log, and would go on in the earlier incarnation.
async fn refuse_alive(data: &DataDir, others: &[Member]) -> Result<(), Report> {
    let failed =
        |what: &str, error: &dyn std::error::Error| Report::because(error_code::DATA_DIR, what, error);
    let identity =
        files::load_identity(data.root()).map_err(|error| failed("the identity can't be used", &error))?;
    let identity = identity.ok_or_else(|| Report::from(run::RunError::NoIdentity))?;
    let trust = Trust::from_pem(&identity.ca).map_err(|error| failed("the root can't be read", &error))?;
    let store =
        CertificateStore::new(&identity).map_err(|error| failed("the certificate can't be used", &error))?;
    let config = EndpointConfig {
        alpns: Vec::new(),
        trust: Some(trust),
        store,
        clock: Arc::new(clock::system_wall),
        revoked: Arc::new(|_| false),
        reset_key: None,
        limits: EndpointLimits::CLIENT,
    };
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let endpoint = Endpoint::bind(any, config).map_err(|error| failed("no address can be used", &error))?;
    for member in others {
        if answers(&endpoint, member).await {
            let message = format!("`{}` at {} is alive, so it is not lost", member.name, member.address);
            let help = format!(
                "Start this coordinator: with more than half of them nothing is lost. If that is not so, stop `{}` and \
                 recover the one that has the most in its log.",
                member.name
            );
            return Err(Report { help: Some(help), ..Report::new(error_code::MEMBERS, message) });
        }
    }
    Ok(())
}

async fn answers(endpoint: &Endpoint, member: &Member) -> bool {
    let Ok(addresses) = tokio::net::lookup_host(&member.address).await else { return false };
    let identity = Identity::Coordinator(member.name.clone());
    for address in addresses {
        let dialed = endpoint.connect_to(address, Alpn::Peer, &identity);
        match tokio::time::timeout(ANSWER_TIMEOUT, dialed).await {
            Ok(Ok(session)) => {
                session.close(CloseCode::Done, "");
                return true;
            }
            // It refused this one, as only who is there can.
            Ok(Err(ConnectError::Closed { reason: CloseReason::Peer { .. }, .. })) => return true,
            Ok(Err(_)) | Err(_) => {}
        }
    }
    false
}

fn write(survivor: Survivor) -> Result<String, Report> {
    let said = shown(&survivor);
    let Survivor { store, loaded, mut machine, replayed, own, others } = survivor;
    let Replayed { last, mut rows } = replayed;
    let before = machine.engine().epoch();
    // A term of its own: no entry of an earlier leader has the same place.
    let at = EntryMeta { index: last.index + 1, term: last.term.max(loaded.hard_state.term) + 1 };
    let body = CommandBody::Recover { raft_id: own.raft_id, incarnation: random::next_u64() | 1 };
    let command = Command { identity: WireIdentity::System, request: None, body };
    let entry = Entry { now_ms: machine.engine().now().0, commands: vec![command] };
    let unread = |error: trimaran_replica::UnreadableEntry| {
        Report::because(error_code::BUG, "the recovery can't be applied", &error)
    };
    let applied = machine.apply(at, &entry.to_bytes()).map_err(unread)?;
    if applied.reply != [Outcome::Nothing] {
        let message = format!("the recovery was not applied: {:?}", applied.reply);
        return Err(Report::new(error_code::BUG, message));
    }
    rows.changes.extend(applied.rows.changes);
    let failed =
        |error: WriteError| Report::because(error_code::DATA_DIR, "the store can't be written", &error);
    store.recover(at, &rows, machine.hash()).map_err(failed)?;
    let engine = machine.engine();
    let (epoch, incarnation) = engine.epoch();
    Ok(format!(
        "`{}` is the only coordinator of cluster {} now: epoch {} (before: {}), incarnation {}\n\
         {said}: all of it is kept\n\
         what others answered after that, if anything, is lost: look for runs, tokens and enrolments that are missing\n\
         removed: {}; they are refused when they come back, and their directories can be deleted\n\
         next: start it with `trimaran-coordinator run`, then join others anew: `trimaran cluster token NAME`, \
         `trimaran-coordinator join` with an empty directory",
        own.name,
        engine.cluster(),
        epoch.0,
        before.0.0,
        Incarnation(incarnation),
        names(&others),
    ))
}
