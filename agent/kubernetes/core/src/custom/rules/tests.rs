//! Every built-in rule with its examples, and rule files that are refused.

use serde_json::{Value, json};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::WallTime;
use trimaran_model::verdict::Verdict;

use super::file::{self, Examples};
use super::{BUILTIN_FILES, RuleSet};
use crate::custom::{Circumstances, judge_custom};
use crate::judgment::Source;
use crate::object::time_of;

/// The built-in rules with their examples.
fn files() -> Vec<(&'static str, Examples)> {
    let read = BUILTIN_FILES.iter().map(|(name, text)| match file::read(name, text) {
        Ok((_, examples)) => Ok((*name, examples)),
        Err(error) => Err(format!("{error}; {}", error.help)),
    });
    let (files, errors): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
    let errors: Vec<String> = errors.into_iter().filter_map(Result::err).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    files.into_iter().filter_map(Result::ok).collect()
}

#[test]
fn every_example_is_judged_as_it_says() {
    let files = files();
    let rules = RuleSet::builtin();
    let mut wrong = Vec::new();
    for (name, examples) in files {
        wrong.extend(examples.check(name, &rules).into_iter().map(|error| error.to_string()));
        for verdict in [Verdict::Healthy, Verdict::Progressing, Verdict::Degraded] {
            if !examples.cases.iter().any(|example| example.verdict == verdict) {
                wrong.push(format!("{name} has no example of {}", verdict.as_str()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A list that is not closed warns of states that are as usual as the listed ones.
#[test]
fn states_that_clauses_ask_for_have_a_list_of_the_others() {
    // The clauses list them all.
    let whole = [
        "acid.zalan.do/postgresql.yaml",
        "acme.cert-manager.io/acme.yaml",
        "argoproj.io/AnalysisRun.yaml",
        "argoproj.io/Workflow.yaml",
        "databases.spotahome.com/RedisFailover.yaml",
        "flagger.app/Canary.yaml",
        "jaegertracing.io/Jaeger.yaml",
        "jobset.x-k8s.io/JobSet.yaml",
        "sparkoperator.k8s.io/SparkApplication.yaml",
    ];
    let mut lacking = Vec::new();
    for (name, text) in BUILTIN_FILES {
        let (rule, _) = file::read(name, text).expect("the test before reads every file");
        for path in rule.states.paths().map(|path| path.join(".")) {
            let is_given = text.lines().any(|line| line.starts_with(&format!("  {path}: ")));
            if !is_given && !whole.contains(name) && path != "status.health.status" {
                lacking.push(format!("{name}: `states` says nothing of {path}"));
            }
        }
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

/// What a newer controller writes is no failure and no good news, and is named.
#[test]
fn a_state_outside_of_its_list_is_progressing_and_named() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for (name, text) in BUILTIN_FILES {
        let (rule, examples) = file::read(name, text).expect("the test before reads every file");
        let rules = RuleSet::builtin();
        let healthy = examples.cases.iter().filter(|it| it.verdict == Verdict::Healthy);
        for (path, example) in rule.states.paths().flat_map(|path| healthy.clone().map(move |it| (path, it)))
        {
            let pointer = format!("/{}", path.join("/"));
            let mut object = example.object.clone();
            let Some(state) = object.pointer_mut(&pointer).filter(|state| state.is_string()) else {
                continue;
            };
            *state = json!("Zurückgestellt");
            let judgment = judge_custom(&object, &rules, Circumstances::at(examples.now));
            let is_open = rule.states.is_open(path);
            let is_named = judgment.warnings.iter().any(|it| {
                it.contains(&path.join(".")) && it.contains("Zurückgestellt") && it.contains("does not list")
            });
            let is_calm = matches!(judgment.verdict, Verdict::Progressing | Verdict::Healthy);
            seen += 1;
            if is_named == is_open || !(is_calm || is_open) {
                wrong.push(format!("{name} {pointer}: {judgment:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 40, "{seen} states were changed");
}

#[test]
fn states_are_listed_by_clauses_and_by_the_file() {
    let text = "match: {group: example.com, kind: Widget}
states: {status.phase: [Slow, \"Waiting*\"], status.word: any}
when:
  - {cel: 'status.phase == \"Good\" && status.?word.orValue(\"\") != \"bad\"', verdict: healthy}
otherwise: {verdict: progressing, message: it goes on}
";
    let rules = with(text);
    let judge = |status: Value| judge_custom(&widget(status), &rules, Circumstances::at(now()));
    for phase in ["Slow", "Waiting for Godot", ""] {
        let judgment = judge(json!({"phase": phase, "word": "anything"}));
        assert_eq!((judgment.message.as_str(), judgment.warnings.len()), ("it goes on", 0), "{phase}");
    }
    let judgment = judge(json!({"phase": "Odd"}));
    assert_eq!(judgment.verdict, Verdict::Progressing);
    assert_eq!(judgment.message, "status.phase is Odd");
    assert_eq!(judgment.warnings.len(), 1, "{:?}", judgment.warnings);
    assert!(judgment.warnings[0].starts_with("status.phase is Odd, a state that the rule"));
    assert_eq!(judge(json!({"phase": "Good"})).verdict, Verdict::Healthy);
}

/// Whoever is woken by a failure reads why in its message, without fetching the object.
#[test]
fn the_message_of_every_bad_example_has_its_cause() {
    let rules = RuleSet::builtin();
    let mut bare = Vec::new();
    for (name, examples) in files() {
        for example in examples.cases.iter().filter(|example| example.verdict == Verdict::Degraded) {
            let judgment = judge_custom(&example.object, &rules, Circumstances::at(examples.now));
            let message = judgment.message;
            let list = example.object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let of_failures =
                list.iter().filter(|it| it["status"] == "False").filter_map(|it| it["message"].as_str());
            let longest = of_failures.max_by_key(|text| text.len()).unwrap_or("");
            let points = ["for details", "see the"].iter().any(|words| message.contains(words));
            if message.ends_with(':') || message.contains(": ;") || points || !message.contains(longest) {
                bare.push(format!("{name}: `{message}` lacks `{longest}`"));
            }
        }
    }
    assert!(bare.is_empty(), "{}", bare.join("\n"));
}

const HEAD: &str = "match: {group: example.com, kind: Widget}\n";

fn widget(status: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "generation": 2}, "status": status})
}

fn now() -> WallTime {
    time_of(Some(&json!("2026-01-01T12:00:00Z"))).expect("a constant time")
}

fn with(text: &str) -> RuleSet {
    let mut rules = RuleSet::builtin();
    rules.add("widget.yaml", text).unwrap_or_else(|error| panic!("{error}; {}", error.help));
    rules
}

#[test]
fn files_with_an_error_say_where_and_what_to_do() {
    let clause = "when:\n  - {cel: 'true', verdict: healthy}\n";
    let cases = [
        ("", 1, ""),
        ("match: [", 1, ""),
        ("when: []\n", 1, "missing field `match`"),
        (&format!("{HEAD}{clause}wehn: 1\n"), 4, "wehn"),
        (&format!("{HEAD}when: []\n"), 2, "0 clauses"),
        (&format!("match: {{group: '', kind: A}}\n{clause}"), 1, "without a dot"),
        (&format!("match: {{group: apps, kind: A}}\n{clause}"), 1, "without a dot"),
        (&format!("match: {{group: a.b}}\n{clause}"), 1, "needs either"),
        (&format!("match: {{group: a.b, kind: A, kinds: [B]}}\n{clause}"), 1, "needs either"),
        (&format!("{HEAD}observed_generation: maybe\n{clause}"), 2, "`maybe`"),
        (&format!("{HEAD}{clause}otherwise: {{verdict: healthy}}\n"), 4, "must not be healthy"),
        (&format!("{HEAD}when:\n  - cel: status.a == \n    verdict: healthy\n"), 3, "can't be read"),
        (&format!("{HEAD}when:\n  - cel: status.a == 1\n    verdict: fine\n"), 4, "`fine` is not a verdict"),
        (
            &format!("{HEAD}when:\n  - cel: status.a == 1\n    verdict: degraded\n    reason: bad_luck\n"),
            5,
            "`bad_luck`",
        ),
        (
            &format!("{HEAD}when:\n  - cel: status.a == 1\n    verdict: healthy\n    reason: not_ready\n"),
            5,
            "only progressing",
        ),
        (
            &format!(
                "{HEAD}when:\n  - cel: status.a == 1\n    verdict: degraded\n    message: 'a ${{status.'\n"
            ),
            5,
            "has no `}`",
        ),
        (
            &format!("{HEAD}when:\n  - cel: status.a == 1\n    after: 5m\n    verdict: degraded\n"),
            4,
            "belong together",
        ),
        (
            &format!(
                "{HEAD}when:\n  - cel: status.a == 1\n    since: status.t\n    after: soon\n    verdict: degraded\n"
            ),
            5,
            "not a length of time",
        ),
        (
            &format!("{HEAD}when:\n  - cel: status.a == 1\n    verdict: generic\n    message: x\n"),
            5,
            "general judgment",
        ),
        (&format!("{HEAD}{clause}examples: {{now: today}}\n"), 4, "not a time"),
        (&format!("{HEAD}states:\n  spec.a: [b]\n{clause}"), 3, "not a field of the status"),
        (&format!("{HEAD}states:\n  status.a: some\n{clause}"), 3, "no list of words"),
        (
            &format!(
                "{HEAD}when:\n  - cel: status.a == 1\n    verdict: healthy\nexamples:\n  good:\n    - {}\n",
                widget(json!({"a": 2}))
            ),
            7,
            "is judged unknown",
        ),
    ];
    for (text, line, words) in cases {
        let mut rules = RuleSet::default();
        let error = rules.add("widget.yaml", text).expect_err(text);
        assert_eq!((error.file.as_str(), error.line), ("widget.yaml", line), "{text}\n{error}");
        assert!(error.what.contains(words), "{text}\n{error}");
        assert!(!error.help.is_empty() && !error.what.is_empty());
        assert_eq!(rules.added.len(), 0, "nothing of a refused file stays");
    }
}

#[test]
fn the_rule_of_the_page_is_one() {
    let page = include_str!("../../../../../../ops/docs/kubernetes/rules.md");
    let (_, after) = page.split_once("`rules/acme.example/Widget.yaml`:\n").expect("the page has a rule");
    let lines = after.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let text: String = lines.flat_map(|line| [line.strip_prefix("    ").unwrap_or(""), "\n"]).collect();
    let mut rules = RuleSet::builtin();
    rules.add("Widget.yaml", &text).unwrap_or_else(|error| panic!("{error}; {}", error.help));
    let wrong = rules
        .add("Widget.yaml", &text.replacen("verdict: degraded", "verdict: broken", 1))
        .expect_err("a slip");
    let place = format!("--> rules/acme.example/{}:{}:{}\n", wrong.file, wrong.line, wrong.column);
    assert!(page.contains(&place) && page.contains(&format!(": {}\n", wrong.what)), "{wrong}");
    assert!(page.contains(&format!("help: {}\n", wrong.help)), "{}", wrong.help);
}

#[test]
fn faults_inside_of_an_expression_have_their_column() {
    let text = format!("{HEAD}when:\n  - cel: status.a == @\n    verdict: healthy\n");
    let error = RuleSet::default().add("w.yaml", &text).expect_err("no expression");
    assert_eq!((error.line, error.column), (3, 22), "{error}");
}

#[test]
fn too_large_files_are_refused() {
    let text = format!("{HEAD}# {}\n", "x".repeat(trimaran_model::limits::RULE_FILE_BYTES_MAX));
    assert!(RuleSet::default().add("w.yaml", &text).expect_err("too large").what.contains("larger"));
}

#[test]
fn an_expression_that_fails_makes_unknown_with_a_warning() {
    let rules = with(&format!(
        "{HEAD}when:\n  - {{cel: status.a > 1, verdict: degraded}}\n  - {{cel: 'true', verdict: healthy}}\n"
    ));
    let judgment = judge_custom(&widget(json!({"a": "x"})), &rules, Circumstances::at(now()));
    assert_eq!(judgment.verdict, Verdict::Unknown);
    assert!(judgment.warnings[0].contains("widget.yaml") && judgment.warnings[0].contains("status.a > 1"));
    assert_eq!(
        judge_custom(&widget(json!({"b": 1})), &rules, Circumstances::at(now())).verdict,
        Verdict::Healthy
    );
    let rules = with(&format!("{HEAD}when:\n  - {{cel: status.a, verdict: healthy}}\n"));
    assert_eq!(
        judge_custom(&widget(json!({"a": "yes"})), &rules, Circumstances::at(now())).verdict,
        Verdict::Unknown
    );
}

#[test]
fn clauses_are_asked_in_order_and_fill_their_messages() {
    let rules = with(&format!(
        "{HEAD}when:\n  - {{cel: status.phase == 'Broken', verdict: degraded, message: 'it is ${{status.phase}}: ${{status.why}}'}}\n  - {{cel: has(status.phase), verdict: suspended}}\n"
    ));
    let broken = judge_custom(
        &widget(json!({"phase": "Broken", "why": "no\n disk"})),
        &rules,
        Circumstances::at(now()),
    );
    assert_eq!((broken.verdict, broken.message.as_str()), (Verdict::Degraded, "it is Broken: no disk"));
    assert_eq!(broken.evidence[0].value, "Broken");
    let without = judge_custom(&widget(json!({"phase": "Broken"})), &rules, Circumstances::at(now()));
    assert_eq!(without.message, "it is Broken");
    assert_eq!(
        judge_custom(&widget(json!({"phase": "x"})), &rules, Circumstances::at(now())).verdict,
        Verdict::Suspended
    );
    let unknown = judge_custom(&widget(json!({"x": 1})), &rules, Circumstances::at(now()));
    assert_eq!(unknown.verdict, Verdict::Unknown);
    assert!(unknown.message.contains("widget.yaml"));
    assert_eq!(
        judge_custom(&widget(json!(null)), &rules, Circumstances::at(now())).verdict,
        Verdict::Progressing
    );
    assert_eq!(judge_custom(&widget(json!([1])), &rules, Circumstances::at(now())).verdict, Verdict::Unknown);
}

#[test]
fn generations_are_observed_as_the_rule_says() {
    let verdict = |mode: &str, status: Value| {
        let rules = with(&format!(
            "{HEAD}observed_generation: {mode}\nwhen:\n  - {{cel: status.ok, verdict: healthy}}\n"
        ));
        judge_custom(&widget(status), &rules, Circumstances::at(now())).verdict
    };
    for (mode, observed, expected) in [
        ("int", json!(2), Verdict::Healthy),
        ("int", json!(1), Verdict::Progressing),
        ("int", json!("2"), Verdict::Progressing),
        ("int", json!(null), Verdict::Progressing),
        ("string", json!("2"), Verdict::Healthy),
        ("string", json!("1"), Verdict::Progressing),
        ("string", json!("hash"), Verdict::Progressing),
        ("optional", json!(null), Verdict::Healthy),
        ("optional", json!(1), Verdict::Progressing),
        ("none", json!(1), Verdict::Healthy),
    ] {
        assert_eq!(
            verdict(mode, json!({"ok": true, "observedGeneration": observed})),
            expected,
            "{mode} {observed}"
        );
    }
}

#[test]
fn ages_have_two_sides() {
    let rules = with(&format!(
        "{HEAD}when:\n  - {{cel: status.waits, since: status.started, after: 10m, verdict: degraded, reason: progress_deadline}}\n  - {{cel: 'true', verdict: progressing}}\n"
    ));
    let at = |started: &str| {
        judge_custom(&widget(json!({"waits": true, "started": started})), &rules, Circumstances::at(now()))
    };
    let early = at("2026-01-01T11:50:01Z");
    assert_eq!(early.verdict, Verdict::Progressing);
    assert_eq!(early.next_check_at, time_of(Some(&json!("2026-01-01T12:00:01Z"))));
    let late = at("2026-01-01T11:50:00Z");
    assert_eq!((late.verdict, late.reason), (Verdict::Degraded, Some(ReasonCode::ProgressDeadline)));
    assert_eq!(at("never").verdict, Verdict::Progressing);
}

#[test]
fn a_failure_that_may_be_a_flap_is_neither_healthy_nor_degraded() {
    let rules = with(&format!(
        "{HEAD}when:\n  - {{cel: condition('Fallback').status == 'True', verdict: degraded}}\n  - {{cel: status.phase == 'Failed', verdict: degraded}}\n  - {{cel: status.phase == 'Up', verdict: healthy}}\n"
    ));
    let at = |time: &str, phase: &str| {
        let fallback = json!({"type": "Fallback", "status": "True", "lastTransitionTime": time});
        judge_custom(
            &widget(json!({"phase": phase, "conditions": [fallback]})),
            &rules,
            Circumstances::at(now()),
        )
    };
    let fresh = at("2026-01-01T11:59:58Z", "Up");
    assert_eq!(fresh.verdict, Verdict::Progressing);
    assert_eq!(fresh.next_check_at, time_of(Some(&json!("2026-01-01T12:00:01Z"))));
    assert_eq!(at("2026-01-01T11:59:57Z", "Up").verdict, Verdict::Degraded);
    assert_eq!(at("2026-01-01T11:59:58Z", "Failed").verdict, Verdict::Degraded, "a phase is definitive");
}

#[test]
fn later_and_more_exact_rules_win() {
    let rule = |group: &str, kind: &str, verdict: &str| {
        format!(
            "match: {{group: '{group}', kind: '{kind}'}}\nwhen:\n  - {{cel: 'true', verdict: {verdict}}}\n"
        )
    };
    let mut rules = RuleSet::builtin();
    rules.add("any.yaml", &rule("*.com", "*", "suspended")).expect("a rule");
    let verdict =
        |rules: &RuleSet| judge_custom(&widget(json!({"a": 1})), rules, Circumstances::at(now())).verdict;
    assert_eq!(verdict(&rules), Verdict::Suspended);
    rules.add("first.yaml", &rule("example.com", "Widget", "degraded")).expect("a rule");
    rules.add("any-again.yaml", &rule("*.com", "*", "unknown")).expect("a rule");
    assert_eq!(verdict(&rules), Verdict::Degraded);
    rules.add("second.yaml", &rule("example.com", "Widget", "healthy")).expect("a rule");
    assert_eq!(verdict(&rules), Verdict::Healthy);
    let other = rule("example.com", "Widget", "degraded").replace("kind:", "versions: [v2], kind:");
    rules.add("third.yaml", &other).expect("a rule");
    assert_eq!(verdict(&rules), Verdict::Healthy, "another version is not meant");
}

#[test]
fn deletion_comes_before_every_rule() {
    for (name, examples) in files() {
        for example in examples.cases {
            let mut object = example.object;
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T11:00:00Z");
            let verdict = judge_custom(&object, &RuleSet::builtin(), Circumstances::at(examples.now)).verdict;
            assert_eq!(verdict, Verdict::Progressing, "{name}");
        }
    }
}

/// Every place below `value`, as a path of keys and indexes.
fn places(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (key, child) in children {
        path.push(key);
        found.push(path.clone());
        places(child, path, found);
        path.pop();
    }
}

/// The object with something else at a place, or without the place.
fn changed(object: &Value, path: &[String], replacement: Option<&Value>) -> Value {
    let mut copy = object.clone();
    let (last, parents) = path.split_last().expect("a path has a part");
    let parent = parents.iter().fold(&mut copy, |value, key| match value {
        Value::Array(list) => &mut list[key.parse::<usize>().expect("an index")],
        other => &mut other[key.as_str()],
    });
    match (parent, replacement) {
        (Value::Object(map), None) => drop(map.remove(last)),
        (Value::Array(list), None) => drop(list.remove(last.parse().expect("an index"))),
        (Value::Array(list), Some(value)) => list[last.parse::<usize>().expect("an index")] = value.clone(),
        (other, Some(value)) => other[last.as_str()] = value.clone(),
        (_, None) => {}
    }
    copy
}

fn status_places(object: &Value) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    places(object, &mut Vec::new(), &mut found);
    found.retain(|path| path[0] == "status");
    found
}

/// A place as evidence names it: a condition, its type and its status are one field.
fn field(object: &Value, path: &[String]) -> String {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["status", "conditions", index] | ["status", "conditions", index, "status" | "type"] => {
            let name = index
                .parse()
                .ok()
                .and_then(|index: usize| object["status"]["conditions"][index]["type"].as_str());
            format!("status.conditions[{}].status", name.unwrap_or_default())
        }
        parts => parts.join("."),
    }
}

#[test]
fn a_healthy_example_without_what_its_rule_needs_is_not_healthy() {
    let rules = RuleSet::builtin();
    let mut kept = Vec::new();
    for (name, examples) in files() {
        for example in examples.cases.iter().filter(|example| example.verdict == Verdict::Healthy) {
            let healthy = judge_custom(&example.object, &rules, Circumstances::at(examples.now));
            for path in status_places(&example.object) {
                let judgment = judge_custom(
                    &changed(&example.object, &path, None),
                    &rules,
                    Circumstances::at(examples.now),
                );
                let field = field(&example.object, &path);
                let read =
                    healthy.evidence.iter().any(|evidence| evidence.source == Source::Field(field.clone()));
                if judgment.verdict == Verdict::Healthy && (read || path.len() == 1) {
                    kept.push(format!("{name} {field}"));
                }
            }
        }
    }
    kept.sort_unstable();
    kept.dedup();
    assert_eq!(kept, NOT_NEEDED, "{}", kept.join("\n"));
}

/// What healthy clauses read and do not need: they ask whether the field speaks against them, or have another way.
const NOT_NEEDED: &[&str] = &[
    "apps.openshift.io/DeploymentConfig.yaml status.updatedReplicas",
    "cassandra.datastax.com/CassandraDatacenter.yaml status.conditions[Updating].status",
    "clickhouse.altinity.com/ClickHouseInstallation.yaml status.hostsCompleted",
    "cluster.x-k8s.io/Cluster.yaml status.conditions[ControlPlaneReady].status",
    "cluster.x-k8s.io/Cluster.yaml status.conditions[RollingOut].status",
    "cluster.x-k8s.io/machines.yaml status.conditions[Available].status",
    "cluster.x-k8s.io/machines.yaml status.conditions[NodeHealthy].status",
    "cluster.x-k8s.io/machines.yaml status.conditions[Ready].status",
    "cluster.x-k8s.io/machines.yaml status.updatedReplicas",
    "flink.apache.org/FlinkDeployment.yaml status.lifecycleState",
    "istio.io/configuration.yaml status",
    "jobset.x-k8s.io/JobSet.yaml status.conditions[Completed].status",
    "jobset.x-k8s.io/JobSet.yaml status.terminalState",
    "karpenter.sh/NodeClaim.yaml status.conditions[Initialized].status",
    "karpenter.sh/NodeClaim.yaml status.conditions[Registered].status",
    "minio.min.io/Tenant.yaml status.availableReplicas",
    "monitoring.coreos.com/configuration.yaml status",
    "opensearch.opster.io/OpenSearchCluster.yaml status.availableNodes",
    "operators.coreos.com/Subscription.yaml status.conditions[CatalogSourcesUnhealthy].status",
    "percona.com/databases.yaml status.size",
    "postgres-operator.crunchydata.com/PostgresCluster.yaml status.conditions[ProxyAvailable].status",
    "ray.io/RayCluster.yaml status.conditions[HeadPodReady].status",
    "ray.io/RayService.yaml status.serviceStatus",
];

#[test]
fn no_change_of_a_type_panics() {
    let rules = RuleSet::builtin();
    let odd =
        [json!(null), json!("x"), json!(-1), json!(u64::MAX), json!([]), json!({}), json!([{}]), json!(true)];
    for (name, examples) in files() {
        for example in &examples.cases {
            for path in status_places(&example.object) {
                for value in &odd {
                    let judgment = judge_custom(
                        &changed(&example.object, &path, Some(value)),
                        &rules,
                        Circumstances::at(examples.now),
                    );
                    assert_eq!(
                        judgment.reason.is_none(),
                        judgment.verdict == Verdict::Healthy,
                        "{name} {path:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn conditions_that_can_not_be_read_keep_a_rule_from_healthy() {
    let ready = json!({"type": "Ready", "status": "True"});
    for odd in [json!("x"), json!({"status": "True"}), json!(null), json!({"type": 1, "status": "True"})] {
        let object = json!({
            "apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "a"},
            "status": {"conditions": [ready, odd]},
        });
        let judgment = judge_custom(&object, &RuleSet::builtin(), Circumstances::at(now()));
        assert_eq!((judgment.verdict, judgment.warnings.len()), (Verdict::Unknown, 1), "{odd}");
    }
}

#[test]
fn the_order_of_conditions_changes_no_judgment() {
    let rules = RuleSet::builtin();
    for (name, examples) in files() {
        for example in &examples.cases {
            let mut reversed = example.object.clone();
            if let Some(list) = reversed["status"]["conditions"].as_array_mut() {
                list.reverse();
                let judgments = [&example.object, &reversed]
                    .map(|object| judge_custom(object, &rules, Circumstances::at(examples.now)));
                assert_eq!(judgments[0].verdict, judgments[1].verdict, "{name}");
            }
        }
    }
}
