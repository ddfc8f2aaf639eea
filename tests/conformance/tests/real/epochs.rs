//! What a runner obeys: its own agent of the latest state of the cluster that it has seen, and no process with an earlier key of
//! that agent, or with a certificate that a removed coordinator signed. Also after a restart.

use std::net::SocketAddr;
use std::process::{Child, Command};
use std::time::Duration;

use trimaran_model::assignment::HostAction;
use trimaran_model::id::{Epoch, Fence};
use trimaran_transport::{CloseCode, Endpoint, FrameReceiver, FrameSender, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::assignment::WireFailure;
use trimaran_wire::v1::runner::{EarlierKey, RunnerDown, RunnerUp};

use crate::host::{goal, order};
use crate::lab::{Lab, run, until};
use crate::runner::{Fleet, now, runner};

const LIMIT: Duration = Duration::from_secs(30);

/// A session with the runner, from the agent's side.
struct Orders {
    session: Session,
    sender: FrameSender,
    receiver: FrameReceiver,
    sequence: u64,
}

impl Orders {
    /// The next session, whose agent says that it is of this epoch and incarnation of the cluster.
    async fn of(endpoint: &Endpoint, epoch: u16, incarnation: u64) -> Self {
        let session = tokio::time::timeout(LIMIT, endpoint.accept()).await.expect("it dials");
        let session = session.expect("the endpoint is open");
        let (mut sender, mut receiver) = session.accept_stream().await.expect("a stream");
        let frame = receiver.next().await.expect("a frame").expect("a hello");
        assert!(matches!(RunnerUp::from_frame(&frame), Ok(RunnerUp::Hello { .. })));
        let welcome =
            RunnerDown::Welcome { labels: Default::default(), wall_ms: Some(now().0), epoch, incarnation };
        sender.send(&welcome.to_frame()).await.expect("sent");
        Self { session, sender, receiver, sequence: 0 }
    }

    /// Gives an order; why it was refused, or `None` when it was taken.
    async fn give(&mut self, lab: &Lab, pipeline: &str, fence: Fence) -> Option<WireFailure> {
        self.sequence += 1;
        let action = HostAction::Apply(order(lab, pipeline, "v1", "good"));
        let message =
            RunnerDown::Goal { sequence: self.sequence, goal: (&goal(pipeline, fence.0, action)).into() };
        self.sender.send(&message.to_frame()).await.expect("sent");
        let answered = async {
            loop {
                let frame = self.receiver.next().await.expect("a frame").expect("the session is open");
                if let Ok(RunnerUp::Answer { sequence, refused }) = RunnerUp::from_frame(&frame) {
                    assert_eq!(sequence, self.sequence);
                    return refused;
                }
            }
        };
        tokio::time::timeout(LIMIT, answered).await.expect("an answer")
    }
}

fn at(endpoint: &Endpoint) -> SocketAddr {
    endpoint.local_address().expect("bound")
}

fn stop(mut process: Child) {
    let asked = Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
    assert!(asked.expect("kill runs").success());
    assert!(process.wait().expect("a child").success());
}

fn refused(answer: Option<WireFailure>, words: &str) {
    let failure = answer.expect("it is refused");
    assert_eq!(failure.code, "other_incarnation");
    assert!(failure.message.contains(words), "{}", failure.message);
}

#[test]
fn a_runner_obeys_no_earlier_state_of_the_cluster_than_it_has_seen_also_after_a_restart() {
    let lab = Lab::new();
    run(async {
        let fleet = Fleet::new(&lab, Vec::new());
        let process = runner(&lab, at(&fleet.endpoint), None);
        let mut second = Orders::of(&fleet.endpoint, 2, 9).await;
        assert_eq!(second.give(&lab, "web", Fence::new(Epoch(2), 5)).await, None);
        until("v1 runs", || (lab.alive() == ["v1"]).then_some(()));
        refused(second.give(&lab, "other", Fence(u64::MAX)).await, "the order is of epoch 65535");
        stop(process);

        let process = runner(&lab, at(&fleet.endpoint), None);
        let mut first = Orders::of(&fleet.endpoint, 1, 7).await;
        let earlier = "its agent is of epoch 1 of the cluster, and this host has seen epoch 2";
        refused(first.give(&lab, "other", Fence::new(Epoch(1), 900)).await, earlier);
        first.session.close(CloseCode::Done, "");
        let mut copy = Orders::of(&fleet.endpoint, 2, 8).await;
        let words = "another incarnation of the cluster, at the same epoch 2";
        refused(copy.give(&lab, "other", Fence::new(Epoch(2), 900)).await, words);
        copy.session.close(CloseCode::Done, "");
        let mut third = Orders::of(&fleet.endpoint, 3, 1).await;
        assert_eq!(third.give(&lab, "web", Fence::new(Epoch(3), 901)).await, None);
        stop(process);
        assert_eq!(lab.alive(), ["v1"], "its service ran all the time, and nothing else began");
    });
    lab.kill_all();
}

#[test]
fn a_runner_refuses_an_earlier_key_of_its_agent_also_after_a_restart() {
    let lab = Lab::new();
    run(async {
        let mut fleet = Fleet::new(&lab, Vec::new());
        let process = runner(&lab, at(&fleet.endpoint), None);
        let mut orders = Orders::of(&fleet.endpoint, 1, 7).await;
        let revoked = EarlierKey { key: fleet.key.0, until_ms: now().0 + 3_600_000 };
        let message = RunnerDown::Revoked { keys: vec![revoked] };
        orders.sender.send(&message.to_frame()).await.expect("sent");
        let ended = tokio::time::timeout(LIMIT, orders.session.closed()).await.expect("it ends");
        assert_eq!(ended.code(), Some(CloseCode::Revoked), "{ended}");
        stop(process);

        let process = runner(&lab, at(&fleet.endpoint), None);
        let accepted = tokio::time::timeout(Duration::from_secs(3), fleet.endpoint.accept()).await;
        assert!(accepted.is_err(), "its key is refused before anything is said");
        stop(process);
        // Who has the name now is obeyed.
        fleet.succeed();
        let process = runner(&lab, at(&fleet.endpoint), None);
        let mut orders = Orders::of(&fleet.endpoint, 1, 7).await;
        assert_eq!(orders.give(&lab, "web", Fence::new(Epoch(1), 5)).await, None);
        until("v1 runs", || (lab.alive() == ["v1"]).then_some(()));
        stop(process);
    });
    lab.kill_all();
}

#[test]
fn a_runner_refuses_what_a_removed_coordinator_signs_also_after_a_restart() {
    let lab = Lab::new();
    run(async {
        let mut fleet = Fleet::new(&lab, Vec::new());
        let process = runner(&lab, at(&fleet.endpoint), None);
        let mut orders = Orders::of(&fleet.endpoint, 1, 7).await;
        let [removed, present] = fleet.replace_issuer();
        let revoked = vec![EarlierKey { key: removed.0, until_ms: now().0 + 3_600_000 }];
        let message = RunnerDown::Issuers { known: vec![removed.0, present.0], revoked };
        orders.sender.send(&message.to_frame()).await.expect("sent");
        let ended = tokio::time::timeout(LIMIT, orders.session.closed()).await.expect("it ends");
        assert_eq!(ended.code(), Some(CloseCode::Revoked), "{ended}");
        stop(process);

        let process = runner(&lab, at(&fleet.endpoint), None);
        let accepted = tokio::time::timeout(Duration::from_secs(3), fleet.endpoint.accept()).await;
        assert!(accepted.is_err(), "who has the removed one's key poses as no agent");
        stop(process);
        // A certificate by a coordinator that is there is as good as before.
        fleet.succeed();
        let process = runner(&lab, at(&fleet.endpoint), None);
        let mut orders = Orders::of(&fleet.endpoint, 1, 7).await;
        assert_eq!(orders.give(&lab, "web", Fence::new(Epoch(1), 5)).await, None);
        until("v1 runs", || (lab.alive() == ["v1"]).then_some(()));
        stop(process);
    });
    lab.kill_all();
}
