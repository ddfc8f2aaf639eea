//! A service of its team on a real cluster: manifests, a pipeline, and images of good and bad versions.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::Lab;
use trimaran_test_env::kubernetes::Cluster;
use trimaran_test_support::wait::until;

/// What tests change of the pipeline file.
pub(crate) struct Shape {
    pub(crate) stability: &'static str,
    pub(crate) bake: &'static str,
}

impl Default for Shape {
    fn default() -> Self {
        Self { stability: "2s", bake: "0s" }
    }
}

/// The service `shop` in a namespace of its own.
pub(crate) struct Shop<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) cluster: &'a Cluster,
    pub(crate) namespace: String,
    /// The image without tag.
    pub(crate) repository: String,
    name: String,
    /// Variables of versions whose image can't have them, by the value of `--artifact`.
    environments: Mutex<BTreeMap<String, Vec<String>>>,
}

/// A pipeline of one environment; its manifests are in the folder of its name.
pub(crate) fn pipeline(name: &str, repository: &str, target: &str, stability: &str) -> String {
    format!(
        "\
trimaran: v1
pipeline: {name}
owner: team-shop
artifacts:
  app: {{ image: \"{repository}\" }}
workload:
  kubernetes:
    manifests: {name}
    images: {{ web: app }}
    stability: {stability}
environments:
  - name: prod
    targets: [{target}]
"
    )
}

impl<'a> Shop<'a> {
    /// Makes the namespace, the target, and an account for the agent.
    pub(crate) fn new(lab: &'a Lab, cluster: &'a Cluster, name: &str, shape: &Shape) -> Self {
        Self::of_agent(lab, cluster, name, shape, "lab")
    }

    /// As [`Shop::new`], with a target of another agent than the lab's.
    pub(crate) fn of_agent(
        lab: &'a Lab,
        cluster: &'a Cluster,
        name: &str,
        shape: &Shape,
        agent: &str,
    ) -> Self {
        let namespace = cluster.namespace(name);
        let kubeconfig = lab.folder.path().join(format!("{name}.kubeconfig"));
        let target = format!(
            "trimaran: v1\ntarget: {name}\nagent: {agent}\nclass: prod\nkubernetes: {{ namespace: {namespace}, kubeconfig: {} }}\n",
            kubeconfig.display()
        );
        write(lab, "target.yaml", &target);
        lab.ok(&["apply", "target.yaml"]);
        let rights = lab.ok(&["target", "rbac", name]);
        let applied = cluster.try_kubectl(&["apply", "-f", "-"], &rights);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        cluster.account_kubeconfig(&namespace, &format!("trimaran-{name}"), &kubeconfig);
        let repository = match cluster.given_image() {
            Some((name, _)) => name,
            None => {
                let image = cluster.publish(&format!("{name}/web:first"), &[]);
                image.rsplit_once(':').expect("an image has a tag").0.to_owned()
            }
        };
        let Shape { stability, bake } = shape;
        let rollback = format!("    rollback: {{ on: [health], scope: environment, bake: {bake} }}\n");
        let pipeline = pipeline(name, &repository, name, stability) + &rollback;
        write(lab, &format!("{name}.yaml"), &pipeline);
        let (name, environments) = (name.to_owned(), Mutex::default());
        let shop = Self { lab, cluster, namespace, repository, name, environments };
        shop.configure("one", "text");
        shop
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Writes the manifests: the configuration's text under a key. The service ends when the key is not `text`.
    pub(crate) fn configure(&self, text: &str, key: &str) {
        let name = self.name();
        write(
            self.lab,
            &format!("{name}/config.yaml"),
            &format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: web }}\ndata: {{ {key}: {text} }}\n"
            ),
        );
        write(
            self.lab,
            &format!("{name}/web.yaml"),
            &format!(
                "\
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
  template:
    metadata: {{ labels: {{ app: web }} }}
    spec:
      dnsPolicy: Default
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: web
          env:
            - {{ name: TEXT, valueFrom: {{ configMapKeyRef: {{ name: web, key: {key} }} }} }}
            - {{ name: CONFIG, value: /config/text }}
          readinessProbe: {{ httpGet: {{ path: /readyz, port: 8080 }}, periodSeconds: 1 }}
          volumeMounts: [{{ name: config, mountPath: /config }}]
      volumes: [{{ name: config, configMap: {{ name: web }} }}]
"
            ),
        );
    }

    /// Gives the service a variable whose value is a key of another object.
    pub(crate) fn add_environment(&self, variable: &str, kind: &str, object: &str, key: &str) {
        let file = format!("{}/web.yaml", self.name());
        let text = std::fs::read_to_string(self.lab.folder.path().join(&file)).expect("a file");
        let line = format!(
            "env:\n            - {{ name: {variable}, valueFrom: {{ {kind}: {{ name: {object}, key: {key} }} }} }}"
        );
        write(self.lab, &file, &text.replacen("env:", &line, 1));
    }

    /// Writes manifests of a Deployment alone.
    pub(crate) fn write_plain_workload(&self) {
        let name = self.name();
        std::fs::remove_file(self.lab.folder.path().join(format!("{name}/config.yaml"))).expect("a file");
        write(
            self.lab,
            &format!("{name}/web.yaml"),
            "\
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      dnsPolicy: Default
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: web
          readinessProbe: { httpGet: { path: /readyz, port: 8080 }, periodSeconds: 1 }
",
        );
    }

    /// Publishes a version with this environment; the value of `--artifact`.
    pub(crate) fn version(&self, version: &str, environment: &[&str]) -> String {
        let named = format!("VERSION={version}");
        let environment = [&[named.as_str()], environment].concat();
        if let Some((_, digest)) = self.cluster.given_image() {
            let artifact = format!("app={version}@{digest}");
            let variables = environment.iter().map(|pair| (*pair).to_owned()).collect();
            self.environments.lock().expect("no test panics in here").insert(artifact.clone(), variables);
            return artifact;
        }
        let (_, digest) =
            self.cluster.publish_pinned(&format!("{}/web:{version}", self.name()), &environment);
        format!("app={version}@{digest}")
    }

    /// Gives the manifests the variables of a version whose image can't have them.
    pub(crate) fn write_environment(&self, artifact: &str) {
        const OWN: &str = "# of the version";
        let known = self.environments.lock().expect("no test panics in here").get(artifact).cloned();
        let Some(variables) = known else { return };
        let file = format!("{}/web.yaml", self.name);
        let text = std::fs::read_to_string(self.lab.folder.path().join(&file)).expect("a file");
        let mut lines: Vec<String> =
            text.lines().filter(|line| !line.ends_with(OWN)).map(str::to_owned).collect();
        if let Some(at) = lines.iter().position(|line| line.trim() == "env:") {
            let line = |pair: &String| {
                let (name, value) = pair.split_once('=').expect("NAME=VALUE");
                format!("            - {{ name: {name}, value: \"{value}\" }} {OWN}")
            };
            let own: Vec<String> = variables.iter().map(line).collect();
            lines.splice(at + 1..at + 1, own);
        }
        write(self.lab, &file, &(lines.join("\n") + "\n"));
    }

    /// A version that its registry has not.
    pub(crate) fn absent(version: &str) -> String {
        format!("app={version}@sha256:{}", "0f".repeat(32))
    }

    /// Deploys and waits until the run is over.
    pub(crate) fn deploy(&self, artifact: &str) -> Output {
        self.write_environment(artifact);
        let file = format!("{}.yaml", self.name());
        self.lab.run(&["deploy", "-f", &file, "--artifact", artifact, "--wait", "--timeout", "4m"])
    }

    /// The newest run.
    pub(crate) fn shown(&self) -> Value {
        self.lab.json(&["run", "show", self.name()])
    }

    pub(crate) fn why(&self) -> String {
        self.lab.ok(&["why", self.name()])
    }

    pub(crate) fn logs(&self) -> String {
        self.lab.ok(&["logs", self.name()])
    }

    /// The installation as `status` has it.
    pub(crate) fn installation(&self) -> Value {
        let status = self.lab.json(&["status"]);
        let all = status["installations"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|it| it["pipeline"] == self.name()).expect("it was deployed")
    }

    /// Waits until the installation has this version and health.
    pub(crate) fn wait_installation(&self, version: &str, health: &str) -> Value {
        until(&format!("{version} is {health}"), Duration::from_secs(60), || {
            let it = self.installation();
            (it["version"] == version && it["health"] == health).then_some(it)
        })
    }

    /// The names of the pods that are ready and stay, and of no others.
    pub(crate) fn ready_pods(&self) -> Vec<String> {
        let pods = self.cluster.list("pods", &self.namespace);
        let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut names: Vec<String> = pods.iter().filter(|pod| is_ready(pod)).map(name).collect();
        names.sort();
        names
    }

    /// The name of the ConfigMap that holds this text.
    pub(crate) fn version_of_config(&self, text: &str) -> String {
        let maps = self.cluster.list("configmaps", &self.namespace);
        let map = maps.iter().find(|map| map["data"]["text"] == text).expect("it was applied");
        map["metadata"]["name"].as_str().expect("it has a name").to_owned()
    }

    /// What the pods that serve have as their image and the text of their configuration.
    pub(crate) fn serving(&self) -> Vec<(String, String)> {
        let pods = self.cluster.list("pods", &self.namespace);
        let maps = self.cluster.list("configmaps", &self.namespace);
        let text = |pod: &Value| {
            let name = &pod["spec"]["volumes"][0]["configMap"]["name"];
            let map = maps.iter().find(|map| map["metadata"]["name"] == *name);
            map.and_then(|map| map["data"]["text"].as_str()).unwrap_or("gone").to_owned()
        };
        let image =
            |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
        pods.iter().filter(|pod| is_ready(pod)).map(|pod| (image(pod), text(pod))).collect()
    }

    /// The names of all objects that a deploy makes.
    pub(crate) fn objects(&self) -> Vec<String> {
        let kinds = "deployments,services,configmaps,secrets";
        let name = |it: &Value| {
            format!("{}/{}", it["kind"].as_str().unwrap_or(""), it["metadata"]["name"].as_str().unwrap_or(""))
        };
        let found = self.cluster.list(kinds, &self.namespace);
        // Every namespace gets this one from the cluster itself.
        let own = |name: &String| name != "ConfigMap/kube-root-ca.crt";
        let mut names: Vec<String> = found.iter().map(name).filter(own).collect();
        names.sort();
        names
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.into_iter().any(|it| it["type"] == "Ready" && it["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}

pub(crate) fn write(lab: &Lab, name: &str, text: &str) {
    let path = lab.folder.path().join(name);
    std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

/// Everything that a command printed.
pub(crate) fn printed(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
