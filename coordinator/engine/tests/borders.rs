//! What may not become state: sentences, rows that are too large, what an agent has no say in, sessions that are over.

mod history;

use std::collections::BTreeMap;

use history::history;
use trimaran_engine::rows::cold::Source;
use trimaran_engine::rows::{from_bytes, to_bytes};
use trimaran_engine::{Outcome, Refusal};
use trimaran_model::limits::{MESSAGE_BYTES_MAX, ROW_BYTES_MAX};
use trimaran_query as query;
use trimaran_query::RowSource as _;
use trimaran_sim::lab::{Lab, agent, failure, operator};
use trimaran_wire::codec::DECODE_BYTES_MAX;
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::assignment::WireOutcome;
use trimaran_wire::v1::command::{CommandBody, PipelineSource, TokenGrant};

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
    lab.must(agent("lab", CommandBody::Detach { attach: first, goodbye: false }));
    let lost = CommandBody::AgentLost { agent: "lab".to_owned(), attach: first };
    lab.must(trimaran_sim::lab::system(lost));
    assert_eq!(connected(&lab), "connected");
    let last = lab.last_attach("lab", 1);
    lab.must(agent("lab", CommandBody::Detach { attach: last, goodbye: false }));
    assert_eq!(connected(&lab), "disconnected");
}
