//! What stands between orders, judged for as long as nothing works on it.

use trimaran_agent_core::platform::{Judgment, JudgmentSink, Standing};
use trimaran_kubernetes_driver::{Inventory, Observation, Observer, Query, health};
use trimaran_model::id::Digest;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_model::verdict::Verdict;
use trimaran_process::clock::boot_time;

use crate::place::Place;
use crate::watch::{Attempt, BEGIN_MAX, CHANGING_INTERVAL, OBSERVE_INTERVAL};

/// What is missing or made anew in one observation may be so between two writes of someone.
const ABSENCE: Millis = Millis::seconds(5);

impl Place {
    /// Judges what stands of an installation until it is dropped. What it consists of is what its last order committed.
    pub(crate) async fn stand(&self, standing: Standing, sink: impl JudgmentSink) {
        let inventory = standing.committed.as_ref().map(|commit| Inventory::from_bytes(&commit.body));
        let (Some(release), Some(Ok(inventory))) = (standing.release, inventory) else {
            return std::future::pending().await;
        };
        let keys = inventory.receipts().map(|receipt| receipt.key.clone()).collect();
        let query = Query { installation: standing.installation.clone(), keys };
        let observer = Observer { query, rules: self.rules.clone() };
        let blinded = |since: Timestamp| {
            if boot_time() >= since + BEGIN_MAX {
                sink.judge(blind(since));
            }
        };
        let (mut watches, mut changes) = self.begin_watches(&observer, blinded).await;
        let mut absence = Absence::default();
        let (mut last, mut lagging) = (None, None);
        loop {
            if self.has_moved(&watches).await {
                (watches, changes) = self.begin_watches(&observer, blinded).await;
            }
            changes.mark_seen();
            let attempt = self.attempt(&watches, &observer, &mut lagging).await;
            let mut wait = OBSERVE_INTERVAL;
            if let Attempt::Seen(observation) = attempt {
                let judgment = judge(&inventory, release, &standing, &observation);
                let now = boot_time();
                if let Some(judgment) = judgment.filter(|judgment| absence.is_certain(judgment, now)) {
                    if judgment.verdict != Verdict::Healthy {
                        wait = CHANGING_INTERVAL;
                    }
                    if last.as_ref() != Some(&judgment) {
                        sink.judge(judgment.clone());
                        last = Some(judgment);
                    }
                } else {
                    wait = CHANGING_INTERVAL;
                }
                if let Some(check) = observation.next_check {
                    wait = wait.min((check - now).max(Millis(10)));
                }
            }
            changes.next(wait).await;
        }
    }
}

fn judge(
    inventory: &Inventory,
    release: Digest,
    standing: &Standing,
    observation: &Observation,
) -> Option<Judgment> {
    if let Some(since) = observation.blind_since {
        return Some(blind(since));
    }
    let health = health(inventory, release, standing.fence, observation)?;
    Some(Judgment { verdict: health.verdict, failure: health.failure, down: health.down, blind_since: None })
}

fn blind(since: Timestamp) -> Judgment {
    Judgment { verdict: Verdict::Unknown, failure: None, down: 0, blind_since: Some(since) }
}

/// Since when something is missing.
#[derive(Default)]
struct Absence(Option<Timestamp>);

impl Absence {
    /// Whether a judgment may be passed on: that something is missing only when it is for a while.
    fn is_certain(&mut self, judgment: &Judgment, now: Timestamp) -> bool {
        if judgment.verdict != Verdict::Missing {
            self.0 = None;
            return true;
        }
        now >= *self.0.get_or_insert(now) + ABSENCE
    }
}
