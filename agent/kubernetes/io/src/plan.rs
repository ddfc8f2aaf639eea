//! What an order would change: asked of the live cluster, changing nothing.
//!
//! Every right is asked for, then every object is applied as a dry run: the API server, its admission and its schemas
//! answer as they would for the change itself, so what would be refused in the middle of a deploy is found here.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use trimaran_agent_core::platform::{Part, PartSink, PlatformError};
use trimaran_kubernetes_core::quota::Shortage;
use trimaran_kubernetes_driver::{
    FieldOwner, Loaded, MANAGER, Manifest, Marks, ObjectKey, OnConflict, Refusal, Release, is_replaced,
};
use trimaran_model::assignment::Assignment;
use trimaran_model::reason::ReasonCode;

use crate::apply::creation;
use crate::capacity::{Capacity, Counted};
use crate::difference::difference;
use crate::discovery::Served;
use crate::ownership::without;
use crate::place::Place;
use crate::pods::pod_of;
use crate::request::{APPLY, JSON, Method, RequestError, encoded};

/// Questions to the API server that wait side by side.
const AT_ONCE: usize = 8;
/// What is done with every object.
const VERBS: [&str; 5] = ["get", "list", "watch", "create", "patch"];
/// What is watched beside the objects themselves.
const WATCHED: [(&str, &str); 2] = [("v1", "Pod"), ("apps/v1", "ReplicaSet")];
/// What is done with the Secrets that keep what others made, before it is taken over.
const KEEPING_VERBS: [&str; 3] = ["create", "patch", "delete"];
/// How many problems are named.
const PROBLEMS_MAX: usize = 10;

const RIGHTS_REMEDY: &str = "`trimaran target rbac NAME` prints the rights that are needed";

/// What would become of one object.
enum Change {
    Created,
    Changed(Vec<String>),
    Unchanged,
    /// As the one inside, but its pods may not get room.
    Crowded(Box<Change>, String),
    /// It can't be tried before what it needs is there.
    Unverified(String),
}

/// What came of trying one object.
struct Tried {
    change: Change,
    /// As it is, and as it would be; nothing of either where it could not be tried.
    before: Option<Value>,
    after: Option<Value>,
    /// The spec of one of its pods as the API server would take it.
    pod: Option<Value>,
    /// Why its pods would be refused, although it would not.
    refused: Option<Problem>,
}

impl Tried {
    fn of(change: Change) -> Self {
        Self { change, before: None, after: None, pod: None, refused: None }
    }
}

/// Why an order would fail.
struct Problem {
    code: ReasonCode,
    message: String,
}

impl Place {
    /// Compares a release with what is there.
    pub(crate) async fn plan(
        &self,
        order: &Assignment,
        loaded: Loaded,
        answer: impl PartSink,
    ) -> Result<(), PlatformError> {
        let release = match loaded {
            Loaded::Release(release) => release,
            Loaded::Unavailable { message } => {
                return Err(PlatformError { code: ReasonCode::FetchUnreachable, message });
            }
            Loaded::Invalid { message } => {
                return Err(PlatformError { code: ReasonCode::ObjectRefused, message });
            }
        };
        let installation = format!("{}/{}", order.installation.pipeline, order.installation.target);
        let (lines, problems) = self.compare(&release, &installation).await;
        // Whoever asked has gone.
        if answer.put(Part::Plan(lines)).await.is_err() {
            return Ok(());
        }
        // What is certain to be refused says more than a question that had no answer.
        let Some(first) = problems.iter().find(|it| !it.code.is_no_answer()).or(problems.first()) else {
            return self.check_cluster(order.committed.as_ref()).await;
        };
        let messages: Vec<&str> = problems.iter().take(PROBLEMS_MAX).map(|it| it.message.as_str()).collect();
        let mut message = messages.join("\n");
        if problems.len() > PROBLEMS_MAX {
            message.push_str(&format!("\nand {} more", problems.len() - PROBLEMS_MAX));
        }
        Err(PlatformError { code: first.code, message })
    }

    /// Lines of the difference, and everything that would be refused.
    async fn compare(&self, release: &Release, installation: &str) -> (Vec<String>, Vec<Problem>) {
        let mut problems = self.missing_rights(release).await;
        if !problems.is_empty() {
            return (Vec::new(), problems);
        }
        let defined = release.defined_kinds();
        let defined = &defined;
        let mut tries = Vec::new();
        for manifest in &release.manifests {
            let tried =
                async move { (manifest, self.try_object(release, manifest, installation, defined).await) };
            tries.push(tried.boxed());
        }
        let tried: Vec<_> = futures_util::stream::iter(tries).buffered(AT_ONCE).collect().await;
        let mut lines = Vec::new();
        let (mut counted, mut crowded) = (Vec::new(), BTreeSet::new());
        for (manifest, tried) in tried {
            let key = &manifest.key;
            let Tried { change, before, after, pod, refused } = match tried {
                Ok(tried) => tried,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            problems.extend(refused);
            if matches!(change, Change::Crowded(..)) {
                crowded.insert(key.to_string());
            }
            let changes = !matches!(change, Change::Unchanged);
            show(key, change, &mut lines);
            if let (true, Some(after), Ok(Some(served))) = (changes, after, self.served(key).await) {
                counted.push(Counted { key, plural: served.plural, before, after, pod });
            }
        }
        for Capacity { namespace, shortages } in self.capacity(&counted).await {
            match shortages {
                Ok(shortages) => weigh(&shortages, &crowded, &mut lines, &mut problems),
                Err(error) => lines.push(format!(
                    "? whether the quotas of namespace {namespace} have room is not known: {}; {RIGHTS_REMEDY}",
                    error.message()
                )),
            }
        }
        (lines, problems)
    }

    /// What this agent may not do, asked once a kind and verb.
    async fn missing_rights(&self, release: &Release) -> Vec<Problem> {
        let mut kinds = BTreeMap::new();
        let watched = WATCHED.map(|(version, kind)| ObjectKey {
            api_version: version.to_owned(),
            kind: kind.to_owned(),
            namespace: self.namespace.clone(),
            name: String::new(),
        });
        let mut wanted: BTreeSet<(Served, String, &str)> = BTreeSet::new();
        let keys = release.manifests.iter().map(|manifest| (&manifest.key, &VERBS[..]));
        for (key, verbs) in keys.chain(watched.iter().map(|key| (key, &VERBS[1..3]))) {
            match self.served(key).await {
                Ok(Some(served)) => {
                    wanted.extend(verbs.iter().map(|verb| (served.clone(), key.namespace.clone(), *verb)));
                }
                // The dry run says that it is not served.
                Ok(None) => {}
                Err(error) => {
                    kinds.insert(String::new(), problem_of(key, &error.refusal()));
                    break;
                }
            }
        }
        let mut asked = Vec::new();
        for (served, namespace, verb) in wanted {
            let answer = async move {
                let allowed = self.may(&served, &namespace, verb).await;
                (served, namespace, verb, allowed)
            };
            asked.push(answer.boxed());
        }
        let answers: Vec<_> = futures_util::stream::iter(asked).buffered(AT_ONCE).collect().await;
        for (served, namespace, verb, allowed) in answers {
            let (code, message) = match allowed {
                Ok(true) => continue,
                Ok(false) => (ReasonCode::PermissionDenied, may_not(&served, &namespace, verb)),
                Err(error) => match error.refusal() {
                    Refusal::Unavailable { message } => (ReasonCode::ApiUnavailable, message),
                    _ => (ReasonCode::PermissionDenied, error.message()),
                },
            };
            kinds.insert(message.clone(), Problem { code, message });
        }
        kinds.into_values().collect()
    }

    async fn may(&self, served: &Served, namespace: &str, verb: &str) -> Result<bool, RequestError> {
        let mut attributes = json!({"group": served.group(), "resource": served.plural, "verb": verb});
        if served.namespaced {
            attributes["namespace"] = namespace.into();
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = self.request(Method::POST, path, JSON, Some(&review)).await?;
        Ok(answer["status"]["allowed"] == true)
    }

    /// Whether what others made can be kept before it is taken over.
    async fn try_keep(&self, key: &ObjectKey) -> Result<(), Problem> {
        let secret = ObjectKey {
            api_version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            namespace: self.namespace.clone(),
            name: String::new(),
        };
        let wrong = |error: RequestError| problem_of(key, &error.refusal());
        let Some(served) = self.served(&secret).await.map_err(wrong)? else { return Ok(()) };
        for verb in KEEPING_VERBS {
            if !self.may(&served, &self.namespace, verb).await.map_err(wrong)? {
                let denied = may_not(&served, &self.namespace, verb);
                let message = format!("{key} has to be kept as it was before it is taken over: {denied}");
                return Err(Problem { code: ReasonCode::PermissionDenied, message });
            }
        }
        Ok(())
    }

    async fn try_object(
        &self,
        release: &Release,
        manifest: &Manifest,
        installation: &str,
        defined: &BTreeSet<(String, String)>,
    ) -> Result<Tried, Problem> {
        let key = &manifest.key;
        let wrong = |error: RequestError| problem_of(key, &error.refusal());
        let Some(served) = self.served(key).await.map_err(wrong)? else {
            let kind = (key.group().to_owned(), key.kind.clone());
            if defined.contains(&kind) {
                return Ok(Tried::of(Change::Unverified("its kind is defined by this release".to_owned())));
            }
            let message = format!("the cluster does not serve {} of {}", key.kind, key.api_version);
            return Err(problem_of(key, &Refusal::NotServed { message }));
        };
        let before = self.get(&served, key).await.map_err(wrong)?;
        let mut tried = match &before {
            None => self.try_create(release, &served, manifest).await?,
            Some(live) => self.try_update(release, &served, manifest, live, installation).await?,
        };
        if let Change::Created | Change::Changed(_) = tried.change {
            match self.try_pod(release, manifest).await {
                Ok(pod) => tried.pod = pod,
                // What runs may make room for it.
                Err(problem) if problem.code == ReasonCode::Quota && before.is_some() => {
                    tried.change = Change::Crowded(Box::new(tried.change), problem.message);
                }
                Err(problem) => tried.refused = Some(problem),
            }
        }
        tried.before = before;
        Ok(tried)
    }

    /// Tries a pod of a workload: quotas, policies and accounts refuse it only when the workload's controller makes it,
    /// long after the workload was accepted.
    ///
    /// The spec as it would be.
    async fn try_pod(&self, release: &Release, manifest: &Manifest) -> Result<Option<Value>, Problem> {
        let key = &manifest.key;
        let Some(pod) = pod_of(key, &manifest.document, release) else { return Ok(None) };
        let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", encoded(&key.namespace));
        let error = match self.request(Method::POST, &path, JSON, Some(&pod)).await {
            Ok(mut pod) => return Ok(Some(pod["spec"].take())),
            Err(error) => error,
        };
        let refusal = error.refusal();
        match &refusal {
            // The controller may make them, and this agent need not.
            Refusal::Forbidden { message } if message.contains("cannot create resource") => Ok(None),
            Refusal::Forbidden { message } => {
                let remedy = "correct the template, or make what it names";
                let message = format!("{key}: its pods: {message}; {remedy}");
                Err(Problem { code: ReasonCode::FailedCreate, message })
            }
            _ => {
                let Problem { code, message } = problem_of(key, &refusal);
                Err(Problem { code, message: message.replacen(": ", ": its pods: ", 1) })
            }
        }
    }

    async fn try_create(
        &self,
        release: &Release,
        served: &Served,
        manifest: &Manifest,
    ) -> Result<Tried, Problem> {
        let key = &manifest.key;
        let (path, body) = creation(served, key, &manifest.document, "&dryRun=All");
        let mut tried = self.request(Method::PATCH, &path, APPLY, Some(&body)).await;
        if let Err(Refusal::Invalid { .. }) = tried.as_ref().map_err(RequestError::refusal) {
            // What is wrong with a document is said better of one that is posted.
            let query = format!("?fieldManager={MANAGER}&fieldValidation=Strict&dryRun=All");
            let path = format!("{}{query}", served.list_path(&key.namespace));
            let posted = self.request(Method::POST, &path, JSON, Some(&manifest.document)).await;
            tried = posted.and(tried);
        }
        match tried {
            Ok(after) => Ok(Tried { after: Some(after), ..Tried::of(Change::Created) }),
            Err(error) => match error.refusal() {
                Refusal::NoNamespace { .. } if release.creates_namespace(&key.namespace) => {
                    Ok(Tried::of(Change::Unverified("its namespace is made by this release".to_owned())))
                }
                refusal => Err(problem_of(key, &refusal)),
            },
        }
    }

    async fn try_update(
        &self,
        release: &Release,
        served: &Served,
        manifest: &Manifest,
        live: &Value,
        installation: &str,
    ) -> Result<Tried, Problem> {
        let key = &manifest.key;
        let marks = Marks::of(live);
        if marks.installation.is_none() {
            self.try_keep(key).await?;
        }
        if let Some(other) = marks.installation.filter(|other| *other != installation) {
            let message = format!("{key} belongs to the installation {other}; an object can have only one");
            return Err(Problem { code: ReasonCode::ForeignObject, message });
        }
        if live.pointer("/metadata/deletionTimestamp").is_some() {
            let message = format!("{key} is being deleted; wait until it is gone, or check its finalizers");
            return Err(Problem { code: ReasonCode::ObjectEnding, message });
        }
        let mut document = manifest.document.clone();
        let mut force = release.on_conflict == OnConflict::Take;
        loop {
            let query = format!("?fieldManager={MANAGER}&fieldValidation=Strict&dryRun=All&force={force}");
            let path = format!("{}{query}", served.path(&key.namespace, &key.name));
            let refusal = match self.request(Method::PATCH, &path, APPLY, Some(&document)).await {
                Ok(after) => {
                    let fields = difference(live, &after);
                    let change = if fields.is_empty() { Change::Unchanged } else { Change::Changed(fields) };
                    return Ok(Tried { after: Some(after), ..Tried::of(change) });
                }
                Err(error) => error.refusal(),
            };
            let Refusal::FieldConflict { fields, message } = refusal else {
                return Err(problem_of(key, &refusal));
            };
            let foreign: Vec<FieldOwner> =
                fields.into_iter().filter(|field| !is_replaced(&field.manager)).collect();
            let left = without(&document, &foreign);
            match (foreign.is_empty(), release.on_conflict) {
                (true, _) if !force => force = true,
                (false, OnConflict::Leave) if left != document => document = left,
                _ => return Err(problem_of(key, &Refusal::FieldConflict { fields: foreign, message })),
            }
        }
    }
}

/// What quotas leave too little of: certain, and a problem, or something that makes a rollout slow.
fn weigh(
    shortages: &[Shortage],
    crowded: &BTreeSet<String>,
    lines: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) {
    for shortage in shortages {
        if shortage.is_certain {
            let message = format!("{shortage}; raise the quota or ask for less");
            problems.push(Problem { code: ReasonCode::Quota, message });
        } else if shortage.objects.is_disjoint(crowded) {
            lines.push(format!("? {shortage}: it waits for what runs to make room"));
        }
    }
}

fn may_not(served: &Served, namespace: &str, verb: &str) -> String {
    let place = if namespace.is_empty() || !served.namespaced {
        "in the whole cluster".to_owned()
    } else {
        format!("in namespace {namespace}")
    };
    format!("this agent may not {verb} {} {place}; {RIGHTS_REMEDY}", served.plural)
}

/// Adds what becomes of an object to the lines of a plan.
fn show(key: &ObjectKey, change: Change, lines: &mut Vec<String>) {
    match change {
        Change::Created => lines.push(format!("+ {key}")),
        Change::Unchanged => {}
        Change::Unverified(why) => lines.push(format!("? {key}: {why}")),
        Change::Crowded(change, why) => {
            show(key, *change, lines);
            lines.push(format!("? {why}"));
        }
        Change::Changed(fields) => {
            lines.push(format!("~ {key}"));
            lines.extend(fields.into_iter().map(|field| format!("    {field}")));
        }
    }
}

/// A refusal with its remedy.
fn problem_of(key: &ObjectKey, refusal: &Refusal) -> Problem {
    let (code, message, remedy) = match refusal {
        Refusal::Moved => {
            (ReasonCode::ObjectRefused, "it was changed while it was looked at".to_owned(), "try again")
        }
        Refusal::FieldConflict { fields, message } => {
            let named: Vec<String> =
                fields.iter().map(|field| format!("{} ({})", field.field, field.manager)).collect();
            let message = if named.is_empty() {
                message.clone()
            } else {
                format!("fields of others: {}", named.join(", "))
            };
            (
                ReasonCode::FieldConflict,
                message,
                "leave the fields out, or set `on_conflict: take` or `leave`",
            )
        }
        Refusal::Invalid { message } if message.contains("immutable") || message.contains("updates to") => (
            ReasonCode::ObjectRefused,
            message.clone(),
            "the field can't be changed: give the object another name, or delete it first",
        ),
        Refusal::Invalid { message } => (ReasonCode::ObjectRefused, message.clone(), "correct the manifest"),
        Refusal::Denied { message } => {
            (ReasonCode::AdmissionDenied, message.clone(), "follow the policy that denies it")
        }
        Refusal::Forbidden { message } if message == "Unauthorized" => (
            ReasonCode::PermissionDenied,
            "the API server does not accept this agent's credentials".to_owned(),
            "renew the kubeconfig of the target",
        ),
        Refusal::Forbidden { message } => (ReasonCode::PermissionDenied, message.clone(), RIGHTS_REMEDY),
        Refusal::Quota { message } => (ReasonCode::Quota, message.clone(), "raise the quota or ask for less"),
        Refusal::NotServed { message } => (
            ReasonCode::KindNotServed,
            message.clone(),
            "install its definition, or write a version that is served",
        ),
        Refusal::NoNamespace { message } => (ReasonCode::Missing, message.clone(), "create the namespace"),
        Refusal::NamespaceEnding { message } => (
            ReasonCode::ObjectEnding,
            message.clone(),
            "wait until the namespace is gone, and create it again",
        ),
        Refusal::WebhookUnavailable { message } => {
            (ReasonCode::WebhookUnavailable, message.clone(), "check the pods behind the webhook")
        }
        Refusal::Unavailable { message } => {
            (ReasonCode::ApiUnavailable, message.clone(), "check the API server and the way to it")
        }
    };
    Problem { code, message: format!("{key}: {message}; {remedy}") }
}
