//! A coordinator that was away catches up: by much log without an election, and by a snapshot whose transfer is cut off or whose disk
//! fills in the middle of it.

use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::lab::Lab;
use trimaran_e2e::network::Rule;
use trimaran_test_support::wait::until;

use crate::stand::{Setup, Stand, WAIT_MAX};

const CLIENTS: usize = 4;
/// Bytes of the document that each change writes.
const DOCUMENT_BYTES: usize = 128 << 10;
/// Changes that make a log of 58 MiB, of the 64 that it may have, and some before them, which are cut off before those are.
const LOG_CHANGES: usize = 464;
const EARLIER_CHANGES: usize = 16;
/// Documents that make a snapshot of about 24 MiB.
const SNAPSHOT_CHANGES: usize = 192;
/// Entries between snapshot positions where a snapshot is wanted.
const SNAPSHOT_ENTRIES: &str = "20";
/// A link on which a snapshot takes long: a third of what the leader sends is lost, and the rest comes late.
const SLOW: Rule = Rule { lost: 300, repeated: 0, damaged: 0, delay_max: Duration::from_millis(30) };

/// A pipeline's file with a document of this size.
fn document(name: &str, number: usize) -> String {
    let head = format!(
        "trimaran: v1\npipeline: {name}\nowner: team-web\nartifacts:\n  bundle: {{ file: \"http://127.0.0.1:9/{{version}}\" }}\n\
         workload:\n  host:\n    unpack: bundle\n    process: {{ command: [bin/web] }}\n    health: {{ tcp: \":9\" }}\n\
         environments: [{{ name: staging, targets: [lab-staging] }}]\n"
    );
    // Nothing that a compressor makes small.
    let noise = |line: usize| {
        let mut word = trimaran_test_support::seed::number(number as u64, line as u64);
        let mut text = String::from("# ");
        while text.len() < 98 {
            text.push_str(&format!("{word:016x}"));
            word = trimaran_test_support::seed::number(word, 1);
        }
        text.push('\n');
        text
    };
    let lines: String = (0..DOCUMENT_BYTES / 99).map(noise).collect();
    head + &lines
}

/// Writes so many documents, each of its own or all of one pipeline a client.
fn write(lab: &Lab, changes: usize, each_of_its_own: bool) {
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                for number in (client..changes).step_by(CLIENTS) {
                    let name =
                        if each_of_its_own { format!("big-{number}") } else { format!("big-{client}") };
                    let file = format!("{name}.yaml");
                    std::fs::write(lab.folder.path().join(&file), document(&name, number)).expect("a file");
                    lab.ok(&["apply", &file]);
                }
            });
        }
    });
}

/// Writes one document through whoever accepts it.
pub(crate) fn write_document(lab: &Lab, number: usize) {
    std::fs::write(lab.folder.path().join("large.yaml"), document("large", number)).expect("a file");
    // While the leader's disk is full it is refused.
    lab.run(&["apply", "large.yaml"]);
}

fn member(status: &Value, name: &str) -> Value {
    let members = status["members"].as_array().expect("a list");
    members.iter().find(|it| it["name"] == name).cloned().expect("a member")
}

fn number(document: &Value, field: &str) -> u64 {
    document[field].as_u64().expect("a number")
}

/// A follower that needs almost all of the log gets it behind all other traffic: heartbeats come in time.
pub(crate) fn much_log_without_an_election(seed: u64) {
    let stand = Stand::new(seed, Setup::default());
    let leader = stand.leader();
    let [away, _] = stand.followers(&leader);
    write(&stand.lab, EARLIER_CHANGES, false);
    let before = stand.wait_whole();
    stand.lab.kill(away);
    write(&stand.lab, LOG_CHANGES, false);
    let (mut behind, began, log_before) = (None, Instant::now(), stand.log(away).len());
    stand.start(away);
    until("it has caught up", WAIT_MAX, || {
        let status = stand.status()?;
        let it = member(&status, away);
        if it["state"] == "alive" {
            behind.get_or_insert(number(&member(&status, &leader), "applied") - number(&it, "applied"));
        }
        (it["hash"] == member(&status, &leader)["hash"]).then_some(())
    });
    eprintln!("{behind:?} entries behind, caught up after {:?}", began.elapsed());
    let log = &stand.log(away)[log_before..];
    assert!(!log.contains("a snapshot is received"), "it got the log: {log}");
    let whole = stand.wait_whole();
    assert_eq!(number(&whole, "term"), number(&before, "term"), "no one was elected: {whole:#}");
    assert_eq!(whole["leader"], leader.as_str());
}

/// A cluster in which one coordinator needs a snapshot that is large, and the link to it is slow.
struct Transfer {
    stand: Stand,
    leader: String,
    away: String,
    /// Bytes of its log from before.
    log_before: usize,
}

impl Transfer {
    fn new(seed: u64, setup: Setup) -> Self {
        let mut stand = Stand::new(seed, setup);
        stand.more_arguments = vec!["--snapshot-entries".to_owned(), SNAPSHOT_ENTRIES.to_owned()];
        for name in stand.names.clone() {
            stand.wait_whole();
            stand.lab.kill(&name);
            stand.start(&name);
        }
        stand.wait_whole();
        let leader = stand.leader();
        let away = stand.followers(&leader)[0].to_owned();
        stand.lab.kill(&away);
        write(&stand.lab, SNAPSHOT_CHANGES, true);
        stand.network.set(&leader, &away, SLOW);
        let log_before = stand.log(&away).len();
        stand.start(&away);
        let transfer = Self { stand, leader, away, log_before };
        transfer.wait_receives(1);
        transfer
    }

    /// What it said since then.
    fn log(&self) -> String {
        self.stand.log(&self.away)[self.log_before..].to_owned()
    }

    /// Waits until so many snapshots began to arrive.
    fn wait_receives(&self, count: usize) {
        until("a snapshot is received", WAIT_MAX, || {
            (self.log().matches("a snapshot is received").count() >= count).then_some(())
        });
    }

    fn has_installed(&self) -> bool {
        self.log().contains("the leader's snapshot is installed")
    }

    /// Everything is there, and the one that was away leads as any.
    fn check(&self) {
        let whole = self.stand.wait_whole();
        assert!(self.has_installed(), "{}", self.log());
        assert!(number(&member(&whole, &self.away), "first_index") > 1, "{whole:#}");
        self.stand.make_lead(&self.away);
        let address = self.stand.lab.part(&self.away).address;
        let status = self.stand.lab.json(&["--endpoint", &address, "cluster", "status"]);
        assert_eq!(status["leader"], self.away.as_str());
        write(&self.stand.lab, CLIENTS, true);
        self.stand.wait_whole();
    }
}

/// The receiver dies in the middle, twice, and starts again.
pub(crate) fn receiver_killed(seed: u64) {
    let transfer = Transfer::new(seed, Setup::default());
    let Transfer { stand, away, .. } = &transfer;
    for time in 1..=2 {
        transfer.wait_receives(time);
        stand.lab.kill(away);
        assert!(!transfer.has_installed(), "it dies in the middle of the transfer");
        stand.start(away);
    }
    transfer.wait_receives(3);
    stand.network.heal();
    transfer.check();
}

/// No space is left in the middle: that is said, what was staged goes, and it comes again when there is space.
pub(crate) fn receivers_disk_fills(seed: u64) {
    let transfer = Transfer::new(seed, Setup { small_disks: true });
    let Transfer { stand, leader, away, .. } = &transfer;
    stand.fill_disk(away);
    assert!(!transfer.has_installed(), "its disk is full in the middle of the transfer");
    let pid = stand.pid(away);
    let full = "the disk is full; free at least 1 GiB";
    until("it says what is missing", WAIT_MAX, || {
        let log = transfer.log();
        (log.contains("a snapshot is not taken now") && log.contains(full)
            || log.contains(full) && !trimaran_e2e::lab::is_alive(pid))
        .then_some(())
    });
    assert!(!transfer.has_installed());
    // The others are as they were.
    assert_eq!(stand.leader(), *leader);
    write(&stand.lab, CLIENTS, true);
    stand.network.heal();
    stand.empty_disk(away);
    if !trimaran_e2e::lab::is_alive(pid) {
        stand.start(away);
    }
    transfer.check();
}
