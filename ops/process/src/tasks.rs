//! Tasks that end with their process.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the end of a process waits for tasks that were asked to end.
const END_LIMIT: Duration = Duration::from_secs(2);

/// What a process works on beside its main loop. Clones are the same tasks.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Tasks that end as soon as `stop` is canceled.
    pub fn until(stop: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), stop }
    }

    /// Starts a task that is dropped where it waits once the process ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        // A future is stored again by each one that it is passed to, and there may be thousands of tasks.
        let task = Box::pin(task);
        self.tracker.spawn(async move {
            // `None` says that the process ends; nothing has to be done about it.
            let _ = stop.run_until_cancelled(task).await;
        });
    }

    /// Tells all tasks to end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for their end, which [`Self::stop`] began; a bound keeps a stuck one from holding the process.
    pub async fn ended(&self) {
        self.tracker.close();
        let _ = tokio::time::timeout(END_LIMIT, self.tracker.wait()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn tasks_that_wait_are_dropped_when_the_process_ends() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let tasks = Tasks::default();
            let held = Arc::new(());
            let holds = held.clone();
            tasks.spawn(async move {
                let _holds = holds;
                std::future::pending().await
            });
            tokio::task::yield_now().await;
            assert_eq!(Arc::strong_count(&held), 2, "it waits");
            tasks.stop();
            tasks.ended().await;
            assert_eq!(Arc::strong_count(&held), 1, "what it held is free");
        });
    }
}
