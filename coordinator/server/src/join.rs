//! `trimaran-coordinator join`: a further member of a cluster, with keys, a raft id and a disk id of its own.
//!
//! Keys are made here and never leave. A member of the cluster certifies them, adds this one as a learner and answers
//! with the members; the state comes from the leader once this coordinator runs, and the vote when it has caught up.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use trimaran_model::id::Identity;
use trimaran_model::limits::LEAF_TTL;
use trimaran_process::files::write_atomically;
use trimaran_process::{DataDir, clock};
use trimaran_store::{Options, Store};
use trimaran_transport::authority::{AuthorityError, Issuer};
use trimaran_transport::enroll::{Csr, CsrError, InvalidToken, Token, make_key_and_csr};
use trimaran_transport::files::{self, IdentityFiles};
use trimaran_transport::{
    CertificateStore, CloseCode, Endpoint, EndpointConfig, EndpointLimits, Session, random,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft;
use trimaran_wire::v1::enroll::{EnrollReply, EnrollRequest, JoinRequest, Joined};

use crate::init::owner;
use crate::place::Place;

/// How long the answer may take: the cluster may have to elect a leader first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error("{} belongs to {owner} already; a new member needs an empty directory", root.display())]
    Exists { root: std::path::PathBuf, owner: String },
    #[error("no member can dial {address}; say where this one is with `--advertise`")]
    NotDialable { address: String },
    #[error("the token can't be read")]
    TokenFile(#[source] std::io::Error),
    #[error(transparent)]
    Token(#[from] InvalidToken),
    #[error("a key could not be made")]
    Csr(#[from] CsrError),
    #[error("the own certificate could not be made")]
    Authority(#[from] AuthorityError),
    #[error("no coordinator answers: {attempts}")]
    Unreachable { attempts: String },
    #[error("the token is of another cluster than the endpoints")]
    Foreign,
    #[error("the cluster's answer was lost: {why}; ask for a new token when it does not work a second time")]
    Lost { why: String },
    #[error("{message}")]
    Refused { code: u16, message: String },
    #[error("the identity could not be stored")]
    Files(#[from] files::FilesError),
    #[error(transparent)]
    Data(#[from] trimaran_process::data_dir::DataDirError),
    #[error(transparent)]
    Write(#[from] trimaran_process::files::WriteError),
    #[error("the store could not be made")]
    Store(#[from] trimaran_store::InitError),
}

/// Joins the cluster; returns the number of its voters.
pub(crate) async fn join(
    data: &DataDir,
    place: &Place,
    endpoints: &[String],
    token: &str,
) -> Result<usize, JoinError> {
    if let Some(owner) = owner(data) {
        return Err(JoinError::Exists { root: data.root().to_owned(), owner });
    }
    if !place.is_dialable() {
        return Err(JoinError::NotDialable { address: place.address() });
    }
    let token: Token = token.parse()?;
    let wanted = format!("coordinator/{}", place.name);
    let (key, csr) = make_key_and_csr(&wanted)?;
    let (issuer_key, issuer_csr) = make_key_and_csr(&wanted)?;
    let (raft_id, disk_id) = (random::next_u64() >> 1 | 1, random::bytes());
    let address = place.address();
    let (text, request_csr) = (token.text(), csr.clone());
    let levels = (place.levels().min, place.levels().max);
    let request = JoinRequest { token: text, csr, issuer_csr, raft_id, disk_id, address, levels };
    // The session ends with its endpoint.
    let (_endpoint, session) = dial(endpoints, &token).await?;
    let Joined { ca, issuer, cluster_id, voters, learners } = ask(&session, request).await?;
    // A certificate of its own making, as a renewal is: it goes on when the coordinator that it joined by is removed.
    let chain = Issuer::from_pem(&issuer_key, &issuer, &ca)?;
    let own = Identity::Coordinator(place.name.clone());
    let cert = chain.issue(&own, &Csr::parse(&request_csr)?, clock::system_wall(), LEAF_TTL)?.pem();
    data.create()?;
    let identity = raft::Identity { cluster_id, disk_id, raft_id };
    let voting = voters.len();
    let members = raft::ConfState { voters, learners, ..raft::ConfState::default() };
    Store::init_joining(&data.store(), identity, &members, &Options::default())?;
    files::save_identity(data.root(), &IdentityFiles { cert, key, ca })?;
    write_atomically(&data.identity().join("issuer.key.pem"), issuer_key.as_bytes(), 0o600)?;
    write_atomically(&data.identity().join("issuer.pem"), issuer.as_bytes(), 0o644)?;
    Ok(voting)
}

/// The first endpoint that answers.
async fn dial(endpoints: &[String], token: &Token) -> Result<(Endpoint, Session), JoinError> {
    let config = EndpointConfig {
        alpns: Vec::new(),
        trust: None,
        store: CertificateStore::empty(),
        clock: Arc::new(clock::system_wall),
        revoked: Arc::new(|_| false),
        reset_key: None,
        limits: EndpointLimits::CLIENT,
    };
    let unreachable = |attempts: String| JoinError::Unreachable { attempts };
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let endpoint = Endpoint::bind(any, config).map_err(|error| unreachable(error.to_string()))?;
    let (mut attempts, mut foreign) = (Vec::new(), 0);
    for name in endpoints {
        let addresses = match tokio::net::lookup_host(name).await {
            Ok(addresses) => addresses,
            Err(error) => {
                attempts.push(format!("{name}: {error}"));
                continue;
            }
        };
        for address in addresses {
            match endpoint.enroll(address, token.root()).await {
                Ok(session) => return Ok((endpoint, session)),
                Err(error) => {
                    foreign += usize::from(error.is_foreign());
                    attempts.push(error.to_string());
                }
            }
        }
    }
    if foreign > 0 && foreign == attempts.len() {
        return Err(JoinError::Foreign);
    }
    Err(unreachable(if attempts.is_empty() {
        "no `--endpoint` is given".to_owned()
    } else {
        attempts.join("; ")
    }))
}

async fn ask(session: &Session, request: JoinRequest) -> Result<Joined, JoinError> {
    let frame = EnrollRequest::Join(request).to_frame();
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, session.request_one(&frame)).await;
    session.close(CloseCode::Done, "");
    let lost = |why: String| JoinError::Lost { why };
    let frame = answer.map_err(|_| lost("it took too long".to_owned()))?;
    let frame = frame.map_err(|error| lost(error.to_string()))?;
    match EnrollReply::from_frame(&frame).map_err(|error| lost(error.to_string()))? {
        EnrollReply::Joined(joined) => Ok(joined),
        EnrollReply::Refused { code, message } => Err(JoinError::Refused { code, message }),
        EnrollReply::Issued { .. } => Err(lost("it is of another request".to_owned())),
    }
}
