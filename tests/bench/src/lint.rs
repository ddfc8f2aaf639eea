//! `trimaran lint` of a file of 10,000 lines, as a whole process and inside of it.

use std::process::Command;
use std::time::Instant;

use trimaran_e2e::lab::binaries;
use trimaran_language::{SourceFile, compile};

use crate::report::{Report, time};

pub(crate) fn run(report: &mut Report) {
    let text = text();
    let lines = text.lines().count();
    let best = (0..5)
        .map(|_| {
            let begin = Instant::now();
            let compiled = compile(&[SourceFile { name: "large.yaml", bytes: text.as_bytes() }]);
            assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics.first());
            begin.elapsed()
        })
        .min()
        .expect("five times");
    let folder = std::env::temp_dir().join(format!("trimaran-bench-{}.yaml", std::process::id()));
    std::fs::write(&folder, &text).expect("a file");
    let whole = (0..5)
        .map(|_| {
            let begin = Instant::now();
            let status = Command::new(binaries().join("trimaran")).arg("lint").arg(&folder).output();
            assert!(status.expect("it runs").status.success());
            begin.elapsed()
        })
        .min()
        .expect("five times");
    // A file that stays behind is the next run's to overwrite.
    let _ = std::fs::remove_file(&folder);
    report.add(
        format!("lint of {lines} lines"),
        time(whole),
        format!("{} without the process; bar 100 ms", time(best)),
    );
}

/// Many targets and pipelines in one file.
fn text() -> String {
    let mut text = String::new();
    for number in 0..330 {
        text.push_str(&format!(
            "\
---
trimaran: v1
target: lab-{number}
agent: lab
class: staging
hosts: {{ select: {{ group: g{number} }} }}
parallel: 64
---
trimaran: v1
pipeline: web-{number}
owner: team-web
artifacts:
  bundle:
    file: \"http://127.0.0.1:8000/web-{{version}}.tar.zst\"
workload:
  host:
    unpack: bundle
    process:
      command: [bin/web, \"--port\", \"8080\"]
      environment: {{ COLOR: blue }}
      stop: {{ signal: TERM, grace: 5s }}
    health:
      http: \":8080/healthz\"
      interval: 500ms
      min_healthy: 3s
      deadline: 20s
environments:
  - name: staging
    targets: [lab-{number}]
    strategy:
      batches: {{ sizes: [1, 100%], max_unavailable: 1, max_failures: 0 }}
"
        ));
    }
    text
}
