//! Which cluster an installation is in: remembered from its first order on, so that a way that leads into another one is
//! noticed before anything is written there.
//!
//! Kubernetes has no id of a cluster; by convention it is the uid of the namespace `kube-system`, which is there as long as
//! the cluster. Where that may not be read, the target's own namespace tells the cluster apart as well, but not from the
//! same one in which that namespace was made anew.

use trimaran_model::action::Failure;
use trimaran_model::reason::ReasonCode;

/// The namespace that stands for its cluster.
pub const CLUSTER_NAMESPACE: &str = "kube-system";

/// What tells a cluster from all others; what may not be read is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterId {
    /// Uid of the namespace `kube-system`.
    pub cluster: Option<String>,
    /// Uid of the target's namespace.
    pub namespace: Option<String>,
}

impl ClusterId {
    /// With what is known of it now.
    pub(crate) fn updated(&self, found: &Self) -> Self {
        Self {
            cluster: found.cluster.clone().or_else(|| self.cluster.clone()),
            namespace: found.namespace.clone().or_else(|| self.namespace.clone()),
        }
    }
}

/// Why nothing may be done in the cluster that was found: the installation is in another one.
///
/// `place` names the target, its fields and its namespace as people know them.
pub fn other_cluster(recorded: &ClusterId, found: &ClusterId, place: &str) -> Option<Failure> {
    let message = match (&recorded.cluster, &found.cluster) {
        (Some(recorded), Some(found)) if recorded == found => return None,
        (Some(recorded), Some(found)) => format!(
            "{place}: this is the cluster {found} (the uid of its namespace {CLUSTER_NAMESPACE}), and the \
             installation is in the cluster {recorded}; give the target credentials of that cluster, or make a \
             target of another name for this one"
        ),
        _ => match (&recorded.namespace, &found.namespace) {
            (Some(recorded), Some(found)) if recorded != found => format!(
                "{place}: the namespace has the uid {found} here, and the installation is in one with the uid \
                 {recorded}: it is another cluster, or the namespace was made anew; give the target credentials of \
                 the former cluster, or make a target of another name for this namespace"
            ),
            _ => return None,
        },
    };
    Some(Failure { code: ReasonCode::PermissionDenied, message, instance: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(cluster: &str, namespace: &str) -> ClusterId {
        let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        ClusterId { cluster: known(cluster), namespace: known(namespace) }
    }

    #[test]
    fn only_what_is_known_on_both_sides_is_compared_and_the_cluster_counts_first() {
        for (recorded, found, is_other) in [
            (id("", ""), id("a", "n"), false),
            (id("a", "n"), id("", ""), false),
            (id("a", "n"), id("a", "n"), false),
            (id("a", "n"), id("b", "m"), true),
            // The namespace was made anew.
            (id("a", "n"), id("a", "m"), false),
            // Rights were given or taken.
            (id("", "n"), id("a", "n"), false),
            (id("a", "n"), id("", "n"), false),
            (id("", "n"), id("a", "m"), true),
            (id("a", "n"), id("", "m"), true),
        ] {
            let why = other_cluster(&recorded, &found, "target tokyo");
            assert_eq!(why.is_some(), is_other, "{recorded:?} {found:?}");
        }
    }

    #[test]
    fn the_refusal_has_both_ids_and_a_remedy() {
        let why = other_cluster(&id("a-1", "n"), &id("b-2", "n"), "target tokyo").expect("it is another");
        assert_eq!(why.code, ReasonCode::PermissionDenied);
        for word in
            ["target tokyo", "cluster b-2", "cluster a-1", "kube-system", "give the target credentials"]
        {
            assert!(why.message.contains(word), "{word}: {}", why.message);
        }
        let why = other_cluster(&id("", "n-1"), &id("", "n-2"), "target tokyo").expect("it is another");
        assert!(why.message.contains("n-1") && why.message.contains("n-2"), "{}", why.message);
    }

    #[test]
    fn what_is_known_stays_known() {
        assert_eq!(id("a", "n").updated(&id("", "m")), id("a", "m"));
        assert_eq!(id("", "n").updated(&id("a", "")), id("a", "n"));
    }
}
