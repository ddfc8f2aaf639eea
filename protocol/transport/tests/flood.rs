//! A flood of garbage and of handshakes that never end: counted, bounded, and no one else suffers.
//!
//! In a process of its own, because it measures the memory of the process.

#[path = "transport/world.rs"]
#[allow(dead_code, reason = "shared with the other tests, which use the rest")]
mod world;

#[path = "transport/raw.rs"]
#[allow(dead_code, reason = "shared with the other tests, which use the rest")]
mod raw;

use std::net::{SocketAddr, UdpSocket};

use raw::Raw;
use trimaran_transport::{Alpn, EndpointLimits};
use world::{ALL_COORDINATOR, World, address, agent, bind, coordinator, frame, session, soon, until};

/// Memory of this process that no file backs, in bytes.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon")).expect("a line");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kib * 1024
}

/// Datagrams that are no QUIC, and some that nearly are.
fn garbage(number: u64, buffer: &mut [u8; 1200]) -> usize {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for byte in buffer.iter_mut() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    match number % 4 {
        // A long header of version 1 with connection ids of 8 bytes: an Initial whose seal does not fit.
        0 => buffer[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]),
        // A short header: a packet of a session that no one knows.
        1 => buffer[0] = 0x40,
        // A version that no one speaks.
        2 => buffer[..5].copy_from_slice(&[0xc3, 0xba, 0xba, 0xba, 0xba]),
        _ => {}
    }
    if number % 4 == 3 { usize::from(buffer[1]) } else { buffer.len() }
}

#[tokio::test]
async fn floods_are_bounded_and_harm_no_one() {
    let world = World::new("one");
    let mut config = world.config(&world.files(&coordinator("c1")), &ALL_COORDINATOR);
    config.limits = EndpointLimits { retry_above: 16, handshakes_max: 48, ..EndpointLimits::SERVER };
    let server = bind(config);
    let client = world.endpoint(&agent("lab"), &[]);
    let (near, far) = session(&client, &server, Alpn::Agent).await;

    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let mut buffer = [0; 1200];
    let mut before = 0;
    for number in 0..20_000 {
        let length = garbage(number, &mut buffer);
        drop(socket.send_to(&buffer[..length], address(&server)));
        if number % 64 == 0 {
            tokio::task::yield_now().await;
        }
        if number == 2_000 {
            before = anonymous_bytes();
        }
    }
    let grown = anonymous_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "garbage took {grown} bytes");

    // What the kernel did not drop was counted, each datagram at most once.
    until(|| server.counters().refused().handshakes > 5_000).await;
    let counted = server.counters().refused().handshakes;
    assert!(counted <= 20_000, "{counted} refused");

    half_open(&server, 300).await;

    let (mut sender, _receiver) = soon(near.open_stream()).await.expect("the session is open");
    soon(sender.send(&frame(b"still here"))).await.expect("sent");
    let (_sender, mut there) = soon(far.accept_stream()).await.expect("a stream");
    assert_eq!(soon(there.next()).await, Ok(Some(frame(b"still here"))));
    // Those that began and never ended are given up after the handshake's timeout, and are counted.
    until(|| server.counters().refused().handshakes >= counted + 16).await;
    soon(client.connect(address(&server), Alpn::Agent)).await.expect("there is capacity again");
}

/// Begins `count` handshakes of which no answer ever reaches the client.
async fn half_open(server: &trimaran_transport::Endpoint, count: usize) {
    let one_way = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let target: SocketAddr = one_way.local_addr().expect("bound");
    let raw = Raw::new(None, Alpn::Agent.as_str().as_bytes());
    let begun: Vec<_> = (0..count).map(|_| raw.dial(target)).collect();
    let mut buffer = [0; 2048];
    let mut passed = 0;
    while passed < count {
        let (length, from) = soon(one_way.recv_from(&mut buffer)).await.expect("an Initial");
        // The server's answers come here too, and end here.
        if from != address(server) {
            one_way.send_to(&buffer[..length], address(server)).await.expect("sent");
            passed += 1;
        }
    }
    until(|| server.counters().refused().retried > 0).await;
    drop(begun);
}
