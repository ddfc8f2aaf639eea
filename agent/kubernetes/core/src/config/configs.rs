//! The ConfigMaps and Secrets of a set, and what becomes of each.

use std::collections::BTreeMap;

use super::ConfigKind;

/// What becomes of a ConfigMap or Secret.
pub(super) enum Fate {
    Versioned {
        base: String,
        to: String,
    },
    /// Keeps its name; pods that use it carry the checksum of its content.
    Kept {
        checksum: String,
    },
    /// Belongs to a controller: nothing of it is touched.
    Alone,
}

pub(super) struct Config {
    /// Index of the object in the set.
    pub(super) index: usize,
    pub(super) kind: ConfigKind,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) fate: Fate,
    /// An object of the set refers to it.
    pub(super) used: bool,
}

impl Config {
    /// What the object is called in the rendered set.
    pub(super) fn new_name(&self) -> &str {
        match &self.fate {
            Fate::Versioned { to, .. } => to,
            Fate::Kept { .. } | Fate::Alone => &self.name,
        }
    }
}

/// All of a set, also by name.
#[derive(Default)]
pub(super) struct Configs {
    pub(super) all: Vec<Config>,
    /// Indexes of `all`.
    by_name: BTreeMap<(ConfigKind, String), Vec<usize>>,
}

impl Configs {
    pub(super) fn add(&mut self, config: Config) {
        self.by_name.entry((config.kind, config.name.clone())).or_default().push(self.all.len());
        self.all.push(config);
    }

    /// Indexes of those of a kind and name, of whatever namespace.
    pub(super) fn named(&self, kind: ConfigKind, name: &str) -> &[usize] {
        self.by_name.get(&(kind, name.to_owned())).map_or(&[], Vec::as_slice)
    }
}
