//! How a process takes the state over: everything is read and checked, then one write makes it the owner.

use std::collections::BTreeMap;

use crate::api::{ApiError, Secrets, Stored, Version};
use crate::manifest::{MANIFEST, Manifest, SEGMENT, Segment, Values, end_of, values_of};
use trimaran_kubernetes_core::state_name::StateName;

use super::{Opened, StateError, Store, TRIES};

impl<S: Secrets> Store<S> {
    /// Makes the process of this name, which no other one ever has, the owner of the state. A state that is not there is made.
    ///
    /// # Errors
    /// See [`StateError`]; nothing is changed where something is damaged or of others. After `Unreachable` repeat it with the same
    /// owner.
    pub async fn open(api: S, name: StateName, owner: String) -> Result<(Self, Opened), StateError> {
        let mut store = Self {
            api,
            name,
            manifest: Manifest::new(&owner),
            owner,
            version: Version(String::new()),
            end: Vec::new(),
            last: Vec::new(),
            values: Values::new(),
            slots: BTreeMap::new(),
            unused: Vec::new(),
            pending: None,
        };
        for _ in 0..TRIES {
            let found = store.api.read(store.name.name()).await.map_err(StateError::of_read)?;
            let read = found.as_ref().map(|found| found.version.clone());
            let opened = match found {
                None => store.make().await,
                Some(found) => store.take_over(found).await,
            };
            match opened {
                Ok(Some(opened)) => return Ok((store, opened)),
                Ok(None) => {}
                // The earlier owner may have replaced the journal meanwhile: its segments are gone then.
                Err(StateError::Damaged(why)) => {
                    let now = store.api.read(store.name.name()).await.map_err(StateError::of_read)?;
                    if now.map(|now| now.version) == read {
                        return Err(StateError::Damaged(why));
                    }
                }
                Err(other) => return Err(other),
            }
        }
        Err(StateError::Unreachable(format!("Secret {} changes all the time", store.head())))
    }

    /// Makes a head; `None` when another process was faster.
    async fn make(&mut self) -> Result<Option<Opened>, StateError> {
        let data = [(MANIFEST.to_owned(), self.manifest.to_bytes())].into();
        let made = self.api.create(self.name.name(), &data).await;
        Ok(self.is_owned(made)?.then(|| self.opened(Vec::new())))
    }

    /// Makes this process the owner of what was found; `None` when it is another one by now.
    async fn take_over(&mut self, found: Stored) -> Result<Option<Opened>, StateError> {
        let Some(manifest) = found.data.get(MANIFEST) else { return self.take_empty(found).await };
        let damaged = |why: String| {
            StateError::Damaged(format!("Secret {}/{}: {why}", self.name.namespace(), self.name.name()))
        };
        let before = Manifest::from_bytes(manifest).map_err(damaged)?;
        self.end = end_of(&before, &found.data).map_err(damaged)?;
        self.values = values_of(&found.data);
        let mut journal = Vec::new();
        self.last.clear();
        for segment in &before.segments {
            self.last = self.read_segment(segment, &before).await?;
            journal.extend(&self.last);
        }
        journal.extend(&self.end);
        if before.owner == self.owner {
            // An earlier try of this very process arrived.
            (self.manifest, self.version) = (before, found.version);
            return Ok(Some(self.opened(journal)));
        }
        self.manifest =
            Manifest { owner: self.owner.clone(), starts: before.starts + 1, writes: 0, ..before };
        Ok(self.write_first(&found.version).await?.then(|| self.opened(journal)))
    }

    /// A Secret that someone made in advance, for an agent that may make none.
    async fn take_empty(&mut self, found: Stored) -> Result<Option<Opened>, StateError> {
        if let Some(key) = found.data.keys().next() {
            let why = format!(
                "Secret {} is not an agent's state: it has the key `{key}` and no key `{MANIFEST}`; name another Secret",
                self.head()
            );
            return Err(StateError::Foreign(why));
        }
        self.manifest = Manifest::new(&self.owner);
        Ok(self.write_first(&found.version).await?.then(|| self.opened(Vec::new())))
    }

    /// Writes the manifest that names this process as the owner; whether it counts.
    async fn write_first(&mut self, version: &Version) -> Result<bool, StateError> {
        let changes = [(MANIFEST.to_owned(), Some(self.manifest.to_bytes()))].into();
        let written = self.api.change(self.name.name(), version, &changes).await;
        self.is_owned(written)
    }

    fn is_owned(&mut self, written: Result<Version, ApiError>) -> Result<bool, StateError> {
        match written {
            Ok(version) => {
                self.version = version;
                Ok(true)
            }
            Err(ApiError::Conflict) => Ok(false),
            Err(ApiError::Refused(why)) => Err(StateError::Refused(why)),
            Err(ApiError::Unclear(why)) => Err(StateError::Unreachable(why)),
        }
    }

    fn opened(&self, journal: Vec<u8>) -> Opened {
        Opened { values: self.values.clone(), journal, starts: self.manifest.starts }
    }

    /// The content of a segment that the manifest names.
    pub(super) async fn read_segment(
        &mut self,
        segment: &Segment,
        manifest: &Manifest,
    ) -> Result<Vec<u8>, StateError> {
        let name = self.name.segment(segment.slot);
        let found = self.api.read(&name).await.map_err(StateError::of_read)?;
        let before = manifest.segments.iter().take_while(|it| it.slot != segment.slot);
        let begin: u64 = before.map(|it| it.bytes).sum();
        let damaged = |what: &str| {
            let (namespace, end) = (self.name.namespace(), begin + segment.bytes);
            StateError::Damaged(format!(
                "Secret {namespace}/{name} {what}; it holds bytes {begin} to {end} of the journal"
            ))
        };
        let Some(mut found) = found else { return Err(damaged("is gone")) };
        let content = found.data.remove(SEGMENT).unwrap_or_default();
        if !segment.is_of(&content) {
            return Err(damaged("has another content than it was written with"));
        }
        self.slots.insert(segment.slot, found.version);
        Ok(content)
    }
}
