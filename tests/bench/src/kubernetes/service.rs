//! The Deployment that both tools deploy, in its versions.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trimaran_e2e::lab::Lab;
use trimaran_test_env::kubernetes::Cluster;

use super::events::Events;

pub(super) const REPLICAS: usize = 5;
/// After this time without progress Kubernetes says that a Deployment failed; 600 by default.
pub(super) const PROGRESS_DEADLINE: Duration = Duration::from_secs(20);

/// What a version is beside its name.
#[derive(Clone, Default)]
pub(super) struct Version {
    pub(super) name: String,
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// Merged into its container.
    pub(super) container: Value,
    pub(super) image_is_absent: bool,
}

impl Version {
    pub(super) fn good(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    fn deployment(&self, image: &str) -> Value {
        let mut environment = vec![json!({"name": "VERSION", "value": self.name})];
        environment
            .extend(self.environment.iter().map(|(name, value)| json!({"name": name, "value": value})));
        let mut container = json!({
            "name": "web", "image": image, "env": environment,
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
        });
        for (key, value) in self.container.as_object().into_iter().flatten() {
            match (container[key].as_array_mut(), value.as_array()) {
                (Some(list), Some(more)) => list.extend(more.iter().cloned()),
                _ => container[key] = value.clone(),
            }
        }
        let labels = json!({"app": "web"});
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {
                "replicas": REPLICAS, "progressDeadlineSeconds": PROGRESS_DEADLINE.as_secs(),
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {
                    "dnsPolicy": "Default", "terminationGracePeriodSeconds": 1, "containers": [container],
                }},
            },
        })
    }
}

/// The image of the service, and one that its registry has not.
pub(super) struct Image {
    repository: String,
    digest: String,
}

impl Image {
    pub(super) fn publish(cluster: &Cluster) -> Self {
        let (image, digest) = cluster.publish_pinned("bench/web:1", &[]);
        Self { repository: image.rsplit_once(':').expect("an image has a tag").0.to_owned(), digest }
    }

    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    pub(super) fn pinned(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }

    fn digest(&self, version: &Version) -> String {
        if version.image_is_absent { format!("sha256:{}", "0f".repeat(32)) } else { self.digest.clone() }
    }
}

/// A target with the least rights for its agent: the namespace and what is in it.
pub(super) fn add_target(lab: &Lab, cluster: &Cluster, name: &str, more: &str) {
    cluster.namespace(name);
    let kubeconfig = lab.folder.path().join(format!("{name}.kubeconfig"));
    let target = format!(
        "trimaran: v1\ntarget: {name}\nagent: lab\nclass: staging\n{more}kubernetes: {{ namespace: {name}, kubeconfig: {} }}\n",
        kubeconfig.display()
    );
    write(lab, "target.yaml", &target);
    lab.ok(&["apply", "target.yaml"]);
    let rights = lab.ok(&["target", "rbac", name]);
    let applied = cluster.try_kubectl(&["apply", "-f", "-"], &rights);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    cluster.account_kubeconfig(name, &format!("trimaran-{name}"), &kubeconfig);
}

pub(super) fn pipeline(name: &str, target: &str, image: &Image, stability: Duration) -> String {
    format!(
        "\
trimaran: v1
pipeline: {name}
owner: team-bench
artifacts:
  app: {{ image: \"{}\" }}
workload:
  kubernetes:
    manifests: {name}
    images: {{ web: app }}
    stability: {}s
environments:
  - name: staging
    targets: [{target}]
",
        image.repository(),
        stability.as_secs()
    )
}

pub(super) fn write(lab: &Lab, name: &str, text: &str) {
    let path = lab.folder.path().join(name);
    std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

/// The Deployment in a target of Trimaran's.
pub(super) struct Ours<'a> {
    pub(super) lab: &'a Lab,
    image: &'a Image,
    name: &'static str,
}

/// A deploy of Trimaran's that was begun.
pub(super) struct Begun {
    pub(super) at: Instant,
    pub(super) events: Events,
}

impl<'a> Ours<'a> {
    pub(super) fn new(lab: &'a Lab, cluster: &Cluster, image: &'a Image, name: &'static str) -> Self {
        add_target(lab, cluster, name, "");
        Self { lab, image, name }
    }

    pub(super) fn deploy(&self, version: &Version, stability: Duration) -> Begun {
        let Self { lab, image, name } = self;
        write(lab, &format!("{name}.yaml"), &pipeline(name, name, image, stability));
        write(lab, &format!("{name}/web.json"), &version.deployment("web").to_string());
        let at = Instant::now();
        let artifact = format!("app={}@{}", version.name, image.digest(version));
        let run = lab.json(&["deploy", "-f", &format!("{name}.yaml"), "--artifact", &artifact, "--detach"]);
        let events = Events::of(lab, run["run"].as_str().expect("a run has a name"));
        Begun { at, events }
    }
}

/// The Deployment as kubectl deploys it.
pub(super) struct Theirs<'a> {
    cluster: &'a Cluster,
    image: &'a Image,
    namespace: String,
}

/// What came of `kubectl rollout status`.
pub(super) struct Ended {
    pub(super) began: Instant,
    pub(super) at: Instant,
    pub(super) output: Output,
}

impl<'a> Theirs<'a> {
    pub(super) fn new(cluster: &'a Cluster, image: &'a Image, name: &str) -> Self {
        Self { cluster, image, namespace: cluster.namespace(name) }
    }

    pub(super) fn deploy(&self, version: &Version) -> Ended {
        let image = format!("{}@{}", self.image.repository(), self.image.digest(version));
        let mut object = version.deployment(&image);
        object["metadata"]["namespace"] = self.namespace.clone().into();
        let began = Instant::now();
        self.cluster.apply(&object);
        self.status(began)
    }

    /// Back to the version before, as a human orders it.
    pub(super) fn undo(&self) -> Ended {
        let began = Instant::now();
        self.cluster.kubectl(&["rollout", "undo", "deployment/web", "--namespace", &self.namespace]);
        self.status(began)
    }

    fn status(&self, began: Instant) -> Ended {
        let words = ["rollout", "status", "deployment/web", "--namespace", &self.namespace];
        let output = self.cluster.try_kubectl(&words, "");
        Ended { began, at: Instant::now(), output }
    }
}
