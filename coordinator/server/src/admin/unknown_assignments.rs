//! Finished work that an agent keeps because no coordinator knows its assignment: an alarm, shown with the
//! installation and its run.
//!
//! Soft state like everything that agents report of themselves: reported again with each session, gone when a newer
//! assignment has replaced what was held.

use trimaran_engine::state::installation::Installation;
use trimaran_model::id::RunId;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::WallTime;
use trimaran_query as query;
use trimaran_wire::document::{AlarmDocument, ReasonDocument, StatusDocument, Why, rfc3339};
use trimaran_wire::v1::agent::HeldAssignment;
use trimaran_wire::v1::common::{WireInstallation, WireRun};

use crate::rows::Rows;
use crate::server::Server;

/// Alarms shown at once; after a restore an agent may hold thousands.
const ALARMS_MAX: usize = 32;

/// One assignment that is held.
struct Held {
    agent: String,
    it: HeldAssignment,
    since: WallTime,
}

impl Held {
    fn message(&self) -> String {
        let HeldAssignment { assignment, installation, run, .. } = &self.it;
        format!(
            "agent `{}` holds the result of assignment {assignment} of {}#{} on {}/{}, which no coordinator knows",
            self.agent, run.pipeline, run.number, installation.pipeline, installation.target
        )
    }

    /// A newer assignment replaces what is held: the release that is there, deployed again, where it is known.
    fn clears(&self, rows: &Rows<'_>) -> String {
        let pipeline = &self.it.installation.pipeline;
        let current = installation(rows, &self.it.installation).and_then(|it| it.current);
        match current.and_then(|digest| query::release(rows, &digest)) {
            Some(entry) => {
                let named = entry.release.workload.artifacts().into_iter();
                let named =
                    named.map(|it| format!(" --artifact {}={}@sha256:{}", it.name, it.version, it.sha256));
                format!("trimaran deploy {pipeline}{}", named.collect::<String>())
            }
            None => format!("trimaran deploy {pipeline}"),
        }
    }
}

/// The installation that an agent names.
fn installation(rows: &Rows<'_>, id: &WireInstallation) -> Option<Installation> {
    query::installation(rows, &id.clone().try_into().ok()?)
}

impl Server {
    /// Records what an agent holds now.
    pub(crate) fn hold(&self, agent: &str, held: Vec<HeldAssignment>) {
        let now = self.node.wall();
        let mut soft_state = self.soft_state.lock();
        let before = soft_state.held.remove(agent).unwrap_or_default();
        let since = |it: &HeldAssignment| before.iter().find(|(old, _)| old == it).map_or(now, |(_, at)| *at);
        let held: Vec<_> = held.into_iter().map(|it| (it.clone(), since(&it))).collect();
        if !held.is_empty() {
            soft_state.held.insert(agent.to_owned(), held);
        }
    }

    fn held(&self) -> Vec<Held> {
        let soft_state = self.soft_state.lock();
        let one = |agent: &String, (it, since): &(HeldAssignment, WallTime)| Held {
            agent: agent.clone(),
            it: it.clone(),
            since: *since,
        };
        let elsewhere = soft_state.elsewhere.values().flat_map(|it| &it.held);
        soft_state
            .held
            .iter()
            .chain(elsewhere)
            .flat_map(|(agent, list)| list.iter().map(move |held| one(agent, held)))
            .collect()
    }
}

/// For `cluster status`.
pub(super) fn alarms(server: &Server, rows: &Rows<'_>) -> Vec<AlarmDocument> {
    let alarm = |held: &Held| AlarmDocument {
        code: ReasonCode::HeldAssignment.as_str().to_owned(),
        message: held.message(),
        since: rfc3339(held.since),
        clears: held.clears(rows),
    };
    server.held().iter().take(ALARMS_MAX).map(alarm).collect()
}

/// `status` and `installation list`, with a message at the installations that are concerned.
pub(super) fn status(server: &Server, mut status: StatusDocument) -> StatusDocument {
    for held in server.held() {
        let id = &held.it.installation;
        let concerned = |it: &&mut trimaran_wire::document::InstallationDocument| {
            it.pipeline == id.pipeline && it.target == id.target
        };
        let Some(shown) = status.installations.iter_mut().find(concerned) else { continue };
        shown.message = Some(match shown.message.take() {
            Some(message) => format!("{message}; {}", held.message()),
            None => held.message(),
        });
        shown.code.get_or_insert_with(|| ReasonCode::HeldAssignment.as_str().to_owned());
    }
    status
}

/// `why` of the run whose result is held, and of the run that the installation has now.
pub(super) fn why(server: &Server, rows: &Rows<'_>, run: &RunId, mut why: Why) -> Why {
    for held in
        server.held().into_iter().filter(|held| held.it.installation.pipeline == run.pipeline.as_str())
    {
        let id = &held.it.installation;
        let now = installation(rows, id).and_then(|it| it.run);
        if held.it.run != WireRun::from(run) && now.as_ref() != Some(run) {
            continue;
        }
        let on_target = |name: &str| name.rsplit_once('/').is_some_and(|(_, target)| target == id.target);
        let Some(stage) = why.stages.iter_mut().find(|stage| on_target(&stage.name)) else { continue };
        stage.reasons.push(ReasonDocument {
            code: ReasonCode::HeldAssignment.as_str().to_owned(),
            message: held.message(),
            since: rfc3339(held.since),
            clears: held.clears(rows),
            who: vec!["operator".to_owned(), "admin".to_owned()],
            next_check: None,
            first: None,
            cause: None,
            instance: None,
            run: None,
        });
    }
    why
}
