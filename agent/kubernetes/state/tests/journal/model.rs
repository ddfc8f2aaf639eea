//! An API server as the store's logic has to get along with: requests take turns, answers get lost, writes arrive late.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use trimaran_kubernetes_state::{ApiError, Changes, Data, Secrets, Stored, Version};

/// A Secret with more is refused (`v1.MaxSecretSize`).
const SECRET_BYTES_MAX: usize = 1 << 20;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It does not arrive.
    Lost,
    /// It is done, and its answer gets lost.
    Unanswered,
    /// It has no answer, and arrives when this many further requests were made.
    Late(usize),
    /// Before it someone changes a label of the object.
    Relabeled,
}

#[derive(Debug, Clone)]
enum Write {
    Create(Data),
    Change(Version, Changes),
    Delete(Version),
}

#[derive(Default)]
pub(crate) struct Server {
    objects: BTreeMap<String, (u64, Data)>,
    version: u64,
    faults: VecDeque<Fault>,
    late: Vec<(usize, String, Write)>,
    pub(crate) writes: usize,
}

impl Server {
    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn write(&mut self, name: &str, write: Write) -> Result<Version, ApiError> {
        self.writes += 1;
        let version = self.next_version();
        let is_at = |found: Option<&(u64, Data)>, expected: &Version| {
            found.is_some_and(|(version, _)| version.to_string() == expected.0)
        };
        let found = self.objects.get(name);
        match write {
            Write::Create(data) if found.is_none() => {
                assert!(size(&data) <= SECRET_BYTES_MAX, "{name} is too large");
                self.objects.insert(name.to_owned(), (version, data));
            }
            Write::Change(expected, changes) if is_at(found, &expected) => {
                let (at, data) = self.objects.get_mut(name).expect("it is there");
                *at = version;
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(data.insert(key, value)),
                        None => drop(data.remove(&key)),
                    }
                }
                assert!(size(data) <= SECRET_BYTES_MAX, "{name} is too large");
            }
            Write::Delete(expected) if is_at(found, &expected) => drop(self.objects.remove(name)),
            _ => return Err(ApiError::Conflict),
        }
        Ok(Version(version.to_string()))
    }

    /// One request has its turn: those that are late by now arrive before it.
    fn arrive(&mut self) {
        let due: Vec<_> = self
            .late
            .iter_mut()
            .map(|(after, ..)| std::mem::replace(after, after.saturating_sub(1)))
            .collect();
        let mut due = due.into_iter();
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.late).into_iter().partition(|_| due.next() == Some(0));
        self.late = later;
        for (_, name, write) in now {
            drop(self.write(&name, write));
        }
    }

    fn request(&mut self, name: &str, write: Write) -> Result<Version, ApiError> {
        self.arrive();
        let unclear = || ApiError::Unclear("no answer in time".to_owned());
        match self.faults.pop_front().unwrap_or(Fault::None) {
            Fault::None => self.write(name, write),
            Fault::Lost => Err(unclear()),
            Fault::Unanswered => {
                drop(self.write(name, write));
                Err(unclear())
            }
            Fault::Late(after) => {
                self.late.push((after, name.to_owned(), write));
                Err(unclear())
            }
            Fault::Relabeled => {
                let version = self.next_version();
                if let Some((at, _)) = self.objects.get_mut(name) {
                    *at = version;
                }
                self.write(name, write)
            }
        }
    }
}

fn size(data: &Data) -> usize {
    data.values().map(Vec::len).sum()
}

/// A way to the server; clones lead to the same one.
#[derive(Clone, Default)]
pub(crate) struct Model(Arc<Mutex<Server>>);

impl Model {
    /// The faults of the next requests.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.lock().faults.extend(faults);
    }

    pub(crate) fn heal(&self) {
        self.0.lock().faults.clear();
    }

    /// What a human does to a Secret, such as by `kubectl edit`; without data it is deleted.
    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Data)) {
        let mut server = self.0.lock();
        let version = server.next_version();
        let (at, data) = server.objects.get_mut(name).expect("it is there");
        *at = version;
        edit(data);
    }

    pub(crate) fn remove(&self, name: &str) {
        self.0.lock().objects.remove(name).expect("it is there");
    }

    pub(crate) fn put(&self, name: &str, data: Data) {
        let mut server = self.0.lock();
        let version = server.next_version();
        server.objects.insert(name.to_owned(), (version, data));
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().objects.keys().cloned().collect()
    }

    pub(crate) fn data(&self, name: &str) -> Data {
        self.0.lock().objects.get(name).expect("it is there").1.clone()
    }

    pub(crate) fn writes(&self) -> usize {
        self.0.lock().writes
    }
}

impl Secrets for Model {
    async fn read(&self, name: &str) -> Result<Option<Stored>, ApiError> {
        turn().await;
        let mut server = self.0.lock();
        server.arrive();
        // Reads have their faults, too; a late one is none.
        if matches!(server.faults.pop_front(), Some(Fault::Lost | Fault::Unanswered | Fault::Late(_))) {
            return Err(ApiError::Unclear("no answer in time".to_owned()));
        }
        let found = server.objects.get(name);
        Ok(found.map(|(version, data)| Stored { version: Version(version.to_string()), data: data.clone() }))
    }

    async fn create(&self, name: &str, data: &Data) -> Result<Version, ApiError> {
        turn().await;
        self.0.lock().request(name, Write::Create(data.clone()))
    }

    async fn change(&self, name: &str, version: &Version, changes: &Changes) -> Result<Version, ApiError> {
        turn().await;
        self.0.lock().request(name, Write::Change(version.clone(), changes.clone()))
    }

    async fn delete(&self, name: &str, version: &Version) -> Result<(), ApiError> {
        turn().await;
        self.0.lock().request(name, Write::Delete(version.clone())).map(drop)
    }
}

/// Lets others go first: whoever polls decides whose request is next.
async fn turn() {
    let mut had = false;
    std::future::poll_fn(
        move |_| if std::mem::replace(&mut had, true) { Poll::Ready(()) } else { Poll::Pending },
    )
    .await;
}

/// Runs a future alone to its end.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = poll(future.as_mut()) {
            return output;
        }
    }
}

/// One turn of a future.
pub(crate) fn poll<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
