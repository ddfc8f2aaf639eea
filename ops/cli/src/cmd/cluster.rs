//! `trimaran cluster status|members|token|promote|remove|transfer|backup|resume|finalize` and `trimaran audit list|verify`.

mod backup;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use trimaran_model::error_code;
use trimaran_wire::document::{
    AuditDocument, AuditList, ClusterFinalized, ClusterResumed, ClusterStatus, MemberChanged,
    NextLevelDocument,
};
use trimaran_wire::v1::command::WireMemberChange as Change;
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody};

use crate::arguments::RequestIdArg;
use crate::confirmation::confirm;
use crate::enrollment::enroll;
use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::{Cell, OutputForm, Table, Ui, View, printable};

/// The coordinators themselves.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran cluster status\n  trimaran cluster members\n  trimaran cluster token c4\n  trimaran cluster remove c2\n  trimaran cluster backup create monday.backup"
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
    /// Give a coordinator its vote now; it gets it automatically when it has caught up.
    #[command(after_help = "Examples:\n  trimaran cluster promote c4")]
    Promote {
        /// The name of the coordinator.
        name: String,
        #[command(flatten)]
        request: RequestIdArg,
    },
    /// Remove a coordinator for ever, also one that is gone or that leads; its keys are refused from then on.
    #[command(after_help = "Examples:\n  trimaran cluster remove c2\n  trimaran cluster remove c2 --yes")]
    Remove {
        /// The name of the coordinator.
        name: String,
        /// Remove it without asking
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        request: RequestIdArg,
    },
    /// Make a coordinator the leader, for example before the one that leads is stopped.
    #[command(after_help = "Examples:\n  trimaran cluster transfer c3")]
    Transfer {
        /// The name of the coordinator.
        name: String,
        #[command(flatten)]
        request: RequestIdArg,
    },
    /// Everything that the cluster has stored, as a file: make one, list and check those that there are.
    #[command(
        after_help = "Examples:\n  trimaran cluster backup create monday.backup\n  trimaran cluster backup list /var/backups/trimaran\n  trimaran cluster backup verify monday.backup"
    )]
    Backup {
        #[command(subcommand)]
        verb: backup::Verb,
    },
    /// After a restore from a backup: it is this cluster that goes on.
    ///
    /// Before that it only observes: agents are refused, and nothing is ordered. Afterwards each installation waits for
    /// `trimaran installation adopt` or `reapply`, and each run that was in progress for `trimaran resume` or `cancel`.
    #[command(
        after_help = "Examples:\n  trimaran cluster resume --yes\n  trimaran cluster resume --epoch 9 --yes -o json"
    )]
    Resume {
        /// The cluster's next epoch, above every one that an agent has seen; needed when an agent claims one that is far above
        #[arg(long, value_name = "N")]
        epoch: Option<u16>,
        /// Resume without asking
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        request: RequestIdArg,
    },
    /// After an upgrade of every coordinator: raise the feature level, so that the cluster does what the new build brings.
    ///
    /// Until then each coordinator can go back to the build before; afterwards none can. Refused, with names, while a
    /// coordinator does not support the level.
    #[command(
        after_help = "Examples:\n  trimaran cluster finalize --check\n  trimaran cluster finalize\n  trimaran cluster finalize -o json"
    )]
    Finalize {
        /// Only say what would happen; ends with 6 when it would be refused
        #[arg(long)]
        check: bool,
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
    let remote = || Remote::new(ui);
    match &args.verb {
        Verb::Backup { verb } => return backup::run(verb, ui),
        Verb::Promote { name, request } => return change(&remote()?, request, (name, Change::Promote), ui),
        Verb::Transfer { name, request } => return change(&remote()?, request, (name, Change::Transfer), ui),
        Verb::Remove { name, yes, request } => {
            let remote = remote()?;
            if !yes {
                confirm_removal(&remote, name)?;
            }
            return change(&remote, request, (name, Change::Remove), ui);
        }
        Verb::Resume { epoch, yes, request } => {
            let remote = remote()?;
            if !yes {
                confirm_resumption(&remote)?;
            }
            let answer =
                remote.change::<ClusterResumed>(request, OperatorBody::ResumeCluster { epoch: *epoch })?;
            answer.print(ui, |it| ui.print(&resumed(it)));
            return Ok(0);
        }
        Verb::Finalize { check: true, .. } => return check_level(&remote()?, ui),
        Verb::Finalize { check: false, request } => {
            let answer = remote()?.change::<ClusterFinalized>(request, OperatorBody::Finalize)?;
            answer.print(ui, |it| ui.print(&format!("the cluster is at feature level {}", it.feature_level)));
        }
        Verb::Token { name, request } => {
            return enroll(&remote()?, request, EnrollOrder::Coordinator { name: name.clone() }, ui);
        }
        Verb::Status => remote()?
            .read::<ClusterStatus>(OperatorBody::ClusterStatus)?
            .print(ui, |cluster| ui.print(&status(cluster, &ui.view()).join("\n"))),
        Verb::Members => remote()?
            .read::<ClusterStatus>(OperatorBody::ClusterStatus)?
            .print(ui, |cluster| ui.table(&members(cluster))),
    }
    Ok(0)
}

/// What `finalize` would do.
fn check_level(remote: &Remote, ui: &Ui) -> Result<u8, CliError> {
    let answer = remote.read::<ClusterStatus>(OperatorBody::ClusterStatus)?;
    let cluster = &answer.document;
    match &cluster.next_feature_level {
        Some(NextLevelDocument { level, lacking }) if !lacking.is_empty() => {
            let names = lacking.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let message =
                format!("feature level {level} is not supported by {names}: upgrade first what lacks it");
            Err(CliError::new(error_code::FEATURE_LEVEL, message))
        }
        next => {
            let said = next.as_ref().map_or_else(
                || format!("the cluster is at feature level {}, the newest one", cluster.feature_level),
                |it| {
                    format!(
                        "every coordinator supports feature level {}; the cluster is at {}",
                        it.level, cluster.feature_level
                    )
                },
            );
            answer.print(ui, |_| ui.print(&said));
            Ok(0)
        }
    }
}

fn change(
    remote: &Remote,
    request: &RequestIdArg,
    (name, change): (&str, Change),
    ui: &Ui,
) -> Result<u8, CliError> {
    let body = OperatorBody::ChangeMember { name: name.to_owned(), change };
    let answer = remote.change::<MemberChanged>(request, body)?;
    answer.print(ui, |it| ui.print(&changed(it)));
    Ok(0)
}

fn changed(it: &MemberChanged) -> String {
    let voters = match it.voters.len() {
        1 => format!("{} alone has a vote", it.voters[0]),
        count => format!("{} have a vote, a quorum takes {}", it.voters.join(", "), count / 2 + 1),
    };
    format!("{}: {}; {voters}", it.name, it.change)
}

fn resumed(it: &ClusterResumed) -> String {
    format!(
        "the cluster goes on: epoch {}, incarnation {}\nnext: `trimaran installation list` shows what is to be decided, with \
         `trimaran installation adopt|reapply PIPELINE/ENV/TARGET`",
        it.epoch, it.incarnation
    )
}

/// Shows of which moment the cluster is, and asks for its id.
fn confirm_resumption(remote: &Remote) -> Result<(), CliError> {
    let status = remote.read::<ClusterStatus>(OperatorBody::ClusterStatus)?.document;
    confirm("that this cluster goes on needs a confirmation", &status.cluster_id, || {
        Ok(vec![
            format!("it was restored at revision {}, epoch {}", status.revision, status.epoch),
            "every other coordinator of this cluster has to be ended for good before".to_owned(),
        ])
    })
}

/// Shows who would be left, and asks for the name.
fn confirm_removal(remote: &Remote, name: &str) -> Result<(), CliError> {
    let question = format!("removing the coordinator `{name}` needs a confirmation");
    confirm(&question, name, || {
        let status = remote.read::<ClusterStatus>(OperatorBody::ClusterStatus)?.document;
        let left = status.members.iter().filter(|it| it.name != name && it.role != "learner");
        let left: Vec<String> = left.map(|it| format!("{} ({})", it.name, it.state)).collect();
        Ok(vec![format!("these would be left with a vote: {}", left.join(", "))])
    })
}

fn status(cluster: &ClusterStatus, view: &View) -> Vec<String> {
    let leader = cluster.leader.as_deref().unwrap_or("none");
    let head = format!(
        "cluster {}  leader {leader} (term {})  revision {}  epoch {}  incarnation {}  wall {}",
        cluster.cluster_id, cluster.term, cluster.revision, cluster.epoch, cluster.incarnation, cluster.wall
    );
    let mut lines = view.fit("", "  ", &head);
    let level = cluster.feature_level;
    lines.extend(view.wrap("", "  ", &match &cluster.next_feature_level {
        None => format!("feature level {level}"),
        Some(next) if next.lacking.is_empty() => {
            format!("feature level {level}; every coordinator supports {}: trimaran cluster finalize", next.level)
        }
        Some(next) => format!(
            "feature level {level}; {} does not support {} yet: upgrade it before trimaran cluster finalize",
            next.lacking.join(", "),
            next.level
        ),
    }));
    if cluster.observing {
        lines.push(
            "it was restored from a backup and only observes: trimaran cluster resume --yes".to_owned(),
        );
    }
    lines.push(members(cluster).text(view));
    for alarm in &cluster.alarms {
        let (message, since) = (printable(&alarm.message), view.time(&alarm.since));
        let text = format!("alarm {}: {message} (since {since}; to clear it: {})", alarm.code, alarm.clears);
        lines.extend(view.wrap("", "  ", &text));
    }
    lines
}

fn members(cluster: &ClusterStatus) -> Table {
    let head = [
        "MEMBER",
        "ROLE",
        "STATE",
        "ADDRESS",
        "APPLIED",
        "DISK FREE",
        "REFUSED HANDSHAKES / FRAMES",
        "LEVELS",
    ];
    let mut table = Table::new(&head);
    for member in &cluster.members {
        // Of one that does not answer nothing is known that could be counted.
        let answers = member.state != "unreachable";
        let number = |text: String| Cell::maybe(Some(text.as_str()).filter(|_| answers));
        table.row([
            Cell::from(&member.name),
            Cell::from(&member.role),
            Cell::Status(member.state.clone()),
            Cell::from(&member.address),
            number(member.applied.to_string()),
            number(format!("{} MiB", member.disk_free >> 20)),
            number(format!("{} / {}", member.refused.handshakes, member.refused.frames)),
            Cell::from(&format!("{}-{}", member.feature_levels.min, member.feature_levels.max)),
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

#[cfg(test)]
mod tests {
    use trimaran_wire::document::{
        AlarmDocument, HashDocument, LevelsDocument, MemberDocument, RefusedDocument,
    };

    use super::*;
    use crate::samples;

    fn member(name: &str, role: &str) -> MemberDocument {
        MemberDocument {
            name: name.to_owned(),
            role: role.to_owned(),
            address: "10.20.30.41:7700".to_owned(),
            applied: 1_234_567,
            hash: HashDocument { revision: 1_234_567, value: "ab".repeat(8) },
            first_index: 1,
            snapshot_index: 0,
            disk_free: 48 << 30,
            state: "alive".to_owned(),
            refused: RefusedDocument { handshakes: 3, frames: 0 },
            feature_levels: LevelsDocument { min: 1, max: 2 },
        }
    }

    #[test]
    fn the_cluster_and_its_alarms_fit_any_terminal() {
        let alarm = AlarmDocument {
            code: "disk_low".to_owned(),
            message: "coordinator `c1` has 612 MiB free of 20480 MiB and refuses changes".to_owned(),
            since: samples::START.to_owned(),
            clears: "free space on the disk of `c1`".to_owned(),
        };
        let cluster = ClusterStatus {
            cluster_id: "019e1b2c-4d5e-7f60-8a9b-0c1d2e3f4a5b".to_owned(),
            epoch: 1,
            incarnation: "00c0ffee00c0ffee".to_owned(),
            observing: false,
            leader: Some("c1".to_owned()),
            term: 4,
            revision: 1_234_567,
            now: 60_000,
            wall: samples::START.to_owned(),
            feature_level: 1,
            next_feature_level: None,
            members: vec![member("c1", "voter"), member("c2", "learner")],
            alarms: vec![alarm],
        };
        insta::assert_snapshot!(samples::at_widths(|view| status(&cluster, view).join("\n")));
    }

    #[test]
    fn a_member_that_does_not_answer_has_no_numbers() {
        let gone = MemberDocument { state: "unreachable".to_owned(), ..member("c2", "follower") };
        let cluster = ClusterStatus {
            cluster_id: "c".to_owned(),
            epoch: 1,
            incarnation: "00c0ffee00c0ffee".to_owned(),
            observing: false,
            leader: Some("c1".to_owned()),
            term: 1,
            revision: 1,
            now: 1,
            wall: samples::START.to_owned(),
            feature_level: 1,
            next_feature_level: None,
            members: vec![member("c1", "leader"), gone],
            alarms: Vec::new(),
        };
        let shown = samples::at_widths(|view| status(&cluster, view).join("\n"));
        assert!(shown.contains("c2\tfollower\tunreachable\t10.20.30.41:7700\t-\t-\t-"), "{shown}");
        let lacks = |lacking: &[&str]| {
            let lacking = lacking.iter().map(|name| (*name).to_owned()).collect();
            let next = Some(NextLevelDocument { level: 2, lacking });
            status(&ClusterStatus { next_feature_level: next, ..cluster.clone() }, &View::pipe()).join("\n")
        };
        assert!(
            lacks(&[]).contains("feature level 1; every coordinator supports 2: trimaran cluster finalize")
        );
        assert!(lacks(&["c2"]).contains("c2 does not support 2 yet"));
        let observing = ClusterStatus { observing: true, ..cluster };
        let shown = samples::at_widths(|view| status(&observing, view).join("\n"));
        assert!(shown.contains("only observes: trimaran cluster resume --yes"), "{shown}");
    }

    #[test]
    fn the_audit_log_fits_any_terminal() {
        let record = |seq, verb: &str, object: &str, outcome: &str| AuditDocument {
            seq,
            at: samples::START.to_owned(),
            identity: "operator/admin".to_owned(),
            verb: verb.to_owned(),
            object: object.to_owned(),
            outcome: outcome.to_owned(),
            hash: "ab".repeat(32),
        };
        let records = vec![
            record(141, "deploy", "web v10: web#9", "ok"),
            record(142, "approve", "web#9/prod/approve: promote", "refused: TR2305"),
        ];
        insta::assert_snapshot!(samples::at_widths(|view| super::records(&AuditList {
            records: records.clone()
        })
        .text(view)));
    }
}
