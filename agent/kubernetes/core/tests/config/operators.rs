//! Places of references in custom resources, written out by hand: what the rows of `references/` must at least have.

use serde_json::json;

use super::BASE;
use super::object;
use super::paths::Kind::{self, Map, Secret};
use super::paths::check;

const PLACES: &[(&str, &str, &str, Kind)] = &[
    ("rabbitmq.com/v1beta1", "User", "/spec/importCredentialsSecret/name", Secret),
    (
        "argoproj.io/v1alpha1",
        "Workflow",
        "/spec/templates/0/synchronization/semaphores/0/configMapKeyRef/name",
        Map,
    ),
    (
        "argoproj.io/v1alpha1",
        "Workflow",
        "/spec/templates/0/inputs/artifacts/0/s3/accessKeySecret/name",
        Secret,
    ),
    (
        "argoproj.io/v1alpha1",
        "Workflow",
        "/spec/templates/0/inputs/artifacts/0/git/passwordSecret/name",
        Secret,
    ),
    (
        "argoproj.io/v1alpha1",
        "Workflow",
        "/spec/templates/0/outputs/artifacts/0/gcs/serviceAccountKeySecret/name",
        Secret,
    ),
    ("argoproj.io/v1alpha1", "Workflow", "/spec/artifactRepositoryRef/configMap", Map),
    (
        "argoproj.io/v1alpha1",
        "Workflow",
        "/spec/templates/0/http/headers/0/valueFrom/secretKeyRef/name",
        Secret,
    ),
    (
        "argoproj.io/v1alpha1",
        "Experiment",
        "/spec/templates/0/template/spec/volumes/0/secret/secretName",
        Secret,
    ),
    ("postgresql.cnpg.io/v1", "Cluster", "/spec/bootstrap/initdb/postInitSQLRefs/secretRefs/0/name", Secret),
    ("postgresql.cnpg.io/v1", "Cluster", "/spec/bootstrap/recovery/secret/name", Secret),
    ("postgresql.cnpg.io/v1", "Cluster", "/spec/externalClusters/0/sslRootCert/name", Secret),
    (
        "postgresql.cnpg.io/v1",
        "Cluster",
        "/spec/externalClusters/0/barmanObjectStore/s3Credentials/accessKeyId/name",
        Secret,
    ),
    ("postgresql.cnpg.io/v1", "Cluster", "/spec/backup/barmanObjectStore/endpointCA/name", Secret),
    (
        "postgresql.cnpg.io/v1",
        "Cluster",
        "/spec/backup/barmanObjectStore/googleCredentials/applicationCredentials/name",
        Secret,
    ),
    (
        "postgresql.cnpg.io/v1",
        "Cluster",
        "/spec/backup/barmanObjectStore/azureCredentials/storageKey/name",
        Secret,
    ),
    ("postgresql.cnpg.io/v1", "Cluster", "/spec/certificates/serverTLSSecret", Secret),
    ("postgresql.cnpg.io/v1", "Cluster", "/spec/certificates/clientCASecret", Secret),
    ("postgresql.cnpg.io/v1", "Cluster", "/spec/env/0/valueFrom/secretKeyRef/name", Secret),
    ("postgresql.cnpg.io/v1", "Cluster", "/spec/envFrom/0/configMapRef/name", Map),
    ("postgresql.cnpg.io/v1", "Cluster", "/spec/projectedVolumeTemplate/sources/0/secret/name", Secret),
    ("postgresql.cnpg.io/v1", "Cluster", "/spec/postgresql/ldap/bindSearchAuth/bindPassword/name", Secret),
    ("postgresql.cnpg.io/v1", "Pooler", "/spec/pgbouncer/authQuerySecret/name", Secret),
    ("postgresql.cnpg.io/v1", "Pooler", "/spec/template/spec/containers/0/envFrom/0/secretRef/name", Secret),
    ("source.toolkit.fluxcd.io/v1", "HelmChart", "/spec/verify/secretRef/name", Secret),
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "/spec/kubeConfig/configMapRef/name", Map),
    ("helm.toolkit.fluxcd.io/v2", "HelmRelease", "/spec/chart/spec/verify/secretRef/name", Secret),
    ("image.toolkit.fluxcd.io/v1", "ImageRepository", "/spec/secretRef/name", Secret),
    ("image.toolkit.fluxcd.io/v1", "ImageRepository", "/spec/certSecretRef/name", Secret),
    ("image.toolkit.fluxcd.io/v1", "ImageRepository", "/spec/proxySecretRef/name", Secret),
    (
        "image.toolkit.fluxcd.io/v1",
        "ImageUpdateAutomation",
        "/spec/git/commit/signingKey/secretRef/name",
        Secret,
    ),
    ("networking.istio.io/v1", "Gateway", "/spec/servers/0/tls/credentialNames/0", Secret),
    (
        "networking.istio.io/v1",
        "DestinationRule",
        "/spec/trafficPolicy/portLevelSettings/0/tls/credentialName",
        Secret,
    ),
    ("networking.istio.io/v1", "DestinationRule", "/spec/subsets/0/trafficPolicy/tls/credentialName", Secret),
    ("extensions.istio.io/v1alpha1", "WasmPlugin", "/spec/imagePullSecret", Secret),
    ("monitoring.coreos.com/v1", "Prometheus", "/spec/scrapeClasses/0/tlsConfig/keySecret/name", Secret),
    (
        "monitoring.coreos.com/v1",
        "Alertmanager",
        "/spec/alertmanagerConfiguration/global/smtp/authPassword/name",
        Secret,
    ),
    (
        "monitoring.coreos.com/v1",
        "Alertmanager",
        "/spec/alertmanagerConfiguration/global/slackApiUrl/name",
        Secret,
    ),
    ("monitoring.coreos.com/v1alpha1", "ScrapeConfig", "/spec/consulSDConfigs/0/tokenRef/name", Secret),
    ("monitoring.coreos.com/v1alpha1", "ScrapeConfig", "/spec/ec2SDConfigs/0/secretKey/name", Secret),
    (
        "kafka.strimzi.io/v1beta2",
        "Kafka",
        "/spec/entityOperator/topicOperator/logging/valueFrom/configMapKeyRef/name",
        Map,
    ),
    ("kafka.strimzi.io/v1beta2", "Kafka", "/spec/kafka/template/pod/imagePullSecrets/0/name", Secret),
    (
        "kafka.strimzi.io/v1beta2",
        "Kafka",
        "/spec/kafka/template/kafkaContainer/env/0/valueFrom/secretKeyRef/name",
        Secret,
    ),
    (
        "kafka.strimzi.io/v1beta2",
        "Kafka",
        "/spec/kafkaExporter/template/container/env/0/valueFrom/configMapKeyRef/name",
        Map,
    ),
    (
        "kafka.strimzi.io/v1beta2",
        "Kafka",
        "/spec/kafka/listeners/0/authentication/tlsTrustedCertificates/0/secretName",
        Secret,
    ),
    (
        "kafka.strimzi.io/v1beta2",
        "Kafka",
        "/spec/kafka/listeners/0/authentication/clientSecret/secretName",
        Secret,
    ),
    (
        "kafka.strimzi.io/v1beta2",
        "KafkaUser",
        "/spec/authentication/password/valueFrom/secretKeyRef/name",
        Secret,
    ),
    ("kafka.strimzi.io/v1beta2", "KafkaConnect", "/spec/build/output/pushSecret", Secret),
    (
        "kafka.strimzi.io/v1beta2",
        "KafkaMirrorMaker2",
        "/spec/clusters/0/tls/trustedCertificates/0/secretName",
        Secret,
    ),
    (
        "kafka.strimzi.io/v1beta2",
        "KafkaMirrorMaker2",
        "/spec/clusters/0/authentication/passwordSecret/secretName",
        Secret,
    ),
    ("kafka.strimzi.io/v1beta2", "KafkaBridge", "/spec/tls/trustedCertificates/0/secretName", Secret),
    (
        "kafka.strimzi.io/v1beta2",
        "KafkaNodePool",
        "/spec/template/kafkaContainer/env/0/valueFrom/secretKeyRef/name",
        Secret,
    ),
    ("traefik.io/v1alpha1", "ServersTransport", "/spec/rootCAs/0/configMap", Map),
    (
        "argoproj.io/v1alpha1",
        "Workflow",
        "/spec/templates/0/steps/0/0/inline/container/env/0/valueFrom/secretKeyRef/name",
        Secret,
    ),
    (
        "argoproj.io/v1alpha1",
        "Workflow",
        "/spec/arguments/artifacts/0/http/auth/basicAuth/passwordSecret/name",
        Secret,
    ),
    (
        "argoproj.io/v1alpha1",
        "CronWorkflow",
        "/spec/workflowSpec/synchronization/semaphore/configMapKeyRef/name",
        Map,
    ),
    (
        "argoproj.io/v1alpha1",
        "AnalysisTemplate",
        "/spec/metrics/0/provider/job/spec/template/spec/containers/0/envFrom/0/secretRef/name",
        Secret,
    ),
    (
        "cert-manager.io/v1",
        "Issuer",
        "/spec/acme/solvers/0/dns01/route53/secretAccessKeySecretRef/name",
        Secret,
    ),
    ("cert-manager.io/v1", "Issuer", "/spec/vault/caBundleSecretRef/name", Secret),
    ("external-secrets.io/v1", "SecretStore", "/spec/provider/vault/auth/appRole/secretRef/name", Secret),
    ("external-secrets.io/v1", "ExternalSecret", "/spec/target/template/templateFrom/0/configMap/name", Map),
    (
        "generators.external-secrets.io/v1alpha1",
        "ECRAuthorizationToken",
        "/spec/auth/secretRef/accessKeyIDSecretRef/name",
        Secret,
    ),
    (
        "keda.sh/v1alpha1",
        "TriggerAuthentication",
        "/spec/azureKeyVault/credentials/clientSecret/valueFrom/secretKeyRef/name",
        Secret,
    ),
    ("projectcontour.io/v1", "HTTPProxy", "/spec/virtualhost/tls/clientValidation/crlSecret", Secret),
    ("elasticsearch.k8s.elastic.co/v1", "Elasticsearch", "/spec/auth/fileRealm/0/secretName", Secret),
    (
        "elasticsearch.k8s.elastic.co/v1",
        "Elasticsearch",
        "/spec/transport/tls/certificateAuthorities/configMapName",
        Map,
    ),
    ("logstash.k8s.elastic.co/v1alpha1", "Logstash", "/spec/pipelinesRef/secretName", Secret),
    ("rabbitmq.com/v1beta1", "Queue", "/spec/rabbitmqClusterReference/connectionSecret/name", Secret),
    ("rabbitmq.com/v1beta1", "Shovel", "/spec/uriSecret/name", Secret),
    ("rabbitmq.com/v1beta1", "RabbitmqCluster", "/spec/secretBackend/externalSecret/name", Secret),
    ("minio.min.io/v2", "Tenant", "/spec/users/0/name", Secret),
    ("minio.min.io/v2", "Tenant", "/spec/kes/kesSecret/name", Secret),
    (
        "ray.io/v1",
        "RayCluster",
        "/spec/gcsFaultToleranceOptions/redisPassword/valueFrom/secretKeyRef/name",
        Secret,
    ),
    ("trainer.kubeflow.org/v1alpha1", "TrainJob", "/spec/initializer/dataset/secretRef/name", Secret),
    ("serving.knative.dev/v1beta1", "DomainMapping", "/spec/tls/secretName", Secret),
    ("opentelemetry.io/v1alpha1", "Instrumentation", "/spec/exporter/tls/configMapName", Map),
    ("monitoring.coreos.com/v1", "ServiceMonitor", "/spec/endpoints/0/oauth2/clientId/configMap/name", Map),
    ("monitoring.coreos.com/v1", "Prometheus", "/spec/remoteWrite/0/azureAd/oauth/clientSecret/name", Secret),
    (
        "monitoring.coreos.com/v1alpha1",
        "AlertmanagerConfig",
        "/spec/receivers/0/telegramConfigs/0/botToken/name",
        Secret,
    ),
    (
        "tekton.dev/v1",
        "PipelineRun",
        "/spec/pipelineSpec/finally/0/taskSpec/steps/0/env/0/valueFrom/configMapKeyRef/name",
        Map,
    ),
    (
        "apps.kruise.io/v1alpha1",
        "UnitedDeployment",
        "/spec/template/cloneSetTemplate/spec/template/spec/volumes/0/configMap/name",
        Map,
    ),
    ("pkg.crossplane.io/v1", "Provider", "/spec/packagePullSecrets/0/name", Secret),
    ("aws.upbound.io/v1beta1", "ProviderConfig", "/spec/credentials/secretRef/name", Secret),
    ("traefik.io/v1alpha1", "ServersTransportTCP", "/spec/tls/rootCAsSecrets/0", Secret),
    (
        "kafka.strimzi.io/v1",
        "KafkaMirrorMaker2",
        "/spec/mirrors/0/source/authentication/passwordSecret/secretName",
        Secret,
    ),
];

#[test]
fn names_follow_in_every_place() {
    for (version, kind, pointer, expected) in PLACES {
        check(&object(version, kind, pointer, json!(BASE)), &[((*pointer).to_owned(), *expected)]);
    }
}

#[test]
fn a_kind_or_type_beside_the_name_decides() {
    let place = "/spec/infrastructure/parametersRef";
    for (kind, expected) in [("ConfigMap", Map), ("Secret", Secret)] {
        let reference = json!({"group": "", "kind": kind, "name": BASE});
        let gateway = object("gateway.networking.k8s.io/v1", "Gateway", place, reference);
        check(&gateway, &[(format!("{place}/name"), expected)]);
        let provider = "/spec/provider/vault/caProvider";
        let reference = json!({"type": kind, "name": BASE, "key": "ca.crt"});
        let store = object("external-secrets.io/v1", "SecretStore", provider, reference);
        check(&store, &[(format!("{provider}/name"), expected)]);
    }
    let reference = json!({"group": "example.com", "kind": "ConfigMap", "name": BASE});
    check(&object("gateway.networking.k8s.io/v1", "Gateway", place, reference), &[]);
}

#[test]
fn names_of_other_things_stay() {
    for (version, kind, pointer) in [
        ("external-secrets.io/v1", "ExternalSecret", "/spec/secretStoreRef/name"),
        ("external-secrets.io/v1", "ExternalSecret", "/spec/dataFrom/0/sourceRef/storeRef/name"),
        ("external-secrets.io/v1", "ExternalSecret", "/spec/data/0/remoteRef/key"),
        ("external-secrets.io/v1", "ClusterExternalSecret", "/spec/externalSecretName"),
        ("keda.sh/v1alpha1", "TriggerAuthentication", "/spec/awsSecretManager/secrets/0/name"),
        ("kafka.strimzi.io/v1beta2", "Kafka", "/spec/kafka/listeners/0/name"),
        ("postgresql.cnpg.io/v1", "Cluster", "/spec/externalClusters/0/name"),
        ("argoproj.io/v1alpha1", "Workflow", "/spec/templates/0/name"),
        ("monitoring.coreos.com/v1", "Prometheus", "/spec/remoteWrite/0/name"),
    ] {
        check(&object(version, kind, pointer, json!(BASE)), &[]);
    }
}
