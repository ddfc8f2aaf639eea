//! Datagrams that belong to no connection and start none are counted, each once; late ones of a connection that
//! is gone are not.

use std::net::SocketAddr;

use tokio::net::UdpSocket;
use trimaran_transport::{Alpn, Endpoint, random};

use crate::raw::Raw;
use crate::world::{World, address, agent, operator, soon, until};

fn refused(server: &Endpoint) -> u64 {
    server.counters().refused().handshakes
}

/// `length` random bytes behind `head`.
fn filled(head: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = head.to_vec();
    while bytes.len() < length {
        bytes.extend(random::bytes::<32>());
    }
    bytes.truncate(length.max(head.len()));
    bytes
}

/// A long header of version 1: first byte, the other side's id and our own.
fn long(first: u8, to: &[u8]) -> Vec<u8> {
    let mut head = vec![first, 0, 0, 0, 1, to.len() as u8];
    head.extend(to);
    head.extend([4, 1, 2, 3, 4]);
    head
}

/// An Initial without a token that says to have `payload` bytes.
fn initial(to: &[u8], payload: u16) -> Vec<u8> {
    let mut head = long(0xc3, to);
    head.push(0);
    head.extend((payload | 0x4000).to_be_bytes());
    head
}

fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let to: [u8; 8] = random::bytes();
    let overrun = [long(0xc3, &to), vec![0x7f, 0xff]].concat();
    vec![
        ("an empty datagram", Vec::new()),
        ("one byte", vec![0x40]),
        ("a short header without an id", filled(&[0x40], 8)),
        ("a short header of no one", filled(&[0x40], 60)),
        ("text", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a long header of one byte", vec![0xc3]),
        ("an id of 200 bytes", filled(&[0xc3, 0, 0, 0, 1, 200], 400)),
        ("an id that is cut", vec![0xc3, 0, 0, 0, 1, 8, 1, 2]),
        ("a version that no one speaks", filled(&[0xc3, 0xba, 0xba, 0xba, 0xba, 0, 0], 1200)),
        ("a version negotiation of no one", filled(&[0xc3, 0, 0, 0, 0, 0, 0], 40)),
        ("a handshake of no one", filled(&long(0xe3, &to), 1200)),
        ("a retry of no one", filled(&long(0xf3, &to), 60)),
        ("a token that is cut", filled(&overrun, 200)),
        ("an Initial that is cut", filled(&initial(&to, 1170), 600)),
        ("an Initial that is small", filled(&initial(&to, 100), 121)),
        ("an Initial for an id that is too short", filled(&initial(&to[..4], 1180), 1200)),
        ("an Initial without a packet", filled(&initial(&to, 10), 1200)),
    ]
}

#[tokio::test]
async fn each_datagram_of_garbage_is_counted_once() {
    let world = World::new("one");
    let server = world.coordinator();
    let client = world.endpoint(&operator("ann"), &[]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    for endpoint in [&server, &client] {
        for (what, bytes) in garbage() {
            let before = refused(endpoint);
            socket.send_to(&bytes, address(endpoint)).await.expect("sent");
            soon(async {
                while refused(endpoint) == before {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            })
            .await;
            assert_eq!(refused(endpoint), before + 1, "{what}");
        }
    }
    // Three of four have bits that an Initial never has, the others fail as handshakes.
    let before = refused(&server);
    for _ in 0..40 {
        let bytes = filled(&initial(&random::bytes::<8>(), 1200 - 22), 1200);
        socket.send_to(&bytes, address(&server)).await.expect("sent");
    }
    until(|| refused(&server) >= before + 40).await;
    assert_eq!(refused(&server), before + 40);
}

/// Passes datagrams on between a client and `server` and keeps those of the client.
async fn tapped(server: SocketAddr, raw: &Raw, near: &UdpSocket, far: &UdpSocket) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    let (mut from_client, mut from_server) = (vec![0; 65536], vec![0; 65536]);
    let mut client = None;
    let dialed = async {
        let connection = raw.dial(near.local_addr().expect("bound")).await.expect("accepted");
        connection.close(0u32.into(), b"");
        raw.endpoint.wait_idle().await;
    };
    tokio::pin!(dialed);
    loop {
        tokio::select! {
            read = near.recv_from(&mut from_client) => {
                let (length, from) = read.expect("read");
                client = Some(from);
                seen.push(from_client[..length].to_vec());
                far.send_to(&from_client[..length], server).await.expect("sent");
            }
            read = far.recv_from(&mut from_server) => {
                let (length, _) = read.expect("read");
                let client = client.expect("the client speaks first");
                near.send_to(&from_server[..length], client).await.expect("sent");
            }
            () = &mut dialed => return seen,
        }
    }
}

#[tokio::test]
async fn late_packets_of_a_connection_that_is_gone_are_not_counted() {
    let world = World::new("one");
    let server = world.coordinator();
    let files = world.files(&agent("lab"));
    let raw = Raw::new(Some(&files), Alpn::Agent.as_str().as_bytes());
    let near = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let far = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let seen = soon(tapped(address(&server), &raw, &near, &far)).await;
    until(|| server.sessions().is_empty()).await;
    let late: Vec<_> = seen.iter().filter(|datagram| datagram[0] & 0x80 == 0).collect();
    assert!(!late.is_empty(), "an established session speaks with short headers");
    let before = refused(&server);
    for datagram in late.iter().cycle().take(200) {
        far.send_to(datagram, address(&server)).await.expect("sent");
    }
    // Loopback keeps the order: when this one is counted, those before it were read.
    far.send_to(b"garbage", address(&server)).await.expect("sent");
    until(|| refused(&server) > before).await;
    assert_eq!(refused(&server), before + 1);
}
