//! One case: objects as an API server 1.34 prints them, a time, and the verdict that is true.

use std::path::{Path, PathBuf};

use serde_json::Value;
use trimaran_kubernetes_core::custom::RuleSet;
use trimaran_kubernetes_core::judgment::Judgment;
use trimaran_kubernetes_core::object::Object;
use trimaran_kubernetes_core::snapshot::Snapshot;
use trimaran_kubernetes_core::verdict::judge;
use trimaran_model::time::WallTime;

pub(crate) struct Bundle {
    /// Folder and file without ending.
    pub(crate) name: String,
    pub(crate) now: WallTime,
    pub(crate) since: Option<WallTime>,
    /// `Kind/name`.
    pub(crate) subject: String,
    pub(crate) expect: Value,
    /// Status fields without which the subject is not healthy; `None` where that is not asked.
    pub(crate) needs: Option<Vec<String>>,
    pub(crate) objects: Vec<Value>,
}

impl Bundle {
    fn read(root: &Path, file: &Path) -> Self {
        let text = std::fs::read_to_string(file).expect("a case can be read");
        let mut case: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = file.strip_prefix(root).expect("the case is below the folder").with_extension("");
        let objects = match case["objects"].take() {
            Value::Array(objects) => objects,
            other => panic!("{}: objects are {other}", file.display()),
        };
        let needs = case["needs"].as_array().map(|needs| needs.iter().map(text_of).collect());
        Self {
            name: name.display().to_string(),
            now: wall(&case["now"]).expect("a case has a time"),
            since: wall(&case["since"]),
            subject: text_of(&case["subject"]),
            expect: case["expect"].take(),
            needs,
            objects,
        }
    }

    pub(crate) fn judge(&self) -> Judgment {
        self.judge_at(&self.objects, self.now)
    }

    /// The verdict on the subject among other documents or at another time.
    pub(crate) fn judge_at(&self, objects: &[Value], now: WallTime) -> Judgment {
        let snapshot = Snapshot::new(objects);
        let subject = snapshot.objects().find(|object| object.display() == self.subject);
        match subject {
            Some(subject) => judge(&snapshot, subject, &RuleSet::builtin(), now, self.since),
            None => Judgment::missing(format!("{} is not among the documents", self.subject)),
        }
    }

    pub(crate) fn subject_index(&self) -> Option<usize> {
        self.objects.iter().position(|object| Object::new(object).display() == self.subject)
    }
}

pub(crate) fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

pub(crate) fn wall(value: &Value) -> Option<WallTime> {
    let time: jiff::Timestamp = value.as_str()?.parse().expect("times of cases are RFC 3339");
    Some(WallTime(time.as_millisecond()))
}

/// All cases, by name.
pub(crate) fn all() -> Vec<Bundle> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in std::fs::read_dir(&root).expect("there are cases") {
        let folder = folder.expect("a folder can be listed").path();
        let entries = std::fs::read_dir(&folder).expect("a folder can be listed");
        files.extend(entries.map(|entry| entry.expect("a folder can be listed").path()));
    }
    files.sort();
    files.iter().map(|file| Bundle::read(&root, file)).collect()
}
