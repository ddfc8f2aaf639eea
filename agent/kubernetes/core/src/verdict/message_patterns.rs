//! What messages of kubelets, runtimes, registries and admission mean.
//!
//! Kubernetes gives some causes only in prose. Each table lists the phrases that were seen and the function
//! above it says which table wins when a text has phrases of two. Names that users chose (images, volumes,
//! webhooks) are cut out first, so that an image called `timeout` is no timeout.

/// Why an image can't be pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageTrouble {
    /// It does not exist or may not be pulled: trying again does not help.
    Final,
    /// The registry or the way to it is in trouble, or the node can't unpack what it got.
    Transient,
    /// The text has no cause: `Back-off pulling image`.
    Unspecified,
}

const IMAGE_TRANSIENT: &[&str] = &[
    "timeout",
    "timed out",
    "deadline exceeded",
    "deadlineexceeded",
    "resourceexhausted",
    "toomanyrequests",
    "too many requests",
    "rate limit",
    "rate exceeded",
    "quota exceeded",
    "qps exceeded",
    "internal server error",
    "bad gateway",
    "service unavailable",
    "gateway time-out",
    "gateway timeout",
    "unavailable",
    "x509",
    "certificate",
    "tls:",
    "tls handshake",
    "handshake failure",
    "connection refused",
    "connection reset",
    "broken pipe",
    "no such host",
    "server misbehaving",
    "temporary failure",
    "network is unreachable",
    "no route to host",
    "unexpected eof",
    ": eof",
    "no space left",
    "context canceled",
    "i/o error",
    "input/output error",
    "http response to https client",
];

/// Words of layers, snapshots, content stores, mounts and disks: the registry gave the image, and the node could not
/// unpack it. "not found" and "permission denied" beside them are about files of the node.
const IMAGE_NODE: &[&str] = &[
    "extract layer",
    "extraction snapshot",
    "snapshotter",
    "parent snapshot",
    "snapshot ",
    "content store",
    "content digest",
    "ingest",
    "unpack image on",
    "register layer",
    "applying layer",
    "apply layer",
    "adding layer",
    "storing layer",
    "storing blob",
    "committing",
    "failed commit",
    "failed to commit",
    "layer not known",
    "layer does not exist",
    "layer from the store",
    "image not known",
    "overlay",
    "mount callback",
    "failed to mount",
    "mount options",
    "processing tar file",
    "lease does not exist",
    "lease not found",
    "lchown",
    "unlinkat",
    "mkdir",
    "chmod",
    "disk quota",
    "read-only file system",
    "readonly filesystem",
    "structure needs cleaning",
    "device or resource busy",
    "too many open files",
    "cannot allocate memory",
    "containerd.sock",
    "crio.sock",
    // A system call with a path, which is cut out before.
    "open :",
    "write :",
    "rename :",
    "remove :",
    "unlink :",
    "link :",
    "symlink :",
    "stat :",
    "chown :",
];

/// Codes that a registry answers with, after one of the words that introduce a code.
const CODE_TRANSIENT: &[&str] = &["408", "429", "500", "502", "503", "504"];
const CODE_FINAL: &[&str] = &["401", "403", "404"];

const IMAGE_FINAL: &[&str] = &[
    "not found",
    "notfound",
    "manifest unknown",
    "manifest_unknown",
    "name unknown",
    "name_unknown",
    "does not exist",
    "unauthorized",
    "denied",
    "forbidden",
    "authentication required",
    "authorization failed",
    "insufficient_scope",
    "no basic auth credentials",
    "invalid username/password",
    "incorrect username or password",
    "invalid reference format",
    "no match for platform",
    "no image found in manifest list for architecture",
    "not available for the requested platform",
    "signature",
];

/// Passing trouble wins: a text with both means a registry that could not be asked, or a node that could not unpack.
pub(super) fn image_trouble(text: &str, image: &str) -> ImageTrouble {
    let text = without_names(text, image);
    if has(&text, IMAGE_NODE) || has(&text, IMAGE_TRANSIENT) || has_code(&text, CODE_TRANSIENT) {
        return ImageTrouble::Transient;
    }
    if has(&text, IMAGE_FINAL) || has_code(&text, CODE_FINAL) {
        return ImageTrouble::Final;
    }
    ImageTrouble::Unspecified
}

const START_FINAL: &[&str] = &[
    "no such file or directory",
    "executable file not found",
    "permission denied",
    "exec format error",
    "is a directory",
    "not a directory",
    "no command specified",
    "no such user",
    "unable to find user",
    "unable to find group",
    "no matching entries in passwd",
];

/// Whether a container can never start with this command and image. Other failures to start are the node's.
pub(super) fn start_is_final(text: &str) -> bool {
    has(&text.to_lowercase(), START_FINAL)
}

const CONFIG_TRANSIENT: &[&str] = &[
    "failed to sync",
    "timed out",
    "timeout",
    "deadline exceeded",
    "failed to reserve",
    "is reserved for",
    "no space left",
    "connection refused",
    "connection error",
    "unavailable",
    "too many open files",
    "resource temporarily unavailable",
    "services have not yet been read at least once",
    "snapshotter",
    "snapshot ",
    "overlay",
    "cgroup",
];

/// Whether a container's configuration was read late rather than wrong.
pub(super) fn config_is_transient(text: &str) -> bool {
    has(&text.to_lowercase(), CONFIG_TRANSIENT)
}

const MOUNT_TRANSIENT: &[&str] = &[
    "failed to sync",
    "registered csi drivers",
    "timed out waiting",
    "deadline exceeded",
    "connection refused",
    "not yet attached",
    "has not been populated",
];
const MOUNT_FINAL: &[&str] =
    &["not found", "non-existent", "does not exist", "forbidden", "no such file or directory"];

/// Whether a volume names something that is not there or may not be used.
pub(super) fn mount_is_final(text: &str) -> bool {
    let text = text.to_lowercase();
    !has(&text, MOUNT_TRANSIENT) && has(&text, MOUNT_FINAL)
}

/// Why a controller could not create a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CreationTrouble {
    /// The quota is used up.
    Quota,
    /// The quota wants something that the pod does not say, such as limits.
    QuotaDemand,
    Admission,
    Webhook,
    /// The API server was slow or away.
    Passing,
    /// Any other refusal: an invalid pod, a service account that is not there.
    Refused,
}

const QUOTA: &[&str] = &["exceeded quota", "insufficient quota"];
const QUOTA_DEMAND: &[&str] = &["failed quota"];
const WEBHOOK: &[&str] = &["failed calling webhook", "failed to call webhook"];
const ADMISSION: &[&str] = &[
    "denied the request",
    "denied request",
    "violates podsecurity",
    "security context constraint",
    "podsecuritypolicy",
    "per container is",
    "per pod is",
    "limit to request ratio",
    "admission webhook",
    "validatingadmissionpolicy",
];
const PASSING: &[&str] = &[
    "timeout",
    "timed out",
    "deadline exceeded",
    "connection refused",
    "connection reset",
    "etcdserver",
    "too many requests",
    "service unavailable",
    "unable to handle the request",
    "internal error",
    "object has been modified",
    "try again",
    "leader changed",
    "unable to create new content in namespace",
];

pub(super) fn creation_trouble(text: &str) -> CreationTrouble {
    let text = text.to_lowercase();
    for (phrases, trouble) in [
        (WEBHOOK, CreationTrouble::Webhook),
        (ADMISSION, CreationTrouble::Admission),
        (QUOTA, CreationTrouble::Quota),
        (QUOTA_DEMAND, CreationTrouble::QuotaDemand),
        (PASSING, CreationTrouble::Passing),
    ] {
        if has(&text, phrases) {
            return trouble;
        }
    }
    CreationTrouble::Refused
}

const PROVISIONING_FINAL: &[&str] = &[
    "not found",
    "invalidargument",
    "invalid argument",
    "invalid parameter",
    "invalid option",
    "no volume plugin matched",
    "not supported",
    "unsupported",
    "does not support",
];

/// Whether a volume can never be made as the claim asks.
pub(super) fn provisioning_is_final(text: &str) -> bool {
    let text = text.to_lowercase();
    has(&text, PROVISIONING_FINAL) && !has(&text, PASSING) && !has(&text, MOUNT_TRANSIENT)
}

/// Whether the metrics API was away, which no release can fix.
pub(super) fn metrics_api_is_away(text: &str) -> bool {
    has(&text.to_lowercase(), &["unable to handle the request", "could not find the requested resource"])
}

fn has(text: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| text.contains(phrase))
}

/// `status: 503`, `status code 429`, `error: 401 unauthorized`: a number that is a word of its own, after such a word.
fn has_code(text: &str, codes: &[&str]) -> bool {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | '(' | ')' | '[' | ']'))
        .filter(|word| !word.is_empty())
        .collect();
    words.windows(2).any(|pair| {
        matches!(pair[0], "status" | "code" | "error" | "http" | "response" | "https")
            && codes.contains(&pair[1])
    })
}

/// The text in lower case without quoted parts, paths, URLs and the image's own name.
fn without_names(text: &str, image: &str) -> String {
    let image = image.to_lowercase();
    let mut kept = String::new();
    for (index, part) in text.to_lowercase().split('"').enumerate() {
        if index % 2 == 1 {
            continue;
        }
        for word in part.split_whitespace() {
            let bare = word.trim_matches(|c: char| matches!(c, ':' | ',' | '.' | '(' | ')' | '\'' | '`'));
            let is_name = (bare.contains('/')
                && !matches!(bare, "i/o" | "input/output" | "username/password"))
                || (!image.is_empty() && bare == image);
            if is_name {
                // The colon after a name introduces its cause.
                kept.push_str(if word.ends_with(':') { ": " } else { " " });
            } else {
                kept.push_str(word);
                kept.push(' ');
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulls_that_can_never_work() {
        for text in [
            r#"Back-off pulling image "shop/web:nope": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image "docker.io/shop/web:nope": failed to resolve reference "docker.io/shop/web:nope": docker.io/shop/web:nope: not found"#,
            "rpc error: code = Unknown desc = Error response from daemon: manifest for shop/web:nope not found: manifest unknown: manifest unknown",
            "failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized",
            "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
            "unexpected status from HEAD request to https://registry.corp/v2/shop/web/manifests/503: 403 Forbidden",
            "no match for platform in manifest: not found",
        ] {
            assert_eq!(image_trouble(text, "shop/web:nope"), ImageTrouble::Final, "{text}");
        }
    }

    #[test]
    fn registries_in_trouble() {
        for text in [
            r#"failed to do request: Head "https://registry.corp/v2/shop/web/manifests/v2": dial tcp 10.0.0.9:443: i/o timeout"#,
            r#"Head "https://registry.corp/v2/": dial tcp: lookup registry.corp on 10.96.0.10:53: no such host"#,
            "unexpected status from GET request to https://registry.corp/v2/shop/web/blobs/x: 503 Service Unavailable",
            "httpReadSeeker: failed open: unexpected status code 429",
            "toomanyrequests: You have reached your unauthenticated pull rate limit.",
            r#"Get "https://registry.corp/v2/": net/http: TLS handshake timeout"#,
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "failed to fetch oauth token: unexpected status: 500 Internal Server Error, denied",
            "pull QPS exceeded",
        ] {
            assert_eq!(image_trouble(text, "registry.corp/shop/web:v2"), ImageTrouble::Transient, "{text}");
        }
    }

    #[test]
    fn nodes_that_can_not_unpack_an_image() {
        for text in [
            r#"failed to pull and unpack image "shop/web:v2": failed to extract layer sha256:aa: mount callback failed on /var/lib/x: open /var/lib/x/usr/bin/y: permission denied: unknown"#,
            r#"failed to pull and unpack image "shop/web:v2": failed to unpack image on snapshotter overlayfs: failed to prepare extraction snapshot "extract-1 sha256:aa": parent snapshot sha256:bb does not exist: not found"#,
            "failed to register layer: Error processing tar file(exit status 1): open /usr/lib/y: permission denied",
            "copying system image from manifest list: writing blob: adding layer with blob \"sha256:aa\": processing tar file: lchown /etc/gshadow: operation not permitted",
            "failed to get image: content digest sha256:aa: not found",
            "reading layer: layer not known",
            "failed to copy: write /var/lib/containerd/io.containerd.content.v1.content/ingest/aa/data: permission denied",
        ] {
            assert_eq!(image_trouble(text, "shop/web:v2"), ImageTrouble::Transient, "{text}");
        }
    }

    #[test]
    fn names_of_images_are_no_causes() {
        for image in ["registry.corp/not-found/denied:timeout", "denied:v1", "timeout:404"] {
            let text = format!("Back-off pulling image \"{image}\"");
            assert_eq!(image_trouble(&text, image), ImageTrouble::Unspecified);
            let text = format!("failed to pull {image}: not found");
            assert_eq!(image_trouble(&text, image), ImageTrouble::Final, "{text}");
        }
    }

    #[test]
    fn causes_of_pods_that_are_not_created() {
        for (text, trouble) in [
            (
                r#"pods "web-1" is forbidden: exceeded quota: compute, requested: cpu=2, used: cpu=9, limited: cpu=10"#,
                CreationTrouble::Quota,
            ),
            (
                r#"pods "web-1" is forbidden: failed quota: compute: must specify limits.cpu for: web"#,
                CreationTrouble::QuotaDemand,
            ),
            (
                r#"pods "web-1" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true"#,
                CreationTrouble::Admission,
            ),
            (
                r#"admission webhook "policy.corp" denied the request: image timeout:v1 is not signed"#,
                CreationTrouble::Admission,
            ),
            (
                r#"Internal error occurred: failed calling webhook "policy.corp": failed to call webhook: Post "https://policy.corp.svc:443/": context deadline exceeded"#,
                CreationTrouble::Webhook,
            ),
            (
                r#"pods "web-1" is forbidden: error looking up service account shop/web: serviceaccount "web" not found"#,
                CreationTrouble::Refused,
            ),
            ("etcdserver: request timed out", CreationTrouble::Passing),
        ] {
            assert_eq!(creation_trouble(text), trouble, "{text}");
        }
    }

    #[test]
    fn volumes_and_configuration() {
        assert!(mount_is_final(r#"MountVolume.SetUp failed for volume "c" : configmap "web" not found"#));
        assert!(mount_is_final("references non-existent config key: app.yaml"));
        assert!(!mount_is_final("failed to sync secret cache: timed out waiting for the condition"));
        assert!(!mount_is_final(
            "driver name efs.csi.aws.com not found in the list of registered CSI drivers"
        ));
        assert!(!config_is_transient(r#"configmap "web" not found"#));
        assert!(config_is_transient("failed to sync configmap cache: timed out waiting for the condition"));
    }
}
