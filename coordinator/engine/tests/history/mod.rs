//! A history that has commands of every concern.

use trimaran_sim::lab::{Lab, failure, operator, request, run_id, system};
use trimaran_sim::plan::plan;
use trimaran_wire::v1::assignment::WireOutcome;
use trimaran_wire::v1::command::{CommandBody, PipelineSource, WireMemberChange};
use trimaran_wire::v1::common::WireInstallation;
use trimaran_wire::v1::release::WireRelease;

/// Commands of every concern: enrolment, a deploy with an approval, a failure that goes back, a human's rollback.
pub(crate) fn history() -> Lab {
    let mut lab = Lab::with_hosts(1, 4);
    cluster(&mut lab);
    lab.pipelines.insert(
        "web".to_owned(),
        vec![
            "staging targets=lab-staging".to_owned(),
            "prod after=staging targets=lab-prod approve=promote,roll_back sizes=1,100% bake=10s".to_owned(),
        ],
    );
    for (number, stable_releases) in [(1, true), (2, false), (3, true)] {
        let deploy = lab.deploy("web", &format!("v{number}"), &[]);
        lab.must(operator("op1", deploy));
        report(&mut lab, "lab-staging", WireOutcome::Done);
        let (run, option) = (run_id(&format!("web#{number}")), Some("promote".to_owned()));
        let approve =
            CommandBody::Approve { run, stage: None, option, plan_digest: None, comment: "seen".to_owned() };
        lab.must(operator("op2", approve));
        report(&mut lab, "lab-prod", WireOutcome::Done);
        let outcome = match stable_releases {
            true => WireOutcome::Done,
            false => WireOutcome::Failed(failure("probe_failed", "503 Service Unavailable", Some("p2"))),
        };
        report(&mut lab, "lab-prod", outcome);
        if !stable_releases {
            report(&mut lab, "lab-prod", WireOutcome::Done);
        }
        lab.pass(11_000);
    }
    let rollback = CommandBody::Rollback {
        pipeline: "web".to_owned(),
        environment: "prod".to_owned(),
        to: None,
        from: None,
        restore_from: None,
        reason: "slow".to_owned(),
        overrides: Vec::new(),
    };
    lab.must(operator("op1", rollback));
    report(&mut lab, "lab-prod", WireOutcome::Fault(failure("host_lost", "silent", Some("p1"))));
    lab.must(operator("op1", CommandBody::Resume { run: run_id("web#4"), stage: None }));
    report(&mut lab, "lab-prod", WireOutcome::Done);
    recovery(&mut lab);
    restore(&mut lab);
    lab
}

/// A backup is taken; later one member is left of the cluster, in the middle of a deploy, which goes on under another fence.
fn recovery(lab: &mut Lab) {
    lab.must(operator("op1", CommandBody::BackUp { coordinator: "c1".to_owned() }));
    let deploy = lab.deploy("web", "v4", &[]);
    lab.must(operator("op1", deploy));
    lab.must(system(CommandBody::Recover { raft_id: 1, incarnation: 5 }));
    report(lab, "lab-staging", WireOutcome::Done);
}

/// A backup is restored in the middle of that deploy, and it is decided what runs; one run is left to be decided.
fn restore(lab: &mut Lab) {
    let installation =
        |target: &str| WireInstallation { pipeline: "web".to_owned(), target: target.to_owned() };
    lab.must(system(CommandBody::Restore { raft_id: 1 }));
    lab.must(operator("op1", CommandBody::ResumeCluster { epoch: Some(4), incarnation: 6 }));
    lab.attach("lab", 1);
    let environments = ["prod targets=lab-prod".to_owned()];
    let plan = plan("web", &environments, "v5");
    let release = WireRelease::clone(&plan.environments[0].stages[0].release);
    let (here, environment) = (installation("lab-prod"), "prod".to_owned());
    lab.must(operator("op1", CommandBody::Adopt { installation: here, environment, release }));
    report(lab, "lab-prod", WireOutcome::Done);
    let (here, environment) = (installation("lab-staging"), "staging".to_owned());
    lab.must(operator("op1", CommandBody::Reapply { installation: here, environment }));
}

fn report(lab: &mut Lab, target: &str, outcome: WireOutcome) {
    let row = lab.live(target).expect("work");
    let command = lab.result(&row, outcome);
    lab.must(command);
}

/// A member with an alarm, a runner that is enrolled again, and a stored file.
fn cluster(lab: &mut Lab) {
    let name = || "c1".to_owned();
    let member = |raft_id| CommandBody::Member {
        name: name(),
        raft_id,
        disk: [2; 16],
        address: "127.0.0.1:7700".to_owned(),
        certificate_sha256: [3; 32],
        issuer_sha256: [4; 32],
        levels: (1, 2),
    };
    lab.must(system(member(2)));
    lab.must(system(CommandBody::ChangeMember { change: WireMemberChange::Remove, raft_id: 2 }));
    lab.must(system(member(1)));
    let message = Some("0.5 GiB are free".to_owned());
    lab.must(system(CommandBody::Alarm { member: name(), code: "disk_low".to_owned(), message }));
    lab.runner("p1", "lab", "prod");
    let source = PipelineSource {
        pipeline: "web".to_owned(),
        owner: "team-web".to_owned(),
        file: "web.yaml".to_owned(),
        text: "kind: pipeline".to_owned(),
    };
    let mut apply = operator("op1", CommandBody::Apply { pipelines: vec![source], targets: Vec::new() });
    apply.request = Some(request(lab.engine.wall().0, 1, 1));
    lab.must(apply);
}
