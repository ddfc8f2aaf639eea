//! Where the credentials of a target are, and what they are: who asks which API server, by what way.
//!
//! Two files that say the same lead to the same cluster as the same user, whatever they and the names in them are called.
//! Nothing is read out of a token: what it says of its owner is known to be true by the API server alone.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Config;
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use trimaran_model::text::with_sources;

/// Where the credentials of a target are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// A kubeconfig with its current context.
    File(PathBuf),
    /// The service account of the pod that this agent runs in.
    Pod,
}

/// An API server with its authority and the way to it: a hash of all that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address([u8; 32]);

/// Who asks an API server: a hash of all that is shown to it. What one identity may see, another may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) address: Address,
    user: [u8; 32],
}

/// What was read.
pub(crate) struct Found {
    pub(crate) identity: Identity,
    pub(crate) config: Config,
    pub(crate) stamps: Stamps,
}

/// Files that were read, and what changes when one is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamps(Vec<(PathBuf, Option<(SystemTime, u64)>)>);

impl Stamps {
    fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(files.into_iter().map(|file| (file.clone(), stamp(&file))).collect())
    }

    /// Whether all files are as they were.
    pub(crate) fn are_current(&self) -> bool {
        self.0.iter().all(|(file, known)| stamp(file) == *known)
    }
}

fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = file.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl Credentials {
    /// What the file itself is now, whether or not it can be used.
    pub(crate) fn stamps(&self) -> Stamps {
        match self {
            Self::File(path) => Stamps::of([path.clone()]),
            Self::Pod => Stamps(Vec::new()),
        }
    }

    /// # Errors
    /// Why they can't be used, with the file.
    pub(crate) async fn read(&self) -> Result<Found, String> {
        match self {
            Self::File(path) => of_file(path).await,
            Self::Pod => of_pod(),
        }
    }
}

async fn of_file(path: &Path) -> Result<Found, String> {
    let wrong = |error: &dyn std::error::Error| {
        format!("the kubeconfig `{}` can't be used: {}", path.display(), with_sources(error))
    };
    let own = stamp(path);
    let file = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
    let (cluster, user) = current(&file);
    // A file that changes while it is read is read again.
    let mut stamps = Stamps::of(referenced(&cluster, &user));
    stamps.0.push((path.to_owned(), own));
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(file, &options).await.map_err(|error| wrong(&error))?;
    Ok(Found { identity: identity(&cluster, &user), config, stamps })
}

fn of_pod() -> Result<Found, String> {
    let config = Config::incluster().map_err(|error| {
        format!(
            "this agent runs in no pod with a service account, and the target names no kubeconfig: {}",
            with_sources(&error)
        )
    })?;
    let address = Address(hash(&json!({"pod": config.cluster_url.to_string()})));
    let identity = Identity { address, user: hash(&json!({"pod": true})) };
    Ok(Found { identity, config, stamps: Stamps(Vec::new()) })
}

/// Cluster and user of the current context; as in any client, a user that is not there is anonymous.
fn current(file: &Kubeconfig) -> (Cluster, AuthInfo) {
    let context = file.contexts.iter().find(|it| Some(&it.name) == file.current_context.as_ref());
    let context = context.and_then(|it| it.context.as_ref());
    let cluster = context.and_then(|context| file.clusters.iter().find(|it| it.name == context.cluster));
    let user = context.and_then(|context| context.user.as_ref());
    let user = user.and_then(|user| file.auth_infos.iter().find(|it| it.name == *user));
    (
        cluster.and_then(|it| it.cluster.clone()).unwrap_or_default(),
        user.and_then(|it| it.auth_info.clone()).unwrap_or_default(),
    )
}

/// The files that a client reads once. Tokens in files are read again and again.
fn referenced(cluster: &Cluster, user: &AuthInfo) -> Vec<PathBuf> {
    let all = [&cluster.certificate_authority, &user.client_certificate, &user.client_key];
    all.into_iter().flatten().map(PathBuf::from).collect()
}

fn identity(cluster: &Cluster, user: &AuthInfo) -> Identity {
    let authority =
        content(cluster.certificate_authority_data.as_deref(), cluster.certificate_authority.as_deref());
    let address = json!({
        "server": cluster.server.as_deref().map(|url| url.trim_end_matches('/')),
        "authority": authority,
        "insecure": cluster.insecure_skip_tls_verify.unwrap_or(false),
        "name": cluster.tls_server_name,
        "proxy": cluster.proxy_url,
    });
    let mut shown = serde_json::to_value(user).expect("it was read from such a document");
    for (name, data) in [("client-certificate", "client-certificate-data"), ("client-key", "client-key-data")]
    {
        let content = content(shown[data].as_str(), shown[name].as_str());
        shown[data] = content.into();
        shown[name] = Value::Null;
    }
    // Notes of other tools.
    shown["extensions"] = Value::Null;
    Identity { address: Address(hash(&address)), user: hash(&shown) }
}

/// What a file holds, as it would stand in a kubeconfig; what stands there itself goes first.
fn content(data: Option<&str>, file: Option<&str>) -> Option<String> {
    let read = |file: &str| {
        // One that can't be read is known by its name: the client says what is wrong.
        std::fs::read(file).map_or_else(|_| format!("file {file}"), |bytes| STANDARD.encode(bytes))
    };
    data.filter(|data| !data.is_empty()).map(str::to_owned).or_else(|| file.map(read))
}

fn hash(value: &Value) -> [u8; 32] {
    let mut value = value.clone();
    value.sort_all_objects();
    digest(&SHA256, value.to_string().as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, cluster: Value, user: Value) -> PathBuf {
        let path = folder.join(name);
        // Names in the file say nothing.
        let config = json!({
            "current-context": name, "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "clusters": [{"name": "other", "cluster": {"server": "https://other:6443"}}, {"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": user}],
        });
        std::fs::write(&path, config.to_string()).expect("a file");
        path
    }

    async fn read(path: PathBuf) -> Identity {
        Credentials::File(path).read().await.expect("it can be used").identity
    }

    #[tokio::test]
    async fn credentials_are_the_same_by_what_they_are_and_by_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let server = json!({"server": "https://tokyo:6443"});
        let user = json!({"token": "t", "as": "web", "as-user-extra": {"a": ["1"], "b": ["2"], "c": ["3"]}});
        let one = read(file(folder, "one", server.clone(), user.clone())).await;
        let slash = json!({"server": "https://tokyo:6443/"});
        assert_eq!(one, read(file(folder, "two", slash, user.clone())).await, "the same under other names");
        let mut others = std::collections::BTreeSet::from([one]);
        for (place, other) in [
            (json!({"server": "https://osaka:6443"}), user.clone()),
            (json!({"server": "https://tokyo:6443", "tls-server-name": "osaka"}), user.clone()),
            (json!({"server": "https://tokyo:6443", "insecure-skip-tls-verify": true}), user.clone()),
            (json!({"server": "https://tokyo:6443", "proxy-url": "http://proxy:3128"}), user.clone()),
        ] {
            let found = read(file(folder, "place", place.clone(), other)).await;
            assert_ne!(found.address, one.address, "another server: {place}");
            assert!(others.insert(found), "{place}");
        }
        for other in [
            json!({"token": "u", "as": "web"}),
            json!({"token": "t", "as": "shop"}),
            json!({"token": "t"}),
            json!({"tokenFile": "/var/run/token"}),
            json!({"username": "web", "password": "x"}),
            json!({}),
        ] {
            let found = read(file(folder, "user", server.clone(), other.clone())).await;
            assert_eq!(found.address, one.address, "the same server: {other}");
            assert!(others.insert(found), "another user: {other}");
        }
    }

    #[test]
    fn a_certificate_is_the_same_in_a_file_and_in_the_kubeconfig() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let of = |cluster: Value, user: Value| {
            let parsed = |value| serde_json::from_value(value).expect("the shape of a kubeconfig");
            identity(&parsed(cluster), &serde_json::from_value(user).expect("so is this"))
        };
        let written = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).expect("a file");
            folder.join(name).display().to_string()
        };
        let encoded = |text: &str| STANDARD.encode(text);
        let inside = of(
            json!({"server": "https://tokyo:6443", "certificate-authority-data": encoded("ca")}),
            json!({"client-certificate-data": encoded("cert"), "client-key-data": encoded("key")}),
        );
        let beside = || {
            of(
                json!({"server": "https://tokyo:6443", "certificate-authority": written("ca", "ca")}),
                json!({"client-certificate": written("cert", "cert"), "client-key": folder.join("key")}),
            )
        };
        written("key", "key");
        assert_eq!(inside, beside());
        written("key", "another");
        let other = beside();
        assert_eq!(inside.address, other.address);
        assert_ne!(inside, other, "the file was replaced");
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let path = file(folder, "one", json!({"server": "https://tokyo:6443"}), json!({"token": "t"}));
        let found = Credentials::File(path.clone()).read().await.expect("it can be used");
        assert!(found.stamps.are_current());
        file(folder, "one", json!({"server": "https://tokyo:6443"}), json!({"token": "longer"}));
        assert!(!found.stamps.are_current());
        std::fs::remove_file(&path).expect("it is there");
        assert!(!found.stamps.are_current());
        let missing = Credentials::File(path.clone()).read().await.err().expect("it is not there");
        assert!(missing.contains("can't be used") && missing.contains("one"), "{missing}");
    }
}
