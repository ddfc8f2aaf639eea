//! The API server as the driver's calls need it, over `kubectl proxy` on loopback: one request a connection.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Child;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use trimaran_kubernetes_core::list::open;
use trimaran_kubernetes_driver::{
    ADJUSTER, CLUSTER_NAMESPACE, Call, ClusterId, Expect, Live, LiveObject, MANAGER, ObjectKey, OnConflict,
    Refusal, Reply, is_replaced, is_same_content,
};
use trimaran_test_env::kubernetes::Cluster;

const APPLY: &str = "application/apply-patch+yaml";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

/// What a verdict is made from, in one namespace.
const EVIDENCE: [&str; 12] = [
    "/apis/apps/v1/namespaces/NAMESPACE/deployments",
    "/apis/apps/v1/namespaces/NAMESPACE/statefulsets",
    "/apis/apps/v1/namespaces/NAMESPACE/controllerrevisions",
    "/apis/apps/v1/namespaces/NAMESPACE/replicasets",
    "/api/v1/namespaces/NAMESPACE/pods",
    "/api/v1/namespaces/NAMESPACE/services",
    "/api/v1/namespaces/NAMESPACE/configmaps",
    "/api/v1/namespaces/NAMESPACE/events",
    "/apis/networking.k8s.io/v1/namespaces/NAMESPACE/ingresses",
    "/apis/networking.k8s.io/v1/namespaces/NAMESPACE/networkpolicies",
    "/apis/discovery.k8s.io/v1/namespaces/NAMESPACE/endpointslices",
    "/api/v1/nodes",
];

pub(crate) struct Api {
    proxy: Child,
    port: u16,
    /// Plural and whether it has namespaces, by version and kind.
    resources: Mutex<BTreeMap<(String, String), (String, bool)>>,
    /// What was taken over, as it was.
    kept: Mutex<BTreeMap<ObjectKey, Value>>,
}

/// Status code and body.
struct Answer {
    code: u16,
    body: String,
}

impl Answer {
    /// The object, or why there is none.
    fn object(self) -> Result<Value, Refusal> {
        if self.code >= 300 {
            return Err(Refusal::of_status(self.code, &self.body));
        }
        Ok(serde_json::from_str(&self.body).expect("an API server answers with JSON"))
    }
}

impl Api {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let mut proxy = cluster.start_kubectl(&["proxy", "--port=0"]);
        let mut line = String::new();
        let said = proxy.stdout.take().expect("it is piped");
        BufReader::new(said).read_line(&mut line).expect("the proxy says where it listens");
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("no port in {line:?}"));
        Self { proxy, port, resources: Mutex::default(), kept: Mutex::default() }
    }

    fn request(&self, method: &str, path: &str, kind: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the proxy listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
        // The older version of HTTP has no chunks: the body ends with the connection.
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).expect("the proxy reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the proxy answers in UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("an answer has a status");
        Answer { code, body: body.to_owned() }
    }

    /// The path of an object; `None` when its kind is not served.
    fn path(&self, key: &ObjectKey) -> Option<String> {
        let (version, kind) = (key.api_version.clone(), key.kind.clone());
        let prefix = if version.contains('/') { "/apis" } else { "/api" };
        let mut known = self.resources.lock().expect("no test panics in here");
        if !known.contains_key(&(version.clone(), kind.clone())) {
            let list = match self.request("GET", &format!("{prefix}/{version}"), JSON, "").object() {
                Ok(list) => list,
                Err(Refusal::NotServed { .. }) => return None,
                Err(other) => panic!("{version} can't be discovered: {other:?}"),
            };
            for resource in list["resources"].as_array().into_iter().flatten() {
                let name = resource["name"].as_str().unwrap_or_default().to_owned();
                if !name.contains('/') {
                    let kind = resource["kind"].as_str().unwrap_or_default().to_owned();
                    known.insert((version.clone(), kind), (name, resource["namespaced"] == true));
                }
            }
        }
        let (plural, namespaced) = known.get(&(version.clone(), kind))?;
        let namespace = if *namespaced { format!("/namespaces/{}", key.namespace) } else { String::new() };
        Some(format!("{prefix}/{version}{namespace}/{plural}/{}", key.name))
    }

    /// The live object, when there is one.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Value> {
        self.request("GET", &self.path(key)?, JSON, "").object().ok()
    }

    /// The objects of a namespace that verdicts are made from.
    pub(crate) fn evidence(&self, namespace: &str) -> Vec<Value> {
        let mut objects = Vec::new();
        for path in EVIDENCE {
            let list = self.request("GET", &path.replace("NAMESPACE", namespace), JSON, "").object();
            open(list.expect("an administrator may list"), &mut |object, _| objects.push(object));
        }
        objects
    }

    fn live(&self, document: &Value) -> LiveObject {
        let namespace = document.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
        let path = format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers");
        let list = self.request("GET", &path, JSON, "").object().unwrap_or_default();
        let autoscalers = list["items"].as_array().cloned().unwrap_or_default();
        LiveObject::of(document, &autoscalers).expect("what an API server answers has uid and version")
    }

    /// Performs a call of the driver.
    pub(crate) fn call(&self, call: Call) -> Reply {
        let done = match call {
            Call::Identify => return Reply::Identified(self.identify()),
            Call::Read { keys } => return Reply::Live(keys.iter().map(|key| self.read(key)).collect()),
            Call::Apply { key, document, expect, on_conflict, keep } => {
                let expect = if keep { self.take_over(&key, expect) } else { Ok(expect) };
                expect.and_then(|expect| self.apply(&key, document, expect, on_conflict))
            }
            Call::Edit { key, uid, resource_version, mut merge } => {
                merge["metadata"]["uid"] = json!(uid);
                merge["metadata"]["resourceVersion"] = json!(resource_version);
                self.patch(&key, "", MERGE, &merge)
            }
            Call::Adjust { key, uid, resource_version, mut merge } => {
                merge["metadata"]["uid"] = json!(uid);
                merge["metadata"]["resourceVersion"] = json!(resource_version);
                self.patch(&key, &format!("?fieldManager={ADJUSTER}"), MERGE, &merge)
            }
            Call::PutBack { key, resource_version, .. } => self.put_back(&key, &resource_version),
            Call::Delete { key, uid, .. } => self.delete(&key, &uid),
            // Versions stay here: the sweep is tested with the agent's own platform.
            Call::Unused { .. } => Ok(Reply::Unused(BTreeSet::new())),
        };
        done.unwrap_or_else(Reply::Refused)
    }

    fn identify(&self) -> ClusterId {
        let path = format!("/api/v1/namespaces/{CLUSTER_NAMESPACE}");
        let namespace = self.request("GET", &path, JSON, "").object().expect("an administrator may read it");
        let uid = namespace["metadata"]["uid"].as_str().map(str::to_owned);
        ClusterId { cluster: uid, namespace: None }
    }

    fn read(&self, key: &ObjectKey) -> Live {
        let Some(path) = self.path(key) else { return Live::NotServed };
        match self.request("GET", &path, JSON, "").object() {
            Ok(document) => Live::Present(self.live(&document)),
            Err(Refusal::Moved | Refusal::NoNamespace { .. }) => Live::Absent,
            Err(other) => panic!("{key} can't be read: {other:?}"),
        }
    }

    /// Keeps the object as it is, and makes the fields that a human applied Trimaran's: what a release has not of them goes.
    fn take_over(&self, key: &ObjectKey, expect: Expect) -> Result<Expect, Refusal> {
        let Expect::Exists { uid, resource_version } = expect else { return Ok(expect) };
        let object = self.get(key).ok_or(Refusal::Moved)?;
        let mut owners = object["metadata"]["managedFields"].clone();
        for owner in owners.as_array_mut().into_iter().flatten() {
            if owner["manager"].as_str().is_some_and(is_replaced) && owner["subresource"].is_null() {
                owner["manager"] = json!(MANAGER);
                owner["operation"] = json!("Apply");
            }
        }
        self.kept.lock().expect("no test panics in here").insert(key.clone(), object);
        let patch = json!([
            {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
            {"op": "replace", "path": "/metadata/managedFields", "value": owners},
        ]);
        let path = self.path(key).expect("it is there");
        let after = self.request("PATCH", &path, JSON_PATCH, &patch.to_string()).object()?;
        let resource_version = after["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        Ok(Expect::Exists { uid, resource_version })
    }

    fn apply(
        &self,
        key: &ObjectKey,
        mut document: Value,
        expect: Expect,
        on_conflict: OnConflict,
    ) -> Result<Reply, Refusal> {
        if let Expect::Exists { uid, resource_version } = expect {
            document["metadata"]["uid"] = json!(uid);
            document["metadata"]["resourceVersion"] = json!(resource_version);
        }
        let mut force = on_conflict == OnConflict::Take;
        loop {
            let query = format!("?fieldManager={MANAGER}&fieldValidation=Strict&force={force}");
            match self.patch(key, &query, APPLY, &document) {
                // What a human did by hand gives way.
                Err(Refusal::FieldConflict { fields, .. })
                    if !force && fields.iter().all(|field| is_replaced(&field.manager)) =>
                {
                    force = true;
                }
                other => return other,
            }
        }
    }

    fn patch(&self, key: &ObjectKey, query: &str, kind: &str, body: &Value) -> Result<Reply, Refusal> {
        let not_served = || Refusal::NotServed { message: format!("{key} is not served") };
        let path = self.path(key).ok_or_else(not_served)?;
        let before = self.get(key);
        let after = self.request("PATCH", &format!("{path}{query}"), kind, &body.to_string()).object()?;
        let changed = before.is_none_or(|before| !is_same_content(&before, &after));
        Ok(Reply::Applied { object: self.live(&after), changed })
    }

    /// Replaces the object by what was kept of it.
    fn put_back(&self, key: &ObjectKey, version: &str) -> Result<Reply, Refusal> {
        let path = self.path(key).expect("it was served when it was kept");
        let mut kept = self.kept.lock().expect("no test panics in here")[key].clone();
        kept["metadata"]["resourceVersion"] = json!(version);
        let after = self.request("PUT", &path, JSON, &kept.to_string()).object()?;
        Ok(Reply::Applied { object: self.live(&after), changed: true })
    }

    fn delete(&self, key: &ObjectKey, uid: &str) -> Result<Reply, Refusal> {
        let Some(path) = self.path(key) else { return Ok(Reply::Deleted) };
        // A workload is gone when its pods are; anything else has nothing below it to wait for.
        let is_workload = matches!(key.group(), "apps" | "batch");
        let propagation = if is_workload { "Foreground" } else { "Background" };
        let options = json!({"propagationPolicy": propagation, "preconditions": {"uid": uid}});
        match self.request("DELETE", &path, JSON, &options.to_string()).object() {
            Ok(_) => Ok(Reply::Deleted),
            Err(Refusal::Moved) if self.get(key).is_none() => Ok(Reply::Deleted),
            Err(other) => Err(other),
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // A proxy that has ended already is what is wanted.
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}
