//! Backups of three coordinators by the CLI: from each of them the same state, and none without a quorum.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, binaries};
use trimaran_e2e::web::{Shape, Web};
use trimaran_test_support::wait::until;

use super::{WAIT_MAX, coordinators, leader, wait_whole};

fn shown(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// What the proof prints; it must succeed.
fn prove(path: &Path) -> String {
    let output =
        Command::new(binaries().join("trimaran-coordinator")).arg("verify-backup").arg(path).output();
    let output = output.expect("the binary runs");
    let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{words}");
    words
}

#[test]
fn backups_come_from_every_coordinator_with_the_hash_of_all_and_not_without_a_quorum() {
    let lab = Lab::fresh_with(3, 3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    wait_whole(&lab);
    web.deploy_until(&lab, "v1", "succeeded");
    let folder = lab.folder.path().join("backups");
    std::fs::create_dir(&folder).expect("a folder");
    let file = |name: &str| -> PathBuf { folder.join(name) };

    for (number, address) in coordinators(&lab).iter().enumerate() {
        let path = file(&format!("b{number}"));
        let create = ["--endpoint", address, "cluster", "backup", "create", shown(&path)];
        let made = lab.json(&create);
        assert_eq!(made["schema"], "trimaran.backup/v1", "{made:#}");
        // Whoever is at the revision has the same state.
        let status = until("a member is at the revision of the backup or above", WAIT_MAX, || {
            let status = super::status(&lab)?;
            (status["revision"].as_u64() >= made["revision"].as_u64()).then_some(status)
        });
        let members = status["members"].as_array().expect("a list");
        let at = members.iter().filter(|it| it["hash"]["revision"] == made["hash"]["revision"]);
        at.for_each(|it| assert_eq!(it["hash"], made["hash"], "{status:#}"));
        let verified = lab.json(&["cluster", "backup", "verify", shown(&path)]);
        assert_eq!(verified, made);
        let again = lab.run(&create);
        let words = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(again.status.code() == Some(2) && words.contains("exists already"), "{words}");
    }
    let listed = lab.json(&["cluster", "backup", "list", shown(&folder)]);
    let files: Vec<&Value> =
        listed["backups"].as_array().expect("a list").iter().map(|it| &it["file"]).collect();
    assert_eq!(files, [shown(&file("b2")), shown(&file("b1")), shown(&file("b0"))]);
    let proof = prove(&folder);
    assert!(proof.contains("b2 can be restored"), "{proof}");

    lab.kill(&leader(&lab));
    let path = file("after");
    until("a backup from one that is left", Duration::from_secs(20), || {
        lab.run(&["cluster", "backup", "create", shown(&path)]).status.success().then_some(())
    });
    prove(&path);
    lab.kill(&leader(&lab));
    let none = file("none");
    let refused = lab.run(&["cluster", "backup", "create", shown(&none)]);
    assert_eq!(refused.status.code(), Some(9), "{}", String::from_utf8_lossy(&refused.stderr));
    let names = std::fs::read_dir(&folder).expect("a folder").map(|it| it.expect("an entry").file_name());
    assert_eq!(names.count(), 4, "nothing is left of what did not succeed");
}
