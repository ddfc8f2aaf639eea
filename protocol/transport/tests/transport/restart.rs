//! Processes that end without a word.

use std::net::SocketAddr;
use std::time::Duration;

use trimaran_transport::{Alpn, CloseCode, CloseReason, Endpoint, EndpointConfig, Session};

use crate::world::{ALL_COORDINATOR, World, address, agent, coordinator, frame, soon};

/// An endpoint in a runtime of its own, which can be stopped as `kill -9` does: nothing more is sent.
struct Process {
    runtime: Option<tokio::runtime::Runtime>,
    endpoint: Option<Endpoint>,
}

impl Process {
    fn start(address: SocketAddr, config: EndpointConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let endpoint = {
            let _inside = runtime.enter();
            Endpoint::bind(address, config).expect("the port is free")
        };
        Self { runtime: Some(runtime), endpoint: Some(endpoint) }
    }

    fn endpoint(&self) -> &Endpoint {
        self.endpoint.as_ref().expect("alive")
    }

    async fn kill(mut self, sessions: Vec<Session>) {
        let runtime = self.runtime.take().expect("alive");
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(5)))
            .await
            .expect("the runtime ends");
        drop(sessions);
        drop(self.endpoint.take());
    }
}

#[tokio::test]
async fn a_restarted_coordinator_is_noticed_at_once() {
    let world = World::new("one");
    let mut config = world.config(&world.files(&coordinator("c1")), &ALL_COORDINATOR);
    config.reset_key = Some([7; 64]);
    let first = Process::start(SocketAddr::from(([127, 0, 0, 1], 0)), config.clone());
    let port = address(first.endpoint());
    let client = world.endpoint(&agent("lab"), &[]);
    let near = soon(client.connect(port, Alpn::Agent)).await.expect("accepted");
    let far = soon(first.endpoint().accept()).await.expect("accepted");
    first.kill(vec![far]).await;
    assert!(near.close_reason().is_none(), "it was not notified");

    let second = Process::start(port, config);
    // Whatever is sent next is answered with a reset: at the latest the keep-alive after 3 s.
    let begin = tokio::time::Instant::now();
    drop(soon(near.request(&frame(b"are you there"))).await);
    assert_eq!(soon(near.closed()).await, CloseReason::Reset);
    assert!(begin.elapsed() < Duration::from_secs(8), "long before the 12 s of silence");
    soon(client.connect(port, Alpn::Agent)).await.expect("the new process");
    second.kill(Vec::new()).await;
}

#[tokio::test]
async fn a_silent_peer_is_lost_after_three_seconds() {
    let world = World::new("one");
    let server = world.coordinator();
    let config = world.config(&world.files(&coordinator("c2")), &[]);
    let client = Process::start(SocketAddr::from(([127, 0, 0, 1], 0)), config);
    let near = soon(client.endpoint().connect(address(&server), Alpn::Peer)).await.expect("accepted");
    let far = soon(server.accept()).await.expect("accepted");
    let begin = tokio::time::Instant::now();
    client.kill(vec![near]).await;
    // What this side sends must not make the silence longer.
    let (mut sender, _receiver) = soon(far.open_stream()).await.expect("a stream");
    let reason = soon(async {
        loop {
            drop(sender.send(&frame(b"x")).await);
            match far.close_reason() {
                Some(reason) => break reason,
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await;
    let silent = matches!(reason, CloseReason::TimedOut) || reason.code() == Some(CloseCode::Silent);
    assert!(silent, "{reason}");
    let after = begin.elapsed();
    assert!(after > Duration::from_secs(2) && after < Duration::from_secs(10), "{after:?}");
}
