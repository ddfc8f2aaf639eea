//! Where an order is: what survives a crash, and what is only known while the driver runs.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_agent_core::driver::CallId;
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};

use crate::finish::Finish;
use crate::inventory::{Inventory, Receipt};
use crate::object_key::ObjectKey;
use crate::order::{Goal, Order};
use crate::platform::{Call, Live, Observation};
use crate::stamp::Author;

/// The steps of an order, in this order. A phase that is found begins with the first one again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// What is there is being read.
    Surveying,
    /// The intents are on their way to the log.
    Committing,
    Applying,
    /// Everything is applied and has to become healthy.
    Settling,
    Pruning,
    /// The last inventory is on its way to the log.
    Closing,
}

#[derive(Debug, Clone)]
pub struct Phase {
    pub(crate) author: Author,
    pub(crate) goal: Goal,
    pub(crate) progress_deadline: Millis,
    /// Releases that a rollback may need.
    pub(crate) retained: BTreeSet<Digest>,
    /// A stop does not end what still serves.
    pub(crate) keep_serving: bool,
    // What is saved.
    pub(crate) step: Step,
    /// As it was when this order began.
    pub(crate) before: Inventory,
    /// What this order intends to change, and what it changed.
    pub(crate) receipts: BTreeMap<ObjectKey, Receipt>,
    pub(crate) commits: u32,
    // What is not.
    pub(crate) work: Work,
}

/// What is found out again after a crash.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// The cluster is the one in which the installation is.
    pub(crate) is_identified: bool,
    pub(crate) live: BTreeMap<ObjectKey, Live>,
    pub(crate) calls: BTreeMap<CallId, Pending>,
    pub(crate) last_call: u64,
    /// Applied by this order, or left alone on purpose.
    pub(crate) applied: BTreeSet<ObjectKey>,
    pub(crate) pruned: BTreeSet<ObjectKey>,
    /// Versions of configuration that nothing uses, once that is known.
    pub(crate) unused: Option<BTreeSet<ObjectKey>>,
    /// Uids of stuck pods that were deleted.
    pub(crate) freed: BTreeSet<String>,
    pub(crate) lease: bool,
    pub(crate) committed: u32,
    pub(crate) abort: Option<ReasonCode>,
    pub(crate) has_ended: bool,
    /// Nothing is asked before this time.
    pub(crate) retry_at: Option<Timestamp>,
    /// Since when this step has been what it is.
    pub(crate) since: Timestamp,
    /// What keeps it from going on.
    pub(crate) obstacle: Option<String>,
    pub(crate) finish: Finish,
    pub(crate) seen: Option<Observation>,
}

/// What a call in flight is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pending {
    Identify,
    Read(Vec<ObjectKey>),
    Change(ObjectKey),
    PutBack(ObjectKey),
    Delete(ObjectKey),
    Free { uid: String },
    Unused,
}

/// What survives a crash, without what the order says.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) step: Step,
    pub(crate) before: Inventory,
    pub(crate) receipts: BTreeMap<ObjectKey, Receipt>,
    pub(crate) commits: u32,
}

impl Kept {
    /// Of an order that did nothing yet.
    pub(crate) fn new(before: Inventory) -> Self {
        Self { step: Step::Surveying, before, receipts: BTreeMap::new(), commits: 0 }
    }

    pub(crate) fn covers(&self, call: &Call) -> bool {
        covers(self.step, &self.receipts, call)
    }

    /// The inventory as it is in the middle of an order: what was there, and what is intended or done. `forward` is the
    /// release of an order that is no rollback.
    pub(crate) fn inventory(&self, forward: Option<Digest>) -> Inventory {
        inventory(&self.before, &self.receipts, forward)
    }
}

fn covers(step: Step, receipts: &BTreeMap<ObjectKey, Receipt>, call: &Call) -> bool {
    match call {
        Call::Identify | Call::Read { .. } | Call::Unused { .. } => true,
        Call::Apply { key, .. } | Call::Edit { key, .. } => receipts.contains_key(key),
        Call::PutBack { key, .. } | Call::Adjust { key, .. } => receipts.contains_key(key),
        Call::Delete { .. } => step >= Step::Settling,
    }
}

fn inventory(
    before: &Inventory,
    receipts: &BTreeMap<ObjectKey, Receipt>,
    forward: Option<Digest>,
) -> Inventory {
    let mut inventory = before.clone();
    receipts.values().for_each(|receipt| inventory.put(receipt.clone()));
    if let Some(release) = forward
        && !receipts.is_empty()
        && inventory.releases.last() != Some(&release)
    {
        inventory.releases.push(release);
    }
    inventory
}

impl Phase {
    pub(crate) fn resume(order: &Order, now: Timestamp, kept: Kept) -> Self {
        Self {
            author: order.author(),
            goal: order.goal.clone(),
            progress_deadline: order.progress_deadline,
            retained: order.retained.clone(),
            keep_serving: order.keep_serving,
            step: kept.step,
            before: kept.before,
            receipts: kept.receipts,
            commits: kept.commits,
            work: Work::new(now),
        }
    }

    pub(crate) fn into_kept(self) -> Kept {
        let Self { step, before, receipts, commits, .. } = self;
        Kept { step, before, receipts, commits }
    }

    /// Whether the phase names what a call changes, so that whoever finds it looks there.
    pub fn covers(&self, call: &Call) -> bool {
        covers(self.step, &self.receipts, call)
    }

    /// The inventory as it is in the middle of the order: what was there, and what is intended or done.
    pub(crate) fn inventory(&self) -> Inventory {
        let forward = match &self.goal {
            Goal::Release(release) => Some(release.digest),
            Goal::Restore(_) | Goal::Verify(_) | Goal::Stop(_) => None,
            Goal::Restart(_) | Goal::Scale(..) => None,
        };
        inventory(&self.before, &self.receipts, forward)
    }

    /// The number of the next call.
    pub(crate) fn next_call(&mut self, pending: Pending) -> CallId {
        self.work.last_call += 1;
        let id = CallId(self.work.last_call);
        self.work.calls.insert(id, pending);
        id
    }

    pub(crate) fn enter(&mut self, step: Step, now: Timestamp) {
        self.step = step;
        self.work.since = now;
        self.work.obstacle = None;
        self.work.retry_at = None;
    }
}

impl Work {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            is_identified: false,
            live: BTreeMap::new(),
            calls: BTreeMap::new(),
            last_call: 0,
            applied: BTreeSet::new(),
            pruned: BTreeSet::new(),
            unused: None,
            freed: BTreeSet::new(),
            lease: false,
            committed: 0,
            abort: None,
            has_ended: false,
            retry_at: None,
            since: now,
            obstacle: None,
            finish: Finish::default(),
            seen: None,
        }
    }
}
