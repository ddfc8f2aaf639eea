//! The calls of one installation that have no answer yet. Each has one by its deadline: a call that hangs is
//! lost, and what comes of it later is dropped.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trimaran_agent_core::driver::CallId;
use trimaran_model::limits;
use trimaran_model::time::Millis;

use crate::blocking;

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended<R> {
    Answered(CallId, R),
    /// Its deadline has passed, or its task is gone.
    Lost(CallId),
}

pub(crate) struct Calls<R> {
    tasks: JoinSet<Option<R>>,
    pending: Vec<(tokio::task::Id, CallId)>,
    /// Held by each call and by what it left behind in a disk.
    permits: Arc<Semaphore>,
}

impl<R: Send + 'static> Calls<R> {
    pub(crate) fn new() -> Self {
        let permits = Arc::new(Semaphore::new(limits::HOST_CALLS_MAX));
        Self { tasks: JoinSet::new(), pending: Vec::new(), permits }
    }

    /// Begins a call. One that finds all permits held by calls that hang waits for them until its deadline.
    pub(crate) fn start(
        &mut self,
        id: CallId,
        deadline: Millis,
        call: impl Future<Output = R> + Send + 'static,
    ) {
        let permits = Arc::clone(&self.permits);
        let task = self.tasks.spawn(async move {
            let answer = async {
                let permit = permits.acquire_owned().await.ok()?;
                Some(blocking::counted(permit, call).await)
            };
            tokio::time::timeout(deadline.to_std(), answer).await.ok().flatten()
        });
        self.pending.push((task.id(), id));
    }

    /// The next end of a call; `None` when there is none. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Option<Ended<R>> {
        loop {
            let (task, answer) = match self.tasks.join_next_with_id().await? {
                Ok((task, answer)) => (task, answer),
                Err(error) => (error.id(), None),
            };
            if let Some(place) = self.pending.iter().position(|(pending, _)| *pending == task) {
                let (_, id) = self.pending.swap_remove(place);
                return Some(answer.map_or(Ended::Lost(id), |answer| Ended::Answered(id, answer)));
            }
        }
    }

    /// Abandons every call.
    pub(crate) async fn stop(&mut self) {
        self.tasks.shutdown().await;
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    const SHORT: Millis = Millis(50);
    const LONG: Millis = Millis::seconds(20);

    /// A disk that does not answer before it may.
    fn disk() -> (mpsc::Sender<()>, impl Future<Output = u8> + Send + 'static) {
        let (release, hang) = mpsc::channel::<()>();
        let call = async move {
            let thread = blocking::spawn(move || hang.recv().map_or(2, |()| 1));
            thread.await.expect("it does not panic")
        };
        (release, call)
    }

    async fn next(calls: &mut Calls<u8>) -> Ended<u8> {
        let ended = tokio::time::timeout(Duration::from_secs(20), calls.next()).await;
        ended.expect("every call ends by its deadline").expect("there is one")
    }

    #[tokio::test]
    async fn a_call_that_hangs_is_lost_and_its_late_answer_is_dropped() {
        let mut calls = Calls::new();
        let (release, hangs) = disk();
        calls.start(CallId(1), SHORT, hangs);
        calls.start(CallId(2), LONG, async { 7 });
        assert_eq!(next(&mut calls).await, Ended::Answered(CallId(2), 7), "nothing waits for the other one");
        assert_eq!(next(&mut calls).await, Ended::Lost(CallId(1)));
        release.send(()).expect("the thread still waits");
        assert_eq!(calls.next().await, None);
    }

    #[tokio::test]
    async fn a_call_that_panics_is_lost() {
        let mut calls: Calls<u8> = Calls::new();
        calls.start(CallId(1), LONG, async { panic!("as a defect would") });
        assert_eq!(next(&mut calls).await, Ended::Lost(CallId(1)));
    }

    #[tokio::test]
    async fn what_hangs_holds_a_bounded_number_of_threads_until_the_disk_answers() {
        let mut calls = Calls::new();
        let mut disks = Vec::new();
        for n in 0..limits::HOST_CALLS_MAX {
            let (release, hangs) = disk();
            disks.push(release);
            calls.start(CallId(n as u64), SHORT, hangs);
            assert_eq!(next(&mut calls).await, Ended::Lost(CallId(n as u64)));
        }
        calls.start(CallId(90), SHORT, async { 7 });
        assert_eq!(next(&mut calls).await, Ended::Lost(CallId(90)), "no thread is left for it");
        drop(disks);
        calls.start(CallId(91), LONG, async { 7 });
        assert_eq!(next(&mut calls).await, Ended::Answered(CallId(91), 7));
    }
}
