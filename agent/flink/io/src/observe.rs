//! Observers of jobs at rest: one list of jobs serves all of a cluster's. A job is asked about when the list shows that
//! something happened, and once a minute for its checkpoints.

use trimaran_agent_core::platform::{Answer, Judgment, JudgmentSink};
use trimaran_flink_core::call::{Call, Reply};
use trimaran_flink_core::journal::ledger_from_bytes;
use trimaran_flink_core::standing::{Question, StandingJob};
use trimaran_model::time::Millis;
use trimaran_model::verdict::Verdict;
use trimaran_process::clock::boot_time;

use crate::target::{FlinkTarget, JarSource, LIST_INTERVAL};

/// A JobManager that is away for less than this, as in a failover, is no news.
const BLIND_AFTER: Millis = Millis::seconds(10);

/// Judges the job of a ledger until it is dropped. Without one there is nothing to judge.
pub(crate) async fn observe<J: JarSource>(
    target: &FlinkTarget<J>,
    ledger: Option<&[u8]>,
    sink: impl JudgmentSink,
) {
    let ledger = ledger.map(ledger_from_bytes).transpose().unwrap_or_else(|error| {
        tracing::error!(%error, "what was committed for a job can't be read by this version");
        None
    });
    let Some(mut job) = ledger.as_ref().and_then(StandingJob::of) else {
        return std::future::pending().await;
    };
    let mut blind_since = None;
    loop {
        let listed = target.shared_jobs().await;
        let now = boot_time();
        let is_seen = match listed.as_ref() {
            Ok((at, jobs)) => match job.see(now, *at, jobs) {
                Question::Nothing => true,
                Question::Checkpoints => count(target, &mut job).await,
                Question::Whole => sample(target, &mut job).await,
            },
            Err(why) => {
                tracing::debug!(job = %job.id(), why, "the JobManager can't be asked");
                false
            }
        };
        let now = boot_time();
        let (verdict, failure) = job.judge(now);
        blind_since = if is_seen { None } else { blind_since.or(Some(now)) };
        let blind_since = blind_since.filter(|since| now - *since >= BLIND_AFTER);
        let down = u32::from(matches!(verdict, Verdict::Degraded | Verdict::Missing));
        sink.judge(Judgment { verdict, failure, down, blind_since });
        tokio::time::sleep(LIST_INTERVAL.to_std()).await;
    }
}

/// Whether the job could be sampled.
async fn sample<J: JarSource>(target: &FlinkTarget<J>, job: &mut StandingJob) -> bool {
    match target.perform(Call::Sample { job: job.id() }, || true).await {
        Answer::Reply(Reply::Sampled(sample)) => {
            job.sample(boot_time(), &sample);
            true
        }
        _ => false,
    }
}

/// Whether the job's checkpoints could be counted.
async fn count<J: JarSource>(target: &FlinkTarget<J>, job: &mut StandingJob) -> bool {
    match target.perform(Call::Checkpoints { job: job.id() }, || true).await {
        Answer::Reply(Reply::Counted(counts)) => {
            job.count(boot_time(), counts.as_ref());
            true
        }
        _ => false,
    }
}
