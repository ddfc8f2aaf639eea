//! `trimaran cluster status|members|token` and `trimaran audit list|verify`.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use trimaran_model::error_code;
use trimaran_wire::document::{AuditDocument, AuditList, ClusterStatus};
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody};

use super::machines::enroll;
use crate::error::CliError;
use crate::remote::{Remote, RequestIdArg};
use crate::ui::{Global, OutputForm, print_document, print_table, print_text, printable};

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
        /// At most so many.
        #[arg(long, default_value_t = 1000)]
        limit: u32,
    },
    /// Check that no record was changed, left out or moved.
    #[command(after_help = "Examples:\n  trimaran audit verify\n  trimaran audit verify -o json")]
    Verify,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let remote = Remote::new(global)?;
    match &args.verb {
        Verb::Token { name, request } => {
            return enroll(&remote, request, EnrollOrder::Coordinator { name: name.clone() }, global);
        }
        Verb::Status => remote.read::<ClusterStatus>(OperatorBody::ClusterStatus)?.print(global, status),
        Verb::Members => remote.read::<ClusterStatus>(OperatorBody::ClusterStatus)?.print(global, members),
    }
    Ok(0)
}

fn status(cluster: &ClusterStatus) {
    let leader = cluster.leader.as_deref().unwrap_or("none");
    print_text(&format!(
        "cluster {}  leader {leader} (term {})  revision {}  epoch {}  wall {}",
        cluster.cluster_id, cluster.term, cluster.revision, cluster.epoch, cluster.wall
    ));
    members(cluster);
    for alarm in &cluster.alarms {
        print_text(&format!(
            "alarm {}: {} (since {}, clears: {})",
            alarm.code,
            printable(&alarm.message),
            alarm.since,
            alarm.clears
        ));
    }
}

fn members(cluster: &ClusterStatus) {
    let rows = cluster.members.iter().map(|member| {
        vec![
            member.name.clone(),
            member.role.clone(),
            member.state.clone(),
            member.address.clone(),
            member.applied.to_string(),
            format!("{} MiB", member.disk_free >> 20),
            format!("{} / {}", member.refused.handshakes, member.refused.frames),
        ]
    });
    let head = ["MEMBER", "ROLE", "STATE", "ADDRESS", "APPLIED", "DISK FREE", "REFUSED HANDSHAKES / FRAMES"];
    print_table(&head, rows.collect());
}

pub(crate) fn audit(args: &AuditArgs, global: &Global) -> Result<u8, CliError> {
    let remote = Remote::new(global)?;
    match args.verb {
        AuditVerb::List { since, limit } => {
            let body = OperatorBody::AuditList { since_seq: since, limit };
            remote.read::<AuditList>(body)?.print(global, |list| {
                let rows = list.records.iter().map(|it| {
                    vec![
                        it.seq.to_string(),
                        it.at.clone(),
                        it.identity.clone(),
                        it.verb.clone(),
                        it.object.clone(),
                        it.outcome.clone(),
                    ]
                });
                print_table(&["SEQ", "AT", "IDENTITY", "VERB", "OBJECT", "OUTCOME"], rows.collect());
            });
        }
        AuditVerb::Verify => verify(&remote, global)?,
    }
    Ok(0)
}

/// Reads the whole chain in pages and computes every hash again.
fn verify(remote: &Remote, global: &Global) -> Result<(), CliError> {
    let (mut seq, mut hash) = (0, String::new());
    loop {
        let body = OperatorBody::AuditList { since_seq: seq, limit: 1000 };
        let page = remote.read::<AuditList>(body)?.document.records;
        if page.is_empty() {
            match global.output {
                OutputForm::Table => print_text(&format!("{seq} records, the chain is whole")),
                form => {
                    let verified =
                        json!({"schema": "trimaran.audit_verified/v1", "records": seq, "hash": hash});
                    print_document(form, &verified);
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
