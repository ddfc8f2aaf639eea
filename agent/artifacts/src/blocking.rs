//! Work that may wait for a disk, on threads that may: an installation whose disk hangs holds only so many.
//!
//! A thread in a system call can't be ended. So a call that is abandoned leaves its thread behind, and the thread
//! keeps the call's permit until the disk lets go of it. Deliberately not here: who gets a permit, and deadlines
//! (`calls`).

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

tokio::task_local! {
    static PERMIT: Arc<OwnedSemaphorePermit>;
}

/// Runs a call whose threads all hold `permit`.
pub async fn counted<F: Future>(permit: OwnedSemaphorePermit, call: F) -> F::Output {
    PERMIT.scope(Arc::new(permit), call).await
}

/// As [`tokio::task::spawn_blocking`]; the thread belongs to the call that asks for it, if there is one.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let permit = PERMIT.try_with(Arc::clone).ok();
    tokio::task::spawn_blocking(move || {
        let _held = permit;
        work()
    })
}
