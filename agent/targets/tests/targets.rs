//! Targets at work, driven by a real executor: what one platform does or does not do reaches no other target.

mod world;

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use trimaran_agent_core::platform::{Judgment, Part, PartSink, Question, Standing, Unread};
use trimaran_model::action::Outcome;
use trimaran_model::id::{Digest, Fence, InstanceName};
use trimaran_model::verdict::Verdict;
use trimaran_wire::v1::runner::LogQuery;
use world::{Behaviour, OneCall, World, installation};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_hangs_holds_its_own_target_alone() {
    let mut world = World::new([("slow", Behaviour::Hangs), ("fast", Behaviour::Answers)]);
    for n in 1..=50 {
        world.assign(n, "slow");
    }
    for n in 51..=150 {
        world.assign(n, "fast");
    }
    world.until(|world| world.results.len() == 100).await;
    assert!(world.results.iter().all(|(id, outcome)| id.0 > 50 && *outcome == Outcome::Done));
    assert_eq!(world.shared.made("slow"), 50, "each of its calls is in flight");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_panics_is_lost_and_its_worker_goes_on() {
    let mut world = World::new([("shaky", Behaviour::PanicsOnce)]);
    world.assign(1, "shaky");
    // Lost, the driver asks once more.
    world.until(|world| world.results.len() == 1).await;
    assert_eq!(world.shared.made("shaky"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_settings_are_connected_to_and_calls_of_the_old_ones_are_lost() {
    let mut world = World::new([("moving", Behaviour::Hangs)]);
    world.assign(1, "moving");
    world.until(|world| world.shared.made("moving") == 1).await;
    world.shared.behave("moving", Behaviour::Answers);
    world.serve(&["moving"], 2);
    world.until(|world| world.results.len() == 1).await;
    assert_eq!(world.shared.connected("moving"), 2);
    world.serve(&["moving"], 2);
    assert_eq!(world.shared.connected("moving"), 2, "the same settings change nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_of_a_watch_misses_states_and_never_the_last_one() {
    let mut world = World::new([("fast", Behaviour::ShowsUntil(1000))]);
    world.assign(1, "fast");
    world.until(|world| world.seen.last() == Some(&1000)).await;
    assert!(world.seen.is_sorted(), "{:?}", world.seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_is_observed_between_its_orders_by_the_coordinators_last_word() {
    let mut world = World::new([("fast", Behaviour::Answers)]);
    let standing = |fence, release: u8| Standing {
        installation: installation(1, "fast"),
        fence: Fence(fence),
        release: Some(Digest([release; 32])),
        retained: BTreeSet::new(),
        committed: None,
        hosts: None,
    };
    world.targets.set_standing(vec![standing(0, 7)], true);
    world.until(|world| world.judged.len() == 1).await;
    let (of, judgment) = world.judged.pop().expect("one");
    assert_eq!(of, standing(0, 7), "evidence is bound to what it speaks of");
    let healthy = Judgment { verdict: Verdict::Healthy, failure: None, down: 0, blind_since: None };
    assert_eq!(judgment, healthy);
    assert_eq!(world.targets.judgments().len(), 1, "a new session is sent it again");

    world.assign(1, "fast");
    assert!(world.targets.judgments().is_empty(), "its outcome is reported, not its health");
    world.until(|world| world.results.len() == 1).await;
    world.answer(1);
    assert!(world.judged.is_empty(), "what was said before that work is of no use any more");
    world.targets.set_standing(vec![standing(1, 8)], false);
    world.until(|world| world.judged.len() == 1).await;
    assert_eq!(world.judged[0].0, standing(1, 8));
    world.targets.set_standing(Vec::new(), true);
    world.shared.judge_again();
    world.settle().await;
    assert_eq!(world.judged.len(), 1, "the coordinators know it no more");
}

/// Parts as a stream takes them: one at a time.
#[derive(Clone)]
struct Parts(mpsc::Sender<Part>);

impl PartSink for Parts {
    async fn put(&self, part: Part) -> Result<(), Unread> {
        self.0.send(part).await.map_err(|_| Unread)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_platform_of_a_target_answers_each_question_in_parts_also_while_its_calls_hang() {
    let mut world = World::new([("slow", Behaviour::Hangs), ("fast", Behaviour::Answers)]);
    world.assign(1, "slow");
    world.until(|world| world.shared.made("slow") == 1).await;
    let platforms = world.targets.platforms();
    let ask = async |target: &str, question: Question| {
        let (parts_to, mut parts) = mpsc::channel(1);
        let target = target.parse().expect("a name");
        let answering = platforms.query::<OneCall>(&target, question, Parts(parts_to));
        let mut all = Vec::new();
        let reading = async {
            while let Some(part) = parts.recv().await {
                all.push(part);
            }
        };
        let (ended, ()) = tokio::join!(answering, reading);
        ended.map(|()| all)
    };
    let plan = |content| Question::Plan { order: Box::new(World::order(7, "slow")), content };
    let lines = |text: &str| Part::Plan(vec![text.to_owned()]);
    let found = ask("slow", plan(Some(b"+ a\n- b".to_vec()))).await.expect("an answer");
    assert_eq!(found, [lines("web#1 on slow"), lines("+ a"), lines("- b")]);
    let refused = ask("slow", plan(None)).await.expect_err("nothing to compare with");
    assert_eq!(refused.message, "slow: there is nothing to compare");
    let long: InstanceName = "p".repeat(253).parse().expect("as a pod's");
    let query = LogQuery {
        pipeline: "web".to_owned(),
        target: "fast".to_owned(),
        run: None,
        release: None,
        since_ms: None,
        tail: Some(3),
        follow: false,
    };
    let logs = Question::Logs { instances: vec![long.clone()], previous: true, query };
    let found = ask("fast", logs).await.expect("an answer");
    let Part::Logs(found) = &found[0] else { panic!("{found:?}") };
    assert_eq!(
        (found.host.as_str(), found.lines[0].line.as_str()),
        (long.as_str(), "previous: true, tail: Some(3)")
    );
    let key = ask("fast", Question::SealingKey).await.expect("an answer");
    assert_eq!(key, [Part::SealingKey(b"fast".to_vec())]);
    let unknown = ask("nowhere", Question::SealingKey).await.expect_err("not served");
    assert_eq!(unknown.message, "this agent does not serve target `nowhere`");
}
