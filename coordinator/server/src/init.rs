//! `trimaran-coordinator init`: a new cluster with one member, its root key, and the first admin's token.

use std::path::{Path, PathBuf};

use trimaran_engine::Engine;
use trimaran_model::id::{CoordinatorName, Digest, Identity, cluster_name};
use trimaran_model::limits::LEAF_TTL;
use trimaran_process::clock;
use trimaran_store::{Options, Store};
use trimaran_transport::authority::{Authority, ISSUER_DEPTH_MAX, Issuer};
use trimaran_transport::enroll::{Csr, Token, make_key_and_csr};
use trimaran_transport::files::{self, IdentityFiles};
use trimaran_transport::{CertificateStore, Trust, random};
use trimaran_wire::raft;
use trimaran_wire::v1::command::{Command, CommandBody, Entry};
use trimaran_wire::v1::common::WireIdentity;

use trimaran_process::DataDir;
use trimaran_process::files::write_atomically;

use crate::place::Place;

/// The first admin's name.
const ADMIN: &str = "admin";

#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error(transparent)]
    Data(#[from] trimaran_process::data_dir::DataDirError),
    #[error(transparent)]
    Write(#[from] trimaran_process::files::WriteError),
    #[error("{} belongs to {owner} already; a new cluster needs an empty directory", root.display())]
    Exists { root: PathBuf, owner: String },
    #[error("a certificate could not be made")]
    Authority(#[from] trimaran_transport::authority::AuthorityError),
    #[error("a key could not be made")]
    Csr(#[from] trimaran_transport::enroll::CsrError),
    #[error("the identity could not be stored")]
    Files(#[from] files::FilesError),
    #[error("the root can't be read")]
    Trust(#[from] trimaran_transport::pki::trust::TrustError),
    #[error("the store could not be made")]
    Store(#[from] trimaran_store::InitError),
}

/// Makes the cluster and returns the admin's token.
pub(crate) fn init(data: &DataDir, place: &Place, root_key: &Path) -> Result<String, InitError> {
    let name = &place.name;
    if let Some(owner) = owner(data) {
        return Err(InitError::Exists { root: data.root().to_owned(), owner });
    }
    data.create()?;
    let now = clock::system_wall();
    let cluster_id: [u8; 16] = random::bytes();
    let cluster = cluster_name(&cluster_id);
    let root = Authority::new_root(&cluster, now)?;
    write_atomically(root_key, root.key_pem().as_bytes(), 0o600)?;
    let issuer = root.new_issuer(name, ISSUER_DEPTH_MAX, now)?;
    let leaf_key = new_leaf(&issuer, name, now)?;
    files::save_identity(data.root(), &leaf_key)?;
    write_atomically(&data.identity().join("issuer.key.pem"), issuer.key_pem().as_bytes(), 0o600)?;
    write_atomically(&data.identity().join("issuer.pem"), issuer.chain_pem().as_bytes(), 0o644)?;
    let fingerprint = Trust::from_pem(issuer.root_pem())?.root_fingerprint();
    let token = Token::new(random::bytes(), fingerprint);
    let raft_id = random::next_u64() >> 1 | 1;
    let identity = raft::Identity { cluster_id, disk_id: random::bytes(), raft_id };
    let rows = first_rows(&cluster, now.0, &token, place, (&identity, issuer.key_digest()));
    Store::init(&data.store(), identity, &rows, &Options::default())?;
    Ok(token.text())
}

/// Whose directory this is, when it has an owner.
pub(crate) fn owner(data: &DataDir) -> Option<String> {
    let identity = files::load_identity(data.root()).ok().flatten();
    let named = identity.and_then(|files| CertificateStore::new(&files).ok()?.info());
    let used = data.identity().join("cert.pem").exists() || data.store().join("CURRENT").exists();
    named.map(|info| info.identity.to_string()).or(used.then(|| "another process".to_owned()))
}

/// A key and certificate for the coordinator itself.
pub(crate) fn new_leaf(
    issuer: &Issuer,
    name: &CoordinatorName,
    now: trimaran_model::time::WallTime,
) -> Result<IdentityFiles, InitError> {
    let (key, csr) = make_key_and_csr(name.as_str())?;
    let issued = issuer.issue(&Identity::Coordinator(name.clone()), &Csr::parse(&csr)?, now, LEAF_TTL)?;
    Ok(IdentityFiles { cert: issued.pem(), key, ca: issuer.root_pem().to_owned() })
}

/// The state of the new cluster, as its first entry makes it.
fn first_rows(
    cluster: &str,
    wall_ms: i64,
    token: &Token,
    place: &Place,
    identity: (&raft::Identity, Digest),
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let system = |body| Command { identity: WireIdentity::System, request: None, body };
    let bootstrap = CommandBody::Bootstrap {
        cluster: cluster.to_owned(),
        wall_ms,
        incarnation: random::next_u64(),
        admin_token_sha256: token.hash().0,
        admin: ADMIN.to_owned(),
    };
    let member = CommandBody::Member {
        name: place.name.to_string(),
        raft_id: identity.0.raft_id,
        disk: identity.0.disk_id,
        address: place.address(),
        certificate_sha256: [0; 32],
        issuer_sha256: identity.1.0,
        levels: (place.levels().min, place.levels().max),
    };
    let commands = vec![system(bootstrap), system(member), system(CommandBody::Finalize)];
    let entry = Entry { now_ms: 0, commands };
    let applied = Engine::new().apply(1, &entry);
    applied.rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}
