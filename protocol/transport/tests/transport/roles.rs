//! Who may talk to whom: roles, clusters, times and revocation, at both ends.

use std::sync::atomic::Ordering;

use trimaran_model::id::Identity;
use trimaran_model::time::{Millis, WallTime};
use trimaran_transport::pki::trust::TrustError;
use trimaran_transport::{Alpn, CloseCode, CloseReason, ConnectError, Role};

use crate::world::{
    ALL_COORDINATOR, DAY, NOW, World, address, agent, bind, coordinator, operator, runner, session, soon,
    until,
};

fn everyone() -> [Identity; 4] {
    [coordinator("c2"), agent("lab"), runner("host-1"), operator("ann")]
}

/// The server refused the client's certificate.
fn refused(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Closed { reason, .. } if reason.code() == Some(CloseCode::Certificate))
}

#[tokio::test]
async fn each_protocol_takes_its_role_and_no_other() {
    let world = World::new("one");
    let coordinator = world.coordinator();
    let fleet_agent = world.endpoint(&agent("fleet"), &[Alpn::Runner, Alpn::Enroll]);
    for identity in everyone() {
        let client = world.endpoint(&identity, &[]);
        for alpn in Alpn::ALL {
            let server = if alpn == Alpn::Runner { &fleet_agent } else { &coordinator };
            let before = server.counters().refused().handshakes;
            let case = format!("{identity} on {}", alpn.as_str());
            let fits = alpn.client_role().is_none_or(|role| Role::of(&identity) == Some(role));
            if fits {
                let (near, far) = session(&client, server, alpn).await;
                let shown = alpn.client_role().map(|_| &identity);
                assert_eq!((far.alpn(), far.identity()), (alpn, shown), "{case}");
                assert!(
                    alpn.server_roles().contains(&near.certificate().expect("a server").role()),
                    "{case}"
                );
                assert_eq!(server.counters().refused().handshakes, before, "{case}");
            } else {
                let error = soon(client.connect(address(server), alpn)).await.expect_err(&case);
                assert!(refused(&error), "{case}: {error}");
                until(|| server.counters().refused().handshakes == before + 1).await;
            }
        }
    }
}

#[tokio::test]
async fn a_client_refuses_a_server_of_another_role_or_name() {
    let world = World::new("one");
    for (server, alpn, client) in [
        (agent("lab"), Alpn::Peer, coordinator("c2")),
        (operator("ann"), Alpn::Agent, agent("lab")),
        (runner("host-1"), Alpn::Operator, operator("ann")),
        (coordinator("c1"), Alpn::Runner, runner("host-1")),
        (runner("host-1"), Alpn::Enroll, agent("lab")),
    ] {
        let case = format!("{client} dials {server} on {}", alpn.as_str());
        let server = world.endpoint(&server, &[alpn]);
        let client = world.endpoint(&client, &[]);
        let error = soon(client.connect(address(&server), alpn)).await.expect_err(&case);
        assert!(
            matches!(error, ConnectError::Closed { reason: CloseReason::Refused { .. }, .. }),
            "{case}: {error}"
        );
        until(|| server.counters().refused().handshakes == 1).await;
    }
    let server = world.coordinator();
    let client = world.endpoint(&coordinator("c2"), &[]);
    let wanted = coordinator("c3");
    soon(client.connect_to(address(&server), Alpn::Peer, &wanted)).await.expect_err("c1 is not c3");
    soon(client.connect_to(address(&server), Alpn::Peer, &coordinator("c1"))).await.expect("c1 itself");
}

#[tokio::test]
async fn another_cluster_is_refused_at_both_ends() {
    // The second one has the same id and another root.
    for other in ["two", "one"] {
        let (here, there) = (World::new("one"), World::new(other));
        let server = here.coordinator();
        let stranger = there.endpoint(&agent("lab"), &[]);
        let error = soon(stranger.connect(address(&server), Alpn::Agent)).await.expect_err("another root");
        assert!(matches!(error, ConnectError::Closed { reason: CloseReason::Refused { .. }, .. }), "{error}");
        // A stranger that trusts our root and so believes us is refused by the server.
        let mut config = there.config(&there.files(&agent("lab")), &[]);
        config.trust = Some(here.trust());
        let error =
            soon(bind(config).connect(address(&server), Alpn::Agent)).await.expect_err("another root");
        assert!(refused(&error), "{error}");
        until(|| server.counters().refused().handshakes == 2).await;
    }
}

#[tokio::test]
async fn certificates_are_judged_by_the_clock_that_was_passed_in() {
    let world = World::new("one");
    let month = Millis(DAY.0 * 30);
    let server = bind(world.config(&world.files_for(&coordinator("c1"), month), &ALL_COORDINATOR));
    let client = world.endpoint(&agent("lab"), &[]);
    let dial = || soon(client.connect(address(&server), Alpn::Agent));
    dial().await.expect("valid now");
    let minutes = |n: i64| n * 60_000;
    for (shift, valid) in [
        (minutes(-9), true),
        (minutes(-11), false),
        (minutes(23 * 60 + 59), true),
        (minutes(24 * 60 + 1), false),
        (minutes(60 * 24 * 29), false),
        (0, true),
    ] {
        world.set_clock(WallTime(NOW.0 + shift));
        assert_eq!(dial().await.is_ok(), valid, "{} min later", shift / 60_000);
    }
    assert!(server.counters().refused().handshakes >= 3);
}

#[tokio::test]
async fn a_client_refuses_an_expired_server() {
    let world = World::new("one");
    let server = world.coordinator();
    let month = Millis(DAY.0 * 30);
    let client = bind(world.config(&world.files_for(&agent("lab"), month), &[]));
    world.set_clock(WallTime(NOW.0) + Millis::hours(25));
    let error = soon(client.connect(address(&server), Alpn::Agent)).await.expect_err("expired");
    assert!(matches!(error, ConnectError::Closed { reason: CloseReason::Refused { .. }, .. }), "{error}");
}

#[tokio::test]
async fn a_revocation_refuses_new_sessions_and_ends_live_ones() {
    let world = World::new("one");
    let server = world.coordinator();
    let (bad, good) = (world.endpoint(&agent("lab"), &[]), world.endpoint(&agent("tokyo"), &[]));
    let (near, far) = session(&bad, &server, Alpn::Agent).await;
    let (other, _other) = session(&good, &server, Alpn::Agent).await;
    world.revoke(&far.certificate().expect("an agent").serial);
    let code = |reason: CloseReason| reason.code();
    assert_eq!(code(soon(near.closed()).await), Some(CloseCode::Revoked));
    let reason = soon(far.closed()).await;
    assert!(matches!(reason, CloseReason::Local { code: CloseCode::Revoked, .. }), "{reason}");
    assert!(other.close_reason().is_none(), "the others live on");
    let error = soon(bad.connect(address(&server), Alpn::Agent)).await.expect_err("revoked");
    assert!(error.is_final(), "another process took its place: {error}");
    assert_eq!(server.sessions().len(), 1);
}

#[tokio::test]
async fn a_client_refuses_a_revoked_server() {
    let world = World::new("one");
    let server = world.coordinator();
    let client = world.endpoint(&agent("lab"), &[]);
    let (near, _far) = session(&client, &server, Alpn::Agent).await;
    world.revoke(&near.certificate().expect("a coordinator").serial);
    client.close_revoked();
    assert_eq!(soon(near.closed()).await.code(), Some(CloseCode::Revoked));
    soon(client.connect(address(&server), Alpn::Agent)).await.expect_err("revoked");
}

#[tokio::test]
async fn superseded_sessions_are_found_and_closed() {
    let world = World::new("one");
    let server = world.coordinator();
    let (old, new) = (world.endpoint(&agent("lab"), &[]), world.endpoint(&agent("lab"), &[]));
    let (old_near, old_far) = session(&old, &server, Alpn::Agent).await;
    let (new_near, new_far) = session(&new, &server, Alpn::Agent).await;
    let mine = new_far.id();
    let older =
        |other: &trimaran_transport::Session| other.identity() == new_far.identity() && other.id() < mine;
    assert_eq!(server.close_sessions(older, CloseCode::Superseded, "a newer process attached"), 1);
    let reason = soon(old_near.closed()).await;
    assert!(reason.is_final(), "{reason}");
    assert_eq!(reason.to_string(), "closed by the other side: superseded: a newer process attached");
    assert!(new_near.close_reason().is_none());
    assert_eq!(old_far.close_reason().and_then(|reason| reason.code()), Some(CloseCode::Superseded));
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let world = World::new("one");
    let files = world.files(&coordinator("c1"));
    let config = world.config(&files, &ALL_COORDINATOR);
    let store = config.store.clone();
    let server = bind(config);
    let mine = world.config(&world.files(&agent("lab")), &[]);
    let my_store = mine.store.clone();
    let client = bind(mine);
    let (first, first_far) = session(&client, &server, Alpn::Agent).await;
    store.replace(&world.files(&coordinator("c1"))).expect("a new certificate");
    my_store.replace(&world.files(&agent("lab"))).expect("a new certificate");
    let mut broken = world.files(&coordinator("c1"));
    broken.key = files.key;
    store.replace(&broken).expect_err("the key of another certificate");
    let (second, second_far) = session(&client, &server, Alpn::Agent).await;
    assert_ne!(first.certificate().unwrap().serial, second.certificate().unwrap().serial);
    assert_ne!(first_far.certificate().unwrap().spki, second_far.certificate().unwrap().spki);
    assert_eq!(second.certificate().map(|info| &info.serial), store.info().as_ref().map(|info| &info.serial));
    assert!(first.close_reason().is_none() && first_far.close_reason().is_none());
    assert_eq!(world.clock.load(Ordering::Relaxed), NOW.0);
}

#[tokio::test]
async fn an_authority_is_replaced_with_an_overlap() {
    let (old, new) = (World::new("one"), World::new("one"));
    let both = old.authority.certificate_pem() + &new.authority.certificate_pem();
    let with_both = |world: &World, identity: &Identity| {
        let mut files = world.files(identity);
        files.ca = both.clone();
        files
    };
    let server = bind(new.config(&with_both(&new, &coordinator("c1")), &ALL_COORDINATOR));
    for world in [&old, &new] {
        let client = bind(world.config(&with_both(world, &agent("lab")), &[]));
        let (near, _far) = session(&client, &server, Alpn::Agent).await;
        assert_eq!(near.identity(), Some(&coordinator("c1")));
    }
    // Who knows the old root alone does not believe the new one.
    let late = old.endpoint(&agent("lab"), &[]);
    soon(late.connect(address(&server), Alpn::Agent)).await.expect_err("an unknown root");
    // A newcomer may hold a token of either root.
    for world in [&old, &new] {
        let root = world.trust().root_fingerprint();
        let enrolled = soon(late.enroll(address(&server), root)).await;
        assert_eq!(
            enrolled.is_ok(),
            std::ptr::eq(world, &new),
            "a chain ends at one root: {:?}",
            enrolled.err()
        );
    }
}

#[tokio::test]
async fn a_session_ends_with_the_certificate_that_it_began_with() {
    let world = World::new("one");
    let month = Millis(DAY.0 * 30);
    let server = bind(world.config(&world.files_for(&coordinator("c1"), month), &ALL_COORDINATOR));
    let mine = world.config(&world.files(&agent("lab")), &[]);
    let store = mine.store.clone();
    let client = bind(mine);
    let long = bind(world.config(&world.files_for(&agent("tokyo"), month), &[]));
    let (near, far) = session(&client, &server, Alpn::Agent).await;
    let (other, _other) = session(&long, &server, Alpn::Agent).await;
    // Renewed in time; the session goes on until its own certificate is over.
    let renewed = world.files_for(&agent("lab"), Millis::hours(48));
    store.replace(&renewed).expect("a new certificate");
    world.set_clock(NOW + Millis::hours(23));
    server.close_revoked();
    assert!(near.close_reason().is_none(), "it is valid for another hour");
    world.set_clock(NOW + Millis::hours(25));
    let reason = soon(near.closed()).await;
    assert_eq!(reason.code(), Some(CloseCode::Certificate));
    assert!(!reason.is_final() && reason.to_string().contains("has expired"), "it dials again: {reason}");
    assert_eq!(soon(far.closed()).await.code(), Some(CloseCode::Certificate));
    assert!(other.close_reason().is_none(), "the others live on");
    session(&client, &server, Alpn::Agent).await;
}

#[tokio::test]
async fn a_client_ends_a_session_with_the_certificate_of_its_server() {
    let world = World::new("one");
    let server = world.coordinator();
    let month = Millis(DAY.0 * 30);
    let client = bind(world.config(&world.files_for(&agent("lab"), month), &[]));
    let (near, _far) = session(&client, &server, Alpn::Agent).await;
    world.set_clock(NOW + Millis::hours(25));
    assert_eq!(soon(near.closed()).await.code(), Some(CloseCode::Certificate));
}

#[tokio::test]
async fn roots_are_replaced_under_a_process_that_runs_and_only_with_an_overlap() {
    let (old, new) = (World::new("one"), World::new("one"));
    let both = old.authority.certificate_pem() + &new.authority.certificate_pem();
    let mut files = new.files(&coordinator("c1"));
    files.ca = both.clone();
    let server = bind(new.config(&files, &ALL_COORDINATOR));
    let config = old.config(&old.files(&agent("lab")), &[]);
    let trust = config.trust.clone().expect("the old root");
    let client = bind(config);
    soon(client.connect(address(&server), Alpn::Agent)).await.expect_err("an unknown root");
    assert_eq!(trust.replace(&new.authority.certificate_pem()), Err(TrustError::NoOverlap));
    let foreign = World::new("two").authority.certificate_pem();
    assert!(matches!(trust.replace(&foreign), Err(TrustError::Clusters { .. })));
    soon(client.connect(address(&server), Alpn::Agent)).await.expect_err("nothing has changed");
    assert_eq!(trust.replace(&both), Ok(true));
    assert_eq!(trust.replace(&both), Ok(false));
    soon(client.connect(address(&server), Alpn::Agent)).await.expect("the new root is trusted");
    assert_eq!(trust.replace(&new.authority.certificate_pem()), Ok(true));
    assert_eq!(trust.root_fingerprint(), new.trust().root_fingerprint(), "the old one is gone");
}
