//! Garbage, cut Initials, oversized frames and foreign certificates on the ports of a coordinator and of an agent,
//! while a deploy is in progress.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, resident_bytes};
use trimaran_e2e::web::{Shape, Web, starts};
use trimaran_model::id::{Identity, OperatorRole};
use trimaran_model::limits::LEAF_TTL;
use trimaran_model::time::WallTime;
use trimaran_test_support::wait::until;
use trimaran_transport::authority::Authority;
use trimaran_transport::enroll::{Csr, make_key_and_csr};
use trimaran_transport::files::{self, IdentityFiles};
use trimaran_transport::{Alpn, CloseCode, random};

use self::raw::Raw;

#[path = "../../../../protocol/transport/tests/transport/raw.rs"]
#[allow(dead_code, reason = "shared with the tests of the transport, which use the rest")]
mod raw;

const FLOOD: u64 = 4000;

/// A port that is attacked, and whose certificates and protocol its sessions have.
struct Port {
    part: &'static str,
    alpn: Alpn,
    member: &'static str,
}

/// What the port refused, as users see it.
fn refused(lab: &Lab, port: &Port) -> (u64, u64) {
    let document = match port.part {
        "c1" => lab.json(&["cluster", "status"])["members"][0].clone(),
        _ => lab.json(&["agent", "list"])["agents"][0].clone(),
    };
    let count = |name: &str| document["refused"][name].as_u64().unwrap_or_else(|| panic!("{document:#}"));
    (count("handshakes"), count("frames"))
}

/// Random bytes of many lengths, half of them with the first bytes of a long header.
fn flood(address: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let mut bytes = [0; 1200];
    for number in 0..FLOOD {
        for chunk in bytes.chunks_mut(32) {
            chunk.copy_from_slice(&random::bytes::<32>()[..chunk.len()]);
        }
        if number % 2 == 0 {
            bytes[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
        }
        let length = 1 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]])) % bytes.len();
        socket.send_to(&bytes[..length], address).expect("sent");
        if number % 16 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The first datagram of a real client, cut in the middle.
async fn cut_initials(address: SocketAddr, count: usize) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let raw = Raw::new(None, Alpn::Agent.as_str().as_bytes());
    let dialing = raw.dial(socket.local_addr().expect("bound"));
    let mut bytes = [0; 2048];
    let (length, _) = socket.recv_from(&mut bytes).await.expect("an Initial");
    drop(dialing);
    for _ in 0..count {
        socket.send_to(&bytes[..length / 2], address).await.expect("sent");
    }
}

fn foreigner(port: &Port) -> IdentityFiles {
    let now = WallTime(jiff::Timestamp::now().as_millisecond());
    let authority = Authority::new_root("foreign", now).expect("a root");
    let issuer = authority.new_issuer(&"c1".parse().expect("a name"), 0, now).expect("an issuer");
    let name = "mallory";
    let identity = match port.alpn {
        Alpn::Runner => Identity::Runner(name.parse().expect("a name")),
        _ => Identity::Operator(name.parse().expect("a name"), OperatorRole::Admin),
    };
    let (key, csr) = make_key_and_csr("any").expect("a key");
    let issued =
        issuer.issue(&identity, &Csr::parse(&csr).expect("a request"), now, LEAF_TTL).expect("a leaf");
    IdentityFiles { cert: issued.pem(), key, ca: authority.certificate_pem() }
}

/// Dials with a certificate and waits for the end that the server prepares.
async fn closed_at_the_door(address: SocketAddr, port: &Port) {
    let raw = Raw::new(Some(&foreigner(port)), port.alpn.as_str().as_bytes());
    let ended = async {
        match raw.dial(address).await {
            Ok(connection) => drop(connection.closed().await),
            Err(error) => drop(error),
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("it is closed soon");
}

/// A member's session that announces a frame of 4 GiB.
async fn oversized_frame(address: SocketAddr, port: &Port, files: &IdentityFiles) {
    let raw = Raw::new(Some(files), port.alpn.as_str().as_bytes());
    let connection = raw.dial(address).await.expect("a member");
    let (mut send, _receive) = connection.open_bi().await.expect("a stream");
    send.write_all(&[0xff; 64]).await.expect("sent");
    let closed = tokio::time::timeout(Duration::from_secs(10), connection.closed()).await;
    match closed.expect("it is closed soon") {
        quinn::ConnectionError::ApplicationClosed(close) => {
            assert_eq!(close.error_code.into_inner(), u64::from(CloseCode::Protocol.number()));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn hostile_traffic_on_every_port_is_closed_and_counted_and_does_no_harm() {
    let lab = Lab::fresh(3);
    let shape = Shape { min_healthy: "3s", deadline: "30s", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let run = web.deploy(&lab, "v2");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for port in [
        Port { part: "c1", alpn: Alpn::Operator, member: "admin" },
        Port { part: "lab", alpn: Alpn::Runner, member: "host-1" },
    ] {
        let part = lab.part(port.part);
        let address: SocketAddr = part.address.parse().expect("an address");
        let pid = part.pid.expect("it runs");
        let grows = |what: &str, wanted: &dyn Fn((u64, u64)) -> bool| {
            until(what, Duration::from_secs(20), || Some(refused(&lab, &port)).filter(|it| wanted(*it)))
        };
        // The first flood takes what buffers take once.
        flood(address);
        let (before, _) = grows("garbage is counted", &|(handshakes, _)| handshakes > FLOOD / 2);
        let memory = resident_bytes(pid);
        flood(address);
        let (before, _) = grows("garbage is counted", &|(now, _)| now > before + FLOOD / 2);
        let grown = resident_bytes(pid).saturating_sub(memory);
        assert!(grown < 4 << 20, "{} took {grown} bytes for garbage", port.part);

        runtime.block_on(cut_initials(address, 10));
        let (before, frames) = grows("cut Initials are counted", &|(now, _)| now >= before + 10);
        runtime.block_on(closed_at_the_door(address, &port));
        grows("a foreign certificate is counted", &|(now, _)| now > before);
        let files = files::load_identity(&lab.data().join(port.member)).expect("readable").expect("enrolled");
        runtime.block_on(oversized_frame(address, &port, &files));
        grows("an oversized frame is counted", &|(_, now)| now == frames + 1);
    }
    let shown = lab.wait_status(&run, "succeeded", Duration::from_secs(90));
    assert!(
        shown["stages"].as_array().expect("stages").iter().all(|stage| stage["attempt"] == 1),
        "{shown:#}"
    );
    for host in ["host-1", "host-2", "host-3"] {
        let mine: Vec<_> = starts(&lab).into_iter().filter(|start| start.host == host).collect();
        assert_eq!(mine.iter().filter(|start| start.version == "v2").count(), 1, "{host}");
    }
    let runners = lab.json(&["runner", "list"]);
    let connected = |runner: &Value| runner["state"] == "connected";
    assert!(runners["runners"].as_array().expect("a list").iter().all(connected), "{runners:#}");
}
