//! Quotas and what releases need of them, one line of a table each.

use super::*;
use serde_json::json;

fn deployment(replicas: u64, cpu: &str, image: &str) -> Value {
    json!({
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [
            {"name": "web", "image": image, "resources": {"requests": {"cpu": cpu}}}]}}},
        "status": {"replicas": replicas},
    })
}

fn rolling(mut deployment: Value, surge: u64, unavailable: u64) -> Value {
    deployment["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {
        "maxSurge": surge, "maxUnavailable": unavailable}});
    deployment
}

fn quota(hard: Value, used: Value) -> Value {
    json!({"metadata": {"name": "small"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
}

fn web<'a>(before: Option<&'a Value>, after: &'a Value) -> Planned<'a> {
    Planned {
        plural: "deployments",
        group: "apps",
        kind: "Deployment",
        name: "Deployment/web",
        before,
        after,
        pod: None,
    }
}

/// What is short of one Deployment, and whether that is certain.
fn found(before: Option<&Value>, after: &Value, quota: &Value) -> Vec<(String, bool)> {
    let found = shortages(&[web(before, after)], std::slice::from_ref(quota), &[]);
    found.iter().map(|it| (it.to_string(), it.is_certain)).collect()
}

#[test]
fn a_quota_with_room_for_one_pod_has_none_for_two() {
    let after = deployment(2, "100m", "new");
    let one = quota(json!({"pods": "3"}), json!({"pods": "2"}));
    let message = "Deployment/web: quota small: 2 more of pods needed, 1 left (2 of 3 used)";
    assert_eq!(found(None, &after, &one), [(message.to_owned(), true)]);
    assert_eq!(found(None, &after, &quota(json!({"pods": "4"}), json!({"pods": "2"}))), []);
    let counted = quota(
        json!({"count/pods": "1", "requests.cpu": "199m"}),
        json!({"count/pods": "0", "requests.cpu": "0"}),
    );
    let messages: Vec<String> = found(None, &after, &counted).into_iter().map(|it| it.0).collect();
    assert_eq!(
        messages,
        [
            "Deployment/web: quota small: 2 more of count/pods needed, 1 left (0 of 1 used)",
            "Deployment/web: quota small: 200m more of requests.cpu needed, 199m left (0 of 199m used)",
        ]
    );
}

#[test]
fn what_is_replaced_makes_room_for_what_replaces_it() {
    let before = deployment(3, "100m", "old");
    let full = quota(json!({"pods": "3"}), json!({"pods": "3"}));
    let after = deployment(3, "100m", "new");
    for (surge, unavailable, expected) in [
        // Nothing ends before something new is ready.
        (1, 0, Some((1, true))),
        (2, 0, Some((2, true))),
        // It goes on, if slowly.
        (1, 1, Some((1, false))),
        (0, 1, None),
    ] {
        let after = rolling(after.clone(), surge, unavailable);
        let expected: Vec<_> = expected
            .map(|(needed, is_certain)| {
                let message = format!(
                    "Deployment/web: quota small: {needed} more of pods needed, 0 left (3 of 3 used)"
                );
                (message, is_certain)
            })
            .into_iter()
            .collect();
        assert_eq!(found(Some(&before), &after, &full), expected, "{surge} {unavailable}");
    }
    let mut recreated = after;
    recreated["spec"]["strategy"] = json!({"type": "Recreate"});
    assert_eq!(found(Some(&before), &recreated, &full), []);
    assert_eq!(found(Some(&before), &before, &full), [], "nothing is replaced");
}

#[test]
fn pods_that_grow_need_the_difference() {
    let before = deployment(3, "100m", "old");
    let after = rolling(deployment(3, "150m", "new"), 0, 1);
    let rest =
        |rest: u64| quota(json!({"requests.cpu": "1"}), json!({"requests.cpu": format!("{}m", 1000 - rest)}));
    assert_eq!(found(Some(&before), &after, &rest(150)), []);
    let message = "Deployment/web: quota small: 150m more of requests.cpu needed, 149m left (851m of 1 used)";
    assert_eq!(found(Some(&before), &after, &rest(149)), [(message.to_owned(), true)]);
    let shrinking = rolling(deployment(1, "50m", "new"), 0, 1);
    assert_eq!(found(Some(&before), &shrinking, &rest(0)), [], "a quota that is overdrawn lets go");
}

#[test]
fn everything_of_a_release_is_added_up() {
    let (one, other) = (deployment(1, "1", "a"), deployment(1, "1", "b"));
    let mut api = web(None, &other);
    api.name = "Deployment/api";
    let found = shortages(&[web(None, &one), api], &[quota(json!({"pods": 1}), json!({"pods": 0}))], &[]);
    assert_eq!(
        found[0].to_string(),
        "Deployment/api, Deployment/web: quota small: 2 more of pods needed, 1 left (0 of 1 used)"
    );
}

#[test]
fn objects_count_beside_pods_and_what_is_there_is_counted_already() {
    let config = json!({"data": {}});
    let planned = |before| Planned {
        plural: "configmaps",
        group: "",
        kind: "ConfigMap",
        name: "ConfigMap/web",
        before,
        after: &config,
        pod: None,
    };
    let full = [quota(
        json!({"configmaps": "5", "count/configmaps": "5"}),
        json!({"configmaps": "5", "count/configmaps": "5"}),
    )];
    let names = |found: Vec<Shortage>| found.into_iter().map(|it| it.resource).collect::<Vec<_>>();
    assert_eq!(names(shortages(&[planned(None)], &full, &[])), ["configmaps", "count/configmaps"]);
    assert_eq!(names(shortages(&[planned(Some(&config))], &full, &[])), Vec::<String>::new());
    let mut scoped = full[0].clone();
    scoped["spec"]["scopes"] = json!(["BestEffort"]);
    assert_eq!(names(shortages(&[planned(None)], &[scoped], &[])), Vec::<String>::new());
    let sets = quota(json!({"count/replicasets.apps": "1"}), json!({"count/replicasets.apps": "1"}));
    let (before, after) = (deployment(1, "1", "old"), rolling(deployment(1, "1", "new"), 0, 1));
    assert_eq!(self::found(Some(&before), &after, &sets).len(), 1, "a new revision is a new ReplicaSet");
    assert_eq!(self::found(Some(&before), &before, &sets), []);
}

#[test]
fn what_a_namespace_gives_to_containers_counts() {
    let mut after = deployment(2, "1", "new");
    after["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({});
    let range = json!({"spec": {"limits": [{"type": "Container", "default": {"memory": "256Mi"},
                                            "defaultRequest": {"memory": "128Mi"}}]}});
    let quota = quota(
        json!({"requests.memory": "255Mi", "limits.memory": "512Mi"}),
        json!({"requests.memory": "0", "limits.memory": "0"}),
    );
    let found = shortages(&[web(None, &after)], &[quota], &[range]);
    let found: Vec<String> = found.iter().map(Shortage::to_string).collect();
    assert_eq!(
        found,
        ["Deployment/web: quota small: 256Mi more of requests.memory needed, 255Mi left (0 of 255Mi used)"]
    );
}

#[test]
fn a_pod_as_the_server_takes_it_counts_whole() {
    let after = deployment(2, "100m", "new");
    let pod = json!({"containers": [{"resources": {"requests": {"cpu": "100m"}}},
                                    {"resources": {"requests": {"cpu": "400m"}}}]});
    let mut planned = web(None, &after);
    planned.pod = Some(&pod);
    let quota = quota(json!({"cpu": "900m"}), json!({"cpu": "0"}));
    let found = shortages(&[planned], std::slice::from_ref(&quota), &[]);
    assert_eq!(found[0].needed.to_string(), "1", "with what a webhook adds");
    let before = deployment(2, "100m", "old");
    let mut planned = web(Some(&before), &after);
    planned.pod = Some(&pod);
    assert_eq!(shortages(&[planned], &[quota], &[]), [], "which those that run have, too");
}

#[test]
fn claims_of_a_stateful_set_may_be_there_already() {
    let after = json!({"spec": {"replicas": 3, "template": {"spec": {"containers": []}}, "volumeClaimTemplates": [
        {"spec": {"resources": {"requests": {"storage": "10Gi"}}}}]}});
    let planned =
        Planned { plural: "statefulsets", kind: "StatefulSet", name: "StatefulSet/db", ..web(None, &after) };
    let quota = quota(json!({"requests.storage": "20Gi"}), json!({"requests.storage": "0"}));
    let found = shortages(&[planned], &[quota], &[]);
    assert_eq!((found[0].needed.to_string().as_str(), found[0].is_certain), ("30Gi", false));
}

#[test]
fn a_quota_that_was_not_counted_yet_says_nothing() {
    let after = deployment(2, "1", "new");
    let fresh = json!({"metadata": {"name": "small"}, "spec": {"hard": {"pods": "0"}}});
    assert_eq!(found(None, &after, &fresh), []);
}
