//! What good files mean: values as written, and defaults where nothing is written (INTERFACE 1).

use std::collections::{BTreeMap, BTreeSet};

use trimaran_language::{DocumentKind, SourceFile, compile, compile_among, compile_host_spec};
use trimaran_model::amount::IntOrPercent;
use trimaran_model::pipeline::{
    Approve, ApproveOption, FlinkHealth, FlinkRestore, FlinkRollback, FlinkSources, FlinkUpgrade,
    HealthCheck, OnConflict, OnStopFailure, Pipeline, Probe, Restart, RestartOn, RollbackOn, RollbackPolicy,
    RollbackScope, Stop, StopSignal, Strategy, UpgradeMode, Workload,
};
use trimaran_model::target::{FlinkAccess, HostSettings, Target, TargetClass, TargetPlatform};
use trimaran_model::time::Millis;

fn documents(text: &str) -> Vec<DocumentKind> {
    let compiled = compile(&[SourceFile { name: "trimaran.yaml", bytes: text.as_bytes() }]);
    assert_eq!(compiled.diagnostics, []);
    compiled.documents.into_iter().map(|document| document.kind).collect()
}

fn pipeline(text: &str) -> Pipeline {
    match documents(text).as_slice() {
        [DocumentKind::Pipeline(pipeline)] => pipeline.clone(),
        other => panic!("one pipeline, not {other:?}"),
    }
}

fn targets(text: &str) -> Vec<Target> {
    let target = |kind| match kind {
        DocumentKind::Target(target) => target,
        DocumentKind::Pipeline(pipeline) => panic!("{pipeline:?}"),
    };
    documents(text).into_iter().map(target).collect()
}

#[test]
fn defaults_of_a_service_on_hosts() {
    let it = pipeline(include_str!("corpus/good/shortest.yaml"));
    let Workload::Host(host) = &it.workload else { panic!("{:?}", it.workload) };
    assert_eq!(host.process.command, ["bin/web"]);
    assert_eq!(host.process.environment, BTreeMap::new());
    assert_eq!(host.process.stop, Stop { signal: StopSignal::Term, grace: Millis::seconds(10) });
    let restart =
        Restart { on: RestartOn::Failure, delay: Millis::seconds(1), max: 5, per: Millis::minutes(10) };
    assert_eq!(host.process.restart, restart);
    let health = HealthCheck::ready(
        Probe::get(8080, "/", Millis::seconds(1), Millis::seconds(2)),
        Millis::seconds(10),
        Millis::minutes(5),
    );
    assert_eq!(host.health, health);
    let [prod] = it.environments.as_slice() else { panic!("{:?}", it.environments) };
    assert_eq!((prod.after.len(), &prod.approve), (0, &None));
    let Strategy::Batches(batches) = &prod.strategy;
    assert_eq!(batches.sizes, [IntOrPercent::Count(1), IntOrPercent::Percent(100)]);
    assert_eq!(
        (batches.max_unavailable, batches.max_failures),
        (IntOrPercent::Count(1), IntOrPercent::Count(0))
    );
    assert_eq!(prod.rollback, RollbackPolicy::default());
    assert_eq!(prod.rollback.bake_on(TargetClass::Staging), Millis::ZERO);
    assert_eq!(prod.rollback.bake_on(TargetClass::Prod), Millis::minutes(10));
}

#[test]
fn environments_wait_as_written_and_otherwise_for_the_one_before() {
    let it = pipeline(include_str!("corpus/good/diamond-of-environments.yaml"));
    let after = |name: &str| {
        let found = it.environments.iter().find(|it| it.name.as_str() == name).expect("an environment");
        found.after.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(["staging", "east", "lab", "rest"].map(after), ["", "staging", "", "east west"]);
    let approve = &it.environments[2].approve;
    let wanted =
        Approve { options: vec![ApproveOption::Promote, ApproveOption::Stop], timeout: Millis::hours(72) };
    assert_eq!(approve.as_ref(), Some(&wanted));
    let rollback =
        RollbackPolicy { on: BTreeSet::new(), scope: RollbackScope::Run, bake: Some(Millis::ZERO) };
    assert_eq!(it.environments[4].rollback, rollback);
    let web = pipeline(include_str!("corpus/good/service-on-hosts.yaml"));
    assert_eq!(web.environments[1].rollback.on, BTreeSet::from([RollbackOn::Health]));
    assert_eq!(web.environments[1].rollback.bake, Some(Millis::seconds(10)));
}

#[test]
fn scalars_keep_their_text() {
    let it = pipeline(include_str!("corpus/good/strings-stay-strings.yaml"));
    assert_eq!(it.owner, "007");
    let Workload::Host(host) = &it.workload else { panic!("{:?}", it.workload) };
    let wanted = [
        ("COLOR", "yes"),
        ("DATE", "2026-01-02"),
        ("EMPTY", ""),
        ("NUMBER", "0123"),
        ("TRUTH", "on"),
        ("VERSION", "1.10"),
    ];
    let found: Vec<_> = host.process.environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(found, wanted);
}

#[test]
fn kubernetes_as_written_and_by_default() {
    let it = pipeline(include_str!("corpus/good/kubernetes.yaml"));
    let Workload::Kubernetes(written) = it.workload else { panic!("{:?}", it.workload) };
    assert_eq!(written.manifests, "deploy/k8s");
    assert_eq!(written.images["web"].as_str(), "app");
    assert_eq!((written.stability, written.on_conflict), (Millis::seconds(20), OnConflict::Refuse));
    let it = pipeline(include_str!("corpus/good/kubernetes-shortest.yaml"));
    let Workload::Kubernetes(short) = it.workload else { panic!("{:?}", it.workload) };
    assert_eq!((short.images.len(), short.stability), (0, Millis::seconds(20)));
}

#[test]
fn flink_as_written_and_by_default() {
    let it = pipeline(include_str!("corpus/good/flink.yaml"));
    let Workload::Flink { job: written, files } = it.workload else { panic!("{:?}", it.workload) };
    assert_eq!((written.jar.as_str(), written.entry_class.as_str()), ("job", "com.corp.ClickSessions"));
    assert_eq!(
        (written.args.as_slice(), written.parallelism),
        (&["--topic".to_owned(), "clicks".to_owned()][..], Some(8))
    );
    assert_eq!(written.config["restart-strategy.type"], "exponential-delay");
    let pairs: Vec<_> = files.iter().map(|(name, path)| (name.as_str(), path.as_str())).collect();
    assert_eq!(pairs, [("rules.json", "conf/rules.json"), ("stop-words", "words")]);
    let upgrade = FlinkUpgrade {
        mode: UpgradeMode::Savepoint,
        timeout: Millis::minutes(10),
        retries: 2,
        on_stop_failure: OnStopFailure::Fail,
        allow_non_restored_state: false,
    };
    assert_eq!(written.upgrade, upgrade);
    let health = FlinkHealth {
        start_timeout: Millis::minutes(3),
        window: Millis::minutes(5),
        max_restarts: 2,
        min_checkpoints: 2,
        max_failed_checkpoints: 3,
    };
    assert_eq!(written.health, health);
    let sources = FlinkSources { replayable: true, retention: Some(Millis::hours(7 * 24)) };
    let rollback =
        FlinkRollback { prefer: FlinkRestore::Savepoint, max_replay: Millis::minutes(30), sources };
    assert_eq!(written.rollback, rollback);
    let it = pipeline(include_str!("corpus/good/flink-shortest.yaml"));
    let Workload::Flink { job: short, files } = it.workload else { panic!("{:?}", it.workload) };
    assert_eq!((short.parallelism, short.bounded, files.len()), (None, false, 0));
    assert_eq!((short.upgrade, short.health), (FlinkUpgrade::default(), FlinkHealth::default()));
    assert_eq!(short.rollback, FlinkRollback::default());
}

#[test]
fn targets_of_all_platforms() {
    let found = targets(include_str!("corpus/good/targets-all-platforms.yaml"));
    let [staging, prod, tokyo, osaka, streams] = found.as_slice() else { panic!("{found:?}") };
    let select = BTreeMap::from([("group".to_owned(), "staging".to_owned())]);
    assert_eq!(
        staging.platform,
        TargetPlatform::Hosts { select, require_user: false, settings: HostSettings::default() }
    );
    assert_eq!((staging.class, staging.parallel), (TargetClass::Staging, 64));
    assert_eq!((prod.class, prod.parallel), (TargetClass::Prod, 64));
    let kubeconfig = |target: &Target| match &target.platform {
        TargetPlatform::Kubernetes { kubeconfig, .. } => kubeconfig.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(kubeconfig(tokyo).as_deref(), Some("/etc/trimaran/tokyo.kubeconfig"));
    assert_eq!(kubeconfig(osaka), None);
    let urls = vec!["http://127.0.0.1:18081".to_owned()];
    let savepoints = "file:///var/lib/flink/savepoints".to_owned();
    let access = FlinkAccess {
        ca: Some("/etc/trimaran/flink-ca.pem".to_owned()),
        headers: BTreeMap::from([("Authorization".to_owned(), "flink-token".to_owned())]),
        client_cert: Some("flink-client".to_owned()),
    };
    assert_eq!(streams.platform, TargetPlatform::Flink { urls, savepoints, access });
}

#[test]
fn a_service_of_one_machine() {
    let text = format!(
        "trimaran: v1\nservice: web\nversion: v1\nartifact: {{ path: /srv/web.tar.zst, sha256: {} }}\nhost:\n  \
         process: {{ command: [bin/web] }}\n  health: {{ http: \":80/\" }}\n",
        "ab".repeat(32)
    );
    let spec = |text: &str| compile_host_spec(SourceFile { name: "web.yaml", bytes: text.as_bytes() });
    let good = spec(&text).expect("a good file");
    assert_eq!((good.service.as_str(), good.version.as_str(), good.sha256.0), ("web", "v1", [0xab; 32]));
    let codes = |text: &str| -> Vec<String> {
        spec(text).expect_err("a bad file").iter().map(|it| it.code.to_string()).collect()
    };
    assert_eq!(codes(&text.replace("v1\nservice", "v2\nservice")), ["TR1008"]);
    assert_eq!(codes(&text.replace("path: /srv/web.tar.zst", "path: /a, file: \"http://a/b\"")), ["TR1007"]);
    assert_eq!(codes(&text.replace("path: /srv/web.tar.zst, ", "")), ["TR1006"]);
    assert_eq!(codes(&text.replace("abab", "xyz")), ["TR1016"]);
    assert_eq!(codes(""), ["TR1022"]);
    assert_eq!(codes(&format!("{text}---\n{text}")), ["TR1022"]);
}

#[test]
fn pipelines_are_checked_against_the_targets_of_a_cluster() {
    let text = "trimaran: v1\npipeline: web\nowner: team\nartifacts: { app: { path: \"/srv/{version}\" } }\n\
                workload:\n  host:\n    unpack: app\n    process: { command: [bin/web] }\n    \
                health: { http: \":80/\" }\nenvironments:\n  - { name: a, targets: [lab-stagin, moon] }\n  \
                - { name: b, targets: [tokyo, lab-prod] }\n";
    let target = |name: &str, class, platform| Target {
        name: name.parse().expect("a name"),
        agent: "lab".parse().expect("a name"),
        class,
        platform,
        parallel: 1,
    };
    let select = || TargetPlatform::Hosts {
        select: BTreeMap::new(),
        require_user: false,
        settings: HostSettings::default(),
    };
    let cluster = [
        target("lab-staging", TargetClass::Staging, select()),
        target("lab-prod", TargetClass::Prod, select()),
        target(
            "tokyo",
            TargetClass::Staging,
            TargetPlatform::Kubernetes { namespace: "shop".to_owned(), kubeconfig: None },
        ),
    ];
    let file = SourceFile { name: "trimaran.yaml", bytes: text.as_bytes() };
    let said = |cluster: &[Target]| {
        let ask = |named: &BTreeSet<&str>| {
            assert_eq!(*named, BTreeSet::from(["lab-prod", "lab-stagin", "moon", "tokyo"]));
            cluster.to_vec()
        };
        let found = compile_among(&[file], ask).diagnostics;
        found
            .iter()
            .map(|it| format!("{}:{} {}: {}", it.line, it.column, it.code, it.help))
            .collect::<Vec<_>>()
    };
    let found = said(&cluster);
    assert_eq!(
        found,
        [
            "11:26 TR1204: did you mean `lab-staging`?",
            "11:38 TR1204: `trimaran target list` shows the targets; an admin adds one with `trimaran apply`",
            "12:13 TR1303: add `approve: { options: [promote, roll_back] }`",
            "12:26 TR1205: name a target with `hosts:`",
            "12:33 TR1312: add `user: NAME` to `workload.host.process`; `user: root` says that root is meant",
        ]
    );
    assert_eq!(said(&[]).len(), 4, "a cluster without targets has none of them");
    assert!(compile(&[file]).diagnostics.is_empty(), "nothing is known of targets");
}

#[test]
fn the_version_of_a_host_spec_is_one() {
    let spec = |version: &str| {
        let text = format!(
            "trimaran: v1\nservice: web\nversion: {version}\nartifact: {{ path: /srv/web.tar, sha256: {} }}\n\
             host:\n  process: {{ command: [bin/web] }}\n  health: {{ http: \":80/\" }}\n",
            "ab".repeat(32)
        );
        let found = compile_host_spec(SourceFile { name: "web.yaml", bytes: text.as_bytes() });
        found
            .map(|spec| spec.version)
            .map_err(|found| format!("{}:{} {}", found[0].line, found[0].column, found[0].code))
    };
    assert_eq!(spec("1.20"), Ok("1.20".to_owned()));
    assert_eq!(spec("\"../v1\""), Err("3:10 TR1014".to_owned()));
}
