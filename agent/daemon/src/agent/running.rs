//! Which release of an installation is on hosts: asked of the runners, and passed on with the release itself once for each digest.
//!
//! Hosts keep what they run whole, so they know a release that no coordinator knows, as after a restore.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use tokio::time::timeout;
use trimaran_agent_core::platform::{Part, PartSink};
use trimaran_model::id::{HostName, InstallationId};
use trimaran_model::limits::LOG_HOST_WAIT;
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::common::WireInstallation;
use trimaran_wire::v1::runner::{RunnerQuery, RunningRelease};

use super::hosts::LiveRunners;

/// Hosts that are asked at the same time: each answer has a whole release.
const ASKED_AT_ONCE: usize = 64;

/// Asks these hosts, some at a time.
pub(super) async fn ask_hosts(
    hosts: Vec<HostName>,
    installation: &InstallationId,
    runners: &LiveRunners,
    parts_to: impl PartSink,
) {
    let (mut hosts, mut asking) = (hosts.into_iter(), JoinSet::new());
    let mut known = BTreeSet::new();
    loop {
        while asking.len() < ASKED_AT_ONCE
            && let Some(host) = hosts.next()
        {
            asking.spawn(ask(host, installation.into(), runners.clone()));
        }
        let Some(answered) = asking.join_next().await else { return };
        let Ok(mut running) = answered else { continue };
        if running.digest.is_some_and(|digest| !known.insert(digest)) {
            running.release = None;
        }
        if parts_to.put(Part::Running(running)).await.is_err() {
            return;
        }
    }
}

async fn ask(host: HostName, installation: WireInstallation, runners: LiveRunners) -> RunningRelease {
    let missing = |why: &str| RunningRelease {
        host: host.to_string(),
        digest: None,
        release: None,
        missing: Some(why.to_owned()),
    };
    let asked = async {
        let session = runners.connected(&host).await;
        let question = RunnerQuery::Running { installation }.to_frame();
        let mut answer = session.request(&question).await.ok()?;
        let frame = answer.next().await.ok()??;
        match RunningRelease::from_frame(&frame) {
            Ok(running) => Some(running),
            Err(error) => {
                session.refuse_frame(&error.to_string());
                None
            }
        }
    };
    match timeout(LOG_HOST_WAIT.to_std(), asked).await {
        // Whoever reads knows the host by its certificate, not by what it says.
        Ok(Some(running)) => RunningRelease { host: host.to_string(), ..running },
        Ok(None) => missing("its runner gave no answer"),
        Err(_) => missing("its runner is not connected"),
    }
}
