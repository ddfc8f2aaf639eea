//! What the driver is asked to do, and the release that it is done with.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use trimaran_model::action::Commit;
use trimaran_model::id::{AssignmentId, Digest, Fence, InstallationId};
use trimaran_model::time::Millis;

use crate::object_key::ObjectKey;
use crate::stamp::Author;
use crate::tier::{self, Tier};

/// One order on one installation.
#[derive(Debug, Clone)]
pub struct Order {
    pub installation: InstallationId,
    pub assignment: AssignmentId,
    pub fence: Fence,
    pub goal: Goal,
    /// How long a rollout may make no progress before it counts as failed.
    pub progress_deadline: Millis,
    /// Releases that a rollback may need: their configuration stays.
    pub retained: BTreeSet<Digest>,
    /// Whether a stop pauses while instances serve and no workload of others comes back in their place.
    pub keep_serving: bool,
    /// The installation's inventory as it was committed last.
    pub committed: Option<Commit>,
}

#[derive(Debug, Clone)]
pub enum Goal {
    /// Make the release serve.
    Release(Arc<Release>),
    /// As `Release` with an earlier one: what the release before created is deleted, the number of replicas goes back to
    /// what it was, and no job runs again.
    Restore(Arc<Release>),
    /// Judge what runs and change nothing.
    Verify(Arc<Release>),
    /// Replace the pods of the release, which runs already.
    Restart(Arc<Release>),
    /// So many replicas of the only workload of the release, which runs already.
    Scale(Arc<Release>, u32),
    /// There is nothing to go back to: what the release created is deleted, and what it took over from others becomes
    /// what it was.
    Stop(Digest),
}

impl Goal {
    pub fn digest(&self) -> Digest {
        match self {
            Self::Release(release) | Self::Restore(release) | Self::Verify(release) => release.digest,
            Self::Restart(release) | Self::Scale(release, _) => release.digest,
            Self::Stop(digest) => *digest,
        }
    }

    /// Whether what the order waits for carries its marks.
    pub(crate) fn marks_objects(&self) -> bool {
        match self {
            Self::Release(_) | Self::Restore(_) | Self::Restart(_) | Self::Scale(..) => true,
            Self::Verify(_) | Self::Stop(_) => false,
        }
    }

    pub(crate) fn release(&self) -> Option<&Arc<Release>> {
        match self {
            Self::Release(release) | Self::Restore(release) | Self::Verify(release) => Some(release),
            Self::Restart(release) | Self::Scale(release, _) => Some(release),
            Self::Stop(_) => None,
        }
    }
}

impl Order {
    pub(crate) fn author(&self) -> Author {
        Author {
            installation: self.installation.clone(),
            release: self.goal.digest(),
            fence: self.fence,
            assignment: self.assignment,
        }
    }
}

/// What becomes of fields that a manager owns who is neither a tool that is replaced by Trimaran nor Trimaran itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// The release fails and names the fields and their managers.
    #[default]
    Refuse,
    /// The release's value counts.
    Take,
    /// The live value counts.
    Leave,
}

/// Rendered objects that are applied and taken back as one.
#[derive(Debug)]
pub struct Release {
    pub digest: Digest,
    /// By tier, then in the order of the release.
    pub manifests: Vec<Manifest>,
    /// How long everything must have been healthy without a new restart.
    pub stability: Millis,
    pub on_conflict: OnConflict,
}

#[derive(Debug)]
pub struct Manifest {
    pub key: ObjectKey,
    pub(crate) tier: Tier,
    pub document: Value,
}

/// Why documents are no release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidRelease {
    /// The document at this position has no version, kind or name.
    Unnamed {
        position: usize,
    },
    /// Two documents describe one object.
    Twice {
        key: ObjectKey,
    },
    Empty,
}

impl fmt::Display for InvalidRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unnamed { position } => {
                write!(f, "object {position} of the release has no apiVersion, kind or name")
            }
            Self::Twice { key } => write!(f, "{key} is twice in the release"),
            Self::Empty => f.write_str("the release has no objects"),
        }
    }
}

impl std::error::Error for InvalidRelease {}

impl Release {
    /// Orders the rendered documents of a release.
    pub fn new(
        digest: Digest,
        documents: Vec<Value>,
        stability: Millis,
        on_conflict: OnConflict,
    ) -> Result<Self, InvalidRelease> {
        let mut known = BTreeSet::new();
        let mut manifests = Vec::new();
        for (position, document) in documents.into_iter().enumerate() {
            let key = ObjectKey::of(&document).ok_or(InvalidRelease::Unnamed { position })?;
            if !known.insert(key.clone()) {
                return Err(InvalidRelease::Twice { key });
            }
            manifests.push(Manifest { tier: tier::of(&key), key, document });
        }
        if manifests.is_empty() {
            return Err(InvalidRelease::Empty);
        }
        manifests.sort_by_key(|manifest| manifest.tier);
        Ok(Self { digest, manifests, stability, on_conflict })
    }

    pub(crate) fn manifest(&self, key: &ObjectKey) -> Option<&Manifest> {
        self.manifests.iter().find(|manifest| manifest.key == *key)
    }

    /// Whether a definition of this kind is in the release.
    pub(crate) fn defines(&self, key: &ObjectKey) -> bool {
        self.defined_kinds().contains(&(key.group().to_owned(), key.kind.clone()))
    }

    /// Groups and kinds that the release defines itself.
    pub fn defined_kinds(&self) -> BTreeSet<(String, String)> {
        let definitions = self.manifests.iter().filter(|it| it.key.kind == "CustomResourceDefinition");
        let kind = |definition: &Manifest| {
            let text = |pointer: &str| definition.document.pointer(pointer)?.as_str().map(str::to_owned);
            Some((text("/spec/group")?, text("/spec/names/kind")?))
        };
        definitions.filter_map(kind).collect()
    }

    /// Whether a namespace is one of its objects.
    pub fn creates_namespace(&self, name: &str) -> bool {
        let namespaces = self.manifests.iter().filter(|it| it.key.group().is_empty());
        namespaces.filter(|it| it.key.kind == "Namespace").any(|it| it.key.name == name)
    }

    pub(crate) fn has(&self, key: &ObjectKey) -> bool {
        self.manifest(key).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn release(documents: Vec<Value>) -> Result<Release, InvalidRelease> {
        Release::new(Digest([1; 32]), documents, Millis::ZERO, OnConflict::Refuse)
    }

    fn object(api_version: &str, kind: &str, name: &str) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}})
    }

    #[test]
    fn objects_are_ordered_by_tier_and_keep_their_order_within_one() {
        let documents = vec![
            object("apps/v1", "Deployment", "b"),
            object("v1", "ConfigMap", "b"),
            object("apps/v1", "Deployment", "a"),
            object("v1", "ConfigMap", "a"),
        ];
        let release = release(documents).expect("a release");
        let names: Vec<String> = release.manifests.iter().map(|it| it.key.to_string()).collect();
        assert_eq!(names, ["ConfigMap/b", "ConfigMap/a", "Deployment/b", "Deployment/a"]);
    }

    #[test]
    fn what_is_no_release_is_refused() {
        assert!(matches!(release(vec![]), Err(InvalidRelease::Empty)));
        let unnamed = release(vec![object("v1", "ConfigMap", "")]).expect_err("it has no name");
        assert_eq!(unnamed.to_string(), "object 0 of the release has no apiVersion, kind or name");
        let twice = vec![object("autoscaling/v1", "X", "a"), object("autoscaling/v2", "X", "a")];
        assert_eq!(release(twice).expect_err("one object").to_string(), "X/a is twice in the release");
    }
}
