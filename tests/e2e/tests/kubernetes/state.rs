//! Agents that keep their state in Secrets, with the rights that `trimaran target rbac --state` prints and an empty PATH: a
//! lost process, a second one beside the first, one that stands still, and an API server that is away.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::lab::{Lab, binaries, is_alive};
use trimaran_e2e::process::Process;
use trimaran_test_env::kubernetes::{Cluster, Cut};
use trimaran_test_support::wait::until;

use crate::shop::{Shape, Shop, printed};

/// How long a Lease that is not renewed is good for, and a margin for the process that waits.
const TAKE_OVER: Duration = Duration::from_secs(40);

/// An agent of its own with a state in Secrets, and the shop that it serves.
struct Pod<'a> {
    shop: Shop<'a>,
    name: String,
    /// Where the state is; the target's rights say nothing of it.
    namespace: String,
    token: PathBuf,
}

impl<'a> Pod<'a> {
    fn new(lab: &'a Lab, cluster: &'a Cluster, name: &str, shape: &Shape) -> Self {
        let shop = Shop::of_agent(lab, cluster, name, shape, name);
        let namespace = cluster.namespace(&format!("{name}-agents"));
        let rights = lab.ok(&["target", "rbac", name, "--state", &format!("secret:{namespace}/{name}")]);
        let applied = cluster.try_kubectl(&["apply", "-f", "-"], &rights);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        let token = lab.json(&["agent", "enroll", name])["token"].as_str().expect("a token").to_owned();
        let file = lab.folder.path().join(format!("{name}.token"));
        std::fs::write(&file, token).expect("a file");
        Self { shop, name: name.to_owned(), namespace, token: file }
    }

    /// Starts a process of the agent with an empty directory.
    fn start(&self, process: &str, with_token: bool) -> Process {
        let folder = self.shop.lab.folder.path();
        let data_dir = folder.join(format!("{}-{process}", self.name));
        let log = folder.join(format!("{}-{process}.log", self.name));
        let endpoint = self.shop.lab.part("lab").argv;
        let endpoint: Vec<_> = endpoint.iter().skip_while(|word| *word != "--endpoint").take(2).collect();
        let mut command = Command::new(binaries().join("trimaran-agent"));
        command.env_clear().env("PATH", "");
        command.args(["run", "--role", "agent", "--name", &self.name, "--data-dir"]).arg(&data_dir);
        command.args(["--state", &format!("secret:{}/{}", self.namespace, self.name), "--state-kubeconfig"]);
        command.arg(folder.join(format!("{}.kubeconfig", self.name))).args(endpoint);
        if with_token {
            command.arg("--token-file").arg(&self.token);
        }
        Process::start(command, data_dir, log)
    }

    /// The agent as the coordinators have it.
    fn shown(&self) -> Value {
        let list = self.shop.lab.json(&["agent", "list"]);
        let agents = list["agents"].as_array().cloned().unwrap_or_default();
        agents.into_iter().find(|it| it["name"] == self.name.as_str()).unwrap_or_default()
    }

    /// Waits until it is connected, as another incarnation than this one; which it is then.
    fn connected(&self, before: &Value, limit: Duration) -> Value {
        until("the agent is connected", limit, || {
            let it = self.shown();
            (it["state"] == "connected" && it["incarnation"] != *before).then(|| it["incarnation"].clone())
        })
    }

    fn version(&self, version: &str) -> String {
        // Pods that take their time, so that a deploy has a middle.
        self.shop.version(version, &["READY=4s"])
    }

    fn deploy(&self, version: &str) {
        let deployed = self.shop.deploy(&self.version(version));
        assert_eq!(deployed.status.code(), Some(0), "{}", printed(&deployed));
    }

    /// Begins a deploy, and waits until its first new pod starts.
    fn begin(&self, version: &str) -> String {
        let artifact = self.version(version);
        self.shop.write_environment(&artifact);
        let file = format!("{}.yaml", self.shop.name());
        let run = self.shop.lab.json(&["deploy", "-f", &file, "--artifact", &artifact, "--detach"]);
        let run = run["run"].as_str().expect("a run has a name").to_owned();
        self.shop.lab.wait_run(&run, "a new pod starts", Duration::from_secs(60), |shown| {
            let instances = shown["stages"][0]["instances"].as_array().into_iter().flatten();
            instances.clone().any(|it| it["status"] == "updating").then_some(())
        });
        run
    }

    /// Waits until the run has succeeded in its first attempt.
    fn finished(&self, run: &str) {
        let shown = self.shop.lab.wait_finished(run, Duration::from_secs(120));
        assert_eq!(shown["status"], "succeeded", "{shown:#}");
        assert_eq!(shown["stages"][0]["attempt"], 1, "{shown:#}");
    }

    /// The Deployment's generation: one more for each change of it.
    fn generation(&self) -> u64 {
        let all = self.shop.cluster.list("deployments", &self.shop.namespace);
        all[0]["metadata"]["generation"].as_u64().expect("a number")
    }

    fn secret(&self) -> Value {
        let all = self.shop.cluster.list("secrets", &self.namespace);
        let found = all.into_iter().find(|it| it["metadata"]["name"] == self.name.as_str());
        found.expect("the agent has made it")
    }

    fn holder(&self) -> Value {
        self.shop.cluster.list("leases", &self.namespace)[0]["spec"]["holderIdentity"].clone()
    }
}

#[test]
fn an_agent_that_lost_its_process_and_directory_goes_on_in_the_same_attempt() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let pod = Pod::new(&lab, &cluster, "pod", &Shape::default());
    let mut first = pod.start("first", true);
    let incarnation = pod.connected(&Value::Null, Duration::from_secs(40));
    pod.deploy("v1");
    let before = pod.generation();
    let run = pod.begin("v2");
    first.signal("KILL");
    first.ended(Duration::from_secs(10));
    std::fs::remove_dir_all(&first.data_dir).expect("it is there");
    // Without a token: who it is stands in the Secret.
    let second = pod.start("second", false);
    let next = pod.connected(&incarnation, TAKE_OVER);
    pod.finished(&run);
    assert_eq!(pod.generation(), before + 1, "the change was made once");
    pod.shop.wait_installation("v2", "healthy");
    second.wait_log("is held by", Duration::ZERO);
    assert!(second.log().contains("start=2"), "{}", second.log());

    // What is in the Secret is nowhere else.
    let secret = pod.secret();
    let key = secret["data"]["key.pem"].as_str().expect("the key is kept");
    assert!(!second.data_dir.join("identity").exists() && !second.data_dir.join("journal").exists());
    let key = base64_lines(key);
    for text in [first.log(), second.log(), lab.ok(&["audit", "list"])] {
        assert!(!key.iter().any(|line| text.contains(line.as_str())), "a value of the Secret is shown");
    }

    // Ended as a pod is, it leaves the lease to the next one at once.
    second.signal("TERM");
    let mut second = second;
    assert_eq!(second.ended(Duration::from_secs(20)).code(), Some(0), "{}", second.log());
    assert!(pod.holder().is_null(), "{}", pod.holder());
    let began = Instant::now();
    let third = pod.start("third", false);
    third.wait_log("is held holder=", Duration::from_secs(10));
    assert!(began.elapsed() < Duration::from_secs(10) && is_alive(third.child.id()));
    pod.connected(&next, Duration::from_secs(30));
    pod.deploy("v3");
}

/// The lines of a PEM file that tell it from others, decoded from a Secret's value.
fn base64_lines(value: &str) -> Vec<String> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(value).expect("base64");
    let text = String::from_utf8(decoded).expect("PEM is text");
    let lines = text.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned);
    [value.to_owned()].into_iter().chain(lines.filter(|line| line.len() > 20)).collect()
}

#[test]
fn of_two_agents_with_one_state_one_acts_and_one_that_stood_still_acts_no_more() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let pod = Pod::new(&lab, &cluster, "pair", &Shape::default());
    let mut first = pod.start("first", true);
    let incarnation = pod.connected(&Value::Null, Duration::from_secs(40));
    pod.deploy("v1");
    let holder = pod.holder();
    let second = pod.start("second", false);
    second.wait_log("is held by", Duration::from_secs(20));
    // For longer than a Lease that is not renewed.
    std::thread::sleep(Duration::from_secs(20));
    assert_eq!((pod.holder(), &pod.shown()["incarnation"]), (holder.clone(), &incarnation));
    assert!(!second.log().contains("connected"), "it does nothing: {}", second.log());

    let before = pod.generation();
    let run = pod.begin("v2");
    first.signal("STOP");
    pod.connected(&incarnation, TAKE_OVER);
    assert_ne!(pod.holder(), holder);
    pod.finished(&run);
    let objects = pod.shop.objects();
    first.signal("CONT");
    let ended = first.ended(Duration::from_secs(30));
    assert_eq!(ended.code(), Some(6), "{}", first.log());
    assert!(first.log().contains("has taken over"), "{}", first.log());
    // It did nothing in between, and the other one goes on.
    assert_eq!((pod.generation(), pod.shop.objects()), (before + 1, objects));
    assert!(is_alive(second.child.id()), "{}", second.log());
    pod.shop.wait_installation("v2", "healthy");
    pod.deploy("v3");
}

#[test]
fn an_api_server_that_is_away_is_waited_for_at_the_start_and_in_work() {
    let lab = Lab::fresh(1);
    // Others would be cut off with it.
    let cluster = Cluster::start();
    let pod = Pod::new(&lab, &cluster, "cut", &Shape::default());
    let cut = cluster.cut(Cut::Both);
    let agent = pod.start("only", true);
    agent.wait_log("can't be taken; trying again", Duration::from_secs(20));
    drop(cut);
    let incarnation = pod.connected(&Value::Null, Duration::from_secs(60));
    pod.deploy("v1");
    let before = pod.generation();
    let run = pod.begin("v2");
    let cut = cluster.cut(Cut::Both);
    agent.wait_log("nothing is done until it can", Duration::from_secs(40));
    assert!(lab.show(&run)["finished_at"].is_null(), "silence is neither success nor failure");
    drop(cut);
    agent.wait_log("work goes on", Duration::from_secs(40));
    pod.finished(&run);
    assert_eq!(
        (pod.generation(), &pod.shown()["incarnation"]),
        (before + 1, &incarnation),
        "one process did it all"
    );
}

#[test]
fn without_rights_an_agent_says_which_and_how_to_get_them() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let pod = Pod::new(&lab, &cluster, "bare", &Shape::default());
    cluster.kubectl(&["delete", "rolebinding", "trimaran-state-bare", "--namespace", &pod.namespace]);
    let mut agent = pod.start("only", true);
    assert_eq!(agent.ended(Duration::from_secs(30)).code(), Some(6), "{}", agent.log());
    let log = agent.log();
    assert!(log.contains("leases.coordination.k8s.io") && log.contains("forbidden"), "{log}");
    assert!(log.contains("target rbac") && log.contains("--state"), "{log}");
}
