//! Time: every file, however it is made, is judged within 100 ms. The time of the processor is taken, and the best of
//! some runs, since the machine that runs tests has other work too.
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use trimaran_language::{Compiled, SourceFile, compile};
use trimaran_model::limits::{SPEC_DIAGNOSTICS_MAX, SPEC_FILE_BYTES_MAX};

const TIME_MAX: Duration = Duration::from_millis(100);
const RUNS: usize = 20;

/// What this thread has used of a processor.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a thread's time is positive")
}

/// Compiles the text until one run was quick enough; the best time when none was.
fn quickly(text: &str) -> Result<Compiled, Duration> {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = processor_time();
        let compiled = compile(&[SourceFile { name: "trimaran.yaml", bytes: text.as_bytes() }]);
        best = best.min(processor_time() - start);
        if best <= TIME_MAX {
            return Ok(compiled);
        }
    }
    Err(best)
}

/// As many repetitions as a file may hold.
fn full(head: &str, item: impl Fn(usize) -> String) -> String {
    let mut text = head.to_owned();
    for index in 0.. {
        let item = item(index);
        if text.len() + item.len() > SPEC_FILE_BYTES_MAX {
            break;
        }
        text.push_str(&item);
    }
    text
}

/// A file of about `lines` lines without errors: pipelines of 64 environments, which is as many as one may have.
fn lint_input(lines: usize) -> String {
    let mut text = String::new();
    let mut number = 0;
    while text.lines().count() < lines {
        document(number, &mut text);
        number += 1;
    }
    text
}

fn document(number: usize, text: &mut String) {
    if number > 0 {
        text.push_str("---\n");
    }
    text.push_str(&format!(
        "trimaran: v1\npipeline: web-{number}\nowner: team-web\nartifacts:\n  bundle:\n    \
         path: \"/srv/builds/web-{{version}}.tar.zst\"\nworkload:\n  host:\n    unpack: bundle\n    \
         process:\n      command:\n        - bin/web\n        - \"--port\"\n        - \"8080\"\n    \
         health:\n      http: \":8080/healthz\"\n      min_healthy: 3s\n      deadline: 20s\nenvironments:\n"
    ));
    for environment in 0..64 {
        text.push_str(&format!(
            "  # environment {environment} of pipeline {number}\n  - name: environment-{environment}\n    \
             targets:\n      - target-{environment}\n      - target-{environment}-b\n    \
             strategy:\n      batches:\n        sizes: [1, 25%, 100%]\n        max_unavailable: 1\n    \
             approve: {{ options: [promote, roll_back], timeout: 1h }}\n"
        ));
    }
}

#[test]
fn ten_thousand_lines_without_errors() {
    let text = lint_input(10_000);
    assert!(text.lines().count() >= 10_000);
    let compiled = quickly(&text).expect("100 ms");
    assert_eq!(compiled.diagnostics, []);
}

#[test]
fn a_file_over_the_limit_is_refused_by_its_size() {
    let text = "x".repeat(SPEC_FILE_BYTES_MAX + 1);
    let compiled = quickly(&text).expect("100 ms");
    let found: Vec<_> = compiled.diagnostics.iter().map(|it| it.code.to_string()).collect();
    assert_eq!(found, ["TR1019"]);
}

#[test]
fn full_files_of_every_unpleasant_kind() {
    let head = "trimaran: v1\npipeline: web\nowner: w\n";
    let unknown = |index: usize| format!("key{index}: x\n");
    let named = |index: usize| format!("  a{index}: {{ path: \"/{{version}}\" }}\n");
    let target = |index: usize| {
        format!(
            "---\ntrimaran: v1\ntarget: t{index}\nagent: a\nclass: prod\nhosts: {{ select: {{ a: b }} }}\n"
        )
    };
    let same =
        |_| "---\ntrimaran: v1\ntarget: t\nagent: a\nclass: prod\nhosts: { select: { a: b } }\n".to_owned();
    let mut slow = Vec::new();
    let wanted = "environments:\n  - { name: a, targets: [x] }\n";
    for (what, text) in [
        ("unknown keys", full(head, unknown)),
        ("one key again and again", full(head, |_| "a: 1\n".to_owned())),
        ("two keys again and again", full(head, |index| format!("k{}: 1\n", index % 40_000))),
        ("unused artifacts", full(&format!("{head}artifacts:\n"), named)),
        ("targets", full(&format!("{head}{wanted}"), target)),
        ("one target again and again", full("", same)),
        ("empty documents", full("", |_| "---\n".to_owned())),
        ("a list", full("trimaran: v1\npipeline: [", |_| "a,".to_owned())),
        (
            "anchors in anchors",
            full(head, |index| format!("a{index}: &a{index} [&b{index} [&c{index} [x]]]\n")),
        ),
        ("aliases", full(&format!("{head}a: &a x\n"), |index| format!("k{index}: *a\n"))),
        ("open brackets", full(head, |_| "[".to_owned())),
        ("open braces", full(head, |_| "{a: ".to_owned())),
        ("dashes", full("", |_| "- ".to_owned())),
        ("question marks", full("", |_| "? ".to_owned())),
        ("one long text", full("trimaran: ", |_| "x".to_owned())),
        ("one long quoted text", full("trimaran: \"", |_| "\\n".to_owned())),
        ("one long key", full("", |_| "x".to_owned())),
        ("line ends", full("", |_| "\n".to_owned())),
        ("comments", full(head, |_| "# x\n".to_owned())),
        ("control characters", full(head, |_| "\u{1}\n".to_owned())),
        (
            "expressions",
            full(&format!("{head}artifacts:\n"), |index| format!("  \"${{{{ {index} }}}}\": x\n")),
        ),
        (
            "environments",
            full(&format!("{head}environments:\n"), |index| {
                format!("  - {{ name: e{index}, after: [e{}] }}\n", index + 1)
            }),
        ),
        ("unknown targets of many environments", {
            let mut head = format!("{head}environments:\n");
            for environment in 0..64 {
                let names: Vec<String> =
                    (0..256).map(|n| format!("unknown-name-{environment}-{n}")).collect();
                head.push_str(&format!("  - {{ name: e{environment}, targets: [{}] }}\n", names.join(", ")));
            }
            full(&head, |index| target(index).replace("target: t", "target: unknown-nam3-"))
        }),
        ("targets of an environment", {
            let head = format!("{head}environments:\n  - name: a\n    targets:\n");
            full(&head, |index| format!("      - t{index}\n"))
        }),
    ] {
        match quickly(&text) {
            Ok(compiled) => {
                let found = compiled.diagnostics.len();
                assert!(found > 0 && found <= 2 * SPEC_DIAGNOSTICS_MAX + 2, "{what}: {found} findings");
            }
            Err(best) => slow.push(format!("{what}: {best:?} at best for {} bytes", text.len())),
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}
