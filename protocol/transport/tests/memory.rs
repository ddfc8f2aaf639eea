//! What endpoints and idle sessions cost: a runner shares 8 MB with everything else that it does, and a
//! coordinator carries thousands of agents.
//!
//! In a process of its own, because it measures the memory of the process.

#[path = "transport/world.rs"]
#[allow(dead_code, reason = "shared with the other tests, which use the rest")]
mod world;

use trimaran_transport::{Alpn, Endpoint, EndpointLimits, Session};
use world::{World, address, agent, bind, frame, operator, runner, session, soon};

const KIB: u64 = 1024;

/// Memory of this process that no file backs, in bytes.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon")).expect("a line");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kib * KIB
}

fn small_runner(world: &World, name: &str) -> Endpoint {
    let mut config = world.config(&world.files(&runner(name)), &[]);
    config.limits = EndpointLimits::CLIENT;
    bind(config)
}

/// One request with its reply.
async fn exchange(near: &Session, far: &Session) {
    let asked = frame(&vec![1; 100_000]);
    let serve = async {
        let (mut sender, mut receiver) = far.accept_stream().await.expect("a request");
        let request = receiver.next().await.expect("a frame").expect("one");
        sender.send(&request).await.expect("sent");
        sender.finish_and_wait().await.expect("arrived");
    };
    let (reply, ()) = soon(async { tokio::join!(near.request_one(&asked), serve) }).await;
    assert!(reply.expect("a reply") == asked);
}

#[tokio::test]
async fn endpoints_and_idle_sessions_are_small() {
    let world = World::new("one");
    let fleet = world.endpoint(&agent("fleet"), &[Alpn::Runner]);
    let first = small_runner(&world, "host-0");
    let (near, far) = session(&first, &fleet, Alpn::Runner).await;
    exchange(&near, &far).await;

    let before = anonymous_bytes();
    let second = small_runner(&world, "host-1");
    let (near, far) = session(&second, &fleet, Alpn::Runner).await;
    exchange(&near, &far).await;
    let endpoint = anonymous_bytes().saturating_sub(before);
    assert!(endpoint < 2 * KIB * KIB, "a runner's endpoint with a session took {endpoint} bytes");

    const SESSIONS: u64 = 300;
    let coordinator = world.coordinator();
    let many = world.endpoint(&operator("ann"), &[]);
    let before = anonymous_bytes();
    let mut held = Vec::new();
    for _ in 0..SESSIONS {
        let near = soon(many.connect(address(&coordinator), Alpn::Operator)).await.expect("accepted");
        held.push((near, soon(coordinator.accept()).await.expect("accepted")));
    }
    let each = anonymous_bytes().saturating_sub(before) / SESSIONS;
    assert!(each < 96 * KIB, "both ends of a session took {each} bytes");
    println!("endpoint and session {endpoint} bytes; both ends of an idle session {each} bytes");
}
