//! Clients that do not follow the rules.

use trimaran_model::limits::AGENT_FRAME_BYTES_MAX;
use trimaran_transport::{
    Alpn, CloseCode, CloseReason, ConnectError, Endpoint, EndpointLimits, RecvError, Session,
};
use trimaran_wire::frame::FrameError;

use crate::raw::Raw;
use crate::world::{
    ALL_COORDINATOR, World, address, agent, bind, coordinator, frame, operator, session, soon, until,
};

/// Dials and waits for the end that the server prepares.
async fn ends(raw: &Raw, server: &Endpoint) -> quinn::ConnectionError {
    match soon(raw.dial(address(server))).await {
        Ok(connection) => soon(connection.closed()).await,
        Err(error) => error,
    }
}

#[tokio::test]
async fn without_a_certificate_only_enrolment_is_served() {
    let world = World::new("one");
    let server = world.coordinator();
    for alpn in [Alpn::Peer, Alpn::Agent, Alpn::Operator] {
        let raw = Raw::new(None, alpn.as_str().as_bytes());
        let before = server.counters().refused().handshakes;
        match ends(&raw, &server).await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                assert_eq!(close.error_code.into_inner(), u64::from(CloseCode::Certificate.number()));
            }
            other => panic!("{}: {other}", alpn.as_str()),
        }
        until(|| server.counters().refused().handshakes == before + 1).await;
    }
    let raw = Raw::new(None, Alpn::Enroll.as_str().as_bytes());
    let connection = soon(raw.dial(address(&server))).await.expect("open to newcomers");
    let far = soon(server.accept()).await.expect("a session");
    assert_eq!((far.alpn(), far.identity()), (Alpn::Enroll, None));
    drop(connection);
}

#[tokio::test]
async fn a_protocol_that_is_not_served_is_refused() {
    let world = World::new("one");
    let server = world.endpoint(&coordinator("c1"), &[Alpn::Agent]);
    let files = world.files(&coordinator("c2"));
    for alpn in ["h3", "trimaran-agent/2", "trimaran-peer/1", "trimaran-enroll/1"] {
        let raw = Raw::new(Some(&files), alpn.as_bytes());
        let before = server.counters().refused().handshakes;
        ends(&raw, &server).await;
        until(|| server.counters().refused().handshakes == before + 1).await;
    }
}

#[tokio::test]
async fn who_claims_to_be_a_peer_must_be_one() {
    let world = World::new("one");
    let server = world.coordinator();
    let files = world.files(&agent("lab"));
    let raw = Raw::new(Some(&files), Alpn::Agent.as_str().as_bytes()).claiming_peer();
    match ends(&raw, &server).await {
        quinn::ConnectionError::ApplicationClosed(close) => {
            assert_eq!(close.error_code.into_inner(), u64::from(CloseCode::Protocol.number()));
        }
        other => panic!("{other}"),
    }
    let files = world.files(&coordinator("c2"));
    let raw = Raw::new(Some(&files), Alpn::Peer.as_str().as_bytes()).claiming_peer();
    let connection = soon(raw.dial(address(&server))).await.expect("a peer");
    assert_eq!(soon(server.accept()).await.expect("accepted").identity(), Some(&coordinator("c2")));
    drop(connection);
}

/// Writes `bytes` as an agent's stream; returns what the server reads and the server's session.
async fn send_raw(world: &World, server: &Endpoint, bytes: &[u8]) -> (RecvError, Session, CloseCode) {
    let files = world.files(&agent("lab"));
    let raw = Raw::new(Some(&files), Alpn::Agent.as_str().as_bytes());
    let connection = soon(raw.dial(address(server))).await.expect("an agent");
    let far = soon(server.accept()).await.expect("accepted");
    let (mut send, _recv) = soon(connection.open_bi()).await.expect("a stream");
    send.write_all(bytes).await.expect("sent");
    send.finish().expect("open");
    let (_sender, mut receiver) = soon(far.accept_stream()).await.expect("a stream");
    let error = soon(receiver.next()).await.expect_err("no frame");
    let code = match soon(connection.closed()).await {
        quinn::ConnectionError::ApplicationClosed(close) => {
            CloseCode::from_number(close.error_code.into_inner())
        }
        other => panic!("{other}"),
    };
    (error, far, code)
}

#[tokio::test]
async fn a_bad_frame_is_counted_and_ends_the_session() {
    let world = World::new("one");
    let server = world.coordinator();
    let good = frame(b"body").encode();
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let mut long = good.clone();
    long[..4].copy_from_slice(&(AGENT_FRAME_BYTES_MAX as u32 + 1).to_le_bytes());
    let mut huge = good.clone();
    huge[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    for (number, (bytes, expected)) in [
        (damaged, FrameError::Checksum { kind: 1 }),
        (long, FrameError::TooLong { length: AGENT_FRAME_BYTES_MAX + 1, limit: AGENT_FRAME_BYTES_MAX }),
        (huge, FrameError::TooLong { length: u32::MAX as usize, limit: AGENT_FRAME_BYTES_MAX }),
        (good[..5].to_vec(), FrameError::Truncated { have: 5, need: 12 }),
        (good[..14].to_vec(), FrameError::Truncated { have: 14, need: 16 }),
    ]
    .into_iter()
    .enumerate()
    {
        let (error, far, code) = send_raw(&world, &server, &bytes).await;
        assert_eq!(error, RecvError::Frame(expected));
        assert_eq!(code, CloseCode::Protocol);
        let reason = far.close_reason().expect("closed");
        assert!(matches!(reason, CloseReason::Local { code: CloseCode::Protocol, .. }), "{reason}");
        assert_eq!(server.counters().refused().frames, number as u64 + 1);
    }
}

#[tokio::test]
async fn no_stream_is_opened_before_the_session_is_accepted_and_no_more_than_allowed_after() {
    let world = World::new("one");
    let server = world.coordinator();
    let files = world.files(&operator("ann"));
    // An operator's certificate on an agent's protocol: no stream, so not a byte is read.
    let raw = Raw::new(Some(&files), Alpn::Agent.as_str().as_bytes());
    let connection = soon(raw.dial(address(&server))).await.expect("TLS is fine");
    soon(connection.open_bi()).await.expect_err("closed without a stream");

    let files = world.files(&agent("lab"));
    let raw = Raw::new(Some(&files), Alpn::Agent.as_str().as_bytes());
    let connection = soon(raw.dial(address(&server))).await.expect("an agent");
    let far = soon(server.accept()).await.expect("accepted");
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(soon(connection.open_bi()).await.expect("within the limit"));
    }
    let ninth = tokio::time::timeout(std::time::Duration::from_millis(200), connection.open_bi()).await;
    assert!(ninth.is_err(), "the ninth stream waits");
    assert!(far.close_reason().is_none());
}

fn code(error: &ConnectError) -> Option<CloseCode> {
    match error {
        ConnectError::Closed { reason, .. } => reason.code(),
        _ => None,
    }
}

#[tokio::test]
async fn sessions_and_enrolments_are_bounded() {
    let world = World::new("one");
    let mut config = world.config(&world.files(&coordinator("c1")), &ALL_COORDINATOR);
    config.limits = EndpointLimits { sessions_max: 3, enrollments_max: 1, ..EndpointLimits::SERVER };
    let server = bind(config);
    let newcomer = world.endpoint(&agent("lab"), &[]);
    let root = world.trust().root_fingerprint();
    let first = soon(newcomer.enroll(address(&server), root)).await.expect("the first");
    let far = soon(server.accept()).await.expect("accepted");
    let error = soon(newcomer.enroll(address(&server), root)).await.expect_err("one too many");
    assert_eq!(code(&error), Some(CloseCode::Busy), "{error}");
    first.close(CloseCode::Done, "");
    soon(far.closed()).await;
    drop((first, far));
    until(|| server.sessions().is_empty()).await;

    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(session(&newcomer, &server, Alpn::Agent).await);
    }
    let error = soon(newcomer.connect(address(&server), Alpn::Agent)).await.expect_err("full");
    assert_eq!(code(&error), Some(CloseCode::Busy), "{error}");
    sessions.pop();
    soon(async {
        while newcomer.connect(address(&server), Alpn::Agent).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn one_identity_can_not_take_all_sessions() {
    let world = World::new("one");
    let server = world.coordinator();
    let (greedy, other) = (world.endpoint(&agent("lab"), &[]), world.endpoint(&agent("tokyo"), &[]));
    let mut held = Vec::new();
    let error = loop {
        match soon(greedy.connect(address(&server), Alpn::Agent)).await {
            Ok(near) => held.push((near, soon(server.accept()).await.expect("accepted"))),
            Err(error) => break error,
        }
        assert!(held.len() < 100, "no bound");
    };
    assert_eq!(code(&error), Some(CloseCode::Busy), "{error}");
    assert_eq!(server.sessions_of(&agent("lab")).len(), held.len());
    let _tokyo = session(&other, &server, Alpn::Agent).await;
    // What ended frees its place, even while a user holds its handle.
    let (near, far) = held.remove(0);
    near.close(CloseCode::Done, "");
    soon(far.closed()).await;
    let (_near, _far) = session(&greedy, &server, Alpn::Agent).await;
}

#[tokio::test]
async fn what_is_not_read_is_bounded_by_the_windows() {
    let world = World::new("one");
    let server = world.coordinator();
    let files = world.files(&agent("lab"));
    let raw = Raw::new(Some(&files), Alpn::Agent.as_str().as_bytes());
    let connection = soon(raw.dial(address(&server))).await.expect("an agent");
    let _far = soon(server.accept()).await.expect("accepted");
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(soon(connection.open_bi()).await.expect("within the limit").0);
    }
    // Each takes what it can until nothing moves.
    let chunk = vec![0; 2 << 20];
    for stream in &mut streams {
        let full =
            tokio::time::timeout(std::time::Duration::from_millis(200), stream.write_all(&chunk)).await;
        assert!(full.is_err(), "2 MiB do not fit");
    }
    // The client's own buffer takes more than the windows let go, so count what left it: bounded by the
    // window of 1 MiB with headers and what was sent twice, far from the 16 MiB that it wants to send.
    let left = connection.stats().udp_tx.bytes;
    assert!(left < 4 << 20, "{left} bytes left for a window of 1 MiB");
    assert!(left > 128 << 10, "{left} bytes: an agent has more than a newcomer's 64 KiB");
}
