//! Agents that a benchmark plays itself: with the identity of an enrolled one, and a session that a coordinator took.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use trimaran_process::clock::system_wall;
use trimaran_transport::files::load_identity;
use trimaran_transport::{
    Alpn, CertificateStore, Endpoint, EndpointConfig, EndpointLimits, FrameReceiver, FrameSender, Trust,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::{AgentDown, AgentUp, KnownCluster};

/// A session of an agent that is attached; `None` when the coordinator does not take it now.
pub(crate) async fn attach(
    endpoint: &Endpoint,
    coordinator: SocketAddr,
) -> Option<(FrameSender, FrameReceiver)> {
    let session = endpoint.connect(coordinator, Alpn::Agent).await.ok()?;
    let (mut sender, mut receiver) = session.open_stream().await.ok()?;
    let hello = AgentUp::Hello {
        incarnation: 1,
        known: KnownCluster::default(),
        held: Vec::new(),
        listen: None,
        platforms: vec!["hosts".to_owned()],
    };
    sender.send(&hello.to_frame()).await.ok()?;
    let first = receiver.next().await.ok()??;
    matches!(AgentDown::from_frame(&first), Ok(AgentDown::Welcome { .. })).then_some((sender, receiver))
}

/// An endpoint with the identity that was enrolled in this folder.
pub(crate) fn endpoint(folder: &Path) -> Endpoint {
    let files = load_identity(folder).expect("readable").expect("enrolled");
    let config = EndpointConfig {
        alpns: Vec::new(),
        trust: Some(Trust::from_pem(&files.ca).expect("a root")),
        store: CertificateStore::new(&files).expect("a certificate"),
        clock: Arc::new(system_wall),
        revoked: Arc::new(|_| false),
        reset_key: None,
        limits: EndpointLimits::CLIENT,
    };
    Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)), config).expect("bound")
}
