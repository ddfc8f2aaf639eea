//! What Trimaran writes on the objects that it applies: whose they are, and by which order.
//!
//! Annotations only, and only on the object itself: labels and pod templates stay as the author wrote them, so taking
//! over an object restarts no pod, and going back leaves nothing but these annotations.

use serde_json::{Map, Value};
use trimaran_model::id::{AssignmentId, Digest, Fence, InstallationId};

pub const INSTALLATION_ANNOTATION: &str = "trimaran.dev/installation";
pub const RELEASE_ANNOTATION: &str = "trimaran.dev/release";
pub const FENCE_ANNOTATION: &str = "trimaran.dev/fence";
pub const ASSIGNMENT_ANNOTATION: &str = "trimaran.dev/assignment";

/// All of them.
pub(crate) const OWN_ANNOTATIONS: [&str; 4] =
    [INSTALLATION_ANNOTATION, RELEASE_ANNOTATION, FENCE_ANNOTATION, ASSIGNMENT_ANNOTATION];

/// What the annotations of an object say; `None` what is absent or unreadable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    pub installation: Option<String>,
    pub release: Option<Digest>,
    pub fence: Option<Fence>,
    pub assignment: Option<AssignmentId>,
}

impl Marks {
    /// Reads them from a live object.
    pub fn of(document: &Value) -> Self {
        let text = |name: &str| document.get("metadata")?.get("annotations")?.get(name)?.as_str();
        let number = |name: &str| text(name)?.parse::<u64>().ok();
        Self {
            installation: text(INSTALLATION_ANNOTATION).map(str::to_owned),
            release: text(RELEASE_ANNOTATION).and_then(|digest| digest.parse().ok()),
            fence: number(FENCE_ANNOTATION).map(Fence),
            assignment: number(ASSIGNMENT_ANNOTATION).map(AssignmentId),
        }
    }
}

/// Who applies an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Author {
    pub(crate) installation: InstallationId,
    pub(crate) release: Digest,
    pub(crate) fence: Fence,
    pub(crate) assignment: AssignmentId,
}

impl Author {
    /// As the annotation has it: `PIPELINE/TARGET`.
    pub(crate) fn installation_text(&self) -> String {
        format!("{}/{}", self.installation.pipeline, self.installation.target)
    }
}

/// The document with the annotations of its author.
pub(crate) fn stamped(document: &Value, author: &Author) -> Value {
    let mut document = document.clone();
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert(Value::Null);
        if !annotations.is_object() {
            *annotations = Value::Object(Map::new());
        }
        let annotations = annotations.as_object_mut().expect("it was made an object just now");
        for (name, value) in [
            (INSTALLATION_ANNOTATION, author.installation_text()),
            (RELEASE_ANNOTATION, author.release.to_string()),
            (FENCE_ANNOTATION, author.fence.0.to_string()),
            (ASSIGNMENT_ANNOTATION, author.assignment.0.to_string()),
        ] {
            annotations.insert(name.to_owned(), Value::String(value));
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use trimaran_model::id::{PipelineName, TargetName};

    #[test]
    fn what_is_stamped_is_read_back_and_nothing_else_changes() {
        let author = Author {
            installation: InstallationId {
                pipeline: PipelineName::new("web").expect("a name"),
                target: TargetName::new("tokyo").expect("a name"),
            },
            release: Digest([7; 32]),
            fence: Fence(1 << 48 | 9),
            assignment: AssignmentId(4),
        };
        let document =
            json!({"kind": "Service", "metadata": {"name": "web", "annotations": {"a": "b"}}, "spec": {}});
        let mut stamped = stamped(&document, &author);
        let marks = Marks::of(&stamped);
        assert_eq!((marks.release, marks.fence), (Some(author.release), Some(author.fence)));
        assert_eq!(
            (marks.assignment, marks.installation.as_deref()),
            (Some(AssignmentId(4)), Some("web/tokyo"))
        );
        stamped["metadata"]["annotations"].as_object_mut().expect("annotations").retain(|key, _| key == "a");
        assert_eq!(stamped, document);
    }
}
