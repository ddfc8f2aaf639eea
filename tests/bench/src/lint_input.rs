//! Pipeline files of any length, for what `lint` takes.

/// A pipeline and its targets of about `lines` lines, without errors: 64 environments, which is as many as a
/// pipeline may have, and as many documents as it takes.
pub fn lint_input(lines: usize) -> String {
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
