//! Streams, requests, limits and ends of sessions.

use trimaran_model::limits::{AGENT_FRAME_BYTES_MAX, FRAME_BYTES_MAX, OPERATOR_REPLY_BYTES_MAX};
use trimaran_transport::{Alpn, CloseCode, CloseReason, RecvError, RequestError, SendError, Session};

use crate::world::{World, agent, coordinator, frame, operator, session, soon, until};

/// Answers every stream with its own frames, in reverse.
async fn echo(far: Session) -> CloseReason {
    loop {
        let (mut sender, mut receiver) = match far.accept_stream().await {
            Ok(streams) => streams,
            Err(reason) => return reason,
        };
        let mut frames = Vec::new();
        while let Some(frame) = receiver.next().await.expect("frames") {
            frames.push(frame);
        }
        for frame in frames.iter().rev() {
            sender.send(frame).await.expect("sent");
        }
        sender.finish();
    }
}

#[tokio::test]
async fn requests_get_their_replies() {
    let world = World::new("one");
    let server = world.coordinator();
    let client = world.endpoint(&operator("ann"), &[]);
    let (near, far) = session(&client, &server, Alpn::Operator).await;
    let served = tokio::spawn(echo(far));
    for body in [&b""[..], b"one", &[7; 200_000]] {
        let reply = soon(near.request_one(&frame(body))).await.expect("a reply");
        assert_eq!(reply, frame(body));
    }
    let (mut sender, mut receiver) = soon(near.open_stream()).await.expect("a stream");
    sender.set_priority(1);
    for body in [b"a", b"b", b"c"] {
        soon(sender.send(&frame(body))).await.expect("sent");
    }
    sender.finish();
    let mut seen = Vec::new();
    while let Some(frame) = soon(receiver.next()).await.expect("a frame") {
        seen.extend(frame.body);
    }
    assert_eq!(seen, b"cba");
    let (sender, mut receiver) = soon(near.open_stream()).await.expect("a stream");
    soon(sender.finish_and_wait()).await.expect("an empty stream");
    assert_eq!(soon(receiver.next()).await, Ok(None));
    near.close(CloseCode::Done, "enough");
    let reason = soon(served).await.expect("no panic");
    assert_eq!(reason, CloseReason::Peer { code: CloseCode::Done, reason: "enough".into() });
    assert_eq!(
        near.close_reason(),
        Some(CloseReason::Local { code: CloseCode::Done, reason: "enough".into() })
    );
    let error = soon(near.request_one(&frame(b"late"))).await.expect_err("closed");
    assert_eq!(error.closed(), near.close_reason().as_ref());
    near.close(CloseCode::Busy, "again");
    assert_eq!(near.close_reason().and_then(|reason| reason.code()), Some(CloseCode::Done));
}

#[tokio::test]
async fn the_largest_frames_pass_and_larger_ones_do_not_leave() {
    let world = World::new("one");
    let server = world.coordinator();
    for (identity, alpn, max) in
        [(coordinator("c2"), Alpn::Peer, FRAME_BYTES_MAX), (agent("lab"), Alpn::Agent, AGENT_FRAME_BYTES_MAX)]
    {
        let client = world.endpoint(&identity, &[]);
        let (near, far) = session(&client, &server, alpn).await;
        let served = tokio::spawn(echo(far));
        let large = frame(&vec![1; max]);
        assert!(soon(near.request_one(&large)).await.expect("a reply") == large);
        let error = soon(near.request_one(&frame(&vec![1; max + 1]))).await.expect_err("too long");
        assert_eq!(error, RequestError::Send(SendError::TooLong { length: max + 1, limit: max }));
        assert!(near.close_reason().is_none(), "a refusal before sending harms no one");
        drop(near);
        assert_eq!(soon(served).await.expect("no panic").code(), Some(CloseCode::Done));
    }
}

#[tokio::test]
async fn replies_to_operators_may_be_larger_than_their_requests() {
    let world = World::new("one");
    let server = world.coordinator();
    let client = world.endpoint(&operator("ann"), &[]);
    let (near, far) = session(&client, &server, Alpn::Operator).await;
    let serve = tokio::spawn(async move {
        let (mut sender, mut receiver) = far.accept_stream().await.expect("a request");
        receiver.next().await.expect("a frame");
        sender.send(&frame(&vec![1; OPERATOR_REPLY_BYTES_MAX])).await.expect("sent");
        sender.finish_and_wait().await.expect("arrived");
    });
    let reply = soon(near.request_one(&frame(b"all"))).await.expect("a reply");
    assert_eq!(reply.body.len(), OPERATOR_REPLY_BYTES_MAX);
    soon(serve).await.expect("no panic");
}

#[tokio::test]
async fn a_reply_that_was_cut_short_never_looks_whole() {
    let world = World::new("one");
    let server = world.coordinator();
    let client = world.endpoint(&agent("lab"), &[]);
    let (near, far) = session(&client, &server, Alpn::Agent).await;
    let mut receiver = soon(near.request(&frame(b"x"))).await.expect("sent");
    let (mut sender, mut request) = soon(far.accept_stream()).await.expect("a request");
    assert_eq!(soon(request.next()).await, Ok(Some(frame(b"x"))));
    soon(sender.send(&frame(b"first"))).await.expect("sent");
    assert_eq!(soon(receiver.next()).await, Ok(Some(frame(b"first"))));
    drop(sender);
    assert_eq!(soon(receiver.next()).await, Err(RecvError::Reset(CloseCode::Shutdown)));
    assert!(near.close_reason().is_none(), "only the stream ended");

    let receiver = soon(near.request(&frame(b"y"))).await.expect("sent");
    let (mut sender, mut request) = soon(far.accept_stream()).await.expect("a request");
    assert_eq!(soon(request.next()).await, Ok(Some(frame(b"y"))));
    receiver.stop(CloseCode::Busy);
    soon(sender.stopped()).await;
    assert_eq!(soon(sender.send(&frame(b"z"))).await, Err(SendError::Stopped(CloseCode::Busy)));
}

#[tokio::test]
async fn a_wait_for_a_frame_may_be_given_up_and_taken_up_again() {
    let world = World::new("one");
    let server = world.coordinator();
    let client = world.endpoint(&agent("lab"), &[]);
    let (near, far) = session(&client, &server, Alpn::Agent).await;
    let large = frame(&(0..1_000_000u32).map(|n| n as u8).collect::<Vec<_>>());
    let sent = large.clone();
    let writer = tokio::spawn(async move {
        let (mut sender, _receiver) = near.open_stream().await.expect("a stream");
        sender.send(&sent).await.expect("sent");
        sender.finish_and_wait().await.expect("arrived");
        near
    });
    let (_sender, mut receiver) = soon(far.accept_stream()).await.expect("a stream");
    let mut given_up = 0;
    let received = loop {
        tokio::select! {
            biased;
            received = receiver.next() => break received,
            () = tokio::task::yield_now() => given_up += 1,
        }
    };
    assert!(received == Ok(Some(large)), "the whole frame");
    assert!(given_up > 0, "it took several attempts");
    drop(receiver);
    soon(writer).await.expect("no panic");
}

#[tokio::test]
async fn a_send_that_was_given_up_breaks_its_stream() {
    let world = World::new("one");
    let server = world.coordinator();
    let client = world.endpoint(&agent("lab"), &[]);
    let (near, far) = session(&client, &server, Alpn::Agent).await;
    let (mut sender, _receiver) = soon(near.open_stream()).await.expect("a stream");
    // No one reads, and the window is smaller than two of these.
    let large = frame(&vec![0; 900_000]);
    let first = tokio::time::timeout(std::time::Duration::from_millis(100), async {
        sender.send(&large).await?;
        sender.send(&large).await
    });
    assert!(first.await.is_err(), "the windows are full");
    assert_eq!(soon(sender.send(&frame(b"x"))).await, Err(SendError::Broken));
    drop(sender);
    let (_sender, mut receiver) = soon(far.accept_stream()).await.expect("a stream");
    let reset = soon(async {
        loop {
            match receiver.next().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        }
    });
    assert_eq!(reset.await, Err(RecvError::Reset(CloseCode::Shutdown)));
}

#[tokio::test]
async fn a_shutdown_is_sent_to_everyone_and_is_bounded() {
    let world = World::new("one");
    let server = world.coordinator();
    let client = world.endpoint(&agent("lab"), &[]);
    let (near, far) = session(&client, &server, Alpn::Agent).await;
    let begin = tokio::time::Instant::now();
    server.shutdown("upgrade").await;
    assert!(begin.elapsed() < std::time::Duration::from_secs(4));
    let expected = CloseReason::Peer { code: CloseCode::Shutdown, reason: "upgrade".into() };
    assert_eq!(soon(near.closed()).await, expected);
    assert!(!expected.is_final(), "another coordinator may be dialed");
    assert_eq!(soon(far.closed()).await.code(), Some(CloseCode::Shutdown));
    assert!(soon(server.accept()).await.is_none());
}

#[tokio::test]
async fn the_last_handle_of_a_session_ends_it() {
    let world = World::new("one");
    let server = world.coordinator();
    let client = world.endpoint(&agent("lab"), &[]);
    let (near, far) = session(&client, &server, Alpn::Agent).await;
    let (sender, receiver) = soon(near.open_stream()).await.expect("a stream");
    drop(near);
    assert_eq!(client.sessions().len(), 1, "streams hold their session");
    drop((sender, receiver));
    assert_eq!(soon(far.closed()).await, CloseReason::Peer { code: CloseCode::Done, reason: String::new() });
    until(|| client.sessions().is_empty() && server.sessions().is_empty()).await;
}

#[tokio::test]
async fn the_silence_of_an_idle_session_is_ended_by_keep_alives() {
    let world = World::new("one");
    let server = world.coordinator();
    let client = world.endpoint(&coordinator("c2"), &[]);
    let (near, far) = session(&client, &server, Alpn::Peer).await;
    // Nothing is sent: what ends the silence of both sides again and again are keep-alives alone.
    for session in [&near, &far] {
        for _ in 0..3 {
            let mut longest = std::time::Duration::ZERO;
            until(|| {
                let silent = session.silent_for();
                let ended = silent < longest;
                longest = longest.max(silent);
                ended
            })
            .await;
        }
    }
    assert!(near.close_reason().is_none() && far.close_reason().is_none());
    assert!(near.rtt() < std::time::Duration::from_secs(1));
}
