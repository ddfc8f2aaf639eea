//! Relations that take more than a row: ports of a Service, the data of a Secret, rules of roles, and the like.

use serde_json::Value;

use super::schedule;
use super::{Fault, Typed};
use crate::finding::{pointer_part, shown};
use crate::lint::quantity::whole;
use crate::lint::unrendered::is_template;

/// The checks of a type.
pub(super) fn check(it: Typed<'_>, found: &mut Vec<Fault>) {
    match it.name {
        "core.v1.ServiceSpec" => service(it, found),
        "core.v1.PodSpec" => pod(it, found),
        "core.v1.Container" => container(it, found),
        "core.v1.SecurityContext" => privileges(it, found),
        "core.v1.Toleration" => toleration(it, found),
        "core.v1.NodeSelectorRequirement" => comparison(it, found),
        "core.v1.PersistentVolumeClaimSpec" => claim(it, found),
        "core.v1.ConfigMap" => config_map(it, found),
        "core.v1.Secret" => secret(it, found),
        "meta.v1.LabelSelectorRequirement" => label_requirement(it, found),
        "apps.v1.DeploymentSpec"
        | "apps.v1.ReplicaSetSpec"
        | "apps.v1.DaemonSetSpec"
        | "apps.v1.StatefulSetSpec" => selector(it, found),
        "batch.v1.CronJobSpec" => cron(it, found),
        "networking.v1.HTTPIngressPath" => ingress_path(it, found),
        "rbac.v1.PolicyRule" => policy_rule(it, found),
        "rbac.v1.RoleRef" => role_reference(it, found),
        "rbac.v1.Subject" => subject(it, found),
        "autoscaling.v1.HorizontalPodAutoscalerSpec" | "autoscaling.v2.HorizontalPodAutoscalerSpec" => {
            autoscaler(it, found);
        }
        "apiextensions.v1.CustomResourceDefinition" => definition(it, found),
        "admissionregistration.v1.ValidatingWebhook" | "admissionregistration.v1.MutatingWebhook" => {
            webhook(it, found);
        }
        _ => {}
    }
}

fn items<'a>(it: Typed<'a>, field: &str) -> &'a [Value] {
    it.given(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get(name).filter(|it| !it.is_null() && it.as_str() != Some(""))
}

fn number(value: &Value, name: &str) -> Option<i64> {
    field(value, name).and_then(whole).filter(|it| *it != 0)
}

fn service(it: Typed<'_>, found: &mut Vec<Fault>) {
    let kind = it.text("type").unwrap_or("ClusterIP");
    let is_headless = it.text("clusterIP") == Some("None");
    for (at, port) in items(it, "ports").iter().enumerate() {
        if kind == "ClusterIP" && number(port, "nodePort").is_some() {
            let message = "`nodePort` does not go with a Service of type ClusterIP";
            let help = "remove `nodePort`, or write `type: NodePort`";
            found.push(Fault::wrong(format!("/ports/{at}/nodePort"), message, help));
        }
    }
    if is_headless && matches!(kind, "LoadBalancer" | "NodePort") {
        let message = format!("`clusterIP: None` does not go with `type: {kind}`");
        found.push(Fault::wrong("/clusterIP", message, "remove one of the two"));
    }
    let is_external = matches!(kind, "LoadBalancer" | "NodePort") || it.given("externalIPs").is_some();
    if it.given("externalTrafficPolicy").is_some() && !is_external && !is_template(kind) {
        let message = format!("`externalTrafficPolicy` does not go with `type: {}`", shown(kind));
        found.push(Fault::wrong("/externalTrafficPolicy", message, "remove `externalTrafficPolicy`"));
    }
}

fn pod(it: Typed<'_>, found: &mut Vec<Fault>) {
    if it.text("dnsPolicy") == Some("None") {
        let servers = it.given("dnsConfig").and_then(|config| field(config, "nameservers"));
        if servers.and_then(Value::as_array).is_none_or(Vec::is_empty) {
            let message = "`dnsPolicy: None` needs `dnsConfig.nameservers`";
            found.push(Fault::missing("/dnsConfig", message, "name at least one server"));
        }
    }
    if it.given("hostNetwork") != Some(&Value::Bool(true)) {
        return;
    }
    for list in ["initContainers", "containers"] {
        for (at, container) in items(it, list).iter().enumerate() {
            host_ports(container, &format!("/{list}/{at}"), found);
        }
    }
}

fn host_ports(container: &Value, place: &str, found: &mut Vec<Fault>) {
    let ports = field(container, "ports").and_then(Value::as_array);
    for (at, port) in ports.into_iter().flatten().enumerate() {
        let (own, host) = (number(port, "containerPort"), number(port, "hostPort"));
        if host.is_some() && own != host {
            let message = "with `hostNetwork` the `hostPort` is the `containerPort`";
            let help = "write the same number, or remove `hostPort`";
            found.push(Fault::wrong(format!("{place}/ports/{at}/hostPort"), message, help));
        }
    }
}

fn container(it: Typed<'_>, found: &mut Vec<Fault>) {
    for probe in ["livenessProbe", "startupProbe"] {
        let threshold = it.given(probe).and_then(|probe| number(probe, "successThreshold"));
        if threshold.is_some_and(|threshold| threshold > 1) {
            let message = format!("`successThreshold` of a `{probe}` is 1");
            found.push(Fault::wrong(format!("/{probe}/successThreshold"), message, "remove it"));
        }
    }
    if it
        .given("readinessProbe")
        .is_some_and(|probe| number(probe, "terminationGracePeriodSeconds").is_some())
    {
        let place = "/readinessProbe/terminationGracePeriodSeconds";
        let message = "a `readinessProbe` has no `terminationGracePeriodSeconds`: it ends no container";
        found.push(Fault::wrong(place, message, "remove it"));
    }
}

fn privileges(it: Typed<'_>, found: &mut Vec<Fault>) {
    if it.given("allowPrivilegeEscalation") != Some(&Value::Bool(false)) {
        return;
    }
    let added = it.given("capabilities").and_then(|it| field(it, "add")).and_then(Value::as_array);
    let is_admin = |it: &Value| matches!(it.as_str(), Some("CAP_SYS_ADMIN"));
    let why = match () {
        () if it.given("privileged") == Some(&Value::Bool(true)) => "`privileged: true`",
        () if added.is_some_and(|added| added.iter().any(is_admin)) => "the capability `CAP_SYS_ADMIN`",
        () => return,
    };
    let message = format!("`allowPrivilegeEscalation: false` does not go with {why}");
    found.push(Fault::wrong("/allowPrivilegeEscalation", message, "remove one of the two"));
}

fn toleration(it: Typed<'_>, found: &mut Vec<Fault>) {
    let operator = it.text("operator").unwrap_or("Equal");
    if it.given("key").is_none() && operator != "Exists" && !is_template(operator) {
        let help = "write `key`, or `operator: Exists` to tolerate every taint";
        found.push(Fault::missing("/operator", "a toleration without `key` needs `operator: Exists`", help));
    }
    if operator == "Exists" && it.given("value").is_some() {
        let message = "`value` does not go with `operator: Exists`";
        found.push(Fault::wrong("/value", message, "remove `value`, or write `operator: Equal`"));
    }
    let effect = it.text("effect");
    if it.given("tolerationSeconds").is_some()
        && effect != Some("NoExecute")
        && !effect.is_some_and(is_template)
    {
        let message = "`tolerationSeconds` goes with `effect: NoExecute` only";
        found.push(Fault::wrong(
            "/effect",
            message,
            "write `effect: NoExecute`, or remove `tolerationSeconds`",
        ));
    }
}

/// `Gt` and `Lt` compare with one number.
fn comparison(it: Typed<'_>, found: &mut Vec<Fault>) {
    let values = items(it, "values");
    if matches!(it.text("operator"), Some("Gt" | "Lt")) && values.len() > 1 {
        let message = "`Gt` and `Lt` take one value";
        found.push(Fault::wrong("/values", message, "write one number, in quotes"));
    }
}

fn label_requirement(it: Typed<'_>, found: &mut Vec<Fault>) {
    let Some(operator) = it.text("operator").filter(|it| !is_template(it)) else { return };
    let has_values = it.given("values").is_some();
    match operator {
        "In" | "NotIn" if !has_values => {
            let message = format!("`operator: {operator}` needs `values`");
            found.push(Fault::missing("/values", message, "write `values`"));
        }
        "Exists" | "DoesNotExist" if has_values => {
            let message = format!("`values` does not go with `operator: {operator}`");
            found.push(Fault::wrong("/values", message, "remove `values`"));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => {
            let message = format!("`{}` is not a valid value of `operator`", shown(other));
            found.push(Fault::wrong("/operator", message, "write `In`, `NotIn`, `Exists` or `DoesNotExist`"));
        }
    }
}

/// How much a claim asks for. Those of a StatefulSet are checked when they are made.
fn claim(it: Typed<'_>, found: &mut Vec<Fault>) {
    let Some(resources) = it.given("resources").filter(|it| it.is_object()) else { return };
    let asked = field(resources, "requests").and_then(|it| field(it, "storage"));
    if asked.is_none() {
        let message = "the claim does not say how much storage it asks for";
        found.push(Fault::missing(
            "/resources/requests",
            message,
            "write `resources: { requests: { storage: 1Gi } }`",
        ));
    }
}

fn config_map(it: Typed<'_>, found: &mut Vec<Fault>) {
    let keys = |name: &str| it.given(name).and_then(Value::as_object);
    let (Some(data), Some(binary)) = (keys("data"), keys("binaryData")) else { return };
    for key in data.keys().filter(|key| binary.contains_key(*key)) {
        let message = format!("`{}` is in `data` and in `binaryData`", shown(key));
        found.push(Fault::wrong(
            format!("/binaryData/{}", pointer_part(key)),
            message,
            "remove one of the two",
        ));
    }
}

/// What each type of Secret must hold.
fn secret(it: Typed<'_>, found: &mut Vec<Fault>) {
    let Some(kind) = it.text("type") else { return };
    let (wanted, any): (&[&str], bool) = match kind {
        "kubernetes.io/tls" => (&["tls.crt", "tls.key"], false),
        "kubernetes.io/dockerconfigjson" => (&[".dockerconfigjson"], false),
        "kubernetes.io/dockercfg" => (&[".dockercfg"], false),
        "kubernetes.io/ssh-auth" => (&["ssh-privatekey"], false),
        "kubernetes.io/basic-auth" => (&["password", "username"], true),
        _ => return,
    };
    let has = |key: &&&str| {
        ["data", "stringData"].iter().any(|section| it.given(section).and_then(|it| it.get(**key)).is_some())
    };
    let missing: Vec<&str> = wanted.iter().filter(|key| !has(key)).copied().collect();
    let is_wrong = if any { missing.len() == wanted.len() } else { !missing.is_empty() };
    if is_wrong {
        let names: Vec<String> = missing.iter().map(|key| format!("`{key}`")).collect();
        let message =
            format!("a Secret of type {kind} needs {}", names.join(if any { " or " } else { " and " }));
        found.push(Fault::missing("/data", message, "write it into `data` or `stringData`"));
    }
}

/// An empty selector would be one of every pod.
fn selector(it: Typed<'_>, found: &mut Vec<Fault>) {
    let Some(selector) = it.given("selector").and_then(Value::as_object) else { return };
    let is_filled = |name: &str| {
        selector.get(name).is_some_and(|it| {
            it.as_object().is_some_and(|it| !it.is_empty()) || it.as_array().is_some_and(|it| !it.is_empty())
        })
    };
    let known = selector.keys().all(|key| matches!(key.as_str(), "matchLabels" | "matchExpressions"));
    if known && !is_filled("matchLabels") && !is_filled("matchExpressions") {
        let help = "write `matchLabels` with labels of the pod template";
        found.push(Fault::missing("/selector", "the selector is empty", help));
    }
}

fn cron(it: Typed<'_>, found: &mut Vec<Fault>) {
    let Some(text) = it.text("schedule").filter(|it| !is_template(it)) else { return };
    if let Some(why) = schedule::fault(text) {
        let message = format!("`{}` is not a schedule: {why}", shown(text));
        let help = "write five fields: minute, hour, day of the month, month, day of the week";
        found.push(Fault::wrong("/schedule", message, help));
    }
}

fn ingress_path(it: Typed<'_>, found: &mut Vec<Fault>) {
    let path = it.text("path");
    match it.text("pathType") {
        Some("Exact" | "Prefix") if path.is_none() => {
            found.push(Fault::missing("/path", "HTTPIngressPath has no `path`", "write `path: /`"));
        }
        _ if path.is_some_and(|path| !path.starts_with('/') && !is_template(path)) => {
            let message = format!("`{}` is not an absolute path", shown(path.unwrap_or_default()));
            found.push(Fault::wrong("/path", message, "begin it with `/`"));
        }
        _ => {}
    }
}

fn policy_rule(it: Typed<'_>, found: &mut Vec<Fault>) {
    let is_namespaced = it.above.first() == Some(&"rbac.v1.Role");
    if it.given("nonResourceURLs").is_some() {
        if is_namespaced {
            let message = "a Role can't allow paths, only a ClusterRole can";
            found.push(Fault::wrong("/nonResourceURLs", message, "move the rule into a ClusterRole"));
        } else if ["apiGroups", "resources", "resourceNames"].iter().any(|name| it.given(name).is_some()) {
            let message = "a rule is about resources or about paths, not about both";
            found.push(Fault::wrong("/nonResourceURLs", message, "write two rules"));
        }
        return;
    }
    for name in ["apiGroups", "resources"] {
        if it.given(name).is_none() {
            let help = if name == "apiGroups" {
                "write `apiGroups: [\"\"]` for the core group"
            } else {
                "write `resources`"
            };
            found.push(Fault::missing(format!("/{name}"), format!("PolicyRule has no `{name}`"), help));
        }
    }
}

fn role_reference(it: Typed<'_>, found: &mut Vec<Fault>) {
    let is_cluster = it.above.first() == Some(&"rbac.v1.ClusterRoleBinding");
    let kinds: &[&str] = if is_cluster { &["ClusterRole"] } else { &["Role", "ClusterRole"] };
    if let Some(kind) = it.text("kind").filter(|kind| !kinds.contains(kind) && !is_template(kind)) {
        let message = format!("`{}` is not a kind of role here", shown(kind));
        found.push(Fault::wrong("/kind", message, format!("write {}", kinds.join(" or "))));
    }
    let group =
        it.text("apiGroup").filter(|group| *group != "rbac.authorization.k8s.io" && !is_template(group));
    if let Some(group) = group {
        let message = format!("`{}` is not a group of roles", shown(group));
        found.push(Fault::wrong("/apiGroup", message, "write `rbac.authorization.k8s.io`"));
    }
}

fn subject(it: Typed<'_>, found: &mut Vec<Fault>) {
    let Some(kind) = it.text("kind").filter(|it| !is_template(it)) else { return };
    let group = it.text("apiGroup").filter(|it| !is_template(it));
    match kind {
        "ServiceAccount" => {
            let is_cluster = it.above.first() == Some(&"rbac.v1.ClusterRoleBinding");
            if is_cluster && it.given("namespace").is_none() {
                let message = "a ServiceAccount in a ClusterRoleBinding needs its `namespace`";
                found.push(Fault::missing("/namespace", message, "write `namespace`"));
            }
            if group.is_some() {
                let message = "a ServiceAccount is of the core group";
                found.push(Fault::wrong("/apiGroup", message, "remove `apiGroup`"));
            }
        }
        "User" | "Group" => {
            if group.is_some_and(|group| group != "rbac.authorization.k8s.io") {
                let message = format!("a {kind} is of the group `rbac.authorization.k8s.io`");
                found.push(Fault::wrong("/apiGroup", message, "remove `apiGroup`"));
            }
        }
        other => {
            let message = format!("`{}` is not a kind of subject", shown(other));
            found.push(Fault::wrong("/kind", message, "write `ServiceAccount`, `User` or `Group`"));
        }
    }
}

fn autoscaler(it: Typed<'_>, found: &mut Vec<Fault>) {
    let count = |name: &str| it.given(name).and_then(whole);
    if let (Some(least), Some(most)) = (count("minReplicas"), count("maxReplicas"))
        && most >= 1
        && least > most
    {
        let message = format!("`minReplicas` is {least} and `maxReplicas` is {most}");
        found.push(Fault::wrong("/minReplicas", message, "`maxReplicas` is the larger one"));
    }
}

fn definition(it: Typed<'_>, found: &mut Vec<Fault>) {
    let text = |pointer: &str| it.given("spec")?.pointer(pointer)?.as_str();
    let name = it.given("metadata").and_then(|it| field(it, "name")).and_then(Value::as_str);
    if let (Some(plural), Some(group), Some(name)) = (text("/names/plural"), text("/group"), name)
        && ![plural, group, name].into_iter().any(is_template)
        && name != format!("{plural}.{group}")
    {
        let message = format!("`{}` is not the name of this definition", shown(name));
        found.push(Fault::wrong("/metadata/name", message, format!("write `{plural}.{group}`")));
    }
    let versions = it.given("spec").and_then(|it| field(it, "versions")).and_then(Value::as_array);
    let Some(versions) = versions.filter(|it| !it.is_empty()) else { return };
    let stored = versions.iter().filter(|it| it.get("storage") == Some(&Value::Bool(true))).count();
    if stored != 1 {
        let message = format!("{stored} versions have `storage: true`");
        found.push(Fault::wrong(
            "/spec/versions",
            message,
            "mark exactly one version as the one that is stored",
        ));
    }
}

fn webhook(it: Typed<'_>, found: &mut Vec<Fault>) {
    if let Some(name) = it.text("name").filter(|it| !is_template(it) && it.split('.').count() < 3) {
        let message = format!("`{}` is not a valid name of a webhook", shown(name));
        found.push(Fault::wrong(
            "/name",
            message,
            "use a domain of at least three parts, such as `a.b.example`",
        ));
    }
}
