//! What agents report, as commands and soft state have it: names, codes and spellings are known, lists and numbers within
//! their bounds, or the whole is refused. Texts of hosts are for people: they are cut, not refused.

use std::collections::BTreeMap;

use trimaran_model::action::{self, Failure, Outcome};
use trimaran_model::id::{AssignmentId, Fence, HostName, InstallationId, label_error};
use trimaran_model::limits::{
    COMMIT_BYTES_MAX, FACTS_MAX, HOST_FINDINGS_MAX, INSTALLATION_INSTANCES_MAX, INSTANCE_MESSAGE_BYTES_MAX,
    INSTANCES_REPORTED_MAX, MESSAGE_BYTES_MAX, STATE_PATH_BYTES_MAX, STEP_BYTES_MAX, STEPS_REPORTED_MAX,
};
use trimaran_model::target::PlatformKind;
use trimaran_model::text::cut;
use trimaran_model::time::WallTime;
use trimaran_model::verdict::Verdict;
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::agent::{AgentVerdict, HostCounts, HostFinding, Progress};
use trimaran_wire::v1::assignment::{WireFailure, WireOutcome};
use trimaran_wire::v1::common::{name, platform, reason_code, spelled};

/// A list within its bound, each of its members checked.
pub fn each<T>(
    what: &str,
    list: Vec<T>,
    max: usize,
    check: impl FnMut(T) -> Result<T, CodecError>,
) -> Result<Vec<T>, CodecError> {
    if list.len() > max {
        return Err(CodecError::value(format_args!("{} {what}, allowed are {max}", list.len())));
    }
    list.into_iter().map(check).collect()
}

fn count(what: &str, number: u32) -> Result<u32, CodecError> {
    if number > INSTALLATION_INSTANCES_MAX {
        return Err(CodecError::value(format_args!(
            "{number} {what}, allowed are {INSTALLATION_INSTANCES_MAX}"
        )));
    }
    Ok(number)
}

/// Progress of an assignment.
pub fn progress(it: Progress) -> Result<Progress, CodecError> {
    let (assignment, fence) = (AssignmentId(it.assignment), Fence(it.fence));
    for (what, length) in
        [("failed hosts", it.failed.len()), ("lost hosts", it.lost.len()), ("instances", it.instances.len())]
    {
        if length > INSTANCES_REPORTED_MAX {
            let text = format_args!("{length} {what}, allowed are {INSTANCES_REPORTED_MAX}");
            return Err(CodecError::value(text));
        }
    }
    let mut checked = action::Progress::try_from(it)?;
    count("done instances", checked.done)?;
    count("instances in all", checked.total)?;
    checked.failure = checked.failure.map(bounded);
    for instance in &mut checked.instances {
        instance.message = cut(std::mem::take(&mut instance.message), INSTANCE_MESSAGE_BYTES_MAX);
    }
    // An installation has one job, and so one state.
    for (index, instance) in checked.instances.iter_mut().enumerate() {
        let path =
            instance.began_from.as_ref().and_then(|from| from.state()).map_or(0, |(path, _)| path.len());
        let steps = instance.steps.len();
        if index > 0 {
            (instance.began_from, instance.steps) = (None, Vec::new());
        } else if steps > STEPS_REPORTED_MAX {
            let text = format_args!("{steps} steps, allowed are {STEPS_REPORTED_MAX}");
            return Err(CodecError::value(text));
        } else if path > STATE_PATH_BYTES_MAX {
            let text = format_args!("a state's path of {path} bytes, allowed are {STATE_PATH_BYTES_MAX}");
            return Err(CodecError::value(text));
        }
        for step in &mut instance.steps {
            *step = cut(std::mem::take(step), STEP_BYTES_MAX);
        }
    }
    Ok(Progress::new(assignment, fence, &checked))
}

/// The end of an assignment.
pub fn outcome(outcome: WireOutcome) -> Result<WireOutcome, CodecError> {
    let checked = match Outcome::try_from(outcome)? {
        Outcome::Failed(failure) => Outcome::Failed(bounded(failure)),
        Outcome::Fault(failure) => Outcome::Fault(bounded(failure)),
        other @ (Outcome::Done | Outcome::Stopped) => other,
    };
    Ok((&checked).into())
}

fn bounded(failure: Failure) -> Failure {
    Failure { message: cut(failure.message, MESSAGE_BYTES_MAX), ..failure }
}

/// A verdict; `now` is wall time: nothing was seen later.
pub fn verdict(it: AgentVerdict, now: WallTime) -> Result<AgentVerdict, CodecError> {
    let installation = InstallationId::try_from(it.installation)?;
    let verdict: Verdict = spelled(Verdict::from_name(&it.verdict), "verdict", &it.verdict)?;
    let failure = it.failure.map(Failure::try_from).transpose()?.map(bounded);
    Ok(AgentVerdict {
        installation: (&installation).into(),
        fence: it.fence,
        verdict: verdict.as_str().to_owned(),
        failure: failure.as_ref().map(WireFailure::from),
        down: count("hosts down", it.down)?,
        hosts: it.hosts.map(host_counts).transpose()?,
        // Not since later than now.
        blind_since_ms: it.blind_since_ms.map(|at| at.clamp(0, now.0)),
    })
}

fn host_counts(it: HostCounts) -> Result<HostCounts, CodecError> {
    let counts =
        [it.members, it.updated, it.degraded, it.mending, it.broken, it.lost, it.diverged, it.crashes];
    counts.into_iter().try_for_each(|number| count("hosts of a verdict", number).map(drop))?;
    let crash = it.crash.map(Failure::try_from).transpose()?.map(bounded);
    Ok(HostCounts {
        crash: crash.as_ref().map(WireFailure::from),
        findings: each("findings", it.findings, HOST_FINDINGS_MAX, host_finding)?,
        ..it
    })
}

fn host_finding(it: HostFinding) -> Result<HostFinding, CodecError> {
    let (host, code): (HostName, _) = (name(&it.host)?, reason_code(&it.code)?);
    Ok(HostFinding {
        host: host.to_string(),
        code: code.as_str().to_owned(),
        message: cut(it.message, INSTANCE_MESSAGE_BYTES_MAX),
        since_ms: it.since_ms.max(0),
    })
}

/// The platforms that an agent has drivers for.
pub fn platforms(list: Vec<String>) -> Result<Vec<String>, CodecError> {
    each("platforms", list, PlatformKind::ALL.len(), |it| platform(&it).map(|kind| kind.as_str().to_owned()))
}

/// What a driver wants to have in the log, opaque to everyone else.
pub fn commit_body(bytes: &[u8]) -> Result<(), CodecError> {
    if bytes.len() > COMMIT_BYTES_MAX {
        return Err(CodecError::value(format_args!(
            "a commit of {} bytes, allowed are {COMMIT_BYTES_MAX}",
            bytes.len()
        )));
    }
    Ok(())
}

/// What a runner says of its host.
pub fn facts(facts: &BTreeMap<String, String>) -> Result<(), CodecError> {
    if facts.len() > FACTS_MAX {
        return Err(CodecError::value(format_args!(
            "{} facts of a host, allowed are {FACTS_MAX}",
            facts.len()
        )));
    }
    match facts.iter().find_map(|(key, value)| label_error(key, value)) {
        Some(why) => Err(CodecError::value(why)),
        None => Ok(()),
    }
}
