//! Identity and journal on Secrets.
//!
//! The journal is a sequence of bytes. Its end lies in the head, where a short append adds a piece; when the end is long, it
//! moves into segments, which are written first and count from the write of the head that names them.
//!
//! Deliberately not here: when something is tried again. Whoever gets [`StateError::Unreachable`] repeats the same call.

mod change;
mod open;

use std::collections::BTreeMap;

use crate::api::{ApiError, Secrets, Stored, Version};
use crate::manifest::{MANIFEST, Manifest, SEGMENT, Values, end_of, values_of};
use change::{Change, Draft};
use trimaran_kubernetes_core::state_name::StateName;

/// The journal's end moves into segments before it is longer: each append writes the whole head to the server's disk.
const END_BYTES_MAX: usize = 64 << 10;
/// Each piece is named in the head's `managedFields`, too.
const PIECES_MAX: u64 = 256;
/// A Secret holds up to 1 MiB.
pub(crate) const SEGMENT_BYTES_MAX: usize = 640 << 10;
/// Others may change labels of a Secret at the same moment, which gives it another version.
const TRIES: u32 = 5;

/// What a process starts with.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    pub values: Values,
    /// The whole journal.
    pub journal: Vec<u8>,
    /// How often a process began to work with the state, this one included.
    pub starts: u64,
}

/// Why the state could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Nothing is known of the outcome: repeat the call.
    #[error("the API server does not answer as it should: {0}")]
    Unreachable(String),
    /// Nothing was done: repeat the call when someone has changed what it says.
    #[error("the API server refuses it: {0}")]
    Refused(String),
    /// Another process works with the state, or it is gone. Nothing that this one does counts any more.
    #[error("fenced: {0}")]
    Fenced(String),
    #[error("the state is damaged: {0}")]
    Damaged(String),
    #[error("{0}")]
    Foreign(String),
    #[error(
        "the journal has more than its 32 Secrets hold (20 MiB); run the agent with a volume, or serve fewer targets with it"
    )]
    Full,
}

impl StateError {
    /// Of a read, which conflicts with nothing.
    fn of_read(error: ApiError) -> Self {
        match error {
            ApiError::Refused(why) => Self::Refused(why),
            ApiError::Unclear(why) => Self::Unreachable(why),
            ApiError::Conflict => Self::Unreachable("a read met a conflict".to_owned()),
        }
    }
}

/// The state as this process owns it.
pub struct Store<S> {
    api: S,
    name: StateName,
    /// This process, by a random name.
    owner: String,
    /// Of the head.
    version: Version,
    manifest: Manifest,
    /// The journal's end, as the head has it.
    end: Vec<u8>,
    /// The content of the last segment; empty without one.
    last: Vec<u8>,
    values: Values,
    /// The versions of segments' Secrets that are known.
    slots: BTreeMap<u8, Version>,
    /// Slots that nothing names any more.
    unused: Vec<u8>,
    /// A write whose answer did not come.
    pending: Option<Draft>,
}

impl<S: Secrets> Store<S> {
    pub fn name(&self) -> &StateName {
        &self.name
    }

    /// The named values as they are stored.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Adds bytes to the journal, which are durable when this returns.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn append(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.perform(Change::Append(bytes.to_vec())).await
    }

    /// These bytes are the journal from now on.
    ///
    /// # Errors
    /// See [`StateError`]. The journal before stays until the new one counts.
    pub async fn replace(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.perform(Change::Replace(bytes.to_vec())).await
    }

    /// Stores these values at once; others stay.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn put(&mut self, values: Values) -> Result<(), StateError> {
        self.perform(Change::Put(values)).await
    }

    async fn perform(&mut self, change: Change) -> Result<(), StateError> {
        for _ in 0..TRIES {
            if self.settle().await?.is_some_and(|done| done == change) {
                return Ok(());
            }
            let draft = self.draft(&change).await?;
            if self.commit(draft).await? {
                self.sweep().await;
                return Ok(());
            }
        }
        Err(StateError::Unreachable(format!("Secret {} changes all the time", self.head())))
    }

    /// Writes the head; whether that happened. Otherwise it is another one than the draft was made for.
    async fn commit(&mut self, draft: Draft) -> Result<bool, StateError> {
        match self.api.change(self.name.name(), &self.version, &draft.changes).await {
            Ok(version) => {
                self.adopt(draft, version);
                Ok(true)
            }
            Err(ApiError::Refused(why)) => Err(StateError::Refused(why)),
            Err(ApiError::Conflict | ApiError::Unclear(_)) => {
                self.pending = Some(draft);
                Ok(self.settle().await?.is_some())
            }
        }
    }

    /// Finds out what became of a write without an answer; the change, if it was made.
    async fn settle(&mut self) -> Result<Option<Change>, StateError> {
        let Some(draft) = &self.pending else { return Ok(None) };
        let expected = draft.manifest.clone();
        let found = self.read_own_head().await?;
        let draft = self.pending.take().expect("it was there just now");
        let Some(manifest) = found.data.get(MANIFEST) else {
            return Err(StateError::Damaged(format!("Secret {} has lost its key `{MANIFEST}`", self.head())));
        };
        if *manifest == expected.to_bytes() {
            let change = draft.change.clone();
            self.adopt(draft, found.version);
            return Ok(Some(change));
        }
        if *manifest == self.manifest.to_bytes() {
            // Someone changed a label, or the write has not arrived: then it finds this version gone when it does.
            self.version = found.version;
            return Ok(None);
        }
        // A write that this process gave up has arrived late.
        self.reload(found).await?;
        Ok(None)
    }

    /// The head, if this process is still its owner.
    async fn read_own_head(&self) -> Result<Stored, StateError> {
        let found = self.api.read(self.name.name()).await.map_err(StateError::of_read)?;
        let Some(found) = found else {
            return Err(StateError::Fenced(format!("Secret {} was deleted", self.head())));
        };
        let manifest = found.data.get(MANIFEST).map(|bytes| Manifest::from_bytes(bytes));
        match manifest {
            Some(Ok(manifest)) if manifest.owner == self.owner => Ok(found),
            Some(Ok(manifest)) => {
                let (head, starts, owner) = (self.head(), manifest.starts, manifest.owner);
                let why = format!(
                    "another process works with Secret {head} now: start {starts}, by the name {owner}"
                );
                Err(StateError::Fenced(why))
            }
            Some(Err(why)) => Err(StateError::Damaged(format!("Secret {}: {why}", self.head()))),
            None => Err(StateError::Damaged(format!("Secret {} has lost its key `{MANIFEST}`", self.head()))),
        }
    }

    /// What is stored is what the draft says.
    fn adopt(&mut self, draft: Draft, version: Version) {
        let named = |slot: u8| draft.manifest.segments.iter().any(|segment| segment.slot == slot);
        let before = self.manifest.segments.iter().map(|segment| segment.slot);
        self.unused.extend(before.filter(|slot| !named(*slot)));
        self.version = version;
        self.manifest = draft.manifest;
        self.end = draft.end;
        self.last = draft.last;
        self.values = draft.values;
    }

    /// Takes the head as it is, by a write of this process.
    async fn reload(&mut self, found: Stored) -> Result<(), StateError> {
        let damaged = |why: String, head: String| StateError::Damaged(format!("Secret {head}: {why}"));
        let bytes = found.data.get(MANIFEST).map(Vec::as_slice).unwrap_or_default();
        let manifest = Manifest::from_bytes(bytes).map_err(|why| damaged(why, self.head()))?;
        let end = end_of(&manifest, &found.data).map_err(|why| damaged(why, self.head()))?;
        if manifest.segments.last() != self.manifest.segments.last() {
            self.last = match manifest.segments.last() {
                Some(segment) => self.read_segment(segment, &manifest).await?,
                None => Vec::new(),
            };
        }
        self.values = values_of(&found.data);
        (self.version, self.manifest, self.end) = (found.version, manifest, end);
        Ok(())
    }

    /// Removes segments that nothing names any more. What can't be removed is written over some day.
    async fn sweep(&mut self) {
        for slot in std::mem::take(&mut self.unused) {
            let is_named = self.manifest.segments.iter().any(|segment| segment.slot == slot);
            let Some(version) = self.slots.get(&slot).filter(|_| !is_named).cloned() else { continue };
            match self.api.delete(&self.name.segment(slot), &version).await {
                Ok(()) => drop(self.slots.remove(&slot)),
                Err(error) => tracing::debug!(slot, %error, "a segment of the journal was not removed"),
            }
        }
    }

    /// Writes a segment that nothing names yet.
    async fn write_segment(&mut self, slot: u8, content: &[u8]) -> Result<(), StateError> {
        let name = self.name.segment(slot);
        for _ in 0..TRIES {
            let written = match self.slots.get(&slot) {
                Some(version) => {
                    let changes = [(SEGMENT.to_owned(), Some(content.to_vec()))].into();
                    self.api.change(&name, version, &changes).await
                }
                None => self.api.create(&name, &[(SEGMENT.to_owned(), content.to_vec())].into()).await,
            };
            match written {
                Ok(version) => {
                    self.slots.insert(slot, version);
                    return Ok(());
                }
                Err(ApiError::Refused(why)) => return Err(StateError::Refused(why)),
                Err(ApiError::Conflict | ApiError::Unclear(_)) => {}
            }
            // First the version, then the owner: a segment of a later owner has another version by then.
            match self.api.read(&name).await.map_err(StateError::of_read)? {
                Some(found) => {
                    let is_written = found.data.get(SEGMENT).is_some_and(|it| it == content);
                    self.slots.insert(slot, found.version);
                    if is_written {
                        return Ok(());
                    }
                }
                None => drop(self.slots.remove(&slot)),
            }
            self.read_own_head().await?;
        }
        Err(StateError::Unreachable(format!("Secret {}/{name} changes all the time", self.name.namespace())))
    }

    /// `NAMESPACE/NAME` of the head.
    fn head(&self) -> String {
        format!("{}/{}", self.name.namespace(), self.name.name())
    }
}
