//! `trimaran-coordinator restore`: a coordinator is made of a backup, the only one of its cluster.
//!
//! The store gets the rows of the backup and one entry behind them, which adds this member, removes all others and makes the
//! cluster observe (`trimaran_engine`, command `restore`). Keys are new: the root's key, which the operator kept, certifies an
//! issuing key as at the begin of the cluster. What was enrolled with the cluster stays so.
//!
//! The identity is written last: a restore that was broken off leaves a directory that no coordinator starts from.
//! Not here: what makes it go on (`trimaran cluster resume`).

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use trimaran_engine::Outcome;
use trimaran_member::{EngineMachine as _, EngineStateMachine};
use trimaran_model::error_code;
use trimaran_model::id::{Digest, cluster_name};
use trimaran_model::report::Report;
use trimaran_process::files::write_atomically;
use trimaran_process::{DataDir, clock};
use trimaran_replica::{EntryMeta, StateMachine as _};
use trimaran_store::{Options, Store, WriteError};
use trimaran_transport::authority::{Authority, ISSUER_DEPTH_MAX, Issuer};
use trimaran_transport::files;
use trimaran_wire::backup::BackupHeader;
use trimaran_wire::codec::Message as _;
use trimaran_wire::document::rfc3339;
use trimaran_wire::raft;
use trimaran_wire::v1::command::{Command, CommandBody, Entry};
use trimaran_wire::v1::common::WireIdentity;

use crate::init::{new_leaf, owner};
use crate::place::Place;
use crate::verify_backup::make_store;
use crate::{exit_codes, run};

/// Restores into an empty directory; what it says is for its operator.
pub(crate) fn restore(
    backup: &Path,
    root_key: &Path,
    data: &DataDir,
    place: &Place,
) -> Result<String, Report> {
    refuse_used(data)?;
    if !place.is_dialable() {
        let message = format!("no one can dial {}; say where it is with `--advertise`", place.address());
        return Err(Report::new(error_code::USAGE, message));
    }
    let header = trimaran_wire::backup::BackupReader::new(open(backup)?).header().map_err(|error| {
        Report::because(error_code::BACKUP, format!("{} is no whole backup", backup.display()), &error)
    })?;
    let issuer = certify(&header, root_key, place)?;
    let unusable = |error: &dyn std::error::Error| {
        Report::because(error_code::DATA_DIR, "the directory can't be used", error)
    };
    data.create().map_err(|error| unusable(&error))?;
    let (header, _, identity) = make_store(backup, &data.store())?;
    let said = observe(data, &header, &identity, (place, issuer.key_digest()))?;
    let leaf = new_leaf(&issuer, &place.name, clock::system_wall()).map_err(|error| unusable(&error))?;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data.identity());
    made.map_err(|error| unusable(&error))?;
    let issuer_file = |name: &str| data.identity().join(name);
    write_atomically(&issuer_file("issuer.key.pem"), issuer.key_pem().as_bytes(), 0o600)
        .and_then(|()| write_atomically(&issuer_file("issuer.pem"), issuer.chain_pem().as_bytes(), 0o644))
        .map_err(|error| unusable(&error))?;
    files::save_identity(data.root(), &leaf).map_err(|error| unusable(&error))?;
    Ok(said)
}

/// Refuses a directory with anything in it, also what an earlier restore left that broke off.
fn refuse_used(data: &DataDir) -> Result<(), Report> {
    let used = std::fs::read_dir(data.root()).is_ok_and(|mut entries| entries.next().is_some());
    if !used {
        return Ok(());
    }
    let whose = owner(data).map_or_else(String::new, |owner| format!(" and belongs to {owner}"));
    let message =
        format!("{} is not empty{whose}; a restore needs an empty directory", data.root().display());
    Err(Report::new(error_code::DATA_DIR, message))
}

fn open(file: &Path) -> Result<std::io::BufReader<std::fs::File>, Report> {
    let opened = std::fs::File::open(file).map_err(|error| {
        Report::because(error_code::BACKUP, format!("{} can't be read", file.display()), &error)
    })?;
    Ok(std::io::BufReader::new(opened))
}

/// A new issuing key, certified by the root that the backup names.
fn certify(header: &BackupHeader, root_key: &Path, place: &Place) -> Result<Issuer, Report> {
    let shown = root_key.display();
    let key = std::fs::read_to_string(root_key).map_err(|error| {
        Report::because(error_code::IDENTITY, format!("the root key {shown} can't be read"), &error)
    })?;
    let unfit = |error: trimaran_transport::authority::AuthorityError| {
        let message = format!("{shown} is not the root key of cluster {}", cluster_name(&header.cluster_id));
        Report::because(error_code::IDENTITY, message, &error)
    };
    let root = Authority::from_pem(&key, &header.root_pem).map_err(unfit)?;
    root.new_issuer(&place.name, ISSUER_DEPTH_MAX, clock::system_wall()).map_err(unfit)
}

/// Applies the entry behind the rows, and writes what it changes as one record.
fn observe(
    data: &DataDir,
    header: &BackupHeader,
    identity: &raft::Identity,
    (place, issuer): (&Place, Digest),
) -> Result<String, Report> {
    let (store, loaded) =
        Store::open(&data.store(), &Options::default()).map_err(|error| exit_codes::open(&error))?;
    let levels = place.levels();
    let engine = run::load_engine(&store)?;
    run::check_level(&engine, levels)?;
    let mut machine = EngineStateMachine::new(engine, levels);
    let at = EntryMeta { index: loaded.applied.index + 1, term: header.meta.term + 1 };
    let member = CommandBody::Member {
        name: place.name.to_string(),
        raft_id: identity.raft_id,
        disk: identity.disk_id,
        address: place.address(),
        certificate_sha256: [0; 32],
        issuer_sha256: issuer.0,
        levels: (levels.min, levels.max),
    };
    let restore = CommandBody::Restore { raft_id: identity.raft_id };
    let system = |body| Command { identity: WireIdentity::System, request: None, body };
    let now_ms = machine.engine().now().0;
    // Certificates are of today, however old the backup is.
    let wall = clock::system_wall().0.max(header.wall_ms);
    let offset_ms = wall - i64::try_from(now_ms).unwrap_or(i64::MAX);
    let commands =
        vec![system(CommandBody::WallOffset { offset_ms, jump: false }), system(member), system(restore)];
    let entry = Entry { now_ms, commands };
    let applied = machine
        .apply(at, &entry.to_bytes())
        .map_err(|error| Report::because(error_code::BUG, "the restore can't be applied", &error))?;
    if applied.reply != [Outcome::Nothing, Outcome::Nothing, Outcome::Nothing] {
        let message = format!("the restore was not applied: {:?}", applied.reply);
        return Err(Report::new(error_code::BUG, message));
    }
    let failed =
        |error: WriteError| Report::because(error_code::DATA_DIR, "the store can't be written", &error);
    store.recover(at, &applied.rows, machine.hash()).map_err(failed)?;
    let wall = rfc3339(trimaran_model::time::WallTime(header.wall_ms));
    Ok(format!(
        "`{}` is the only coordinator of cluster {} now, as it was at revision {} on {wall}\n\
         what was done after that is not in it: check which runs, tokens and enrolments are missing\n\
         it only observes: no agent gets an order, and nothing is changed on any host\n\
         next: end every other coordinator of the cluster for good, start this one with `trimaran-coordinator run`, then \
         `trimaran cluster resume --yes`",
        place.name,
        machine.engine().cluster(),
        header.meta.index,
    ))
}
