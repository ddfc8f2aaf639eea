//! `trimaran cluster status|members|token` and `trimaran audit list|verify`.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use trimaran_model::error_code;
use trimaran_wire::document::{AuditDocument, AuditList, ClusterStatus};
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody};

use crate::arguments::RequestIdArg;
use crate::enrollment::enroll;
use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::{Cell, OutputForm, Table, Ui, printable};

/// The coordinators themselves.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran cluster status\n  trimaran cluster members\n  trimaran cluster token c2"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Leader, members, time and alarms.
    #[command(after_help = "Examples:\n  trimaran cluster status\n  trimaran cluster status -o json")]
    Status,
    /// List the members.
    #[command(after_help = "Examples:\n  trimaran cluster members")]
    Members,
    /// Make a one-time token for a further coordinator.
    #[command(after_help = "Examples:\n  trimaran cluster token c2")]
    Token {
        /// The name of the new coordinator.
        name: String,
        #[command(flatten)]
        request: RequestIdArg,
    },
}

/// The hash-chained record of who did what.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran audit list --since 100\n  trimaran audit verify")]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    verb: AuditVerb,
}

#[derive(Debug, clap::Subcommand)]
enum AuditVerb {
    /// List records.
    #[command(after_help = "Examples:\n  trimaran audit list\n  trimaran audit list --since 100 -o json")]
    List {
        /// Only records after this number.
        #[arg(long, default_value_t = 0)]
        since: u64,
        /// Show at most N.
        #[arg(long, default_value_t = 1000, value_name = "N")]
        limit: u32,
    },
    /// Check that no record was changed, left out or moved.
    #[command(after_help = "Examples:\n  trimaran audit verify\n  trimaran audit verify -o json")]
    Verify,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let remote = Remote::new(ui)?;
    match &args.verb {
        Verb::Token { name, request } => {
            return enroll(&remote, request, EnrollOrder::Coordinator { name: name.clone() }, ui);
        }
        Verb::Status => remote
            .read::<ClusterStatus>(OperatorBody::ClusterStatus)?
            .print(ui, |cluster| status(cluster, ui)),
        Verb::Members => remote
            .read::<ClusterStatus>(OperatorBody::ClusterStatus)?
            .print(ui, |cluster| ui.table(&members(cluster))),
    }
    Ok(0)
}

fn status(cluster: &ClusterStatus, ui: &Ui) {
    let leader = cluster.leader.as_deref().unwrap_or("none");
    ui.print(&format!(
        "cluster {}  leader {leader} (term {})  revision {}  epoch {}  wall {}",
        cluster.cluster_id, cluster.term, cluster.revision, cluster.epoch, cluster.wall
    ));
    ui.table(&members(cluster));
    for alarm in &cluster.alarms {
        ui.print(&format!(
            "alarm {}: {} (since {}; to clear it: {})",
            alarm.code,
            printable(&alarm.message),
            ui.view().time(&alarm.since),
            alarm.clears
        ));
    }
}

fn members(cluster: &ClusterStatus) -> Table {
    let head = ["MEMBER", "ROLE", "STATE", "ADDRESS", "APPLIED", "DISK FREE", "REFUSED HANDSHAKES / FRAMES"];
    let mut table = Table::new(&head);
    for member in &cluster.members {
        table.row([
            Cell::from(&member.name),
            Cell::from(&member.role),
            Cell::Status(member.state.clone()),
            Cell::from(&member.address),
            member.applied.to_string().into(),
            format!("{} MiB", member.disk_free >> 20).into(),
            format!("{} / {}", member.refused.handshakes, member.refused.frames).into(),
        ]);
    }
    table
}

pub(crate) fn audit(args: &AuditArgs, ui: &Ui) -> Result<u8, CliError> {
    let remote = Remote::new(ui)?;
    match args.verb {
        AuditVerb::List { since, limit } => {
            let body = OperatorBody::AuditList { since_seq: since, limit };
            remote.read::<AuditList>(body)?.print(ui, |list| ui.table(&records(list)));
        }
        AuditVerb::Verify => verify(&remote, ui)?,
    }
    Ok(0)
}

fn records(list: &AuditList) -> Table {
    let mut table = Table::new(&["SEQ", "AT", "IDENTITY", "VERB", "OBJECT", "OUTCOME"]);
    for it in &list.records {
        let texts = [&it.identity, &it.verb, &it.object, &it.outcome].map(Cell::from);
        table.row([it.seq.to_string().into(), Cell::Time(Some(it.at.clone()))].into_iter().chain(texts));
    }
    table
}

/// Reads the whole chain in pages and computes every hash again.
fn verify(remote: &Remote, ui: &Ui) -> Result<(), CliError> {
    let (mut seq, mut hash) = (0, String::new());
    loop {
        let body = OperatorBody::AuditList { since_seq: seq, limit: 1000 };
        let page = remote.read::<AuditList>(body)?.document.records;
        if page.is_empty() {
            match ui.form() {
                OutputForm::Table => ui.print(&format!("{seq} records, chain intact")),
                _ => {
                    let verified =
                        json!({"schema": "trimaran.audit_verified/v1", "records": seq, "hash": hash});
                    ui.document(&verified);
                }
            }
            return Ok(());
        }
        for record in &page {
            let expected = chained(&hash, record);
            if record.seq != seq + 1 || record.hash != expected {
                return Err(CliError::new(
                    error_code::STORE_DAMAGED,
                    format!("the chain of audit records breaks at {}", record.seq),
                )
                .cause("A record was changed, left out or moved.")
                .help("compare with another coordinator or a backup"));
            }
            (seq, hash) = (record.seq, expected);
        }
    }
}

/// SHA-256 over the previous hash and the record's fields, each on a line of its own.
fn chained(previous: &str, record: &AuditDocument) -> String {
    let text = format!(
        "{previous}\n{}\n{}\n{}\n{}\n{}\n{}",
        record.seq, record.at, record.identity, record.verb, record.object, record.outcome
    );
    trimaran_model::id::Digest(Sha256::digest(text.as_bytes()).into()).to_string()
}
