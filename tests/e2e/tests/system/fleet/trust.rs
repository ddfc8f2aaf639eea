//! Whom hosts and agents refuse, also when no coordinator is there to say it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trimaran_e2e::lab::{Lab, Part, is_alive};
use trimaran_e2e::web::{Shape, Web};
use trimaran_model::id::{Digest, Identity};
use trimaran_model::time::{Millis, WallTime};
use trimaran_test_support::wait::until;
use trimaran_transport::authority::Issuer;
use trimaran_transport::enroll::{Csr, make_key_and_csr};
use trimaran_transport::files::{IdentityFiles, load_identity};
use trimaran_transport::{Alpn, CertificateStore, Endpoint, EndpointConfig, EndpointLimits, Trust};

use super::{process, prod};

fn log(part: &Part) -> String {
    std::fs::read_to_string(part.data_dir.join("log")).expect("a log")
}

/// How often a runner has come to its agent.
fn sessions(part: &Part) -> usize {
    log(part).matches("connected to an agent").count()
}

fn state(lab: &Lab, runner: &str) -> Option<String> {
    let list = lab.json(&["runner", "list"]);
    let found = list["runners"].as_array()?.iter().find(|it| it["name"] == runner)?.clone();
    found["state"].as_str().map(str::to_owned)
}

#[test]
fn a_host_that_was_removed_is_refused_by_an_agent_that_begins_without_a_coordinator() {
    let lab = Lab::fresh(3);
    let [agent, removed, other] = ["lab", "host-3", "host-2"].map(|name| lab.part(name));
    lab.kill("host-3");
    lab.ok(&["runner", "remove", "host-3", "--yes"]);
    let kept = agent.data_dir.join("revoked");
    until("the agent has written it", Duration::from_secs(20), || {
        std::fs::read_to_string(&kept).is_ok_and(|text| !text.is_empty()).then_some(())
    });
    lab.kill("c1");
    lab.kill("lab");
    let before = sessions(&other);
    lab.start_part("lab");
    let runner = lab.start_part_in("host-3", &[], &[]);
    until("it is refused", Duration::from_secs(60), || (!is_alive(runner)).then_some(()));
    assert!(log(&removed).contains("revoked"), "{}", log(&removed));
    until("the other one is served", Duration::from_secs(60), || (sessions(&other) > before).then_some(()));

    lab.start_part("c1");
    until("the cluster is as it was", Duration::from_secs(60), || {
        (state(&lab, "host-2")? == "connected").then_some(())
    });
    assert_eq!(state(&lab, "host-3"), None);
}

/// The command line of a part with another token.
fn with_token(part: &Part, token: &Path) -> Vec<String> {
    let mut argv = Vec::new();
    let mut words = part.argv.iter();
    while let Some(word) = words.next() {
        if word == "--token-file" {
            words.next();
        } else {
            argv.push(word.clone());
        }
    }
    argv.extend(["--token-file".to_owned(), token.display().to_string()]);
    argv
}

#[test]
fn an_agent_whose_directory_was_lost_is_enrolled_anew_and_its_runners_come_back_to_its_name() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let (agent, host) = (lab.part("lab"), lab.part("host-2"));
    let service = process(&lab, "host-2", "v1");
    lab.kill("lab");
    // What a thief may have kept.
    let copy = lab.folder.path().join("copy");
    std::fs::rename(&agent.data_dir, &copy).expect("the directory is lost");
    std::fs::create_dir(&agent.data_dir).expect("a new disk");
    let made = lab.json(&["agent", "enroll", "lab"]);
    let token = lab.folder.path().join("lab.token");
    std::fs::write(&token, made["token"].as_str().expect("a token")).expect("a file");
    let before = sessions(&host);
    lab.start_argv(&with_token(&agent, &token), &agent.data_dir);
    until("its runners are back", Duration::from_secs(60), || {
        let connected = |name: &str| state(&lab, name).is_some_and(|it| it == "connected");
        (sessions(&host) > before && ["host-1", "host-2", "host-3"].into_iter().all(connected)).then_some(())
    });
    until("what runs is known", Duration::from_secs(60), || {
        let it = prod(&lab);
        (it["health"] == "healthy" && it["ready"] == 2 && it["updated"] == 2).then_some(())
    });
    assert!(is_alive(service), "nothing was started again for it");
    web.deploy_until(&lab, "v2", "succeeded");

    // The key that the name had before is of no use, neither here nor for the runners.
    let old = load_identity(&copy).expect("readable").expect("it was enrolled");
    let key = CertificateStore::new(&old).expect("an identity").info().expect("a certificate").spki;
    until("runners refuse the key from before", Duration::from_secs(30), || {
        let text = std::fs::read_to_string(host.data_dir.join("revoked")).unwrap_or_default();
        text.contains(&key.to_string()).then_some(())
    });
    let mut argv = agent.argv.clone();
    let own = agent.data_dir.display().to_string();
    argv.iter_mut().filter(|word| **word == own).for_each(|word| *word = copy.display().to_string());
    argv.iter_mut().filter(|word| **word == agent.address).for_each(|word| *word = "127.0.0.1:0".to_owned());
    lab.start_argv(&argv, &copy);
    until("the copy is refused", Duration::from_secs(30), || {
        std::fs::read_to_string(copy.join("log")).is_ok_and(|log| log.contains("revoked")).then_some(())
    });
    assert_eq!(state(&lab, "host-2").as_deref(), Some("connected"));
}

fn issuer(lab: &Lab, name: &str) -> Issuer {
    let identity = lab.data().join(name).join("identity");
    let read = |file: &str| std::fs::read_to_string(identity.join(file)).expect("a file of the identity");
    Issuer::from_pem(&read("issuer.key.pem"), &read("issuer.pem"), &read("ca.pem")).expect("its issuing key")
}

/// The key that signed the certificate of the agent.
fn signer(agent: &Part) -> Digest {
    let files = load_identity(&agent.data_dir).expect("readable").expect("enrolled");
    let info = CertificateStore::new(&files).expect("an identity").info().expect("a certificate");
    info.issuers[0]
}

fn now() -> WallTime {
    WallTime(jiff::Timestamp::now().as_millisecond())
}

/// An endpoint in the agent's place, with a certificate of its name.
fn impostor(issuer: &Issuer, agent: &Part) -> Endpoint {
    let name = Identity::Agent("lab".parse().expect("a name"));
    let (key, csr) = make_key_and_csr("any").expect("a key");
    let csr = Csr::parse(&csr).expect("a request");
    let cert = issuer.issue(&name, &csr, now(), Millis::hours(1)).expect("a certificate").pem();
    let ca = issuer.root_pem().to_owned();
    let files = IdentityFiles { cert, key, ca };
    let config = EndpointConfig {
        alpns: vec![Alpn::Runner],
        trust: Some(Trust::from_pem(&files.ca).expect("a root")),
        store: CertificateStore::new(&files).expect("an identity"),
        clock: Arc::new(now),
        revoked: Arc::new(|_| false),
        reset_key: None,
        limits: EndpointLimits::SERVER,
    };
    let address: SocketAddr = agent.address.parse().expect("an address");
    until("the address is free", Duration::from_secs(10), || Endpoint::bind(address, config.clone()).ok())
}

/// Whether a runner begins a session with the impostor; otherwise this one says that it refuses it.
fn is_obeyed(issuer: &Issuer, agent: &Part, host: &Part) -> bool {
    let before = log(host).len();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let endpoint = impostor(issuer, agent);
        let refused = async {
            while !log(host)[before..].to_lowercase().contains("revoked") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let obeyed = tokio::time::timeout(Duration::from_secs(60), async {
            tokio::select! {
                session = endpoint.accept() => session.is_some(),
                () = refused => false,
            }
        });
        let obeyed = obeyed.await.expect("a runner dials");
        endpoint.shutdown("it was a test").await;
        obeyed
    })
}

#[test]
fn who_has_the_key_of_a_removed_coordinator_poses_as_no_agent_for_runners() {
    let lab = Lab::fresh_with(3, 3);
    let (agent, host) = (lab.part("lab"), lab.part("host-2"));
    let names = ["c1", "c2", "c3"];
    let signed_by = |name: &&str| issuer(&lab, name).key_digest() == signer(&agent);
    let gone = names.into_iter().find(signed_by).expect("one of them signed its certificate");
    let stolen = issuer(&lab, gone);
    lab.kill("lab");
    assert!(is_obeyed(&stolen, &agent, &host), "a member signs for its cluster");
    lab.start_part("lab");

    until("the coordinators are there", Duration::from_secs(60), || {
        lab.run(&["cluster", "remove", gone, "--yes"]).status.success().then_some(())
    });
    until("another one signs for the agent", Duration::from_secs(60), || {
        (signer(&agent) != stolen.key_digest()).then_some(())
    });
    until("runners know of it", Duration::from_secs(60), || {
        let all = ["host-1", "host-2", "host-3"].map(|name| lab.part(name).data_dir.join("revoked"));
        let revoked = format!("\n{} ", stolen.key_digest());
        let knows = |file: &Path| std::fs::read_to_string(file).is_ok_and(|text| text.contains(&revoked));
        all.iter().all(|file| knows(file)).then_some(())
    });
    until("they are served", Duration::from_secs(60), || {
        (state(&lab, "host-2")? == "connected").then_some(())
    });

    lab.kill("lab");
    assert!(!is_obeyed(&stolen, &agent, &host), "its key counts no more");
    let before = sessions(&host);
    lab.start_part("lab");
    until("the agent itself is obeyed", Duration::from_secs(60), || (sessions(&host) > before).then_some(()));
}
