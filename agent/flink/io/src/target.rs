//! One Flink cluster: calls performed, one after the other or side by side.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;
use trimaran_agent_core::platform::Answer;
use trimaran_flink_core::call::{Call, Cluster, JobOverview, Refusal, RefusalKind, Reply};
use trimaran_flink_core::files::{ShippedFiles, verified_part};
use trimaran_flink_core::ledger::JarFrom;
use trimaran_flink_core::rest::{Body, Exchange, Next, Request, Response};
use trimaran_model::action::Failure;
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{Artifact, Content, Release};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_process::clock::boot_time;
use trimaran_process::failpoint;

use crate::access::Access;
use crate::client::{Client, SendError, Upload};
use crate::directory::{ListError, Savepoints};

/// How often the jobs of a cluster at rest are listed.
pub(crate) const LIST_INTERVAL: Millis = Millis::seconds(5);

/// The list of jobs with its time, or why there is none.
pub(crate) type Listed = Result<(WallTime, Vec<JobOverview>), String>;

/// Where jars and files come from: a durable store of the agent, by digest.
pub trait JarSource: Send + Sync + 'static {
    /// The verified file of a jar, fetched when it is not there.
    fn jar(&self, jar: &Artifact) -> impl Future<Output = Result<Jar, Failure>> + Send;

    /// All bytes of the files that a release ships, fetched when they are not there.
    fn files(&self, release: Digest, whole: Content)
    -> impl Future<Output = Result<Vec<u8>, Failure>> + Send;

    /// An earlier release; `None`: it is not there and can't be fetched.
    fn release(&self, release: Digest) -> impl Future<Output = Option<Arc<Release>>> + Send;
}

/// A jar on the agent's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jar {
    pub file: PathBuf,
    /// From where it was fetched just now; `None`: it was there.
    pub fetched_from: Option<String>,
}

/// One cluster.
pub struct FlinkTarget<J> {
    client: Client,
    savepoints: Savepoints,
    jars: Arc<J>,
    /// The last list of jobs, shared by the observers of all of them.
    last_list: Mutex<Option<(Timestamp, Arc<Listed>)>>,
}

/// What was fetched for one call.
#[derive(Default)]
struct Fetched {
    /// From where its jar was.
    jar_from: Option<String>,
    /// All bytes of its files.
    files: Option<Vec<u8>>,
}

/// Why there is no reply.
enum NoReply {
    /// The permit ended before anything was sent.
    Unmade,
    Refused(Failure),
    Send(SendError),
}

impl<J: JarSource> FlinkTarget<J> {
    pub fn new(urls: &[String], access: Access, savepoints: Savepoints, jars: Arc<J>) -> Self {
        Self { client: Client::new(urls, access), savepoints, jars, last_list: Mutex::default() }
    }

    /// A list that is younger than [`LIST_INTERVAL`]; whoever comes first makes it, the others wait for it.
    pub(crate) async fn shared_jobs(&self) -> Arc<Listed> {
        let mut last = self.last_list.lock().await;
        let is_young = |at: Timestamp| boot_time() - at < LIST_INTERVAL;
        if let Some((_, listed)) = last.as_ref().filter(|(at, _)| is_young(*at)) {
            return listed.clone();
        }
        let listed = Arc::new(match self.perform(Call::Jobs, || true).await {
            Answer::Reply(Reply::Jobs { at, jobs }) => Ok((at, jobs)),
            Answer::Reply(Reply::Unreachable { message } | Reply::Unavailable { message }) => Err(message),
            _ => Err("the JobManager did not answer".to_owned()),
        });
        *last = Some((boot_time(), listed.clone()));
        listed
    }

    /// Performs a call. `may_send` is asked directly before each request leaves.
    pub async fn perform(&self, call: Call, may_send: impl Fn() -> bool) -> Answer<Reply> {
        if let Call::List { directory } = &call {
            return Answer::Reply(self.list(directory).await);
        }
        let mut first = match &call {
            Call::Run { at, .. } => at.clone(),
            _ => None,
        };
        let mut exchange =
            Exchange::new(call, self.savepoints.root()).expect("every other call is one of the API");
        let mut answer: Option<Response> = None;
        let mut fetched = Fetched::default();
        loop {
            let request = match exchange.next(answer.take()) {
                Next::Done(Reply::Uploaded { jar, from: JarFrom::Store, files, at }) => {
                    let from = fetched.jar_from.map_or(JarFrom::Store, JarFrom::Place);
                    return Answer::Reply(Reply::Uploaded { jar, from, files, at });
                }
                Next::Done(Reply::Cluster(cluster)) => {
                    let savepoint_bytes_free = self.savepoints.bytes_free().await;
                    return Answer::Reply(Reply::Cluster(Cluster { savepoint_bytes_free, ..cluster }));
                }
                Next::Done(reply) => return Answer::Reply(reply),
                Next::Send(request) => request,
            };
            match self.send(&request, &may_send, first.as_deref(), &mut fetched).await {
                Ok(response) => {
                    // What one has said of itself is true of it alone.
                    first = Some(response.by.clone());
                    answer = Some(response);
                }
                Err(NoReply::Unmade) => return Answer::Unmade,
                Err(NoReply::Refused(failure)) => {
                    let kind = RefusalKind::Platform;
                    return Answer::Reply(Reply::Refused(Refusal { kind, failure }));
                }
                Err(NoReply::Send(error @ SendError::Lost { .. })) => {
                    tracing::debug!(path = request.path, %error, "a request has no answer");
                    return Answer::Lost;
                }
                Err(NoReply::Send(error)) => {
                    return Answer::Reply(Reply::Unreachable { message: error.to_string() });
                }
            }
        }
    }

    /// `first`: the JobManager that is asked before the others.
    async fn send(
        &self,
        request: &Request,
        may_send: &impl Fn() -> bool,
        first: Option<&str>,
        fetched: &mut Fetched,
    ) -> Result<Response, NoReply> {
        let upload = match &request.body {
            Body::Jar { jar, .. } => {
                let Jar { file, fetched_from } = self.jars.jar(jar).await.map_err(NoReply::Refused)?;
                fetched.jar_from = fetched_from;
                Some(Upload::Jar(file))
            }
            Body::File { file, shipped, .. } => {
                Some(Upload::File(self.file(shipped, file, fetched).await.map_err(NoReply::Refused)?))
            }
            Body::None | Body::Json(_) => None,
        };
        if !may_send() {
            return Err(NoReply::Unmade);
        }
        let change = request.path.rsplit('/').next().filter(|it| matches!(*it, "run" | "stop"));
        if let Some(change) = change {
            failpoint::stop(&format!("before {change}"));
        }
        self.client.send(request, upload.as_ref(), first).await.map_err(NoReply::Send)
    }

    /// The bytes of one file.
    async fn file(
        &self,
        shipped: &ShippedFiles,
        file: &str,
        fetched: &mut Fetched,
    ) -> Result<Vec<u8>, Failure> {
        let whole = match fetched.files.take() {
            Some(whole) => whole,
            None => self.jars.files(shipped.release, shipped.files.whole()).await?,
        };
        let part = verified_part(&shipped.files, &whole, file).map(<[u8]>::to_vec);
        fetched.files = Some(whole);
        part.ok_or_else(|| {
            let message =
                format!("the file `{file}` of release {} is not what it says", shipped.release.short());
            Failure { code: ReasonCode::FetchDigest, message, instance: None }
        })
    }

    /// An earlier release, as far as it is still known.
    pub(crate) async fn release(&self, release: Digest) -> Option<Arc<Release>> {
        self.jars.release(release).await
    }

    async fn list(&self, directory: &str) -> Reply {
        match self.savepoints.list(directory).await {
            Ok(savepoints) => Reply::Savepoints(savepoints),
            Err(error @ ListError::Scheme { .. }) => {
                let failure =
                    Failure { code: ReasonCode::StateMissing, message: error.to_string(), instance: None };
                Reply::Refused(Refusal { kind: RefusalKind::Platform, failure })
            }
            // A disk may be mounted again, a store be reached again, and keys be replaced.
            Err(error @ (ListError::Io { .. } | ListError::Store { .. })) => {
                Reply::Unavailable { message: error.to_string() }
            }
        }
    }
}
