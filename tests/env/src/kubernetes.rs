//! A Kubernetes cluster of one node: `tests/env/kubernetes/README.md` says what it has and what it has not.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use serde_json::Value;

/// Where the scripts are.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes")
}

/// Runs a script and returns what it printed; what it says to people goes to the output of the test.
fn script(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(scripts().join(name))
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
    assert!(output.status.success(), "{name} {arguments:?} failed: {}", output.status);
    String::from_utf8(output.stdout).expect("scripts print UTF-8")
}

/// A cluster that runs.
///
/// One that a test started is stopped and removed when this is dropped; one that was given keeps nothing of the test.
pub struct Cluster {
    place: Place,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    namespaces: Mutex<Vec<String>>,
    /// The image of the service, once it is published.
    service: OnceLock<String>,
}

enum Place {
    Own {
        index: String,
        registry: String,
    },
    /// `TRIMARAN_TEST_KUBECONFIG`, with an image of the service that its nodes can pull.
    Given {
        image: String,
    },
}

/// Which packets a partition drops, as the cluster sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Both,
    /// The cluster hears nothing; what it says still arrives.
    In,
    /// The cluster hears everything and its answers are lost.
    Out,
}

/// A cut that is healed when this is dropped.
pub struct Partition<'a> {
    cluster: &'a Cluster,
}

impl Cluster {
    /// Starts a cluster on the first free index; builds what it consists of when that was never done on this machine.
    pub fn start() -> Self {
        script("setup.sh", &[]);
        let owner = std::process::id().to_string();
        let printed = script("start.sh", &["", &owner]);
        let value = |key: &str| {
            let line = printed.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_else(|| panic!("start.sh prints no {key}")).to_owned()
        };
        Self {
            place: Place::Own { index: value("index"), registry: value("registry") },
            kubeconfig: value("kubeconfig").into(),
            kubectl: value("kubectl").into(),
            namespaces: Mutex::default(),
            service: OnceLock::new(),
        }
    }

    /// The cluster of `TRIMARAN_TEST_KUBECONFIG` where that is set, otherwise one of our own. Whoever gives a cluster
    /// gives the name of an image in it, too: `TRIMARAN_TEST_IMAGE`, made of `images/service`.
    pub fn given_or_start() -> Self {
        let Some(kubeconfig) = std::env::var_os("TRIMARAN_TEST_KUBECONFIG") else { return Self::start() };
        let image = std::env::var("TRIMARAN_TEST_IMAGE").expect(
            "beside TRIMARAN_TEST_KUBECONFIG, TRIMARAN_TEST_IMAGE names an image of the test service",
        );
        Self {
            place: Place::Given { image },
            kubeconfig: kubeconfig.into(),
            kubectl: "kubectl".into(),
            namespaces: Mutex::default(),
            service: OnceLock::new(),
        }
    }

    /// One cluster for all tests of a process that run at this moment, each in a namespace of its own; made by
    /// [`Cluster::given_or_start`] and gone with the last of them.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        // A test that could not start it has said why; the next one tries again.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::given_or_start());
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// The index of a cluster that a test started.
    fn index(&self) -> &str {
        match &self.place {
            Place::Own { index, .. } => index,
            Place::Given { .. } => panic!("this needs a cluster of our own"),
        }
    }

    /// The address by which pods reach what listens on this host.
    pub fn host_address(&self) -> String {
        match &self.place {
            Place::Own { registry, .. } => registry.rsplit_once(':').expect("a host and a port").0.to_owned(),
            Place::Given { .. } => panic!("this needs a cluster of our own"),
        }
    }

    /// Makes a namespace of this name, with the process in it where others use the cluster, and returns its name.
    pub fn namespace(&self, name: &str) -> String {
        let name = match &self.place {
            Place::Own { .. } => name.to_owned(),
            Place::Given { .. } => format!("{name}-{}", std::process::id()),
        };
        self.kubectl(&["create", "namespace", &name]);
        self.namespaces.lock().expect("no test panics in here").push(name.clone());
        name
    }

    /// An image of the service without an environment of its own.
    pub fn service_image(&self) -> String {
        let publish = || match &self.place {
            Place::Own { .. } => self.publish("test/service:1", &[]),
            Place::Given { image } => image.clone(),
        };
        self.service.get_or_init(publish).clone()
    }

    /// Name without tag and digest of the service of a given cluster; `None` where versions are published.
    pub fn given_image(&self) -> Option<(String, String)> {
        let Place::Given { image } = &self.place else { return None };
        let (name, digest) = image
            .split_once('@')
            .expect("TRIMARAN_TEST_IMAGE has a digest where versions are deployed: NAME@sha256:HEX");
        let name = name.rfind(':').filter(|at| !name[*at..].contains('/')).map_or(name, |at| &name[..at]);
        Some((name.to_owned(), digest.to_owned()))
    }

    /// An image that its registry has not.
    pub fn absent_image(&self) -> String {
        match &self.place {
            Place::Own { registry, .. } => format!("{registry}/test/service:absent"),
            Place::Given { image } => {
                let end =
                    image.rfind([':', '@']).filter(|at| !image[*at..].contains('/')).unwrap_or(image.len());
                format!("{}:absent", &image[..end])
            }
        }
    }

    /// The folder of kubectl.
    pub fn programs(&self) -> PathBuf {
        self.kubectl.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// Writes a kubeconfig of a service account, whose token is good for an hour.
    pub fn account_kubeconfig(&self, namespace: &str, account: &str, file: &Path) {
        let token = self.kubectl(&["create", "token", account, "--namespace", namespace, "--duration=1h"]);
        let admin = self.kubectl(&["config", "view", "--raw", "--flatten", "--minify", "--output", "json"]);
        let mut config: Value = serde_json::from_str(&admin).expect("kubectl prints JSON");
        config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
        std::fs::write(file, config.to_string()).expect("the kubeconfig can be written");
    }

    /// With the rights of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Puts the service into the registry of a cluster of our own, with this environment as the image's; the whole name
    /// of the image. `name` is `shop/web:2`.
    pub fn publish(&self, name: &str, environment: &[&str]) -> String {
        self.publish_pinned(name, environment).0
    }

    /// As [`Cluster::publish`], with the image's digest: `sha256:HEX`.
    pub fn publish_pinned(&self, name: &str, environment: &[&str]) -> (String, String) {
        let digest = script("publish.sh", &[&[self.index(), name], environment].concat()).trim().to_owned();
        assert!(digest.starts_with("sha256:"), "publish.sh prints a digest and not {digest:?}");
        (self.whole_name(name), digest)
    }

    /// `10.0.0.1:5000/shop/web:2` of `shop/web:2`.
    fn whole_name(&self, name: &str) -> String {
        match &self.place {
            Place::Own { registry, .. } => format!("{registry}/{name}"),
            Place::Given { .. } => unreachable!("it has no index"),
        }
    }

    /// Runs kubectl as administrator and returns what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.try_kubectl(arguments, "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kubectl {arguments:?}: {said}");
        String::from_utf8(output.stdout).expect("kubectl prints UTF-8")
    }

    /// As [`Cluster::kubectl`], whatever its outcome.
    pub fn try_kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(&self.kubectl)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl was built");
        child
            .stdin
            .take()
            .expect("it is piped")
            .write_all(input.as_bytes())
            .expect("kubectl reads its input");
        child.wait_with_output().expect("kubectl ends")
    }

    /// Starts a kubectl that goes on, with its output piped.
    pub fn start_kubectl(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).spawn().expect("kubectl was built")
    }

    /// Creates or updates objects, as a human with kubectl does.
    pub fn apply(&self, object: &Value) {
        let output = self.try_kubectl(&["apply", "-f", "-"], &object.to_string());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// All objects of these kinds in a namespace; `kinds` is `deployments,pods`.
    pub fn list(&self, kinds: &str, namespace: &str) -> Vec<Value> {
        let text = self.kubectl(&["get", kinds, "--namespace", namespace, "--output", "json"]);
        let mut list: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        match list["items"].take() {
            Value::Array(items) => items,
            other => panic!("a list has items and not {other}"),
        }
    }

    /// What service accounts asked of the API server of a cluster of our own, as its audit log has it: a watch when it began
    /// and when it ended, everything else when it was answered.
    pub fn audited(&self) -> Vec<Value> {
        assert!(matches!(self.place, Place::Own { .. }), "this needs a cluster of our own");
        let log = self.kubeconfig.with_file_name("log").join("audit");
        // It is made with the first request.
        let text = std::fs::read_to_string(log).unwrap_or_default();
        // The last line may be half written.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Cuts the cluster off. Connections hang; none is refused.
    pub fn cut(&self, cut: Cut) -> Partition<'_> {
        let way: &[&str] = match cut {
            Cut::Both => &[],
            Cut::In => &["in"],
            Cut::Out => &["out"],
        };
        script("partition.sh", &[&[self.index(), "cut"], way].concat());
        Partition { cluster: self }
    }
}

impl Drop for Partition<'_> {
    fn drop(&mut self) {
        script("partition.sh", &[self.cluster.index(), "heal"]);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A test that fails drops it while it panics: a second panic would hide the first.
        let (ended, what) = match &self.place {
            Place::Own { index, .. } => {
                (Command::new(scripts().join("stop.sh")).arg(index).status(), format!("cluster {index}"))
            }
            Place::Given { .. } => {
                let names = self.namespaces.lock().map(|names| names.clone()).unwrap_or_default();
                let mut command = Command::new(&self.kubectl);
                command.arg("--kubeconfig").arg(&self.kubeconfig);
                command.args(["delete", "namespace", "--ignore-not-found", "--wait=false"]).args(&names);
                (command.status(), format!("namespaces {names:?}"))
            }
        };
        if !ended.is_ok_and(|status| status.success()) {
            eprintln!("{what} could not be removed");
        }
    }
}
