//! Durable commits a second: targets that change, each request answered after its fdatasync.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use trimaran_client::client::Client;
use trimaran_client::config::Config;
use trimaran_e2e::lab::Lab;
use trimaran_wire::v1::operator::{OperatorBody, SourceFile};

use crate::report::{Report, percentile, time};

const LENGTH: Duration = Duration::from_secs(5);

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh(1);
    let probe = fdatasyncs(lab.folder.path());
    report.add(
        "fdatasync of 256 appended bytes",
        format!("{probe:.0} /s"),
        "the disk's own bound, one at a time",
    );
    for clients in [1, 64] {
        let (rate, mut times) = commits(&lab, clients);
        times.sort_unstable();
        report.add(
            format!("durable commits, {clients} client{}", if clients == 1 { "" } else { "s" }),
            format!("{rate:.0} /s"),
            format!(
                "{:.2} a fdatasync of the probe; p50 {}, p99 {}",
                rate / probe,
                time(percentile(&times, 50)),
                time(percentile(&times, 99))
            ),
        );
    }
}

/// How often the disk under `folder` syncs a small append.
fn fdatasyncs(folder: &Path) -> f64 {
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

/// A client of the lab with a session of its own.
pub(crate) fn client(lab: &Lab) -> Client {
    let config = Config::load(&lab.folder.path().join("config.toml")).expect("the lab's configuration");
    let (_, context) = config.context(Some("dev")).expect("the lab's context");
    Client::new(context.clone())
}

fn commits(lab: &Lab, clients: usize) -> (f64, Vec<Duration>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let number = Arc::new(AtomicU64::new(0));
    runtime.block_on(async {
        let begin = Instant::now();
        let tasks: Vec<_> = (0..clients)
            .map(|task| {
                let (client, number) = (client(lab), Arc::clone(&number));
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while begin.elapsed() < LENGTH {
                        let number = number.fetch_add(1, Ordering::Relaxed);
                        let text = format!(
                            "trimaran: v1\ntarget: bench-{task}\nagent: lab\nclass: staging\n\
                             hosts: {{ select: {{ group: g{number} }} }}\n"
                        );
                        let file = SourceFile { name: "target.yaml".to_owned(), text: text.into_bytes() };
                        let id = uuid::Uuid::now_v7().into_bytes();
                        let sent = Instant::now();
                        let answer =
                            client.request(Some(id), OperatorBody::Apply { files: vec![file] }).await;
                        answer.expect("the coordinator answers");
                        times.push(sent.elapsed());
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.expect("no task panics"));
        }
        (times.len() as f64 / begin.elapsed().as_secs_f64(), times)
    })
}
