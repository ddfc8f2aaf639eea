//! Durable commits a second: targets that change, each request answered after its fdatasync.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use trimaran_client::client::Client;
use trimaran_client::config::{Config, Context};
use trimaran_e2e::lab::Lab;
use trimaran_wire::v1::operator::{OperatorBody, SourceFile};

use crate::report::{Report, percentile, time};

const LENGTH: Duration = Duration::from_secs(5);
/// Commits of one call. The request ids of an identity are kept for a day, and fewer than
/// `limits::REQUESTS_PER_IDENTITY_MAX`: a lab has space for five such calls.
const COMMITS_MAX: u64 = 18_000;
/// Of the document that each commit applies.
pub(crate) const DOCUMENT_BYTES: usize = 256;

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh(1);
    let probe = fdatasyncs(lab.folder.path());
    report.add(
        "fdatasync of 256 appended bytes",
        format!("{probe:.0} /s"),
        "the disk's own bound, one at a time",
    );
    for clients in [1, 64] {
        let found = commits(&context(&lab), clients, LENGTH);
        report.add(
            format!("durable commits, {clients} client{}", if clients == 1 { "" } else { "s" }),
            format!("{:.0} /s", found.per_second),
            format!(
                "{:.2} a fdatasync of the probe; p50 {}, p99 {}",
                found.per_second / probe,
                time(percentile(&found.times, 50)),
                time(percentile(&found.times, 99))
            ),
        );
    }
}

/// How often the disk under `folder` syncs a small append.
pub(crate) fn fdatasyncs(folder: &Path) -> f64 {
    let mut file = File::create(folder.join("probe")).expect("a file");
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < Duration::from_secs(2) {
        file.write_all(&[7; 256]).expect("written");
        file.sync_data().expect("synced");
        count += 1;
    }
    f64::from(count) / begin.elapsed().as_secs_f64()
}

/// The lab's own context: every coordinator of it.
pub(crate) fn context(lab: &Lab) -> Context {
    let config = Config::load(&lab.folder.path().join("config.toml")).expect("the lab's configuration");
    config.context(Some("dev")).expect("the lab's context").1.clone()
}

/// A client of the lab with a session of its own.
pub(crate) fn client(lab: &Lab) -> Client {
    Client::new(context(lab))
}

/// What clients saw that committed one after the other.
pub(crate) struct Commits {
    pub(crate) per_second: f64,
    /// From a request to its answer, sorted.
    pub(crate) times: Vec<Duration>,
}

/// Commits by `clients` clients with a session each, as fast as they are answered: for `length`, or until
/// [`COMMITS_MAX`] are reached.
pub(crate) fn commits(context: &Context, clients: usize, length: Duration) -> Commits {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let number = Arc::new(AtomicU64::new(0));
    runtime.block_on(async {
        let connected = Arc::new(tokio::sync::Barrier::new(clients));
        let tasks: Vec<_> = (0..clients)
            .map(|task| {
                let (client, number) = (Client::new(context.clone()), Arc::clone(&number));
                let connected = Arc::clone(&connected);
                tokio::spawn(async move {
                    commit(&client, task, number.fetch_add(1, Ordering::Relaxed)).await;
                    connected.wait().await;
                    let (mut times, begin) = (Vec::new(), Instant::now());
                    while begin.elapsed() < length {
                        let number = number.fetch_add(1, Ordering::Relaxed);
                        if number >= COMMITS_MAX {
                            break;
                        }
                        let sent = Instant::now();
                        commit(&client, task, number).await;
                        times.push(sent.elapsed());
                    }
                    (times, begin.elapsed())
                })
            })
            .collect();
        let (mut times, mut longest) = (Vec::new(), Duration::ZERO);
        for task in tasks {
            let (own, took) = task.await.expect("no task panics");
            times.extend(own);
            longest = longest.max(took);
        }
        times.sort_unstable();
        Commits { per_second: times.len() as f64 / longest.as_secs_f64(), times }
    })
}

/// Changes the target of `task`; returns when that is durable.
pub(crate) async fn commit(client: &Client, task: usize, number: u64) {
    let file = SourceFile { name: "target.yaml".to_owned(), text: document(task, number).into_bytes() };
    let id = uuid::Uuid::now_v7().into_bytes();
    let answer = client.request(Some(id), OperatorBody::Apply { files: vec![file] }).await;
    answer.expect("the coordinator answers");
}

/// A target whose document has [`DOCUMENT_BYTES`].
fn document(task: usize, number: u64) -> String {
    let filler = "x".repeat(64);
    let begin = format!(
        "trimaran: v1\ntarget: bench-{task}\nagent: lab\nclass: staging\n\
         hosts: {{ select: {{ group: g{number}, filler: {filler}, rest: "
    );
    let end = " } }\n";
    let rest = DOCUMENT_BYTES - begin.len() - end.len();
    format!("{begin}{}{end}", "y".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_as_many_bytes_as_the_rows_say() {
        for (task, number) in [(0, 0), (255, 9_999_999_999)] {
            let document = document(task, number);
            assert_eq!(document.len(), DOCUMENT_BYTES);
            let file = trimaran_language::SourceFile { name: "target.yaml", bytes: document.as_bytes() };
            let compiled = trimaran_language::compile(&[file]);
            assert_eq!((compiled.documents.len(), compiled.diagnostics.len()), (1, 0), "{document}");
        }
    }
}
