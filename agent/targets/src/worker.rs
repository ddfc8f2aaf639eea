//! The worker of one target: makes its calls in order, and waits for all of them at once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use trimaran_agent_core::Permit;
use trimaran_agent_core::driver::{CallId, Driver};
use trimaran_agent_core::platform::{Answer, Platform};
use trimaran_model::id::AssignmentId;
use trimaran_process::clock::boot_time;
use trimaran_process::failpoint;

use crate::inbox::Inbox;

/// A call on its way. It is answered exactly once: at its drop, when nothing else did.
pub(crate) struct Call<D: Driver> {
    assignment: AssignmentId,
    id: CallId,
    call: Option<D::Call>,
    permit: Permit,
    inbox: Arc<Inbox<D>>,
    answered: bool,
}

impl<D: Driver> Call<D> {
    pub(crate) fn new(
        assignment: AssignmentId,
        id: CallId,
        call: D::Call,
        permit: Permit,
        inbox: Arc<Inbox<D>>,
    ) -> Self {
        Self { assignment, id, call: Some(call), permit, inbox, answered: false }
    }

    fn answer(&mut self, answer: Answer<D::Reply>) {
        self.answered = true;
        self.inbox.answer(self.assignment, self.id, answer);
    }

    /// Performs it within its permit.
    async fn perform<P: Platform<D>>(mut self, platform: &P) {
        let call = self.call.take().expect("a call is performed once");
        let rest = Duration::from_millis((self.permit.until() - boot_time()).0);
        failpoint::hit("before call");
        let performed = AssertUnwindSafe(platform.call(call, self.permit.clone())).catch_unwind();
        let answer = match tokio::time::timeout(rest, performed).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                tracing::error!(assignment = self.assignment.0, "a call of a platform panicked");
                Answer::Lost
            }
            Err(_) => Answer::Lost,
        };
        failpoint::hit("after call");
        self.answer(answer);
    }
}

impl<D: Driver> Drop for Call<D> {
    fn drop(&mut self) {
        if !self.answered {
            let answer = if self.call.is_some() { Answer::Unmade } else { Answer::Lost };
            self.answer(answer);
        }
    }
}

/// Ends with its handle: calls in flight are lost then.
pub(crate) struct Worker<D: Driver> {
    calls: UnboundedSender<Call<D>>,
    task: tokio::task::AbortHandle,
}

impl<D> Worker<D>
where
    D: Driver<Call: Send, Reply: Send, Snapshot: Send> + 'static,
{
    /// A worker without a platform makes no call.
    pub(crate) fn start<P: Platform<D>>(runtime: &Handle, platform: Option<Arc<P>>) -> Self {
        // Bounded by the executor's semaphore of the target.
        let (calls, queue) = mpsc::unbounded_channel();
        let task = runtime.spawn(async move {
            match platform {
                Some(platform) => work(&*platform, queue).await,
                None => refuse(queue).await,
            }
        });
        Self { calls, task: task.abort_handle() }
    }

    pub(crate) fn make(&self, call: Call<D>) {
        // One that is not taken is dropped, which answers it.
        drop(self.calls.send(call));
    }
}

impl<D: Driver> Drop for Worker<D> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn work<D, P>(platform: &P, mut queue: UnboundedReceiver<Call<D>>)
where
    D: Driver,
    P: Platform<D>,
{
    let mut in_flight = FuturesUnordered::new();
    loop {
        tokio::select! {
            call = queue.recv() => match call {
                Some(call) => in_flight.push(call.perform(platform)),
                None => return,
            },
            Some(()) = in_flight.next() => {}
        }
    }
}

async fn refuse<D: Driver>(mut queue: UnboundedReceiver<Call<D>>) {
    while let Some(call) = queue.recv().await {
        drop(call);
    }
}
