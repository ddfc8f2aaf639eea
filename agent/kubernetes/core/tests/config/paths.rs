//! Each place that holds a name of a ConfigMap or Secret is rewritten, and no other text that looks like it.

use serde_json::{Value, json};

use super::{BASE, config_map, name, object, put, rendered, secret};

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Map,
    Secret,
}
use Kind::{Map, Secret};

/// Renders an object beside a ConfigMap and a Secret of one name, and requires that the texts at these pointers
/// are rewritten, each to its kind, and that nothing else changes.
pub(super) fn check(object: &Value, expected: &[(String, Kind)]) {
    let out = rendered(vec![config_map(BASE), secret(BASE), object.clone()], None).objects;
    let (map, secret) = (name(&out[0]), name(&out[1]));
    assert!(map.starts_with("app-") && secret.starts_with("app-") && map != secret);
    let mut wanted = object.clone();
    for (pointer, kind) in expected {
        let old = wanted.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")).as_str().expect("a text");
        let new = old.replace(BASE, if matches!(kind, Map) { &map } else { &secret });
        put(&mut wanted, pointer, new.into());
    }
    assert_eq!(out[2], wanted, "{}", object["kind"]);
}

fn pointers(prefix: &str, places: &[(&str, Kind)]) -> Vec<(String, Kind)> {
    places.iter().map(|(pointer, kind)| (format!("{prefix}{pointer}"), *kind)).collect()
}

/// Every path of a pod spec, and look-alikes around them.
fn pod_spec() -> Value {
    let container = json!({
        "name": "app", "image": "app", "command": ["app"], "args": ["app", "--config=app"], "workingDir": "app",
        "env": [
            {"name": "app", "value": "app"},
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "app"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "app", "key": "app", "optional": true}}},
            {"name": "C", "valueFrom": {"fileKeyRef": {"volumeName": "app", "path": "app", "key": "app"}}},
            {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "app"}}},
            {"name": "E", "valueFrom": {"resourceFieldRef": {"containerName": "app", "resource": "app"}}},
        ],
        "envFrom": [{"prefix": "app", "configMapRef": {"name": "app"}}, {"secretRef": {"name": "app"}}],
        "volumeMounts": [{"name": "app", "mountPath": "app", "subPath": "app"}],
    });
    json!({
        "serviceAccountName": "app", "hostname": "app", "schedulerName": "app", "priorityClassName": "app",
        "runtimeClassName": "app", "nodeName": "app", "nodeSelector": {"app": "app"},
        "containers": [container], "initContainers": [container], "ephemeralContainers": [container],
        "imagePullSecrets": [{"name": "app"}],
        "resourceClaims": [{"name": "app", "resourceClaimName": "app"}],
        "volumes": [
            {"name": "app", "configMap": {"name": "app", "items": [{"key": "app", "path": "app"}]}},
            {"name": "app", "secret": {"secretName": "app", "items": [{"key": "app", "path": "app"}]}},
            {"name": "app", "projected": {"sources": [
                {"configMap": {"name": "app"}}, {"secret": {"name": "app"}},
                {"clusterTrustBundle": {"name": "app", "signerName": "app", "path": "app"}},
                {"podCertificate": {"signerName": "app", "keyType": "app"}},
                {"serviceAccountToken": {"path": "app", "audience": "app"}},
            ]}},
            {"name": "app", "csi": {"driver": "app", "nodePublishSecretRef": {"name": "app"}}},
            {"name": "app", "azureFile": {"secretName": "app", "shareName": "app"}},
            {"name": "app", "cephfs": {"secretRef": {"name": "app"}}},
            {"name": "app", "cinder": {"secretRef": {"name": "app"}, "volumeID": "app"}},
            {"name": "app", "flexVolume": {"secretRef": {"name": "app"}, "driver": "app"}},
            {"name": "app", "iscsi": {"secretRef": {"name": "app"}, "iqn": "app"}},
            {"name": "app", "rbd": {"secretRef": {"name": "app"}, "pool": "app"}},
            {"name": "app", "scaleIO": {"secretRef": {"name": "app"}, "volumeName": "app"}},
            {"name": "app", "storageos": {"secretRef": {"name": "app"}, "volumeName": "app"}},
            {"name": "app", "persistentVolumeClaim": {"claimName": "app"}},
            {"name": "app", "image": {"reference": "app"}},
            {"name": "app", "hostPath": {"path": "app"}},
            {"name": "app", "ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "app"}}}},
        ],
    })
}

const POD_PLACES: &[(&str, Kind)] = &[
    ("/containers/0/env/1/valueFrom/configMapKeyRef/name", Map),
    ("/containers/0/env/2/valueFrom/secretKeyRef/name", Secret),
    ("/containers/0/envFrom/0/configMapRef/name", Map),
    ("/containers/0/envFrom/1/secretRef/name", Secret),
    ("/initContainers/0/env/1/valueFrom/configMapKeyRef/name", Map),
    ("/initContainers/0/env/2/valueFrom/secretKeyRef/name", Secret),
    ("/initContainers/0/envFrom/0/configMapRef/name", Map),
    ("/initContainers/0/envFrom/1/secretRef/name", Secret),
    ("/imagePullSecrets/0/name", Secret),
    ("/volumes/0/configMap/name", Map),
    ("/volumes/1/secret/secretName", Secret),
    ("/volumes/2/projected/sources/0/configMap/name", Map),
    ("/volumes/2/projected/sources/1/secret/name", Secret),
    ("/volumes/3/csi/nodePublishSecretRef/name", Secret),
    ("/volumes/4/azureFile/secretName", Secret),
    ("/volumes/5/cephfs/secretRef/name", Secret),
    ("/volumes/6/cinder/secretRef/name", Secret),
    ("/volumes/7/flexVolume/secretRef/name", Secret),
    ("/volumes/8/iscsi/secretRef/name", Secret),
    ("/volumes/9/rbd/secretRef/name", Secret),
    ("/volumes/10/scaleIO/secretRef/name", Secret),
    ("/volumes/11/storageos/secretRef/name", Secret),
];

#[test]
fn pod_specs_of_every_workload() {
    let workloads = [
        ("v1", "Pod", "/spec"),
        ("v1", "PodTemplate", "/template/spec"),
        ("v1", "ReplicationController", "/spec/template/spec"),
        ("apps/v1", "Deployment", "/spec/template/spec"),
        ("apps/v1", "ReplicaSet", "/spec/template/spec"),
        ("apps/v1", "StatefulSet", "/spec/template/spec"),
        ("apps/v1", "DaemonSet", "/spec/template/spec"),
        ("apps/v1beta2", "Deployment", "/spec/template/spec"),
        ("batch/v1", "Job", "/spec/template/spec"),
        ("batch/v1", "CronJob", "/spec/jobTemplate/spec/template/spec"),
        ("argoproj.io/v1alpha1", "Rollout", "/spec/template/spec"),
        ("serving.knative.dev/v1", "Service", "/spec/template/spec"),
        ("apps.kruise.io/v1alpha1", "CloneSet", "/spec/template/spec"),
        ("apps.openshift.io/v1", "DeploymentConfig", "/spec/template/spec"),
        ("jobset.x-k8s.io/v1alpha2", "JobSet", "/spec/replicatedJobs/1/template/spec/template/spec"),
        ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "/spec/leaderWorkerTemplate/leaderTemplate/spec"),
        ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "/spec/leaderWorkerTemplate/workerTemplate/spec"),
        ("kubeflow.org/v1", "PyTorchJob", "/spec/pytorchReplicaSpecs/Master/template/spec"),
        ("kubeflow.org/v1", "TFJob", "/spec/tfReplicaSpecs/Worker/template/spec"),
        ("kubeflow.org/v2beta1", "MPIJob", "/spec/mpiReplicaSpecs/Launcher/template/spec"),
        ("trainer.kubeflow.org/v1alpha1", "TrainJob", "/spec/podTemplateOverrides/0/spec"),
        ("batch.volcano.sh/v1alpha1", "Job", "/spec/tasks/0/template/spec"),
        ("ray.io/v1", "RayJob", "/spec/rayClusterSpec/workerGroupSpecs/0/template/spec"),
        ("flink.apache.org/v1beta1", "FlinkDeployment", "/spec/podTemplate/spec"),
        ("flink.apache.org/v1beta1", "FlinkDeployment", "/spec/taskManager/podTemplate/spec"),
        ("sparkoperator.k8s.io/v1beta2", "SparkApplication", "/spec/driver/template/spec"),
        ("keda.sh/v1alpha1", "ScaledJob", "/spec/jobTargetRef/template/spec"),
        ("monitoring.coreos.com/v1", "Prometheus", "/spec"),
        ("monitoring.coreos.com/v1", "Alertmanager", "/spec"),
        ("elasticsearch.k8s.elastic.co/v1", "Elasticsearch", "/spec/nodeSets/0/podTemplate/spec"),
    ];
    for (version, kind, spec) in workloads {
        let mut it = object(version, kind, spec, pod_spec());
        it["metadata"] = json!({"name": "app", "labels": {"app": "app"}, "annotations": {"app": "app"}});
        check(&it, &pointers(spec, POD_PLACES));
    }
}

#[test]
fn a_pod_spec_in_a_kind_without_a_rule_is_left_alone() {
    check(&object("example.com/v1", "Workload", "/spec/template/spec", pod_spec()), &[]);
    check(&object("example.com/v1", "Deployment", "/spec/template/spec", pod_spec()), &[]);
    check(&object("v1", "Deployment", "/spec/template/spec", pod_spec()), &[]);
}

#[test]
fn places_outside_of_pods() {
    let rows: &[(&str, &str, &str, &str, Kind)] = &[
        ("v1", "ServiceAccount", "/imagePullSecrets/0/name", "app", Secret),
        ("v1", "ServiceAccount", "/secrets/0/name", "app", Secret),
        ("networking.k8s.io/v1", "Ingress", "/spec/tls/0/secretName", "app", Secret),
        ("extensions/v1beta1", "Ingress", "/spec/tls/0/secretName", "app", Secret),
        (
            "networking.k8s.io/v1",
            "Ingress",
            "/metadata/annotations/nginx.ingress.kubernetes.io~1auth-secret",
            "app",
            Secret,
        ),
        (
            "networking.k8s.io/v1",
            "Ingress",
            "/metadata/annotations/nginx.org~1basic-auth-secret",
            "app",
            Secret,
        ),
        (
            "gateway.networking.k8s.io/v1",
            "Gateway",
            "/spec/listeners/0/tls/certificateRefs/0/name",
            "app",
            Secret,
        ),
        ("v1", "PersistentVolume", "/spec/azureFile/secretName", "app", Secret),
        ("v1", "PersistentVolume", "/spec/csi/nodeStageSecretRef/name", "app", Secret),
        ("v1", "PersistentVolume", "/spec/rbd/secretRef/name", "app", Secret),
        (
            "storage.k8s.io/v1",
            "StorageClass",
            "/parameters/csi.storage.k8s.io~1provisioner-secret-name",
            "app",
            Secret,
        ),
        ("storage.k8s.io/v1", "StorageClass", "/parameters/adminSecretName", "app", Secret),
        (
            "snapshot.storage.k8s.io/v1",
            "VolumeSnapshotClass",
            "/parameters/csi.storage.k8s.io~1snapshotter-secret-name",
            "app",
            Secret,
        ),
        ("monitoring.coreos.com/v1", "Prometheus", "/spec/secrets/0", "app", Secret),
        ("monitoring.coreos.com/v1", "Prometheus", "/spec/configMaps/0", "app", Map),
        ("monitoring.coreos.com/v1", "Prometheus", "/spec/additionalScrapeConfigs/name", "app", Secret),
        (
            "monitoring.coreos.com/v1",
            "ServiceMonitor",
            "/spec/endpoints/0/basicAuth/username/name",
            "app",
            Secret,
        ),
        (
            "monitoring.coreos.com/v1",
            "ServiceMonitor",
            "/spec/endpoints/0/tlsConfig/ca/configMap/name",
            "app",
            Map,
        ),
        ("sparkoperator.k8s.io/v1beta2", "SparkApplication", "/spec/driver/configMaps/0/name", "app", Map),
        (
            "sparkoperator.k8s.io/v1beta2",
            "SparkApplication",
            "/spec/executor/envSecretKeyRefs/X/name",
            "app",
            Secret,
        ),
        ("sparkoperator.k8s.io/v1beta2", "SparkApplication", "/spec/sparkConfigMap", "app", Map),
        (
            "argoproj.io/v1alpha1",
            "Workflow",
            "/spec/templates/0/container/envFrom/0/secretRef/name",
            "app",
            Secret,
        ),
        (
            "argoproj.io/v1alpha1",
            "CronWorkflow",
            "/spec/workflowSpec/templates/0/script/env/0/valueFrom/configMapKeyRef/name",
            "app",
            Map,
        ),
        ("cert-manager.io/v1", "Issuer", "/spec/ca/secretName", "app", Secret),
        (
            "cert-manager.io/v1",
            "ClusterIssuer",
            "/spec/acme/solvers/0/dns01/cloudflare/apiTokenSecretRef/name",
            "app",
            Secret,
        ),
        ("projectcontour.io/v1", "HTTPProxy", "/spec/virtualhost/tls/secretName", "app", Secret),
        ("keda.sh/v1alpha1", "TriggerAuthentication", "/spec/secretTargetRef/0/name", "app", Secret),
        ("source.toolkit.fluxcd.io/v1", "GitRepository", "/spec/secretRef/name", "app", Secret),
    ];
    for (version, kind, pointer, text, expected) in rows {
        check(&object(version, kind, pointer, json!(text)), &[((*pointer).to_owned(), *expected)]);
    }
}

#[test]
fn look_alikes_outside_of_pods() {
    let rows: &[(&str, &str, &str)] = &[
        ("v1", "Service", "/spec/selector/app"),
        ("v1", "ServiceAccount", "/metadata/labels/app"),
        ("v1", "PersistentVolumeClaim", "/spec/volumeName"),
        ("autoscaling/v2", "HorizontalPodAutoscaler", "/spec/scaleTargetRef/name"),
        ("networking.k8s.io/v1", "Ingress", "/spec/rules/0/http/paths/0/backend/service/name"),
        ("networking.k8s.io/v1", "Ingress", "/spec/ingressClassName"),
        ("networking.k8s.io/v1", "Ingress", "/metadata/annotations/nginx.ingress.kubernetes.io~1auth-realm"),
        ("apps/v1", "StatefulSet", "/spec/serviceName"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", "/roleRef/name"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", "/subjects/0/name"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", "/spec/rules/0/backendRefs/0/name"),
        ("gateway.networking.k8s.io/v1", "Gateway", "/spec/gatewayClassName"),
        ("example.com/v1", "Thing", "/spec/configMapRef/name"),
        ("example.com/v1", "Thing", "/spec/secretName"),
        ("flink.apache.org/v1beta1", "FlinkDeployment", "/spec/job/jarURI"),
        ("v1", "Pod", "/spec/containers/0/env/0/valueFrom/configMapKeyRef/key"),
    ];
    for (version, kind, pointer) in rows {
        check(&object(version, kind, pointer, json!(BASE)), &[]);
    }
}

#[test]
fn names_count_as_a_whole() {
    for text in ["app-2", "my-app", "APP", "app.", " app", "app ", "default/app", ""] {
        check(&object("v1", "ServiceAccount", "/imagePullSecrets/0/name", json!(text)), &[]);
    }
    for value in [json!(7), json!(null), json!(["app"]), json!({"name": "app"})] {
        check(&object("v1", "ServiceAccount", "/imagePullSecrets/0/name", value), &[]);
    }
}

#[test]
fn words_beside_a_name_decide_what_is_meant() {
    let gateway = |refs: Value| {
        object("gateway.networking.k8s.io/v1", "Gateway", "/spec/listeners/0/tls/certificateRefs", refs)
    };
    let place = "/spec/listeners/0/tls/certificateRefs/0/name".to_owned();
    check(&gateway(json!([{"kind": "Secret", "group": "", "name": "app"}])), &[(place, Secret)]);
    check(&gateway(json!([{"kind": "Other", "name": "app"}])), &[]);
    check(&gateway(json!([{"kind": "Secret", "group": "example.com", "name": "app"}])), &[]);
    check(&gateway(json!([{"name": "app", "namespace": "elsewhere"}])), &[]);
    let policy = |reference: Value| {
        object(
            "gateway.networking.k8s.io/v1",
            "BackendTLSPolicy",
            "/spec/validation/caCertificateRefs/0",
            reference,
        )
    };
    let place = "/spec/validation/caCertificateRefs/0/name".to_owned();
    check(&policy(json!({"kind": "ConfigMap", "group": "", "name": "app"})), &[(place, Map)]);
    check(&policy(json!({"name": "app"})), &[]);
    let release = |kind: &str| {
        object(
            "helm.toolkit.fluxcd.io/v2",
            "HelmRelease",
            "/spec/valuesFrom/0",
            json!({"kind": kind, "name": "app"}),
        )
    };
    check(&release("ConfigMap"), &[("/spec/valuesFrom/0/name".to_owned(), Map)]);
    check(&release("Secret"), &[("/spec/valuesFrom/0/name".to_owned(), Secret)]);
}

#[test]
fn qualified_names_keep_their_namespace() {
    let ingress = |text: &str| {
        let mut it = object(
            "networking.k8s.io/v1",
            "Ingress",
            "/metadata/annotations/nginx.ingress.kubernetes.io~1auth-tls-secret",
            json!(text),
        );
        it["metadata"]["namespace"] = "shop".into();
        it
    };
    let set = |text: &str, namespace: Option<&str>| {
        let out = rendered(vec![secret(BASE), ingress(text)], namespace).objects;
        let key = "nginx.ingress.kubernetes.io/auth-tls-secret";
        (name(&out[0]), out[1]["metadata"]["annotations"][key].as_str().unwrap().to_owned())
    };
    let (new, text) = set("shop/app", Some("shop"));
    assert_eq!(text, format!("shop/{new}"));
    let (new, text) = set("app", Some("shop"));
    assert_eq!(text, new);
    assert_eq!(set("other/app", Some("shop")).1, "other/app");
    assert_eq!(set("shop/app", Some("default")).1, "shop/app");
    assert_eq!(set("shop/app/x", Some("shop")).1, "shop/app/x");
}

#[test]
fn names_that_controllers_write_are_kept() {
    let outputs = [
        ("cert-manager.io/v1", "Certificate", "/spec/secretName"),
        ("cert-manager.io/v1", "Issuer", "/spec/acme/privateKeySecretRef/name"),
        ("external-secrets.io/v1", "ExternalSecret", "/spec/target/name"),
        ("bitnami.com/v1alpha1", "SealedSecret", "/metadata/name"),
        ("kafka.strimzi.io/v1beta2", "KafkaUser", "/metadata/name"),
    ];
    for (version, kind, pointer) in outputs {
        let it = object(version, kind, pointer, json!(BASE));
        let ingress = object("networking.k8s.io/v1", "Ingress", "/spec/tls/0/secretName", json!(BASE));
        // Without the Secret in the set there is nothing to name.
        let alone = vec![it.clone(), ingress.clone()];
        assert_eq!(rendered(alone.clone(), None).objects, alone);
        // With it, the name is the controller's.
        let out = rendered(vec![secret(BASE), it.clone(), ingress.clone()], None);
        assert_eq!(out.objects, [secret(BASE), it, ingress]);
        assert!(out.findings[0].message.contains("keeps its name"), "{:?}", out.findings);
    }
}
