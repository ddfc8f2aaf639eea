//! What scripts print.

use sha2::{Digest as _, Sha256};
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_engine::state::token::Audience;
use trimaran_engine::{Event, Outcome};
use trimaran_model::action::Action;
use trimaran_model::amount::IntOrPercent;
use trimaran_model::id::{AgentName, Digest};
use trimaran_query as query;
use trimaran_query::text::{self, Owner};
use trimaran_sim::lab::Lab;
use trimaran_wire::document::ReasonDocument;
use trimaran_wire::v1::command::CommandBody;

/// The outcome of a command on one line.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Nothing => "ok".to_owned(),
        Outcome::Run(run) => run.to_string(),
        Outcome::Decided { run, stage, decision, by } => {
            let stage = stage.as_ref().map(|stage| format!("/{stage}")).unwrap_or_default();
            format!("{run}{stage}: {decision} by {by}")
        }
        Outcome::Applied { targets, pipelines } => format!("applied {targets:?} {pipelines:?}"),
        Outcome::Runners { names, change } => format!("{change} {}", names.join(" ")),
        Outcome::Stored { parts } => format!("{parts} parts stored"),
        Outcome::Token { name, .. } => format!("a token for {name}"),
        Outcome::Finalized { level } => format!("feature level {level}"),
        Outcome::Resumed { epoch, incarnation } => format!("epoch {}, incarnation {incarnation}", epoch.0),
        Outcome::Enrolled { identity } => format!("enrolled {identity}"),
        Outcome::Attached { .. } => "attached".to_owned(),
        Outcome::ReportApplied => "applied".to_owned(),
        Outcome::ResultSuperseded { .. } => "superseded".to_owned(),
        Outcome::ReportUnknown => "unknown".to_owned(),
        Outcome::Refused(refusal) => format!("refused {}: {}", refusal.code(), text::refusal(refusal)),
    }
}

fn reason(code: &str, message: &str, clears: &str, next: Option<String>) -> String {
    let clears = if clears == "wait" { String::new() } else { format!(" [{clears}]") };
    let next = next.map(|at| format!(" until {}", &at[5..19])).unwrap_or_default();
    format!("{code}: {message}{clears}{next}")
}

fn of_document(it: &ReasonDocument) -> String {
    reason(&it.code, &it.message, &it.clears, it.next_check.clone())
}

/// Events for watchers, one a line, indented.
pub(crate) fn events(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .filter_map(|event| {
            Some(match event {
                Event::Run { run, status } => format!("  {run} {}", status.as_str()),
                Event::Stage { run, stage, status, reasons } => {
                    let reasons = text::reasons(reasons, Owner { run, stage: Some(stage) });
                    let reasons: Vec<_> = reasons.iter().map(of_document).collect();
                    format!("  {stage} {} {}", status.as_str(), reasons.join("; ")).trim_end().to_owned()
                }
                Event::Installation { installation, health } => {
                    format!("  {installation} {}", health.as_str())
                }
                Event::Agent { agent, state } => format!("  agent {agent} {}", state.as_str()),
                Event::Revoked(it) => {
                    let audience = match &it.audience {
                        Audience::Coordinators => "the coordinators".to_owned(),
                        Audience::Agent { name } => format!("agent {name}"),
                        Audience::Agents => "all agents".to_owned(),
                        Audience::Issuer => "everyone: an issuer".to_owned(),
                        Audience::Runners { agent } => format!("the runners of {agent}"),
                    };
                    format!("  revoked {}, for {audience}", it.key.0[0])
                }
                Event::Superseded { agent, incarnation } => {
                    format!("  incarnation {} of {agent} superseded", incarnation.0)
                }
                Event::Progress { .. } | Event::AgentWork { .. } => return None,
                Event::AgentTargets { .. } | Event::AgentRunners { .. } | Event::AgentStanding { .. } => {
                    return None;
                }
            })
        })
        .collect()
}

/// Live assignments, as they would be given to an agent that has nothing in its journal.
pub(crate) fn work(lab: &Lab) -> Vec<String> {
    let given = |name: &AgentName| query::assignments(&lab.rows, name, &|_| false);
    let version = |digest: &Digest| {
        query::release(&lab.rows, digest).map_or("?".to_owned(), |entry| entry.release.version.clone())
    };
    let line = |row: &LiveAssignment| {
        let it = &row.order;
        let action = match &it.action {
            Action::Release(digest) => format!("release {}", version(digest)),
            Action::Restore(digest) => format!("restore {}", version(digest)),
            Action::Stop(digest) => format!("stop {}", version(digest)),
            Action::Verify => "verify".to_owned(),
            Action::Scale { release, instances } => format!("scale {} to {instances}", version(release)),
            Action::Restart(digest) => format!("restart {}", version(digest)),
        };
        let IntOrPercent::Count(down) = it.wave.max_unavailable else { panic!("counts are resolved") };
        let failed = if it.wave.failed.is_empty() { String::new() } else { format!(" {:?}", it.wave.failed) };
        let kept = given(&row.agent).iter().any(|given| given.order.id == it.id);
        format!(
            "{} of {} on {}: {action}, wave {} up to {} of {}, {down} down, {} failures left{failed}{}{}{}",
            it.id,
            row.agent,
            it.installation.target,
            it.wave.number,
            it.wave.target_count,
            it.hosts.len(),
            it.wave.failures_left,
            if it.wave.keep_serving { ", what serves stays" } else { "" },
            if row.cancel { ", to be ended" } else { "" },
            if kept { "" } else { ", kept back" },
        )
    };
    lab.rows.assignments().iter().map(line).collect()
}

/// A run with its stages and reasons.
pub(crate) fn run(lab: &Lab, name: &str) -> Vec<String> {
    let Some(run) = query::run(&lab.rows, &name.parse().expect("a run's name")) else {
        return vec!["no such run".to_owned()];
    };
    let mut out = vec![format!("{} {} {}", run.run, run.kind, run.status)];
    out.extend(run.reasons.iter().map(|it| format!("  {}", of_document(it))));
    if let Some(back) = &run.rollback {
        let to = back.to.as_ref().map(|to| {
            let digest: Digest = to.parse().expect("a digest");
            query::release(&lab.rows, &digest).map_or("?".to_owned(), |entry| entry.release.version.clone())
        });
        out.push(format!("  back to {}: {}", to.as_deref().unwrap_or("nothing"), back.cause));
    }
    if let Some(by) = &run.caused_by {
        out.push(format!("  caused by {by}"));
    }
    for stage in &run.stages {
        let wave = stage.wave.as_ref().map(|wave| format!(" wave {}/{}", wave.number, wave.of));
        let attempt = if stage.attempt > 1 { format!(" attempt {}", stage.attempt) } else { String::new() };
        out.push(format!("  {} {}{attempt}{}", stage.name, stage.status, wave.unwrap_or_default()));
        out.extend(stage.reasons.iter().map(|it| format!("    {}", of_document(it))));
    }
    out
}

/// What `why` says.
pub(crate) fn why(lab: &Lab, name: &str) -> Vec<String> {
    let why = query::why(&lab.rows, &name.parse().expect("a run's name"), None).expect("a run");
    let mut out = vec![format!("{} {}", why.run, why.status)];
    if let Some(back) = &why.rollback {
        out.push(format!("  back to {}: {}", back.version.as_deref().unwrap_or("nothing"), back.cause));
    }
    out.extend(why.caused_by.iter().map(|by| format!("  caused by {by}")));
    for stage in &why.stages {
        out.push(format!("  {} {}", stage.name, stage.status));
        out.extend(stage.reasons.iter().map(|it| format!("    {}", of_document(it))));
    }
    out
}

/// What a plan would change, and its warnings.
pub(crate) fn plan(lab: &Lab, deploy: CommandBody) -> Vec<String> {
    let CommandBody::StartRun { plan, overrides, .. } = deploy else { panic!("a deploy starts a run") };
    let plan = plan.try_into().expect("a plan of the text");
    let plan = query::plan(&lab.rows, &plan, &overrides);
    let mut out: Vec<String> = plan.stages.iter().map(|it| format!("{} {}", it.name, it.change)).collect();
    out.extend(plan.warnings.iter().map(|it| format!("  {it}")));
    out
}

/// What runs where.
pub(crate) fn status(lab: &Lab) -> Vec<String> {
    let line = |it: &trimaran_wire::document::InstallationDocument| {
        let bakes = it.bakes_until.as_ref().map(|at| format!(", bakes until {}", &at[5..19]));
        let updated = (it.updated != it.available).then(|| format!(", {} updated", it.updated));
        let why = it.code.as_ref().zip(it.message.as_ref());
        let why = why.map(|(code, message)| format!(" ({code}: {message})"));
        format!(
            "{} on {}: {} {} by {}, {} of {}{}{}{}",
            it.pipeline,
            it.target,
            it.version.as_deref().unwrap_or("nothing"),
            it.health,
            it.run.as_deref().unwrap_or("no run"),
            it.available,
            it.desired,
            updated.unwrap_or_default(),
            bakes.unwrap_or_default(),
            why.unwrap_or_default()
        )
    };
    query::status(&lab.rows, None, &|_| 0).installations.iter().map(line).collect()
}

/// The audit log, whose chain is computed again here, by the rule that `trimaran audit verify` uses.
pub(crate) fn audit(lab: &Lab) -> Vec<String> {
    let mut previous = String::new();
    let mut out = Vec::new();
    for it in query::audit(&lab.rows, 0, usize::MAX).records {
        let text = format!(
            "{previous}\n{}\n{}\n{}\n{}\n{}\n{}",
            it.seq, it.at, it.identity, it.verb, it.object, it.outcome
        );
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        assert_eq!(Digest(hash).to_string(), it.hash, "record {} breaks the chain", it.seq);
        previous = it.hash.clone();
        out.push(format!("{} {} {} {}: {}", it.seq, it.identity, it.verb, it.object, it.outcome));
    }
    out
}

pub(crate) fn alarms(lab: &Lab) -> Vec<String> {
    query::alarms(&lab.rows).iter().map(|it| format!("{}: {}", it.code, it.message)).collect()
}

pub(crate) fn agents(lab: &Lab) -> Vec<String> {
    query::agents(&lab.rows).agents.iter().map(|it| format!("{} {}", it.name, it.state)).collect()
}

pub(crate) fn history(lab: &Lab, pipeline: &str) -> Vec<String> {
    let line = |it: &trimaran_wire::document::HistoryEntry| {
        let cause = it.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{} {} {} {} {}{cause}", it.run, it.kind, it.target, it.version, it.status)
    };
    query::history(&lab.rows, &pipeline.parse().expect("a name"), None, 100)
        .entries
        .iter()
        .map(line)
        .collect()
}
