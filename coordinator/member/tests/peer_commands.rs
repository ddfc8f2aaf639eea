//! What a peer passes on to the leader: what is out of its bounds or not for a peer to give is answered with why, and no
//! entry has anything of it.

mod alone;

use std::collections::BTreeMap;

use trimaran_member::{EngineStateMachine, Input, Member, Output};
use trimaran_model::limits::{
    COMMAND_BYTES_MAX, COMMENT_BYTES_MAX, INSTANCES_REPORTED_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX,
};
use trimaran_model::time::Timestamp;
use trimaran_replica::Written;
use trimaran_replica::memory::MemoryStore;
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::{AgentVerdict, Progress};
use trimaran_wire::v1::assignment::{WireFailure, WireOutcome};
use trimaran_wire::v1::command::{Command, CommandBody, Entry, RunnerChange, TokenGrant, WireMemberChange};
use trimaran_wire::v1::common::{WireIdentity, WireInstallation, WireRun};
use trimaran_wire::v1::peer::{MembersRequest, PeerMessage, WireProposed};

use alone::WALL;

/// The member that passes commands on.
const PEER: u64 = 2;

/// The only voter of its cluster, which leads.
struct Leader {
    member: Member<EngineStateMachine, (), ()>,
    store: MemoryStore,
    now: Timestamp,
    answers: Vec<(u64, WireProposed)>,
}

impl Leader {
    fn new() -> Self {
        let now = Timestamp(1000);
        let (member, store) = alone::start(now);
        let mut leader = Self { member, store, now, answers: Vec::new() };
        leader.step(Input::Due);
        while !leader.member.status(leader.now).leads() {
            leader.pass();
        }
        leader
    }

    fn step(&mut self, input: Input<(), ()>) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut out = Vec::new();
            self.member.step(self.now, WALL, input, &mut out);
            for output in out {
                match output {
                    Output::Write(job) => {
                        let number = job.number;
                        self.store.write(vec![job]);
                        inputs.insert(0, Input::Written(Written { number }));
                    }
                    Output::SendPeer { to: PEER, message: PeerMessage::Proposed { number, answer } } => {
                        self.answers.push((number, answer));
                    }
                    Output::Fatal(fatal) => panic!("{fatal}"),
                    _ => {}
                }
            }
        }
    }

    fn pass(&mut self) {
        self.now = self.now + trimaran_model::time::Millis(50);
        self.step(Input::Due);
    }

    /// What the peer is answered, and by how many entries the log grew meanwhile.
    fn answer(&mut self, message: PeerMessage) -> (WireProposed, u64) {
        let before = self.member.replica_status().last;
        self.step(Input::PeerMessage { from: PEER, message });
        for _ in 0..20 {
            if let Some((number, answer)) = self.answers.pop() {
                assert_eq!(number, 5);
                return (answer, self.member.replica_status().last - before);
            }
            self.pass();
        }
        panic!("no answer");
    }

    fn command(&mut self, command: Command) -> (WireProposed, u64) {
        self.answer(PeerMessage::Command { number: 5, wait_ms: 10_000, command })
    }
}

fn system(body: CommandBody) -> Command {
    Command { identity: WireIdentity::System, request: None, body }
}

fn operator(body: CommandBody) -> Command {
    let identity = WireIdentity::Operator { name: "admin".to_owned(), role: "admin".to_owned() };
    Command { identity, request: None, body }
}

fn agent(body: CommandBody) -> Command {
    Command { identity: WireIdentity::Agent("lab".to_owned()), request: None, body }
}

fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

fn failure(code: &str, message: usize) -> WireFailure {
    WireFailure { code: code.to_owned(), message: long(message), instance: None }
}

fn progress() -> Progress {
    Progress {
        assignment: 1,
        fence: 1,
        done: 0,
        total: 1,
        failed: Vec::new(),
        lost: Vec::new(),
        failure: None,
        instances: Vec::new(),
    }
}

fn result(outcome: WireOutcome, progress: Progress) -> Command {
    agent(CommandBody::Result { assignment: 1, fence: 1, outcome, progress })
}

fn verdict(verdict: &str, down: u32) -> Command {
    let installation = WireInstallation { pipeline: "web".to_owned(), target: "lab".to_owned() };
    let (verdict, failure, hosts, blind_since_ms) = (verdict.to_owned(), None, None, None);
    agent(CommandBody::Verdict(AgentVerdict {
        installation,
        fence: 1,
        verdict,
        failure,
        down,
        hosts,
        blind_since_ms,
    }))
}

/// Out of bounds, each in one field.
fn too_large() -> Vec<Command> {
    let run = || WireRun { pipeline: "web".to_owned(), number: 1 };
    let approve = |run, option, comment| {
        operator(CommandBody::Approve { run, stage: None, option, plan_digest: None, comment })
    };
    let rollback = |pipeline: String, reason: String, overrides: Vec<String>| {
        operator(CommandBody::Rollback {
            pipeline,
            environment: "prod".to_owned(),
            to: None,
            from: None,
            restore_from: None,
            reason,
            overrides,
        })
    };
    let token = |grant| operator(CommandBody::CreateToken { token_sha256: [2; 32], grant });
    let labels = |count: usize| (0..count).map(|it| (format!("key-{it}"), "x".to_owned())).collect();
    let runner = |name: String, labels: BTreeMap<String, String>| {
        token(TokenGrant::Runner { name, agent: "lab".to_owned(), labels })
    };
    let attach = |coordinator: String, address: String, platforms: Vec<String>| {
        let (epoch_seen, incarnation_seen) = (1, 1);
        agent(CommandBody::Attach {
            incarnation: 1,
            coordinator,
            address,
            epoch_seen,
            incarnation_seen,
            platforms,
        })
    };
    let comment = COMMENT_BYTES_MAX + 1;
    vec![
        approve(run(), Some(long(NAME_BYTES_MAX + 1)), String::new()),
        approve(run(), None, long(comment)),
        approve(WireRun { pipeline: long(1 << 20), number: 1 }, None, String::new()),
        rollback("Web!".to_owned(), String::new(), Vec::new()),
        rollback("web".to_owned(), long(comment), Vec::new()),
        rollback("web".to_owned(), String::new(), vec!["traffic".to_owned(); 1000]),
        runner(long(NAME_BYTES_MAX + 1), BTreeMap::new()),
        runner("host-1".to_owned(), labels(1000)),
        operator(CommandBody::Runners { names: vec!["h".to_owned(); 100_000], change: RunnerChange::Drain }),
        attach(long(NAME_BYTES_MAX + 1), String::new(), Vec::new()),
        attach("c1".to_owned(), long(1000), Vec::new()),
        attach("c1".to_owned(), String::new(), vec!["hosts".to_owned(); 100]),
        agent(CommandBody::Commit { n: 1, body: vec![0; 512 * 1024], progress: progress() }),
        result(WireOutcome::Done, Progress { done: u32::MAX, ..progress() }),
        result(
            WireOutcome::Done,
            Progress { failed: vec!["h".to_owned(); INSTANCES_REPORTED_MAX + 1], ..progress() },
        ),
        result(WireOutcome::Failed(failure("no_such_code", 1)), progress()),
        verdict("excellent", 0),
        verdict("degraded", u32::MAX),
        agent(CommandBody::RunnersSeen { runners: BTreeMap::from([(long(100), news())]) }),
        system(CommandBody::Member {
            name: "c2".to_owned(),
            raft_id: 2,
            disk: [2; 16],
            address: long(1000),
            certificate_sha256: [0; 32],
            issuer_sha256: [0; 32],
            levels: (1, 2),
        }),
        system(CommandBody::AgentLost { agent: long(100), attach: 1 }),
        operator(CommandBody::Refusals { verb: long(100), object: String::new(), count: 1 }),
        agent(CommandBody::Commit { n: 1, body: vec![0; COMMAND_BYTES_MAX], progress: progress() }),
        operator(CommandBody::BackUp { coordinator: "c".repeat(1000) }),
    ]
}

fn news() -> trimaran_wire::v1::command::RunnerNews {
    trimaran_wire::v1::command::RunnerNews { connected: true, seen_ms: None, facts: None }
}

/// What such an identity does not give, or no peer.
fn not_theirs() -> Vec<Command> {
    let cancel = || CommandBody::Cancel { run: WireRun { pipeline: "web".to_owned(), number: 1 } };
    let unnamed = WireIdentity::Operator { name: "admin".to_owned(), role: "emperor".to_owned() };
    vec![
        system(cancel()),
        agent(cancel()),
        Command { identity: unnamed, ..operator(cancel()) },
        system(CommandBody::Settle),
        system(CommandBody::Advance),
        system(CommandBody::WallOffset { offset_ms: i64::MAX, jump: false }),
        // Whoever recovers a data directory applies it there; it never travels.
        system(CommandBody::Recover { raft_id: 1, incarnation: 9 }),
        operator(CommandBody::Recover { raft_id: 1, incarnation: 9 }),
        system(CommandBody::Restore { raft_id: 1 }),
        operator(CommandBody::Restore { raft_id: 1 }),
        system(CommandBody::ResumeCluster { epoch: None, incarnation: 9 }),
        agent(CommandBody::ResumeCluster { epoch: None, incarnation: 9 }),
        system(CommandBody::BackUp { coordinator: "c1".to_owned() }),
        agent(CommandBody::BackUp { coordinator: "c1".to_owned() }),
        operator(CommandBody::ChangeMember { change: WireMemberChange::Remove, raft_id: 1 }),
        operator(CommandBody::AgentLost { agent: "lab".to_owned(), attach: 1 }),
        operator(CommandBody::RunnersSeen { runners: BTreeMap::new() }),
        system(CommandBody::Bootstrap {
            cluster: "other".to_owned(),
            wall_ms: 0,
            incarnation: 2,
            admin_token_sha256: [3; 32],
            admin: "eve".to_owned(),
        }),
    ]
}

#[test]
fn a_command_that_is_out_of_bounds_or_not_theirs_is_refused_and_in_no_entry() {
    let mut leader = Leader::new();
    let hash = leader.member.replica_status().hash;
    for (index, command) in too_large().into_iter().chain(not_theirs()).enumerate() {
        let (answer, entries) = leader.command(command);
        let WireProposed::Refused { why } = answer else { panic!("{index}: {answer:?}") };
        assert!(why.len() < 400, "{index}: a refusal of {} bytes", why.len());
        assert_eq!(entries, 0, "{index}: {why}");
    }
    assert_eq!(leader.member.replica_status().hash, hash);
}

#[test]
fn a_command_within_its_bounds_is_applied_and_texts_of_hosts_are_cut() {
    let mut leader = Leader::new();
    let grant = TokenGrant::Agent { name: "lab".to_owned() };
    let token = operator(CommandBody::CreateToken { token_sha256: [2; 32], grant });
    let (answer, entries) = leader.command(token);
    assert!(matches!(answer, WireProposed::Done { .. }), "{answer:?}");
    assert!(entries >= 1, "it is in the log");
    // No assignment has the number, which the engine says: it came through.
    let report = result(WireOutcome::Failed(failure("probe_failed", MESSAGE_BYTES_MAX * 10)), progress());
    let (answer, entries) = leader.command(report);
    assert!(matches!(answer, WireProposed::Done { .. }), "{answer:?}");
    assert!(entries >= 1, "it is in the log");
    let longest = leader.store.load().entries.iter().map(|it| it.data.0.len()).max();
    assert!(longest.is_some_and(|it| it < MESSAGE_BYTES_MAX * 2), "{longest:?} bytes in the log");
}

#[test]
fn a_change_of_members_carries_nothing_but_its_own_commands() {
    let mut leader = Leader::new();
    let ask = |leader: &mut Leader, commands: Vec<Command>| {
        let context = Entry { now_ms: 0, commands }.to_bytes();
        let request = MembersRequest::AddLearner { id: 2 };
        leader.answer(PeerMessage::Members { number: 5, wait_ms: 10_000, request, context })
    };
    let row = |address: String| {
        system(CommandBody::Member {
            name: "c2".to_owned(),
            raft_id: 2,
            disk: [2; 16],
            address,
            certificate_sha256: [0; 32],
            issuer_sha256: [0; 32],
            levels: (1, 2),
        })
    };
    let grant = TokenGrant::Operator { name: "eve".to_owned(), role: "admin".to_owned() };
    let token = operator(CommandBody::CreateToken { token_sha256: [2; 32], grant });
    for commands in [vec![row(long(1000))], vec![row("h:1".to_owned()), token]] {
        let (answer, entries) = ask(&mut leader, commands);
        assert!(matches!(answer, WireProposed::Refused { .. }), "{answer:?}");
        assert_eq!(entries, 0);
    }
    let (answer, _) = ask(&mut leader, vec![row("h:1".to_owned())]);
    assert!(matches!(answer, WireProposed::Done { .. }), "{answer:?}");
}
