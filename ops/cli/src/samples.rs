//! Documents for tests of what people see.

use trimaran_wire::document::{
    ArtifactDocument, InstallationDocument, InstanceDocument, ReasonDocument, RollbackDocument, RunDocument,
    RunSummary, StageDocument, WaveDocument,
};

use crate::ui::View;

/// A text at the widths of a narrow, a common and a wide terminal, and in a pipe.
pub(crate) fn at_widths(text: impl Fn(&View) -> String) -> String {
    let widths = [60, 100, 200].map(|columns| (format!("{columns} columns"), View::terminal(columns)));
    let all = widths.into_iter().chain([("a pipe".to_owned(), View::pipe())]);
    all.map(|(name, view)| format!("--- {name}\n{}\n", text(&view))).collect()
}

/// When all samples began; tests show them half a minute later.
pub(crate) const START: &str = "2026-01-01T00:00:00.000Z";

/// `web#9` with the version v10 in staging and prod.
pub(crate) fn run(status: &str) -> RunDocument {
    RunDocument {
        run: "web#9".to_owned(),
        pipeline: "web".to_owned(),
        kind: "deploy".to_owned(),
        status: status.to_owned(),
        plan_digest: "ab".repeat(32),
        by: "operator/admin".to_owned(),
        artifacts: vec![artifact()],
        created_at: START.to_owned(),
        finished_at: None,
        reasons: Vec::new(),
        stages: vec![stage("staging", "lab-staging", "succeeded"), stage("prod", "lab-prod", "pending")],
        rollback: None,
        caused_by: None,
        revision: 1,
    }
}

fn artifact() -> ArtifactDocument {
    ArtifactDocument { name: "bundle".to_owned(), version: "v10".to_owned(), sha256: "cd".repeat(32) }
}

pub(crate) fn stage(environment: &str, target: &str, status: &str) -> StageDocument {
    StageDocument {
        name: format!("{environment}/{target}"),
        environment: environment.to_owned(),
        target: Some(target.to_owned()),
        status: status.to_owned(),
        attempt: 1,
        fence: None,
        wave: None,
        started_at: None,
        finished_at: None,
        reasons: Vec::new(),
        instances: Vec::new(),
    }
}

pub(crate) fn wave(number: u32, done: u32, total: u32) -> WaveDocument {
    WaveDocument { number, of: 3, target_count: total, done, total }
}

pub(crate) fn reason(code: &str, message: &str) -> ReasonDocument {
    ReasonDocument {
        code: code.to_owned(),
        message: message.to_owned(),
        since: START.to_owned(),
        clears: "wait".to_owned(),
        who: Vec::new(),
        next_check: None,
        first: None,
        cause: None,
        instance: None,
        run: None,
    }
}

pub(crate) fn instance(name: &str, status: &str, code: Option<&str>, message: &str) -> InstanceDocument {
    InstanceDocument {
        name: name.to_owned(),
        status: status.to_owned(),
        release: None,
        code: code.map(str::to_owned),
        message: message.to_owned(),
        since: None,
        state: None,
        steps: Vec::new(),
    }
}

pub(crate) fn installation(environment: &str, target: &str) -> InstallationDocument {
    InstallationDocument {
        pipeline: "web".to_owned(),
        environment: environment.to_owned(),
        target: target.to_owned(),
        release: Some("ef".repeat(32)),
        version: Some("v10".to_owned()),
        sha256: Some("cd".repeat(32)),
        since: Some(START.to_owned()),
        health: "healthy".to_owned(),
        code: None,
        message: None,
        run: Some("web#9".to_owned()),
        by_rollback: false,
        desired: 4,
        updated: 4,
        ready: 4,
        blind_since: None,
        available: 4,
        members: 4,
        lost: 0,
        diverged: 0,
        in_progress: None,
        bakes_until: None,
    }
}

/// The run `by` that takes the release of `run` back.
pub(crate) fn rollback_of(run: &str, by: &str, cause: &str) -> RunSummary {
    RunSummary {
        run: by.to_owned(),
        pipeline: "web".to_owned(),
        kind: "rollback".to_owned(),
        status: "succeeded".to_owned(),
        plan_digest: String::new(),
        by: "coordinator".to_owned(),
        artifacts: Vec::new(),
        created_at: START.to_owned(),
        finished_at: None,
        rollback: Some(RollbackDocument { cause: cause.to_owned(), to: None, version: None }),
        caused_by: Some(run.to_owned()),
    }
}
