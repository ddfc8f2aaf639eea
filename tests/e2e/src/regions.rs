//! The service `shop` as its team has it in two clusters: staging and the region `east` in the first one, the region
//! `west` in the second one, which has an agent of its own.

use std::net::SocketAddr;

use serde_json::Value;
use trimaran_test_env::kubernetes::Cluster;

use crate::lab::Lab;

/// Environments, in the order in which a version reaches them.
pub const ENVIRONMENTS: [&str; 3] = ["staging", "east", "west"];
/// The agent of the second cluster.
pub const WEST_AGENT: &str = "west";

/// What a version needs of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Config {
    Good,
    /// The service can't start without the file, whose key has another name.
    WithoutFile,
    /// A key of the ConfigMap `zone`, which operators made in staging alone.
    OfStagingAlone,
}

pub struct Regions {
    /// Those of staging and east, and of west.
    clusters: [Cluster; 2],
    /// The image without tag, in the registry of the first cluster: both pull from there.
    repository: String,
}

impl Regions {
    /// Starts both clusters; then applies targets, with the least rights for each agent, and writes the pipeline.
    pub fn new(lab: &Lab) -> Self {
        // The first one builds what is missing.
        let first = Cluster::start();
        let clusters = [first, Cluster::start()];
        let image = clusters[0].publish("shop/web:base", &[]);
        let repository = image.rsplit_once(':').expect("an image has a tag").0.to_owned();
        let it = Self { clusters, repository };
        lab.add_agent(WEST_AGENT);
        for environment in ENVIRONMENTS {
            it.add_target(lab, environment);
        }
        write(lab, "shop.yaml", &pipeline(&it.repository));
        it
    }

    fn cluster(&self, environment: &str) -> &Cluster {
        &self.clusters[usize::from(environment == "west")]
    }

    fn add_target(&self, lab: &Lab, name: &str) {
        let cluster = self.cluster(name);
        let (agent, class) = match name {
            "staging" => ("lab", "staging"),
            "east" => ("lab", "prod"),
            _ => (WEST_AGENT, "prod"),
        };
        cluster.namespace(name);
        let kubeconfig = lab.folder.path().join(format!("{name}.kubeconfig"));
        let place = kubeconfig.display();
        let target = format!(
            "trimaran: v1\ntarget: {name}\nagent: {agent}\nclass: {class}\nkubernetes: {{ namespace: {name}, kubeconfig: {place} }}\n"
        );
        write(lab, &format!("{name}.yaml"), &target);
        lab.ok(&["apply", &format!("{name}.yaml")]);
        let rights = lab.ok(&["target", "rbac", name]);
        let applied = cluster.try_kubectl(&["apply", "-f", "-"], &rights);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        cluster.account_kubeconfig(name, &format!("trimaran-{name}"), &kubeconfig);
        let text = if name == "staging" { "name=staging" } else { "other=nothing" };
        cluster.kubectl(&["create", "configmap", "zone", "--namespace", name, "--from-literal", text]);
    }

    /// Publishes a version; the value of `--artifact`.
    pub fn publish(&self, version: &str, environment: &[&str]) -> String {
        let named = format!("VERSION={version}");
        let environment = [&[named.as_str(), "DRAIN=2s"], environment].concat();
        let (_, digest) = self.clusters[0].publish_pinned(&format!("shop/web:{version}"), &environment);
        format!("app={version}@{digest}")
    }

    /// A version that the registry has not.
    pub fn absent(version: &str) -> String {
        format!("app={version}@sha256:{}", "0f".repeat(32))
    }

    /// Writes the manifests.
    pub fn write_manifests(&self, lab: &Lab, text: &str, config: Config) {
        let (key, more) = match config {
            Config::Good => ("text", ""),
            Config::WithoutFile => ("other", ""),
            Config::OfStagingAlone => ("text", ZONE),
        };
        write(lab, "shop/web.yaml", &manifests(text, key, more));
    }

    /// Where the service of an environment answers.
    pub fn address(&self, environment: &str) -> SocketAddr {
        let path = "jsonpath={.spec.clusterIP}";
        let ip = self.cluster(environment).kubectl(&[
            "get",
            "service",
            "web",
            "--namespace",
            environment,
            "--output",
            path,
        ]);
        format!("{}:80", ip.trim()).parse().expect("a service has an address")
    }

    /// What the pods that are ready run and the text of their configuration.
    pub fn serving(&self, environment: &str) -> Vec<(String, String)> {
        let cluster = self.cluster(environment);
        let maps = cluster.list("configmaps", environment);
        let text = |pod: &Value| {
            let name = &pod["spec"]["volumes"][0]["configMap"]["name"];
            let map = maps.iter().find(|map| map["metadata"]["name"] == *name);
            map.and_then(|map| map["data"]["text"].as_str()).unwrap_or("gone").to_owned()
        };
        let pods = cluster.list("pods", environment);
        let ready = pods.iter().filter(|pod| {
            let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            let is_ready = conditions.into_iter().any(|it| it["type"] == "Ready" && it["status"] == "True");
            is_ready && pod["metadata"]["deletionTimestamp"].is_null()
        });
        let image = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap_or("?").to_owned();
        ready.map(|pod| (image(pod), text(pod))).collect()
    }

    /// The names of the versions of configuration that are there.
    pub fn configs(&self, environment: &str) -> Vec<String> {
        let maps = self.cluster(environment).list("configmaps", environment);
        let name = |map: &Value| map["metadata"]["name"].as_str().unwrap_or("?").to_owned();
        let own = |map: &&Value| map["metadata"]["labels"]["trimaran.dev/config-base"].is_string();
        maps.iter().filter(own).map(name).collect()
    }
}

/// A variable that only staging can give.
const ZONE: &str =
    "\n            - { name: ZONE, valueFrom: { configMapKeyRef: { name: zone, key: name } } }";

fn pipeline(repository: &str) -> String {
    format!(
        "\
trimaran: v1
pipeline: shop
owner: team-shop
artifacts:
  app: {{ image: \"{repository}\" }}
workload:
  kubernetes:
    manifests: shop
    images: {{ web: app }}
    stability: 2s
environments:
  - name: staging
    targets: [staging]
    rollback: {{ on: [health], scope: run, bake: 0s }}
  - name: east
    after: [staging]
    approve: {{ options: [promote, roll_back], timeout: 1h }}
    targets: [east]
    rollback: {{ on: [health], scope: run, bake: 0s }}
  - name: west
    after: [east]
    targets: [west]
    rollback: {{ on: [health], scope: run, bake: 0s }}
"
    )
}

fn manifests(text: &str, key: &str, more: &str) -> String {
    format!(
        "\
apiVersion: v1
kind: ConfigMap
metadata: {{ name: web }}
data: {{ {key}: {text} }}
---
apiVersion: v1
kind: Service
metadata: {{ name: web }}
spec: {{ selector: {{ app: web }}, ports: [{{ port: 80, targetPort: 8080 }}] }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: web }}
spec:
  replicas: 2
  selector: {{ matchLabels: {{ app: web }} }}
  strategy: {{ rollingUpdate: {{ maxSurge: 1, maxUnavailable: 0 }} }}
  template:
    metadata: {{ labels: {{ app: web }} }}
    spec:
      dnsPolicy: Default
      terminationGracePeriodSeconds: 10
      containers:
        - name: web
          image: web
          env:
            - {{ name: CONFIG, value: /config/text }}{more}
          readinessProbe: {{ httpGet: {{ path: /readyz, port: 8080 }}, periodSeconds: 1 }}
          volumeMounts: [{{ name: config, mountPath: /config }}]
      volumes: [{{ name: config, configMap: {{ name: web }} }}]
"
    )
}

fn write(lab: &Lab, name: &str, text: &str) {
    let path = lab.folder.path().join(name);
    std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}
