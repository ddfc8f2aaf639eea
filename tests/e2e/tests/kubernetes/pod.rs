//! The agent of the page about agents in pods, in a real pod: its manifest, with the programs of this build instead of an image.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use trimaran_e2e::lab::{Lab, binaries};
use trimaran_test_env::kubernetes::Cluster;
use trimaran_test_support::wait::until;

use crate::shop::{pipeline, write};

const NAMESPACE: &str = "shop";

/// The agent's binary and what it is linked with, in a folder that pods can mount.
fn collect_programs(folder: &Path) {
    std::fs::create_dir(folder).expect("a folder");
    let agent = binaries().join("trimaran-agent");
    let linked = Command::new("ldd").arg(&agent).output().expect("ldd runs");
    let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
    let libraries = linked.split_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries.chain([agent.to_str().expect("text")]) {
        let file = Path::new(file);
        let name = file.file_name().expect("a file has a name").to_str().expect("text");
        // The loader is named by its architecture.
        let name = if name.starts_with("ld-linux") { "loader" } else { name };
        std::fs::copy(file, folder.join(name)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

/// A manifest of the page, for this build and this coordinator.
fn manifest(lab: &Lab, cluster: &Cluster, file: &str, endpoint: &str) -> String {
    let programs = lab.folder.path().join("programs");
    let page = std::fs::read_to_string(lab.folder.path().join(file)).expect("the page has it");
    let command = "command: [/programs/loader, --library-path, /programs, /programs/trimaran-agent]";
    let volume = format!(
        "      volumes:\n        - {{ name: programs, hostPath: {{ path: {} }} }}\n",
        programs.display()
    );
    let mount =
        "          volumeMounts:\n            - { name: programs, mountPath: /programs, readOnly: true }\n";
    let mut manifest = page;
    for (of_page, ours) in [
        ("registry.corp/trimaran/agent:0.1.0", cluster.service_image().as_str()),
        ("command: [/trimaran-agent]", command),
        ("c1.corp:7700", endpoint),
        ("          volumeMounts:\n", mount),
        ("      volumes:\n", volume.as_str()),
    ] {
        assert_eq!(manifest.matches(of_page).count(), 1, "{of_page} stands once in the page");
        manifest = manifest.replace(of_page, ours);
    }
    manifest
}

struct Pod<'a> {
    lab: &'a Lab,
    cluster: &'a Cluster,
}

impl Pod<'_> {
    /// Waits until the agent is connected as another incarnation than this one; which it is then.
    fn connected(&self, before: &Value) -> Value {
        let limit = Duration::from_secs(90);
        until_or_log(self, "the agent in the pod is connected", limit, || {
            let list = self.lab.json(&["agent", "list"]);
            let agents = list["agents"].as_array().cloned().unwrap_or_default();
            let it = agents.into_iter().find(|it| it["name"] == "tokyo")?;
            (it["state"] == "connected" && it["incarnation"] != *before).then(|| it["incarnation"].clone())
        })
    }

    fn apply(&self, manifest: &str) {
        let applied = self.cluster.try_kubectl(&["apply", "--validate=strict", "-f", "-"], manifest);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }

    /// Deploys a version, loses its process and its token, and deploys another one; the incarnation that it is then.
    fn works_and_is_lost(&self, before: &Value, [first, second]: [&str; 2]) -> Value {
        let incarnation = self.connected(before);
        self.deploy(&publish(self.cluster, first).1);
        self.cluster.kubectl(&["delete", "secret", "tokyo-token", "--namespace", NAMESPACE]);
        let of = ["delete", "pod", "--selector", "app=tokyo-agent", "--namespace", NAMESPACE];
        self.cluster.kubectl(&[&of[..], &["--grace-period=0", "--force"]].concat());
        let next = self.connected(&incarnation);
        self.deploy(&publish(self.cluster, second).1);
        let found = self.cluster.list("deployments", NAMESPACE);
        let web = found.iter().find(|it| it["metadata"]["name"] == "web").expect("it was deployed");
        let status = &web["status"];
        assert_eq!((&status["readyReplicas"], &status["updatedReplicas"]), (&1.into(), &1.into()), "{web:#}");
        next
    }

    fn logs(&self) -> String {
        let of = ["logs", "deployment/tokyo-agent", "--namespace", NAMESPACE, "--all-containers"];
        let output = self.cluster.try_kubectl(&of, "");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn deploy(&self, artifact: &str) {
        let words = ["deploy", "-f", "web.yaml", "--artifact", artifact, "--wait", "--timeout", "120s"];
        let deployed = self.lab.run(&words);
        let said = String::from_utf8_lossy(&[deployed.stdout, deployed.stderr].concat()).into_owned();
        assert_eq!(deployed.status.code(), Some(0), "{said}\n{}", self.logs());
    }
}

fn until_or_log<T>(pod: &Pod<'_>, what: &str, limit: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let began = std::time::Instant::now();
    until(what, limit, || {
        let found = check();
        if found.is_none() && began.elapsed() + Duration::from_secs(2) > limit {
            eprintln!("{}", pod.logs());
        }
        found
    })
}

/// Behind the page's commands: with its state in Secrets and then on a volume the pod starts, enrolls, deploys, is lost, and
/// goes on as the same agent without its token.
pub(crate) fn run(lab: &Lab, cluster: &Cluster) {
    collect_programs(&lab.folder.path().join("programs"));
    let host = cluster.host_address();
    let free = UdpSocket::bind((host.as_str(), 0)).and_then(|it| it.local_addr()).expect("a free port");
    let endpoint = free.to_string();
    lab.join_coordinator("c2", &endpoint, &lab.part("c1").address);
    write(lab, "web.yaml", &pipeline("web", &publish(cluster, "v0").0, "tokyo", "1s"));
    write(lab, "web/web.yaml", DEPLOYMENT);
    let pod = Pod { lab, cluster };

    pod.apply(&manifest(lab, cluster, "agent.yaml", &endpoint));
    let last = pod.works_and_is_lost(&Value::Null, ["v1", "v2"]);

    cluster.kubectl(&["delete", "deployment", "tokyo-agent", "--namespace", NAMESPACE]);
    let token = lab.json(&["agent", "enroll", "tokyo"])["token"].as_str().expect("a token").to_owned();
    let literal = format!("token={token}");
    let secret = ["create", "secret", "generic", "tokyo-token", "--namespace", NAMESPACE, "--from-literal"];
    cluster.kubectl(&[&secret[..], &[&literal]].concat());
    let folder = lab.folder.path().join("volume");
    std::fs::create_dir(&folder).expect("a folder");
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "tokyo-agent" },
        "spec": {
            "capacity": { "storage": "2Gi" },
            "accessModes": ["ReadWriteOncePod"],
            "hostPath": { "path": folder, "type": "Directory" },
            "claimRef": { "namespace": NAMESPACE, "name": "tokyo-agent" },
        },
    });
    cluster.apply(&volume);
    pod.apply(&manifest(lab, cluster, "agent-volume.yaml", &endpoint));
    pod.works_and_is_lost(&last, ["v3", "v4"]);
    assert!(folder.join("identity").is_dir(), "its state is on the volume");
}

/// The repository of the service, and a version of it for `--artifact`.
fn publish(cluster: &Cluster, version: &str) -> (String, String) {
    let environment = format!("VERSION={version}");
    let (image, digest) = cluster.publish_pinned(&format!("shop/web:{version}"), &[&environment]);
    let repository = image.rsplit_once(':').expect("an image has a tag").0;
    (repository.to_owned(), format!("app={version}@{digest}"))
}

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 1
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
";
