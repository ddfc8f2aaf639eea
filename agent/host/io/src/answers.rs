//! What the answer to a probe is worth: whether the first process still runs, and whether a process of the service
//! answered.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use trimaran_host_core::host::{HostFailure, Reply};
use trimaran_model::reason::ReasonCode;

use crate::ports::{self, Answerer};
use crate::probe::Answered;
use crate::shim::Service;

/// What earlier answers have proved.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    /// Listening sockets of a launch, which are not searched for again.
    known: Arc<Mutex<(u64, BTreeSet<u64>)>>,
    /// What is to be known of a launch beside its successes.
    warning: Arc<Mutex<Option<LaunchWarning>>>,
}

/// A launch, and what is to be known of it beside its successes.
type LaunchWarning = (u64, Option<HostFailure>);

impl Answers {
    /// Judges an answer to a probe of `launch`, whose shim's directory is `dir`.
    pub(crate) async fn judge(
        &self,
        launch: u64,
        dir: Option<PathBuf>,
        answer: Result<Answered, String>,
    ) -> Reply {
        let known = Arc::clone(&self.known);
        let judged = crate::blocking::spawn(move || {
            let mut known = known.lock();
            if known.0 != launch {
                *known = (launch, BTreeSet::new());
            }
            judge(dir.as_deref(), answer, &mut known.1)
        });
        judged.await.unwrap_or_else(lost)
    }

    /// Judges the end of a command beside the service whose shim's directory is `dir`.
    pub(crate) async fn judge_command(&self, dir: Option<PathBuf>, answer: Result<(), String>) -> Reply {
        let judged = crate::blocking::spawn(move || {
            let service = dir.and_then(|dir| Service::find(&dir).ok().flatten());
            match service.as_ref().and_then(Service::main_exit) {
                Some(exit) => Reply::Ended(exit),
                None => answer.map_or_else(failed, |()| Reply::Done),
            }
        });
        judged.await.unwrap_or_else(lost)
    }

    /// The warning of a launch, if it was asked for: there may be none.
    pub(crate) fn warning(&self, launch: u64) -> Option<Option<HostFailure>> {
        let known = self.warning.lock();
        known.as_ref().filter(|(of, _)| *of == launch).map(|(_, warning)| warning.clone())
    }

    pub(crate) fn note_warning(&self, launch: u64, warning: Option<HostFailure>) {
        *self.warning.lock() = Some((launch, warning));
    }
}

fn lost(error: tokio::task::JoinError) -> Reply {
    failed(format!("a task of the runner ended: {error}"))
}

fn failed(message: String) -> Reply {
    Reply::Failed(HostFailure::new(ReasonCode::ProbeFailed, message))
}

fn judge(dir: Option<&Path>, answer: Result<Answered, String>, known: &mut BTreeSet<u64>) -> Reply {
    let service = dir.and_then(|dir| Service::find(dir).ok().flatten());
    if let Some(exit) = service.as_ref().and_then(Service::main_exit) {
        return Reply::Ended(exit);
    }
    let Answered { peer, local } = match answer {
        Ok(answered) => answered,
        Err(message) => return failed(message),
    };
    let unverified = |why: String| {
        let message = format!("whether a process of the release answers the probe is not known: {why}");
        Reply::Warned(HostFailure::new(ReasonCode::ListenerUnknown, message))
    };
    let (ip, port) = (peer.ip().to_canonical(), peer.port());
    // A connection of a host to one of its own addresses has this address at both ends (ip-route(8), table local).
    if !ip.is_loopback() && ip != local.ip().to_canonical() {
        return unverified(format!("{peer} is not an address of this host"));
    }
    let Some(service) = service else {
        return unverified("the state of its shim can't be read".to_owned());
    };
    match ports::answerer(ip, port, known, || service.members()) {
        Ok(Answerer::Service(inodes)) => {
            *known = inodes;
            Reply::Done
        }
        Ok(Answerer::Stranger(who)) => failed(format!("{who}, and it is not a process of the release")),
        Ok(Answerer::Unknown(why)) => unverified(why),
        Err(error) => unverified(format!("can't see who listens: {error}")),
    }
}
