//! Reads that may be long, on threads of their own: the tasks that keep leases never wait for a scan.
//!
//! Few run at once, and fewer of one identity: others wait their turn, in front of their own session's limit of
//! requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use trimaran_model::id::Identity;
use trimaran_model::limits::{READS_AT_ONCE_MAX, READS_PER_IDENTITY_MAX};

/// The slots of long reads.
#[derive(Debug)]
pub(crate) struct Reads {
    all: Semaphore,
    /// Of those who read now; entries go with their last reader.
    identities: Mutex<BTreeMap<Identity, Arc<Semaphore>>>,
}

impl Default for Reads {
    fn default() -> Self {
        Self { all: Semaphore::new(READS_AT_ONCE_MAX), identities: Mutex::default() }
    }
}

impl Reads {
    /// Runs a read when `identity` and the process have a free slot.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        identity: &Identity,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let own = self.slots_of(identity);
        let result = {
            let _own = own.acquire().await.expect("it is never closed");
            let _all = self.all.acquire().await.expect("it is never closed");
            tokio::task::spawn_blocking(read).await
        };
        drop(own);
        self.forget(identity);
        match result {
            Ok(found) => found,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn slots_of(&self, identity: &Identity) -> Arc<Semaphore> {
        let mut identities = self.identities.lock();
        let new = || Arc::new(Semaphore::new(READS_PER_IDENTITY_MAX));
        identities.entry(identity.clone()).or_insert_with(new).clone()
    }

    fn forget(&self, identity: &Identity) {
        let mut identities = self.identities.lock();
        if identities.get(identity).is_some_and(|slots| Arc::strong_count(slots) == 1) {
            identities.remove(identity);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_identity_leaves_slots_for_the_others() {
        let reads = Arc::new(Reads::default());
        let identity = |name: &str| Identity::Agent(name.parse().expect("a name"));
        let (started, begins) = mpsc::channel();
        let mut waiting = Vec::new();
        let mut ends = Vec::new();
        for _ in 0..READS_AT_ONCE_MAX {
            let (end, until) = mpsc::channel::<()>();
            let (reads, started) = (reads.clone(), started.clone());
            ends.push(end);
            waiting.push(tokio::spawn(async move {
                let long = move || {
                    started.send(()).expect("awaited");
                    until.recv().unwrap_err();
                };
                reads.run(&identity("greedy"), long).await;
            }));
        }
        for _ in 0..READS_PER_IDENTITY_MAX {
            begins.recv().expect("as many as one may");
        }
        assert_eq!(reads.run(&identity("other"), || 7).await, 7, "there is a slot for another");
        assert!(begins.try_recv().is_err(), "the rest still waits");
        drop(ends);
        for task in waiting {
            task.await.expect("it ends");
        }
        assert!(reads.identities.lock().is_empty());
    }
}
