//! What may not become state: sentences, rows that are too large, what an agent has no say in, sessions that are over.

mod history;

use std::collections::BTreeMap;

use history::history;
use trimaran_engine::rows::cold::Source;
use trimaran_engine::rows::{from_bytes, to_bytes};
use trimaran_engine::state::token::{Audience, Revoked};
use trimaran_engine::{Engine, Event, Outcome, Refusal};
use trimaran_model::limits::{
    CONTENT_PART_BYTES, CONTENT_UNNAMED_TTL, CONTENTS_UNNAMED_MAX, INSTANCE_MESSAGE_BYTES_MAX,
    LEAF_RENEWABLE_AFTER_END, LEAF_TTL, MESSAGE_BYTES_MAX, REVOKED_SLACK, ROW_BYTES_MAX, RUNNER_REVOKED_MAX,
    SUPERSEDED_PER_HOUR_MAX,
};
use trimaran_query as query;
use trimaran_query::RowSource as _;
use trimaran_sim::lab::{Lab, agent, failure, operator, run_id, stage_id, system};
use trimaran_wire::codec::DECODE_BYTES_MAX;
use trimaran_wire::document::rfc3339;
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::assignment::WireOutcome;
use trimaran_wire::v1::command::{CommandBody, PipelineSource, TokenGrant};
use trimaran_wire::v1::release_platforms::WireContent;

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Changing any sentence changes no row, and so no hash: none is in one. Every entry of the history is looked at.
#[test]
fn no_row_holds_a_sentence() {
    let whole = history();
    let (mut lab, mut sentences) = (Lab::with_hosts(1, 4), 0);
    lab.rows = Default::default();
    let mut engine = trimaran_engine::Engine::new();
    for (index, bytes) in &whole.log {
        use trimaran_wire::codec::Message as _;
        let entry = trimaran_wire::v1::command::Entry::from_bytes(bytes).expect("a stored entry");
        lab.rows.write(&engine.apply(*index, &entry).rows);
        for run in query::runs(&lab.rows, None, usize::MAX).runs {
            let run = query::run(&lab.rows, &run.run.parse().expect("a run")).expect("it was listed");
            let reasons = run.reasons.iter().chain(run.stages.iter().flat_map(|stage| &stage.reasons));
            let cause = run.rollback.iter().map(|rollback| rollback.cause.clone());
            let shown: Vec<String> =
                reasons.flat_map(|it| [it.message.clone(), it.clears.clone()]).chain(cause).collect();
            for sentence in shown.iter().filter(|sentence| *sentence != "wait") {
                sentences += 1;
                lab.rows.scan(&[], &mut |key, value| {
                    // The audit log is text by its promise: identity, verb, object, outcome.
                    let audit = key[0] == trimaran_engine::rows::tables::AUDIT;
                    assert!(
                        audit || !contains(value, sentence),
                        "`{sentence}` is in a row of table {}",
                        key[0]
                    );
                    true
                });
            }
        }
    }
    assert!(sentences > 40, "only {sentences} sentences were shown");
}

#[test]
fn a_row_that_would_be_too_large_is_undone_and_refused() {
    let mut lab = Lab::with_hosts(1, 1);
    let before = lab.engine.hash();
    let large = "x".repeat(ROW_BYTES_MAX);
    let labels = BTreeMap::from([("group".to_owned(), large.clone())]);
    let grant = TokenGrant::Runner { name: "r1".to_owned(), agent: "lab".to_owned(), labels };
    let source = PipelineSource {
        pipeline: "web".to_owned(),
        owner: String::new(),
        file: "web.yaml".to_owned(),
        text: large,
    };
    let hot = CommandBody::CreateToken { token_sha256: [9; 32], grant };
    let cold = CommandBody::Apply { pipelines: vec![source], targets: Vec::new() };
    for body in [hot, cold] {
        let done = lab.run(operator("admin", body));
        assert!(matches!(done.outcome, Outcome::Refused(Refusal::RowTooLarge { .. })), "{:?}", done.outcome);
        assert!(done.events.is_empty());
    }
    assert!(lab.rows.0.values().all(|value| value.len() < ROW_BYTES_MAX));
    assert_ne!(lab.engine.hash(), before, "the audit log has the refusals");
    assert!(query::pipeline_source(&lab.rows, &"web".parse().expect("a name")).is_none());
}

#[test]
fn stored_bytes_decode_under_a_larger_limit_than_messages() {
    let text = "x".repeat(DECODE_BYTES_MAX + 1);
    let (pipeline, owner, file) = ("web".to_owned(), String::new(), "web.yaml".to_owned());
    let row = Source { source: PipelineSource { pipeline, owner, file, text } };
    let bytes = to_bytes(&row);
    assert!(Frame::decode(&bytes, DECODE_BYTES_MAX).is_err(), "no peer may send as much");
    assert_eq!(from_bytes::<Source>(&bytes).expect("a stored row"), row);
}

#[test]
fn what_an_agent_fills_to_the_brim_changes_nothing_but_its_own_refusal() {
    let mut lab = Lab::with_hosts(1, 2);
    lab.pipelines.insert("web".to_owned(), vec!["prod targets=lab-prod".to_owned()]);
    let deploy = lab.deploy("web", "v1", &[]);
    lab.must(operator("op1", deploy));
    let live = lab.live("lab-prod").expect("work");
    let before = lab.engine.hash();
    let brim = "x".repeat(1 << 20);
    for bad in [failure(&brim, "m", None), failure("probe_failed", "m", Some(&brim))] {
        for outcome in [WireOutcome::Failed(bad.clone()), WireOutcome::Fault(bad.clone())] {
            let done = lab.run(lab.result(&live, outcome));
            assert_eq!(done.outcome, Outcome::Refused(Refusal::Malformed));
        }
    }
    assert_eq!(lab.engine.hash(), before, "a refused report changes nothing");
    let long = failure("probe_failed", &brim, Some("p1"));
    lab.must(lab.result(&live, WireOutcome::Failed(long)));
    let largest = lab.rows.0.values().map(Vec::len).max().expect("rows");
    assert!(largest < 4 * MESSAGE_BYTES_MAX, "a row has {largest} bytes");
}

#[test]
fn the_end_of_an_earlier_session_ends_no_later_one() {
    let mut lab = Lab::with_hosts(1, 1);
    let first = lab.last_attach("lab", 1);
    // The same incarnation comes to another coordinator, and the first one notices late that its session is over.
    lab.attach("lab", 1);
    assert!(lab.last_attach("lab", 1) > first);
    let connected = |lab: &Lab| query::agents(&lab.rows).agents[0].state.clone();
    lab.must(agent("lab", CommandBody::Detach { attach: first, goodbye: false, seen_ms: 0 }));
    let lost = CommandBody::AgentLost { agent: "lab".to_owned(), attach: first };
    lab.must(system(lost));
    assert_eq!(connected(&lab), "connected");
    let last = lab.last_attach("lab", 1);
    lab.must(agent("lab", CommandBody::Detach { attach: last, goodbye: false, seen_ms: 0 }));
    assert_eq!(connected(&lab), "disconnected");
}

#[test]
fn an_agent_was_seen_last_when_it_spoke_last_and_not_when_it_was_found_lost() {
    let mut lab = Lab::with_hosts(1, 1);
    let attach = lab.last_attach("lab", 1);
    let last_seen = |lab: &Lab| query::agents(&lab.rows).agents[0].last_seen.clone().expect("it was seen");
    let attached = last_seen(&lab);
    lab.pass(60_000);
    let spoke = lab.engine.wall();
    lab.pass(12_000);
    lab.must(agent("lab", CommandBody::Detach { attach, goodbye: false, seen_ms: spoke.0 }));
    assert_eq!(last_seen(&lab), rfc3339(spoke));
    lab.pass(1000);
    lab.must(system(CommandBody::AgentLost { agent: "lab".to_owned(), attach }));
    assert_eq!(last_seen(&lab), rfc3339(spoke));
    assert!(attached < last_seen(&lab));
    // Neither before it was connected nor in the future, whatever a coordinator's clock says.
    for (said, noted) in [(0, true), (i64::MAX, false)] {
        lab.attach("lab", 1);
        let (attach, connected) = (lab.last_attach("lab", 1), last_seen(&lab));
        lab.pass(5000);
        let detach = CommandBody::Detach { attach, goodbye: true, seen_ms: said };
        lab.must(agent("lab", detach));
        assert_eq!(last_seen(&lab) == connected, noted, "{said}");
        assert!(last_seen(&lab) <= rfc3339(lab.engine.wall()));
    }
}

/// Enrolls a runner with an agent once more, and returns what that revokes.
fn enroll(lab: &mut Lab, host: &str, agent: &str) -> Vec<Revoked> {
    let number = u64::try_from(lab.log.len()).expect("small");
    let mut bytes = [9; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    let grant = TokenGrant::Runner {
        name: host.to_owned(),
        agent: agent.to_owned(),
        labels: BTreeMap::from([("group".to_owned(), "prod".to_owned())]),
    };
    lab.must(operator("admin", CommandBody::CreateToken { token_sha256: bytes, grant }));
    let used = lab.run(system(CommandBody::UseToken { token_sha256: bytes, spki_sha256: bytes, name: None }));
    let revoked = |event| match event {
        Event::Revoked(revoked) => Some(revoked),
        _ => None,
    };
    used.events.into_iter().filter_map(revoked).collect()
}

/// The audiences of the keys that are refused now, by the number of the revocation.
fn audiences(lab: &Lab) -> Vec<(u64, Audience)> {
    let mut all: Vec<_> =
        lab.engine.revoked().map(|revoked| (revoked.id.number, revoked.audience.clone())).collect();
    all.sort_by_key(|(number, _)| *number);
    all
}

#[test]
fn a_runners_earlier_keys_are_refused_where_it_was_and_everywhere_once_it_moved() {
    let mut lab = Lab::with_hosts(1, 1);
    lab.enroll(TokenGrant::Agent { name: "other".to_owned() });
    let of_lab = || Audience::Agent { name: "lab".parse().expect("a name") };
    assert!(enroll(&mut lab, "new", "lab").is_empty(), "it had no key before");
    let revoked = enroll(&mut lab, "new", "lab");
    assert_eq!(revoked.iter().map(|it| it.audience.clone()).collect::<Vec<_>>(), [of_lab()]);
    assert_eq!(audiences(&lab), [(1, of_lab())]);
    let moved = enroll(&mut lab, "new", "other");
    assert!(moved.iter().filter(|it| it.audience == Audience::Agents).count() == 2, "both keys: {moved:?}");
    let numbers: Vec<u64> = moved.iter().map(|it| it.id.number).collect();
    assert!(numbers.is_sorted() && numbers[0] > 1, "whoever knows the first is sent these");
    assert!(audiences(&lab).iter().all(|(_, audience)| *audience == Audience::Agents));

    // Many keys of one runner: the oldest are everyone's, and none is forgotten early.
    for _ in 0..=RUNNER_REVOKED_MAX {
        enroll(&mut lab, "new", "other");
    }
    let all = audiences(&lab);
    assert_eq!(all.len(), 2 + RUNNER_REVOKED_MAX + 1);
    assert_eq!(all.iter().filter(|(_, it)| matches!(it, Audience::Agent { .. })).count(), RUNNER_REVOKED_MAX);

    // The last certificate of such a key ends after a day, and can be renewed for 30 more.
    let ends = LEAF_TTL.0 + LEAF_RENEWABLE_AFTER_END.0;
    lab.pass(ends);
    assert_eq!(audiences(&lab).len(), all.len(), "all of them may still come");
    lab.pass(2 * REVOKED_SLACK.0);
    while !audiences(&lab).is_empty() {
        let before = audiences(&lab).len();
        lab.pass(1);
        assert!(audiences(&lab).len() < before, "each entry forgets some");
    }
    assert!(enroll(&mut lab, "new", "other").len() == 1, "the next one counts anew");
}

#[test]
fn an_agent_of_another_incarnation_of_the_cluster_gets_no_session_and_an_alarm() {
    let mut lab = Lab::with_hosts(1, 1);
    let attach = |lab: &mut Lab, epoch_seen, incarnation_seen| {
        let body = CommandBody::Attach {
            incarnation: 1,
            coordinator: "c1".to_owned(),
            address: "127.0.0.1:7701".to_owned(),
            epoch_seen,
            incarnation_seen,
            platforms: vec!["hosts".to_owned()],
        };
        lab.run(agent("lab", body)).outcome
    };
    let cluster = query::cluster(&lab.rows);
    assert_eq!((cluster.epoch.0, cluster.incarnation), (1, 1));
    let alarms = |lab: &Lab| query::alarms(&lab.rows).into_iter().map(|it| it.code).collect::<Vec<_>>();
    for (epoch, incarnation) in [(0, 0), (1, 0), (1, 1), (0, 77)] {
        assert!(
            matches!(attach(&mut lab, epoch, incarnation), Outcome::Attached { .. }),
            "{epoch} {incarnation}"
        );
        assert!(alarms(&lab).is_empty());
    }
    // A backup was restored: the agent has seen more than this state knows, or another incarnation of the same epoch.
    for (epoch, incarnation) in [(2, 9), (2, 1), (1, 9)] {
        let attached = query::agents(&lab.rows);
        let outcome = attach(&mut lab, epoch, incarnation);
        assert!(matches!(outcome, Outcome::Refused(Refusal::OtherIncarnation { .. })), "{outcome:?}");
        assert_eq!(alarms(&lab), ["other_incarnation"]);
        assert_eq!(query::agents(&lab.rows), attached, "nothing else changed");
    }
    assert!(matches!(attach(&mut lab, 1, 1), Outcome::Attached { .. }));
    assert!(alarms(&lab).is_empty(), "it is over");
}

#[test]
fn incarnations_that_take_over_from_each_other_are_counted_and_none_comes_back() {
    let mut lab = Lab::with_hosts(1, 1);
    for number in 2..=SUPERSEDED_PER_HOUR_MAX as u64 + 1 {
        assert!(matches!(lab.attach("lab", number).outcome, Outcome::Attached { .. }), "{number}");
    }
    let next = SUPERSEDED_PER_HOUR_MAX as u64 + 2;
    let refused = lab.attach("lab", next).outcome;
    assert!(matches!(refused, Outcome::Refused(Refusal::ReplacedTooOften { .. })), "{refused:?}");
    let same = lab.attach("lab", next - 1).outcome;
    assert!(matches!(same, Outcome::Attached { .. }), "the one that has the session reconnects: {same:?}");
    lab.pass(3_600_001);
    assert!(matches!(lab.attach("lab", next).outcome, Outcome::Attached { .. }), "an hour later");
    for old in 1..next {
        assert_eq!(lab.attach("lab", old).outcome, Outcome::Refused(Refusal::Superseded), "{old}");
    }
}

/// Targets of 512 hosts that all fail, with nothing left out: 64 of them with `TRIMARAN_FULL`, which takes minutes.
#[test]
fn a_run_whose_every_host_fails_is_stored_shown_resumed_and_kept_in_rows_that_fit() {
    const HOSTS: usize = 512;
    let count = if std::env::var_os("TRIMARAN_FULL").is_some() { 64 } else { 6 };
    let mut lab = Lab::new();
    // What is checked after each entry grows with the state: here it is checked at the end.
    lab.whole_every = u64::MAX;
    lab.enroll(TokenGrant::Agent { name: "lab".to_owned() });
    let (name, host) =
        (|t: usize| format!("t{t:0>2}"), |t: usize, h: usize| format!("{:0>50}-{t:0>2}-{h:0>4}", "h"));
    for t in 0..count {
        lab.target(&format!("{} select={} class=staging parallel=256", name(t), name(t)));
        let commands = (0..HOSTS).flat_map(|h| {
            let mut bytes = [5; 32];
            bytes[..16].copy_from_slice(&((t * HOSTS + h) as u128).to_be_bytes());
            let grant = TokenGrant::Runner {
                name: host(t, h),
                agent: "lab".to_owned(),
                labels: BTreeMap::from([("group".to_owned(), name(t))]),
            };
            [
                operator("admin", CommandBody::CreateToken { token_sha256: bytes, grant }),
                system(CommandBody::UseToken { token_sha256: bytes, spki_sha256: bytes, name: None }),
            ]
        });
        let applied = lab.apply(commands.collect());
        assert!(applied.outcomes.iter().all(|it| !matches!(it, Outcome::Refused(_))));
    }
    lab.attach("lab", 1);
    let targets: Vec<String> = (0..count).map(name).collect();
    let environment = format!("prod targets={} parallel={count} failures={HOSTS}", targets.join(","));
    lab.pipelines.insert("web".to_owned(), vec![environment]);
    let deploy = lab.deploy("web", "v1", &[]);
    lab.must(operator("op1", deploy));
    let brim = "m".repeat(MESSAGE_BYTES_MAX);
    for target in &targets {
        let live = lab.live(target).expect("each target works");
        let hosts: Vec<String> = live.order.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts.len(), HOSTS);
        let failed = failure("probe_failed", &brim, Some(&hosts[0]));
        let mut command = lab.result(&live, WireOutcome::Fault(failed));
        let CommandBody::Result { progress, .. } = &mut command.body else { panic!("it is a result") };
        progress.failed = hosts.clone();
        for instance in &mut progress.instances {
            (instance.status, instance.message) =
                ("failed".to_owned(), "i".repeat(INSTANCE_MESSAGE_BYTES_MAX));
            instance.code = Some("probe_failed".to_owned());
        }
        let done = lab.run(command);
        assert_eq!(done.outcome, Outcome::ReportApplied, "{target}");
    }
    let largest = lab.rows.0.iter().max_by_key(|(_, value)| value.len()).expect("rows");
    assert!(
        largest.1.len() < ROW_BYTES_MAX / 4,
        "a row of table {} has {} bytes",
        largest.0[0],
        largest.1.len()
    );

    let run = "web#1".parse().expect("a run");
    let shown = query::run(&lab.rows, &run).expect("it is shown");
    assert_eq!(shown.stages.len(), count);
    assert!(shown.stages.iter().all(|stage| stage.instances.len() == HOSTS));
    let why = query::why(&lab.rows, &run, None).expect("it is explained");
    assert_eq!(why.stages.len(), count, "{why:?}");

    // Resumed: each target gets its order again, with every host that failed named once.
    for target in &targets {
        let resume =
            CommandBody::Resume { run: run_id("web#1"), stage: Some(stage_id(&format!("prod/{target}"))) };
        lab.must(operator("op1", resume));
        let live = lab.live(target).expect("it goes on");
        assert_eq!(live.order.wave.failed.len(), HOSTS);
    }
    // As after a restart, or in a member that got a snapshot of these rows.
    let again = Engine::from_rows(lab.rows.0.clone().into_iter()).expect("whole");
    assert_eq!(again.hash(), lab.engine.hash());
    assert_eq!(lab.replayed().hash(), lab.engine.hash());
}

/// An agent finishes what it began on a target that moved to another one, and then has it no more; what stands there is said
/// to the agent that serves it now.
#[test]
fn a_target_that_moves_stays_with_the_agent_that_works_there_until_that_ends() {
    let mut lab = Lab::with_hosts(1, 1);
    lab.pipelines.insert("web".to_owned(), vec!["prod targets=lab-prod sizes=100%".to_owned()]);
    let deploy = lab.deploy("web", "v1", &[]);
    lab.must(operator("ada", deploy));
    let live = lab.live("lab-prod").expect("a live order");
    lab.target("lab-prod select=prod agent=other");
    let served = |lab: &Lab, agent: &str| {
        let agent = agent.parse().expect("a name");
        let targets = query::targets_served(&lab.rows, &agent).into_iter();
        targets.map(|target| target.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(served(&lab, "lab"), ["lab-prod", "lab-staging"], "its order needs the settings");
    assert_eq!(served(&lab, "other"), ["lab-prod"]);
    let other = "other".parse().expect("a name");
    assert!(query::standing_of(&lab.rows, &other).is_empty(), "something works there");
    let done = lab.result(&live, WireOutcome::Done);
    let events = lab.run(done).events;
    let stands =
        |event: &Event| matches!(event, Event::AgentStanding { agent, .. } if agent.as_str() == "other");
    let everything = |event: &Event| matches!(event, Event::AgentWork { agent, assignment: None } if agent.as_str() == "lab");
    assert!(events.iter().any(stands) && events.iter().any(everything), "{events:?}");
    assert_eq!(served(&lab, "lab"), ["lab-staging"]);
    let standing = query::standing_of(&lab.rows, &other);
    assert_eq!(standing.len(), 1);
    assert!(standing[0].fence > live.order.fence.0, "a host of the order is none of the target any more");
    let release = standing[0].release.expect("it was deployed");
    assert_eq!(standing[0].retained, [release]);
}

/// What was uploaded and no release named goes after a while, with all of its parts, and makes room for others.
#[test]
fn contents_that_no_release_names_are_bounded_and_go_after_their_time() {
    let mut lab = Lab::with_hosts(1, 1);
    let put = |number: u8, part: u32, length: usize| {
        let bytes = 2 * CONTENT_PART_BYTES as u64 - 1;
        let content = WireContent { sha256: [number; 32], bytes };
        operator("ada", CommandBody::PutContent { content, part, bytes: vec![number; length] })
    };
    let parts = |lab: &Lab| {
        let cold = trimaran_engine::rows::tables::CONTENT_PART;
        lab.rows.0.keys().filter(|key| key[0] == cold).count()
    };
    let many = u8::try_from(CONTENTS_UNNAMED_MAX).expect("few");
    for number in 0..many {
        let stored = lab.run(put(number, 0, CONTENT_PART_BYTES)).outcome;
        assert_eq!(stored, Outcome::Stored { parts: 1 });
    }
    assert_eq!(lab.run(put(0, 1, CONTENT_PART_BYTES - 1)).outcome, Outcome::Stored { parts: 2 });
    assert_eq!(parts(&lab), CONTENTS_UNNAMED_MAX + 1);
    let full = lab.run(put(many, 0, CONTENT_PART_BYTES)).outcome;
    assert!(matches!(full, Outcome::Refused(Refusal::ContentsFull { .. })), "{full:?}");
    let wrong = lab.run(put(0, 1, 7)).outcome;
    assert!(matches!(wrong, Outcome::Refused(Refusal::Malformed)), "{wrong:?}");
    lab.pass(CONTENT_UNNAMED_TTL.0);
    assert_eq!(lab.run(put(many, 0, CONTENT_PART_BYTES)).outcome, Outcome::Stored { parts: 1 });
    assert_eq!(parts(&lab), 1, "the others went whole");
    assert_eq!(lab.replayed().hash(), lab.engine.hash());
}
