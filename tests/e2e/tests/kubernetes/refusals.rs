//! What a cluster would refuse is found at plan, with the object, the cause and the remedy, and nothing is written.

use std::time::Duration;

use serde_json::{Value, json};
use trimaran_e2e::lab::Lab;
use trimaran_test_env::kubernetes::Cluster;
use trimaran_test_support::wait::until;

use crate::shop::{Shape, Shop, printed, write};

/// Plans until the answer has all of these words: policies and quotas are known to an API server a moment later. It is
/// whole, an error, and has this code, for people and for programs.
fn refused(shop: &Shop<'_>, artifact: &str, words: &[&str], code: &str) {
    let file = format!("{}.yaml", shop.name());
    let mut last = String::new();
    until(&format!("the plan says {words:?}"), Duration::from_secs(30), || {
        let planned = shop.lab.run(&["plan", "-f", &file, "--artifact", artifact]);
        // Lines are as wide as a terminal.
        let text = printed(&planned).split_whitespace().collect::<Vec<_>>().join(" ");
        if text != last {
            eprintln!("{text}");
            last.clone_from(&text);
        }
        let is_whole = text.contains("Nothing was changed.") && text.contains("TR2213");
        let is_refused = planned.status.code() == Some(6) && is_whole;
        (is_refused && words.iter().all(|word| text.contains(word))).then_some(())
    });
    for arguments in [&["-o", "json"][..], &["-o", "json", "--detailed-exitcode"]] {
        let arguments = [&["plan", "-f", &file, "--artifact", artifact], arguments].concat();
        let planned = shop.lab.run(&arguments);
        assert_eq!(planned.status.code(), Some(6), "{}", printed(&planned));
        let plan: Value = serde_json::from_slice(&planned.stdout).expect("the plan is a document");
        assert_eq!(plan["stages"][0]["change"], "create", "{plan:#}");
        let difference = &plan["differences"][0];
        assert_eq!((&difference["target"], &difference["code"]), (&json!(shop.name()), &json!(code)));
        let missing = difference["missing"].as_str().unwrap_or_default();
        assert!(words.iter().all(|word| missing.contains(word)), "{missing}");
        let error: Value = serde_json::from_slice(&planned.stderr).expect("so is the error");
        assert_eq!(error["error"]["code"], "TR2213", "{error:#}");
    }
}

/// Plans until nothing is refused: what was deleted is enforced for a moment more.
fn accepted(shop: &Shop<'_>, artifact: &str) {
    let file = format!("{}.yaml", shop.name());
    until("the plan is accepted", Duration::from_secs(30), || {
        let planned = shop.lab.run(&["plan", "-f", &file, "--artifact", artifact]);
        planned.status.success().then_some(())
    });
}

#[test]
fn quotas_policies_webhooks_accounts_and_unknown_kinds_are_found_at_plan() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "refused", &Shape::default());
    let artifact = shop.version("v1", &[]);
    let name = shop.namespace.clone();
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota",
                       "metadata": {"name": "small", "namespace": name}, "spec": {"hard": {"pods": "0"}}});
    cluster.apply(&quota);
    let words = ["Deployment/web", "its pods", "exceeded quota", "raise the quota"];
    refused(&shop, &artifact, &words, "quota");
    cluster.kubectl(&["delete", "quota", "small", "--namespace", &name]);
    accepted(&shop, &artifact);
    let rules = |resources: &str| json!([{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": [resources]}]);
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules("services")},
                 "validations": [{"expression": "false", "message": "no services in here"}]},
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here}},
    });
    cluster.apply(&policy);
    cluster.apply(&binding);
    let words = ["Service/web", "no services in here", "follow the policy"];
    refused(&shop, &artifact, &words, "admission_denied");
    cluster.kubectl(&["delete", "validatingadmissionpolicybinding", &name]);
    cluster.kubectl(&["delete", "validatingadmissionpolicy", &name]);
    accepted(&shop, &artifact);
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{"name": "away.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                      "timeoutSeconds": 1, "failurePolicy": "Fail", "namespaceSelector": here,
                      "rules": rules("configmaps"), "clientConfig": {"url": "https://127.0.0.1:9/"}}],
    });
    cluster.apply(&webhook);
    let words = ["ConfigMap/web-", "away.example.com", "check the pods behind the webhook"];
    refused(&shop, &artifact, &words, "webhook_unavailable");
    cluster.kubectl(&["delete", "validatingwebhookconfiguration", &name]);
    accepted(&shop, &artifact);
    let manifests = std::fs::read_to_string(lab.folder.path().join("refused/web.yaml")).expect("a file");
    let account =
        manifests.replace("dnsPolicy: Default", "dnsPolicy: Default\n      serviceAccountName: absent");
    write(&lab, "refused/web.yaml", &account);
    let words = ["Deployment/web", "serviceaccount \"absent\" not found", "make what it names"];
    refused(&shop, &artifact, &words, "failed_create");
    let widget = "---\napiVersion: example.com/v1\nkind: Widget\nmetadata: { name: w }\n";
    write(&lab, "refused/web.yaml", &format!("{manifests}{widget}"));
    let words = ["Widget/w", "does not serve Widget of example.com/v1", "install its definition"];
    refused(&shop, &artifact, &words, "kind_not_served");
    assert_eq!(shop.objects(), Vec::<String>::new(), "nothing was written");
}

#[test]
fn a_quota_with_room_for_one_pod_is_too_small_for_two() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "narrow", &Shape::default());
    let artifact = shop.version("v1", &[]);
    let name = shop.namespace.clone();
    let quota = |pods: &str| {
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small", "namespace": name},
               "spec": {"hard": {"pods": pods, "count/configmaps": "9"}}})
    };
    cluster.apply(&quota("1"));
    let words = ["Deployment/web", "quota small", "2 more of pods needed", "1 left", "raise the quota"];
    refused(&shop, &artifact, &words, "quota");
    assert_eq!(shop.objects(), Vec::<String>::new(), "nothing was written");
    cluster.apply(&quota("2"));
    accepted(&shop, &artifact);
    // Without the right to read quotas the plan says that it does not know.
    let role = format!("trimaran-{}", shop.name());
    let text = cluster.kubectl(&["get", "role", &role, "--namespace", &name, "--output", "json"]);
    let mut less: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
    let rules = less["rules"].as_array_mut().expect("a role has rules");
    let all = rules.len();
    rules.retain(|rule| !rule["resources"].to_string().contains("resourcequotas"));
    assert_eq!(rules.len() + 1, all, "the printed rights have one rule of quotas");
    less["metadata"] = json!({"name": role, "namespace": name});
    cluster.apply(&less);
    let planned = until("the plan does not know", Duration::from_secs(30), || {
        let planned = lab.run(&["plan", "-f", "narrow.yaml", "--artifact", &artifact]);
        let text = printed(&planned).split_whitespace().collect::<Vec<_>>().join(" ");
        text.contains("whether the quotas of namespace").then_some((planned.status.code(), text))
    });
    assert_eq!(planned.0, Some(0), "it is no refusal: {}", planned.1);
    assert!(planned.1.contains("trimaran target rbac"), "{}", planned.1);
}

#[test]
fn a_namespace_that_is_not_there_or_ends_is_found_at_plan() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "ending", &Shape::default());
    let artifact = shop.version("v1", &[]);
    // The rights of the agent's own account are in the namespace and would go with it.
    let target = |namespace: &str| {
        let kubeconfig = cluster.kubeconfig().display();
        let text = format!(
            "trimaran: v1\ntarget: ending\nagent: lab\nclass: prod\nkubernetes: {{ namespace: {namespace}, kubeconfig: {kubeconfig} }}\n"
        );
        write(&lab, "target.yaml", &text);
        lab.ok(&["apply", "target.yaml"]);
    };
    target("nowhere-at-all");
    refused(&shop, &artifact, &["nowhere-at-all", "create the namespace"], "missing");
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap",
                      "metadata": {"name": "held", "namespace": shop.namespace, "finalizers": ["example.com/hold"]}});
    cluster.apply(&held);
    cluster.kubectl(&["delete", "namespace", &shop.namespace, "--wait=false"]);
    target(&shop.namespace);
    refused(&shop, &artifact, &["being terminated", "wait until the namespace is gone"], "object_ending");
    let free = r#"{"metadata":{"finalizers":null}}"#;
    cluster.kubectl(&["patch", "configmap", "held", "--namespace", &shop.namespace, "--patch", free]);
}
