//! Watchers that are cut off: whoever resumes with the position that it saw last gets every event once.

use trimaran_client::client::Client;
use trimaran_wire::v1::operator::{OperatorBody, OperatorReply, WirePosition};

use crate::world::{WAIT_MAX, World, ask, change};

const START: WirePosition = WirePosition { revision: 0, ordinal: u32::MAX };

/// The events behind a position, up to `count`.
async fn events(client: &Client, since: WirePosition, count: usize) -> Vec<(WirePosition, String)> {
    let body = OperatorBody::Watch { run: None, since: Some(since) };
    let mut replies = client.stream(body).await.expect("a stream");
    let mut seen = Vec::new();
    while seen.len() < count {
        let next = tokio::time::timeout(WAIT_MAX, replies.next()).await.expect("it comes soon");
        match next.expect("a reply").expect("the stream does not end") {
            OperatorReply::Event { position: Some(position), json } => {
                if !json.contains(r#""event":"compacted""#) {
                    seen.push((position, json));
                }
            }
            OperatorReply::Event { position: None, .. } => {}
            other => panic!("{other:?}"),
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_is_cut_off_anywhere_resumes_with_every_event_once() {
    let world = World::start().await;
    world.apply().await;
    let client = world.client("admin");
    for version in ["1", "2", "3"] {
        ask(&client, change(), crate::deploy(version)).await.expect("a run");
    }
    for run in ["web#1", "web#2", "web#3"] {
        ask(&client, change(), OperatorBody::Cancel { run: run.to_owned() }).await.expect("canceled");
    }
    // The last of them is known by its content.
    let mut all = Vec::new();
    while !all
        .iter()
        .any(|(_, json): &(WirePosition, String)| json.contains("web#3") && json.contains("canceled"))
    {
        all = events(&client, START, all.len() + 1).await;
    }
    let entries: std::collections::BTreeSet<u64> = all.iter().map(|(at, _)| at.revision).collect();
    assert!(entries.len() < all.len(), "an entry made several events: {all:?}");
    for cut in 1..all.len() {
        let first = events(&client, START, cut).await;
        let last = first.last().expect("one").0;
        let rest = events(&client, last, all.len() - cut).await;
        assert_eq!([first, rest].concat(), all, "cut behind {last:?}");
    }
}
