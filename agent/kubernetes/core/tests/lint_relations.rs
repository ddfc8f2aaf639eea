//! Fields that a server wants together, or not together: each refused form with what to write, and its neighbours that
//! a server takes. What is said here of servers is their validation (`pkg/apis/*/validation` of Kubernetes).

use serde_json::{Value, json};
use trimaran_kubernetes_core::finding::Severity;
use trimaran_kubernetes_core::lint::{Options, lint};

#[path = "mutations/places.rs"]
mod places;

/// Pointers and messages of the errors.
fn errors(object: &Value) -> Vec<(String, String)> {
    let found = lint(std::slice::from_ref(object), Options::default());
    let errors = found.into_iter().filter(|it| it.severity == Severity::Error);
    errors.map(|it| (it.pointer, format!("{}; {}", it.message, it.help))).collect()
}

/// Requires one error for each refused object, at the pointer and with the words, and none for the others. No wrong value
/// in any place of them is a panic.
#[track_caller]
fn check(refused: &[(Value, &str, &str)], taken: &[Value]) {
    for (object, pointer, part) in refused {
        let found = errors(object);
        assert!(
            found.len() == 1 && found[0].0 == *pointer && found[0].1.contains(part),
            "{pointer}: {part}\n{object:#}\n{found:#?}"
        );
    }
    for object in taken {
        assert_eq!(errors(object), [], "{object:#}");
    }
    let objects: Vec<&Value> = refused.iter().map(|(object, ..)| object).chain(taken).collect();
    let mutated: usize = objects.iter().map(|object| mutate(object)).sum();
    // A dozen tests do so: thousands of inputs together.
    assert!(mutated >= 20 * objects.len(), "{mutated} mutated inputs of {} objects", objects.len());
}

/// Lints the object with a null in every place of it, and with two values that do not belong there. Returns how often.
fn mutate(object: &Value) -> usize {
    let mut found = Vec::new();
    places::places(object, "", &mut found);
    let odd = places::odd_values();
    for (number, pointer) in found.iter().enumerate() {
        let values = [Value::Null, odd[number % odd.len()].clone(), odd[(number + 3) % odd.len()].clone()];
        for value in values {
            let mut mutated = object.clone();
            *mutated.pointer_mut(pointer).expect("the place exists") = value;
            let findings = lint(&[mutated], Options::default());
            assert!(
                findings.iter().all(|it| it.object == 0 && !it.message.is_empty()),
                "{pointer}: {findings:#?}"
            );
        }
    }
    3 * found.len()
}

fn named(version: &str, kind: &str, spec: Value) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": "web"}, "spec": spec})
}

fn merged(mut base: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().expect("a map") {
        base[key] = value.clone();
    }
    base
}

/// A Deployment whose pods have these fields too.
fn pods(more: &Value) -> Value {
    let spec = merged(json!({"containers": [{"name": "web", "image": "a:1"}]}), more);
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": spec});
    named("apps/v1", "Deployment", json!({"selector": {"matchLabels": {"app": "web"}}, "template": template}))
}

fn container(more: &Value) -> Value {
    pods(&json!({"containers": [merged(json!({"name": "web", "image": "a:1"}), more)]}))
}

fn volume(source: &Value) -> Value {
    pods(&json!({"volumes": [merged(json!({"name": "data"}), source)]}))
}

const POD: &str = "/spec/template/spec";

fn at(place: &str) -> String {
    format!("{POD}/containers/0{place}")
}

#[test]
fn containers_have_an_image() {
    let without = |more: Value| pods(&json!({"containers": [merged(json!({"name": "web"}), &more)]}));
    let init = json!({"initContainers": [{"name": "first"}]});
    check(
        &[
            (without(json!({})), &at("/image"), "Container has no `image`"),
            (without(json!({"image": ""})), &at("/image"), "`image` of Container is empty"),
            (without(json!({"image": null})), &at("/image"), "Container has no `image`"),
            (pods(&init), "/spec/template/spec/initContainers/0/image", "write `image`"),
            (
                pods(&json!({"containers": []})),
                "/spec/template/spec/containers",
                "`containers` of PodSpec is empty",
            ),
            (
                named("v1", "Pod", json!({"containers": [{"name": "a"}]})),
                "/spec/containers/0/image",
                "Container has no `image`",
            ),
        ],
        &[container(&json!({})), container(&json!({"image": "registry.corp/a@sha256:0"}))],
    );
    // A slip is one finding, with the name that was meant.
    let found = errors(&without(json!({"imgae": "a:1"})));
    assert!(found.len() == 1 && found[0].1.contains("did you mean `image`?"), "{found:#?}");
}

#[test]
fn probes_and_hooks_have_one_handler() {
    let exec = json!({"command": ["a"]});
    let http = json!({"port": 80});
    let probe = |probe: Value| container(&json!({"livenessProbe": probe}));
    check(
        &[
            (
                probe(json!({"periodSeconds": 5})),
                &at("/livenessProbe"),
                "write `exec`, `grpc`, `httpGet` or `tcpSocket`",
            ),
            (
                probe(json!({"exec": exec, "httpGet": http})),
                &at("/livenessProbe/httpGet"),
                "exclude each other",
            ),
            (probe(json!({"exec": {}})), &at("/livenessProbe/exec/command"), "ExecAction has no `command`"),
            (
                probe(json!({"exec": exec, "successThreshold": 2})),
                &at("/livenessProbe/successThreshold"),
                "is 1",
            ),
            (
                container(&json!({"readinessProbe": {"exec": exec, "terminationGracePeriodSeconds": 5}})),
                &at("/readinessProbe/terminationGracePeriodSeconds"),
                "it ends no container",
            ),
            (
                container(&json!({"lifecycle": {"preStop": {}}})),
                &at("/lifecycle/preStop"),
                "LifecycleHandler has neither",
            ),
        ],
        &[
            probe(json!({"exec": exec})),
            probe(json!({"grpc": {"port": 80}, "terminationGracePeriodSeconds": 5})),
            container(&json!({"readinessProbe": {"httpGet": http, "successThreshold": 3}})),
            container(&json!({"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}})),
            container(&json!({"lifecycle": {}})),
        ],
    );
}

#[test]
fn variables_have_one_source() {
    let env = |variable: Value| container(&json!({"env": [merged(json!({"name": "A"}), &variable)]}));
    let secret = json!({"name": "s", "key": "k"});
    let from = |from: Value| container(&json!({"envFrom": [from]}));
    check(
        &[
            (env(json!({"valueFrom": {}})), &at("/env/0/valueFrom"), "EnvVarSource has neither"),
            (
                env(json!({"value": "a", "valueFrom": {"secretKeyRef": secret}})),
                &at("/env/0/valueFrom"),
                "`value` and `valueFrom` exclude each other",
            ),
            (
                env(json!({"valueFrom": {"secretKeyRef": secret, "configMapKeyRef": secret}})),
                &at("/env/0/valueFrom/secretKeyRef"),
                "exclude each other",
            ),
            (
                env(json!({"valueFrom": {"secretKeyRef": {"key": "k"}}})),
                &at("/env/0/valueFrom/secretKeyRef/name"),
                "SecretKeySelector has no `name`",
            ),
            (from(json!({})), &at("/envFrom/0"), "neither `configMapRef` nor `secretRef`"),
            (from(json!({"prefix": "A_"})), &at("/envFrom/0"), "neither"),
            (
                from(json!({"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}})),
                &at("/envFrom/0/secretRef"),
                "exclude each other",
            ),
            (
                from(json!({"secretRef": {}})),
                &at("/envFrom/0/secretRef/name"),
                "SecretEnvSource has no `name`",
            ),
        ],
        &[
            env(json!({})),
            env(json!({"value": "", "valueFrom": {"secretKeyRef": secret}})),
            env(json!({"value": "a", "valueFrom": null})),
            env(json!({"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})),
            from(json!({"secretRef": {"name": "a", "optional": true}})),
        ],
    );
}

#[test]
fn volumes_have_at_most_one_source_and_know_what_they_mount() {
    let mount = |more: Value| {
        let mount = merged(json!({"name": "data", "mountPath": "/data"}), &more);
        let one = json!({"name": "web", "image": "a:1", "volumeMounts": [mount]});
        pods(&json!({"volumes": [{"name": "data"}], "containers": [one]}))
    };
    let place = |place: &str| format!("{POD}/volumes/0{place}");
    check(
        &[
            (
                volume(&json!({"emptyDir": {}, "configMap": {"name": "a"}})),
                &place("/emptyDir"),
                "`configMap` and `emptyDir` exclude each other",
            ),
            (volume(&json!({"configMap": {}})), &place("/configMap/name"), "has no `name`"),
            (
                volume(&json!({"secret": {"name": "a"}})),
                &place("/secret/name"),
                "SecretVolumeSource has no field",
            ),
            (volume(&json!({"secret": {}})), &place("/secret/secretName"), "has no `secretName`"),
            (
                volume(&json!({"persistentVolumeClaim": {"claimName": ""}})),
                &place("/persistentVolumeClaim/claimName"),
                "is empty",
            ),
            (
                volume(
                    &json!({"projected": {"sources": [{"secret": {"name": "a"}, "configMap": {"name": "b"}}]}}),
                ),
                &place("/projected/sources/0/secret"),
                "exclude each other",
            ),
            (
                volume(&json!({"downwardAPI": {"items": [{"path": "a"}]}})),
                &place("/downwardAPI/items/0"),
                "neither `fieldRef` nor `resourceFieldRef`",
            ),
            (
                mount(json!({"subPath": "a", "subPathExpr": "$(A)"})),
                &at("/volumeMounts/0/subPathExpr"),
                "exclude each other",
            ),
        ],
        &[
            volume(&json!({})),
            volume(&json!({"emptyDir": {}})),
            volume(&json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}})),
            mount(json!({"subPath": "a"})),
        ],
    );
}

#[test]
fn pods_are_placed_by_terms_that_say_something() {
    let toleration = |toleration: Value| pods(&json!({"tolerations": [toleration]}));
    let place = |place: &str| format!("{POD}{place}");
    let nodes = |term: Value| {
        let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [term]}]});
        pods(
            &json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}),
        )
    };
    let term = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions/0";
    check(
        &[
            (
                toleration(json!({"value": "a"})),
                &place("/tolerations/0/operator"),
                "needs `operator: Exists`",
            ),
            (
                toleration(json!({"key": "a", "operator": "Exists", "value": "b"})),
                &place("/tolerations/0/value"),
                "does not go with",
            ),
            (
                toleration(json!({"key": "a", "tolerationSeconds": 5})),
                &place("/tolerations/0/effect"),
                "NoExecute",
            ),
            (
                nodes(json!({"key": "a", "operator": "In"})),
                &place(&format!("{term}/values")),
                "needs `values`",
            ),
            (
                nodes(json!({"key": "a", "operator": "Exists", "values": ["b"]})),
                &place(&format!("{term}/values")),
                "remove `values`",
            ),
            (
                nodes(json!({"key": "a", "operator": "Gt", "values": ["1", "2"]})),
                &place(&format!("{term}/values")),
                "take one value",
            ),
            (pods(&json!({"dnsPolicy": "None"})), &place("/dnsConfig"), "name at least one server"),
            (
                pods(&json!({"securityContext": {"seccompProfile": {"type": "Localhost"}}})),
                &place("/securityContext/seccompProfile/localhostProfile"),
                "needs `localhostProfile`",
            ),
            (
                container(
                    &json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}),
                ),
                &at("/securityContext/allowPrivilegeEscalation"),
                "`privileged: true`",
            ),
            (
                pods(
                    &json!({"hostNetwork": true, "containers": [{"name": "web", "image": "a:1", "ports": [{"containerPort": 80, "hostPort": 81}]}]}),
                ),
                &at("/ports/0/hostPort"),
                "is the `containerPort`",
            ),
        ],
        &[
            toleration(json!({"operator": "Exists"})),
            toleration(json!({"key": "a", "value": "b", "effect": "NoSchedule"})),
            toleration(
                json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}),
            ),
            nodes(json!({"key": "a", "operator": "DoesNotExist"})),
            nodes(json!({"key": "a", "operator": "Gt", "values": ["1"]})),
            pods(&json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.1"]}})),
            pods(&json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}})),
            pods(
                &json!({"hostNetwork": true, "containers": [{"name": "web", "image": "a:1", "ports": [{"containerPort": 80, "hostPort": 80}]}]}),
            ),
        ],
    );
}

#[test]
fn services_have_ports_that_fit_their_type() {
    let service = |spec: Value| named("v1", "Service", spec);
    let two = |names: [Value; 2]| {
        let [first, second] = names;
        json!([{"port": 80, "name": first}, {"port": 81, "name": second}])
    };
    check(
        &[
            (
                service(json!({"ports": [{"port": 80, "nodePort": 30080}]})),
                "/spec/ports/0/nodePort",
                "type: NodePort",
            ),
            (service(json!({"type": "ExternalName"})), "/spec/externalName", "needs `externalName`"),
            (
                service(json!({"type": "LoadBalancer", "clusterIP": "None", "ports": [{"port": 80}]})),
                "/spec/clusterIP",
                "does not go with `type: LoadBalancer`",
            ),
            (
                service(json!({"externalTrafficPolicy": "Local", "ports": [{"port": 80}]})),
                "/spec/externalTrafficPolicy",
                "does not go with `type: ClusterIP`",
            ),
        ],
        &[
            service(json!({"clusterIP": "None", "selector": {"app": "web"}})),
            service(json!({"type": "ExternalName", "externalName": "a.example"})),
            service(json!({"ports": two([json!("a"), json!("b")])})),
            service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]})),
            service(
                json!({"externalTrafficPolicy": "Local", "type": "LoadBalancer", "ports": [{"port": 80}]}),
            ),
            service(
                json!({"externalTrafficPolicy": "Local", "externalIPs": ["10.0.0.1"], "ports": [{"port": 80}]}),
            ),
        ],
    );
}

#[test]
fn ingresses_and_policies_lead_somewhere() {
    let ingress = |spec: Value| named("networking.k8s.io/v1", "Ingress", spec);
    let service = json!({"service": {"name": "web", "port": {"number": 80}}});
    let path = |path: Value| ingress(json!({"rules": [{"http": {"paths": [path]}}]}));
    let one = "/spec/rules/0/http/paths/0";
    let policy = |peer: Value| {
        named(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            json!({"podSelector": {}, "ingress": [{"from": [peer]}]}),
        )
    };
    check(
        &[
            (ingress(json!({})), "/spec", "neither `defaultBackend` nor `rules`"),
            (ingress(json!({"rules": []})), "/spec", "neither `defaultBackend` nor `rules`"),
            (ingress(json!({"ingressClassName": "nginx"})), "/spec", "neither"),
            (
                ingress(json!({"defaultBackend": {}})),
                "/spec/defaultBackend",
                "neither `resource` nor `service`",
            ),
            (
                ingress(json!({"defaultBackend": {"service": {"name": "web"}}})),
                "/spec/defaultBackend/service/port",
                "IngressServiceBackend has no `port`",
            ),
            (
                ingress(json!({"defaultBackend": {"service": {"name": "web", "port": {}}}})),
                "/spec/defaultBackend/service/port",
                "neither `name` nor `number`",
            ),
            (
                ingress(
                    json!({"defaultBackend": {"service": {"name": "web", "port": {"name": "a", "number": 1}}}}),
                ),
                "/spec/defaultBackend/service/port/number",
                "exclude each other",
            ),
            (ingress(json!({"rules": [{"http": {"paths": []}}]})), "/spec/rules/0/http/paths", "is empty"),
            (
                path(json!({"pathType": "Prefix", "backend": service})),
                &format!("{one}/path"),
                "write `path: /`",
            ),
            (
                path(json!({"pathType": "Prefix", "path": "a", "backend": service})),
                &format!("{one}/path"),
                "begin it with `/`",
            ),
            (
                policy(json!({})),
                "/spec/ingress/0/from/0",
                "neither `ipBlock`, `namespaceSelector` nor `podSelector`",
            ),
            (
                policy(json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}})),
                "/spec/ingress/0/from/0/podSelector",
                "exclude each other",
            ),
        ],
        &[
            ingress(json!({"defaultBackend": service})),
            ingress(json!({"rules": [{"host": "a.example"}]})),
            path(json!({"pathType": "Prefix", "path": "/", "backend": service})),
            path(json!({"pathType": "ImplementationSpecific", "backend": service})),
            policy(json!({"podSelector": {}})),
            policy(json!({"podSelector": {}, "namespaceSelector": {}})),
        ],
    );
}

#[test]
fn storage_says_what_it_is_and_how_much_is_asked_for() {
    let pv = |spec: Value| {
        named(
            "v1",
            "PersistentVolume",
            merged(json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}), &spec),
        )
    };
    let pvc = |spec: Value| {
        let base = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        named("v1", "PersistentVolumeClaim", merged(base, &spec))
    };
    check(
        &[
            (pv(json!({})), "/spec", "has no source"),
            (
                pv(json!({"nfs": {"server": "a", "path": "/"}, "hostPath": {"path": "/"}})),
                "/spec/nfs",
                "exclude each other",
            ),
            (pv(json!({"local": {"path": "/a"}})), "/spec/nodeAffinity", "`local` needs `nodeAffinity`"),
            (pv(json!({"hostPath": {"path": "/"}, "accessModes": []})), "/spec/accessModes", "is empty"),
            (pvc(json!({"accessModes": []})), "/spec/accessModes", "is empty"),
            (pvc(json!({"resources": {}})), "/spec/resources/requests", "how much storage"),
            (
                pvc(json!({"resources": {"requests": {"cpu": "1"}}})),
                "/spec/resources/requests",
                "how much storage",
            ),
        ],
        &[pv(json!({"hostPath": {"path": "/"}})), pvc(json!({}))],
    );
}

#[test]
fn config_has_the_keys_of_its_type() {
    let secret = |kind: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web"}, "type": kind, "stringData": data});
    let config = |data: Value, binary: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": data, "binaryData": binary});
    check(
        &[
            (secret("kubernetes.io/tls", json!({"tls.crt": "a"})), "/data", "needs `tls.key`"),
            (secret("kubernetes.io/tls", json!({})), "/data", "needs `tls.crt` and `tls.key`"),
            (
                secret("kubernetes.io/dockerconfigjson", json!({"config.json": "{}"})),
                "/data",
                "`.dockerconfigjson`",
            ),
            (secret("kubernetes.io/basic-auth", json!({"user": "a"})), "/data", "`password` or `username`"),
            (
                config(json!({"a": "1"}), json!({"a": "MQ=="})),
                "/binaryData/a",
                "is in `data` and in `binaryData`",
            ),
        ],
        &[
            secret("kubernetes.io/tls", json!({"tls.crt": "a", "tls.key": ""})),
            secret("kubernetes.io/basic-auth", json!({"username": "a"})),
            secret("Opaque", json!({})),
            secret("corp.example/own", json!({})),
            config(json!({"a": "1"}), json!({"b": "MQ=="})),
        ],
    );
}

#[test]
fn workloads_select_something_and_jobs_fit_their_mode() {
    let mut empty = container(&json!({}));
    empty["spec"]["selector"] = json!({});
    let job = |more: Value| {
        let template =
            json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}]}});
        merged(json!({"template": template}), &more)
    };
    let cron = |schedule: &str| {
        named("batch/v1", "CronJob", json!({"schedule": schedule, "jobTemplate": {"spec": job(json!({}))}}))
    };
    let jobs = |more: Value| named("batch/v1", "Job", job(more));
    let set = |update: Value| {
        let mut object = container(&json!({}));
        object["kind"] = json!("StatefulSet");
        object["spec"]["serviceName"] = json!("web");
        object["spec"]["updateStrategy"] = update;
        object
    };
    check(
        &[
            (empty, "/spec/selector", "the selector is empty"),
            (cron(""), "/spec/schedule", "is empty"),
            (cron("0 0 * *"), "/spec/schedule", "it has 4 fields and not 5"),
            (cron("61 * * * *"), "/spec/schedule", "`61` is no minute"),
            (cron("TZ=UTC 0 0 * * *"), "/spec/schedule", "`timeZone`"),
            (jobs(json!({"completionMode": "Indexed"})), "/spec/completions", "needs `completions`"),
            (
                set(json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}})),
                "/spec/updateStrategy/rollingUpdate",
                "does not go with `type: OnDelete`",
            ),
        ],
        &[
            cron("*/5 * * * *"),
            cron("@hourly"),
            jobs(json!({"completionMode": "Indexed", "completions": 3})),
            set(json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})),
            set(json!({"rollingUpdate": {"partition": 1}})),
        ],
    );
}

#[test]
fn roles_and_their_bindings() {
    let rbac = |kind: &str, more: Value| {
        merged(
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "web"}}),
            &more,
        )
    };
    let rule = |kind: &str, rule: Value| rbac(kind, json!({"rules": [rule]}));
    let binding =
        |kind: &str, role: Value, subject: Value| rbac(kind, json!({"roleRef": role, "subjects": [subject]}));
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "a"});
    let account = json!({"kind": "ServiceAccount", "name": "a"});
    check(
        &[
            (
                rule("Role", json!({"apiGroups": [""], "resources": ["pods"], "verbs": []})),
                "/rules/0/verbs",
                "is empty",
            ),
            (
                rule("Role", json!({"resources": ["pods"], "verbs": ["get"]})),
                "/rules/0/apiGroups",
                "for the core group",
            ),
            (
                rule("Role", json!({"apiGroups": [""], "verbs": ["get"]})),
                "/rules/0/resources",
                "write `resources`",
            ),
            (
                rule("Role", json!({"nonResourceURLs": ["/a"], "verbs": ["get"]})),
                "/rules/0/nonResourceURLs",
                "ClusterRole",
            ),
            (
                rule(
                    "ClusterRole",
                    json!({"nonResourceURLs": ["/a"], "resources": ["pods"], "verbs": ["get"]}),
                ),
                "/rules/0/nonResourceURLs",
                "write two rules",
            ),
            (
                binding("ClusterRoleBinding", role.clone(), account.clone()),
                "/subjects/0/namespace",
                "needs its `namespace`",
            ),
            (
                binding(
                    "RoleBinding",
                    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "role", "name": "a"}),
                    account.clone(),
                ),
                "/roleRef/kind",
                "write Role or ClusterRole",
            ),
            (
                binding("RoleBinding", role.clone(), json!({"kind": "Serviceaccount", "name": "a"})),
                "/subjects/0/kind",
                "`ServiceAccount`, `User` or `Group`",
            ),
        ],
        &[
            rule("ClusterRole", json!({"nonResourceURLs": ["/a"], "verbs": ["get"]})),
            rule("Role", json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]})),
            binding("RoleBinding", role.clone(), account),
            binding(
                "ClusterRoleBinding",
                role,
                json!({"kind": "ServiceAccount", "name": "a", "namespace": "b"}),
            ),
        ],
    );
}

#[test]
fn autoscalers_name_the_metric_of_their_type() {
    let scaler = |more: Value| {
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
        named(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            merged(json!({"scaleTargetRef": target, "maxReplicas": 5}), &more),
        )
    };
    let metric = |metric: Value| scaler(json!({"metrics": [metric]}));
    let cpu = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}});
    check(
        &[
            (
                scaler(json!({"minReplicas": 6})),
                "/spec/minReplicas",
                "`minReplicas` is 6 and `maxReplicas` is 5",
            ),
            (metric(json!({"type": "Resource"})), "/spec/metrics/0/resource", "needs `resource`"),
            (
                metric(
                    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}),
                ),
                "/spec/metrics/0/resource/target",
                "neither `averageUtilization`, `averageValue` nor `value`",
            ),
        ],
        &[scaler(json!({"minReplicas": 5})), metric(json!({"type": "Resource", "resource": cpu}))],
    );
}

#[test]
fn definitions_and_webhooks() {
    let definition = |name: &str, versions: Value| {
        let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget"});
        let spec =
            json!({"group": "acme.example", "scope": "Namespaced", "names": names, "versions": versions});
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}, "spec": spec})
    };
    let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object"}}});
    let good = "widgets.acme.example";
    check(
        &[
            (
                definition("widget.acme.example", json!([version("v1", true)])),
                "/metadata/name",
                "write `widgets.acme.example`",
            ),
            (
                definition(good, json!([version("v1", false)])),
                "/spec/versions",
                "0 versions have `storage: true`",
            ),
            (
                definition(good, json!([version("v1", true), version("v2", true)])),
                "/spec/versions",
                "exactly one",
            ),
            (definition(good, json!([])), "/spec/versions", "is empty"),
            (
                definition(good, json!([{"name": "v1", "served": true, "storage": true}])),
                "/spec/versions/0/schema",
                "has no `schema`",
            ),
        ],
        &[definition(good, json!([version("v1", true), version("v2", false)]))],
    );
    let webhook = |name: &str, client: Value| {
        let hook = json!({"name": name, "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"]});
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "web"}, "webhooks": [hook]})
    };
    let service = json!({"service": {"name": "a", "namespace": "b"}});
    check(
        &[
            (webhook("web", service.clone()), "/webhooks/0/name", "at least three parts"),
            (webhook("a.b.example", json!({})), "/webhooks/0/clientConfig", "neither `service` nor `url`"),
        ],
        &[webhook("a.b.example", service)],
    );
}
