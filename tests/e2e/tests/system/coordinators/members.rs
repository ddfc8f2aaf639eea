//! Members come and go: dead and alive, leader and follower, wiped disks, and the keys of those that are gone.

use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::lab::{Lab, is_alive, signal};
use trimaran_e2e::web::{Shape, Web};
use trimaran_model::id::{CoordinatorName, Identity, OperatorRole};
use trimaran_model::time::{Millis, WallTime};
use trimaran_test_support::wait::until;
use trimaran_transport::authority::Issuer;
use trimaran_transport::enroll::{Csr, make_key_and_csr};

use super::{WAIT_MAX, leader, now_like, status, wait_whole};

/// A coordinator as `cluster members` shows it.
fn member(lab: &Lab, name: &str) -> Option<Value> {
    let status = status(lab)?;
    let members = status["members"].as_array()?;
    members.iter().find(|it| it["name"] == *name).cloned()
}

fn names(lab: &Lab) -> Vec<String> {
    let status = until("the members can be had", WAIT_MAX, || status(lab));
    let members = status["members"].as_array().expect("a list");
    let mut names: Vec<String> =
        members.iter().map(|it| it["name"].as_str().expect("a name").to_owned()).collect();
    names.sort_unstable();
    names
}

fn wait_vote(lab: &Lab, name: &str) {
    until(&format!("{name} has a vote"), WAIT_MAX, || {
        let member = member(lab, name)?;
        (member["role"] != "learner" && member["state"] == "alive").then_some(())
    });
}

/// What the command says on stderr; it must end with this code.
fn refused(lab: &Lab, arguments: &[&str], code: i32) -> String {
    let output = lab.run(arguments);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {words}");
    words
}

fn end(pid: u32) {
    signal(pid, "KILL");
    until("the killed process is gone", WAIT_MAX, || (!is_alive(pid)).then_some(()));
}

#[test]
fn members_are_removed_replaced_and_lead_by_command() {
    let lab = Lab::fresh_with(3, 3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    wait_whole(&lab);
    web.deploy_until(&lab, "v1", "succeeded");
    let first = leader(&lab);
    let others: Vec<String> = names(&lab).into_iter().filter(|name| *name != first).collect();
    let (gone, stays) = (&others[0], &others[1]);

    // One is dead: without another one there would be no quorum.
    lab.kill(gone);
    let died = Instant::now();
    until("its silence is noticed", WAIT_MAX, || {
        (died.elapsed() > Duration::from_secs(3) && member(&lab, gone)?["state"] == "unreachable")
            .then_some(())
    });
    let words = refused(&lab, &["cluster", "remove", stays, "--yes"], 6);
    assert!(words.contains("1 of 2 voters would be there, and a quorum takes 2"), "{words}");
    let words = refused(&lab, &["cluster", "transfer", gone], 6);
    assert!(words.contains("is not there"), "{words}");
    refused(&lab, &["cluster", "remove", gone], 2);
    assert_eq!(names(&lab).len(), 3, "nothing changed");

    // The dead one goes, once; its disk comes back as a new member.
    let id = now_like("01890a5d-ac96-774b-bcce-b302099a8057");
    let remove = ["cluster", "remove", gone, "--yes", "--request-id", &id];
    let removed = lab.json(&remove);
    assert_eq!(
        (&removed["change"], removed["voters"].as_array().map(Vec::len)),
        (&"removed".into(), Some(2))
    );
    assert_eq!(lab.json(&remove)["change"], "removed", "the same request");
    let words = refused(&lab, &["cluster", "remove", gone, "--yes"], 5);
    assert!(words.contains("was removed already"), "{words}");
    refused(&lab, &["cluster", "promote", "c9"], 5);
    let part = lab.part(gone);
    std::fs::remove_dir_all(&part.data_dir).expect("its disk is wiped");
    let endpoint = lab.part(&first).address;
    let pid = lab.join_coordinator(gone, &part.address, &endpoint);
    wait_vote(&lab, gone);
    assert_eq!(lab.json(&["cluster", "promote", gone])["change"], "promoted", "it has its vote already");

    // It leads by command, and is removed while it leads.
    assert_eq!(lab.json(&["cluster", "transfer", gone])["change"], "leads");
    until("it leads", WAIT_MAX, || (leader(&lab) == *gone).then_some(()));
    lab.ok(&["cluster", "remove", gone, "--yes"]);
    assert!(leader(&lab) != *gone && names(&lab).len() == 2);
    end(pid);
    let last = leader(&lab);
    let other = names(&lab).into_iter().find(|name| *name != last).expect("two are left");
    lab.ok(&["cluster", "remove", &other, "--yes"]);
    let words = refused(&lab, &["cluster", "remove", &last, "--yes"], 6);
    assert!(words.contains("is the only voter") && words.contains("a quorum takes 1"), "{words}");
    let records = lab.json(&["audit", "list"]);
    let removals = records["records"].as_array().expect("a list").iter();
    assert_eq!(removals.filter(|it| it["verb"] == "remove_member").count(), 3, "{records:#}");
    web.deploy_until(&lab, "v2", "succeeded");
}

/// Certificates that the keys in a coordinator's directory can make: of an operator, signed by the coordinator itself and
/// by an issuer that it certifies.
fn forged(lab: &Lab, name: &str) -> Vec<(String, String, String)> {
    let identity = lab.data().join(name).join("identity");
    let read = |file: &str| std::fs::read_to_string(identity.join(file)).expect("a file of the identity");
    let ca = read("ca.pem");
    let issuer =
        Issuer::from_pem(&read("issuer.key.pem"), &read("issuer.pem"), &ca).expect("its issuing key");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let now = WallTime(i64::try_from(now.as_millis()).expect("a time"));
    let (below_key, below_csr) = make_key_and_csr("c99").expect("a key");
    let chosen: CoordinatorName = "c99".parse().expect("a name");
    let below = issuer.certify_issuer(&chosen, &below_csr, now).expect("a chain");
    let below = Issuer::from_pem(&below_key, &below, &ca).expect("an issuer");
    let mallory = Identity::Operator("mallory".parse().expect("a name"), OperatorRole::Admin);
    let of = |issuer: &Issuer| {
        let (key, csr) = make_key_and_csr("mallory").expect("a key");
        let csr = Csr::parse(&csr).expect("a request");
        let made = issuer.issue(&mallory, &csr, now, Millis::hours(1)).expect("a certificate");
        (made.pem(), key, ca.clone())
    };
    vec![of(&issuer), of(&below)]
}

/// The exit code of a change with this certificate.
fn change_with(address: &str, (cert, key, ca): &(String, String, String)) -> Option<i32> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (cert, key, ca) = (file("cert.pem", cert), file("key.pem", key), file("ca.pem", ca));
    let config = format!(
        "[contexts.forged]\nendpoints = [\"{address}\"]\nca = \"{ca}\"\ncert = \"{cert}\"\nkey = \"{key}\"\n"
    );
    let config = file("config.toml", &config);
    let mut command = std::process::Command::new(trimaran_e2e::lab::binaries().join("trimaran"));
    command.env("TRIMARAN_CONFIG", config).env("TRIMARAN_CONTEXT", "forged").current_dir(folder.path());
    let output = command.args(["cluster", "token", "c77"]).output().expect("the CLI runs");
    output.status.code()
}

#[test]
fn ten_replacements_in_a_row_work_and_the_keys_of_those_that_are_gone_sign_nothing_more() {
    let lab = Lab::fresh_with(3, 3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    wait_whole(&lab);
    web.deploy_until(&lab, "v1", "succeeded");
    let forged = forged(&lab, "c1");
    let address = |name: &str| lab.part(name).address;
    for certificate in &forged {
        let allowed = change_with(&address("c2"), certificate);
        assert_eq!(allowed, Some(0), "a coordinator signs for its cluster");
    }

    // The oldest goes and a new one takes its address, over and over.
    let mut members: Vec<(String, String, u32)> = ["c1", "c2", "c3"]
        .map(|name| (name.to_owned(), address(name), lab.part(name).pid.expect("it runs")))
        .into();
    for number in 4..14 {
        let (old, address, pid) = members.remove(0);
        if number % 2 == 0 {
            end(pid);
        }
        lab.ok(&["cluster", "remove", &old, "--yes"]);
        let removed = Instant::now();
        if number == 4 {
            for (name, address, _) in &members {
                for certificate in &forged {
                    until("what it signed is refused", Duration::from_secs(5), || {
                        (change_with(address, certificate) != Some(0)).then_some(())
                    });
                }
                assert!(removed.elapsed() < Duration::from_secs(5), "{name} took {:?}", removed.elapsed());
            }
        }
        if is_alive(pid) {
            end(pid);
        }
        let name = format!("c{number}");
        let pid = lab.join_coordinator(&name, &address, &members[1].1);
        wait_vote(&lab, &name);
        members.push((name, address, pid));
    }
    assert_eq!(names(&lab), ["c11", "c12", "c13"]);
    // Everyone else was certified by those that are gone, and works on.
    web.deploy_until(&lab, "v2", "succeeded");
    let agents = lab.json(&["agent", "list"]);
    assert_eq!(agents["agents"][0]["state"], "connected", "{agents:#}");
}
