//! The oldest states of objects that watches may show.

use std::collections::BTreeMap;

use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use trimaran_kubernetes_driver::{Marks, ObjectKey};

use crate::versions::{is_at_least, uid_of, version_of};

/// The oldest states that may be shown of objects: what calls on them were answered.
#[derive(Default)]
pub(crate) struct Floors(Mutex<BTreeMap<ObjectKey, Floor>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) uid: String,
    version: String,
    pub(crate) marks: Marks,
}

impl Floors {
    pub(crate) fn raise(&self, key: &ObjectKey, document: &Value) {
        let floor = Floor {
            uid: uid_of(document).to_owned(),
            version: version_of(document).to_owned(),
            marks: Marks::of(document),
        };
        let mut all = self.lock();
        let is_newer = all.get(key).is_none_or(|known| is_at_least(&floor.version, &known.version));
        if is_newer {
            all.insert(key.clone(), floor);
        }
    }

    /// Whether a state that a watch shows is older than what is known; `None`: it shows none.
    pub(crate) fn is_stale(&self, key: &ObjectKey, shown: Option<&Value>) -> bool {
        let all = self.lock();
        let Some(floor) = all.get(key) else { return false };
        shown.is_none_or(|shown| !is_at_least(version_of(shown), &floor.version))
    }

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Floor> {
        self.lock().get(key).cloned()
    }

    /// The object is gone.
    pub(crate) fn remove(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Floor>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(uid: &str, version: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Service",
               "metadata": {"name": "web", "namespace": "shop", "uid": uid, "resourceVersion": version}})
    }

    #[test]
    fn nothing_older_than_an_answer_is_shown() {
        let floors = Floors::default();
        let key = ObjectKey::of(&object("1", "5")).expect("a key");
        assert!(!floors.is_stale(&key, None), "nothing was asked");
        floors.raise(&key, &object("1", "7"));
        assert!(floors.is_stale(&key, None) && floors.is_stale(&key, Some(&object("1", "6"))));
        assert!(
            !floors.is_stale(&key, Some(&object("1", "7")))
                && !floors.is_stale(&key, Some(&object("2", "9")))
        );
        floors.raise(&key, &object("1", "6"));
        assert!(floors.is_stale(&key, Some(&object("1", "6"))), "an answer that comes late lowers nothing");
        floors.remove(&key);
        assert!(!floors.is_stale(&key, None));
    }
}
