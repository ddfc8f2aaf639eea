//! `installation adopt`: the agent of an installation is asked what its hosts run, and the command has that release.
//!
//! Hosts keep what they run whole, so they know a release that was deployed after the backup. What an agent says is hostile
//! input: the release has the digest that it says, is of this pipeline and target (the engine checks), and all hosts that answer
//! have the same one.
//!
//! Not here: platforms whose instances are their own, which no one is asked for.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_engine::Refusal as EngineRefusal;
use trimaran_model::error_code;
use trimaran_model::id::{HostName, Identity, InstallationId, RequestId};
use trimaran_model::limits::MESSAGE_BYTES_MAX;
use trimaran_model::target::{PlatformKind, Target};
use trimaran_model::text::cut;
use trimaran_query::{self as query, text};
use trimaran_transport::FrameReceiver;
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::{AgentAnswer, AgentQuery, AgentQuestion};
use trimaran_wire::v1::command::{CommandBody, RequestKey};
use trimaran_wire::v1::common::WireInstallation;
use trimaran_wire::v1::operator::Refusal;
use trimaran_wire::v1::release::WireRelease;
use trimaran_wire::v1::runner::RunningRelease;

use super::questions::path_to;
use super::reply::{refusal, wait_linearizable};
use crate::peer::ask_agent;
use crate::rows::{Rows, View};
use crate::server::Server;

/// Hosts with different releases that are named.
const RELEASES_NAMED_MAX: usize = 4;

/// `PIPELINE/ENV/TARGET`.
pub(super) struct Place {
    pub(super) pipeline: String,
    pub(super) environment: String,
    pub(super) target: String,
}

/// What one view says of the installation.
struct Found {
    target: Target,
    hosts: Vec<HostName>,
}

/// The command with what runs. A request that was answered before has its stored answer, whatever runs now.
pub(super) async fn command(
    server: &Server,
    identity: &Identity,
    request: &RequestKey,
    place: Place,
) -> Result<CommandBody, Refusal> {
    wait_linearizable(server, true).await?;
    let Place { pipeline, environment, target } = place;
    let id = InstallationId {
        pipeline: pipeline.parse().map_err(|_| unknown(&pipeline))?,
        target: target.parse().map_err(|_| unknown(&target))?,
    };
    let (reader, asker, request_id) = (server.clone(), identity.clone(), RequestId(request.id));
    let (wanted, within) = (id.clone(), environment.clone());
    let read = move || {
        View::new(&reader.node).read(|rows| {
            let is_known = query::request(rows, request_id, &asker).is_some();
            (is_known, find(rows, &wanted, &within))
        })
    };
    let (is_known, found) = server.reads.run(identity, read).await?;
    let installation = WireInstallation::from(&id);
    if is_known {
        // The request alone counts.
        return Ok(CommandBody::Reapply { installation, environment });
    }
    let release = ask(server, identity, &id, found?).await?;
    Ok(CommandBody::Adopt { installation, environment, release })
}

fn unknown(name: &str) -> Refusal {
    refusal(error_code::NOT_FOUND, format!("there is no installation of `{name}`"))
}

fn of_engine(why: &EngineRefusal) -> Refusal {
    refusal(why.code(), text::refusal(why))
}

/// The hosts to ask; refused here where there is nothing to decide, so that no agent is asked in vain.
fn find(rows: &Rows<'_>, id: &InstallationId, environment: &str) -> Result<Found, Refusal> {
    if query::observes(rows) {
        return Err(of_engine(&EngineRefusal::Observes));
    }
    let here = query::installation(rows, id).filter(|it| it.environment.as_str() == environment);
    let Some(here) = here else {
        return Err(unknown(&format!("{}/{environment}/{}", id.pipeline, id.target)));
    };
    if !query::is_undecided(rows, id) {
        let (installation, environment) = (here.id, here.environment);
        return Err(of_engine(&EngineRefusal::NothingUndecided { installation, environment }));
    }
    let target = query::target(rows, &id.target).ok_or_else(|| unknown(id.target.as_str()))?;
    if target.platform.kind() != PlatformKind::Hosts {
        return Err(not_one("only hosts can be asked what they run".to_owned()));
    }
    let runners = query::runners_of(rows, &target.agent).into_iter();
    let hosts = runners.filter(|runner| runner.is_host_of(&target)).map(|runner| runner.name).collect();
    Ok(Found { target, hosts })
}

fn not_one(message: String) -> Refusal {
    refusal(error_code::NOT_ONE_RELEASE, message)
}

/// What runs by the word of the agent.
async fn ask(
    server: &Server,
    identity: &Identity,
    id: &InstallationId,
    found: Found,
) -> Result<WireRelease, Refusal> {
    let Found { target, hosts } = found;
    let agent = target.agent.to_string();
    let path = path_to(server, identity, &target).await?;
    let named: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let question = AgentQuestion::Running { pipeline: id.pipeline.to_string(), hosts: named };
    let query = AgentQuery { target: id.target.to_string(), question };
    let broke_off =
        || refusal(error_code::QUESTION_UNANSWERED, format!("the session of agent `{agent}` broke off"));
    let (question, answer) = ask_agent(server, &path, &agent, query).await.ok_or_else(broke_off)?;
    question.finish();
    let mut running = Running::default();
    running.read(answer, hosts).await.map_err(|why| why.unwrap_or_else(broke_off))?;
    running.one()
}

/// What hosts have said.
#[derive(Default)]
struct Running {
    hosts_of: BTreeMap<[u8; 32], Vec<HostName>>,
    releases: BTreeMap<[u8; 32], WireRelease>,
    missing: Vec<String>,
}

impl Running {
    /// Reads the answer to its end; `None`: it broke off.
    async fn read(&mut self, mut answer: FrameReceiver, hosts: Vec<HostName>) -> Result<(), Option<Refusal>> {
        let mut left: BTreeSet<HostName> = hosts.into_iter().collect();
        while let Some(frame) = answer.next().await.map_err(|_| None)? {
            match AgentAnswer::from_frame(&frame) {
                Ok(AgentAnswer::Running(running)) => {
                    let host = running.host.parse().ok().and_then(|host: HostName| left.take(&host));
                    self.add(host.ok_or(None)?, running)?;
                }
                Ok(AgentAnswer::Refused { message, .. }) => {
                    let message = cut(message, MESSAGE_BYTES_MAX);
                    return Err(Some(refusal(error_code::QUESTION_UNANSWERED, message)));
                }
                // No part of this answer.
                Ok(_) | Err(_) => return Err(None),
            }
        }
        Ok(())
    }

    fn add(&mut self, host: HostName, running: RunningRelease) -> Result<(), Option<Refusal>> {
        if let Some(why) = running.missing {
            self.missing.push(format!("{host}: {}", cut(why, MESSAGE_BYTES_MAX)));
            return Ok(());
        }
        let Some(digest) = running.digest else { return Ok(()) };
        if let Some(release) = running.release {
            if release.digest().0 != digest {
                return Err(Some(not_one(format!("what {host} says that it runs has another digest"))));
            }
            self.releases.insert(digest, release);
        }
        self.hosts_of.entry(digest).or_default().push(host);
        Ok(())
    }

    /// The one release that all have that have any.
    fn one(mut self) -> Result<WireRelease, Refusal> {
        let found = self.hosts_of.len();
        if let (1, Some((digest, hosts))) = (found, self.hosts_of.pop_first()) {
            let unread = || not_one(format!("{} does not say what its release is", hosts[0]));
            return self.releases.remove(&digest).ok_or_else(unread);
        }
        let message = match (found, self.missing.first()) {
            (0, None) => "nothing of it is on any host".to_owned(),
            (0, Some(why)) => format!("no host says what it runs; {why}"),
            (_, _) => {
                let version =
                    |digest: &[u8; 32]| self.releases.get(digest).map_or("?", |it| it.version.as_str());
                let named = self.hosts_of.iter().take(RELEASES_NAMED_MAX);
                let named: Vec<String> = named
                    .map(|(digest, hosts)| {
                        format!("{} on {} ({} hosts)", version(digest), hosts[0], hosts.len())
                    })
                    .collect();
                format!("its hosts have {found} different releases: {}", named.join(", "))
            }
        };
        Err(not_one(message))
    }
}
