//! The border: what an agent sends is hostile until every field of it went through its model type.
//!
//! Names, codes and spellings must be known, lists and numbers within their bounds; a message that breaks one of
//! these is refused whole. Texts of hosts are for people: they are cut, not refused. What leaves here is made
//! from the model types, so that nothing of an agent enters a command, a row or the soft state as it was sent.
//!
//! Not here: whether the agent may speak of what it names (`reports`), and the size of the frame (transport).

use core::net::{IpAddr, SocketAddr};

use trimaran_model::id::{HostName, InstallationId, RunId};
use trimaran_model::limits::{
    AGENT_ASSIGNMENTS_MAX, MESSAGE_BYTES_MAX, RUNNERS_PER_MESSAGE_MAX, VERDICTS_PER_MESSAGE_MAX,
};
use trimaran_model::text::cut;
use trimaran_model::time::WallTime;
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::agent::{AgentUp, HeldAssignment, RefusedAssignment, RunnerState};
use trimaran_wire::v1::common::{name, reason_code};

use crate::border::reports::{self, each};

/// The message from its model types, or why it is refused. `now` is the cluster's wall time: nothing was seen
/// later.
pub fn check(message: AgentUp, now: WallTime) -> Result<AgentUp, CodecError> {
    Ok(match message {
        AgentUp::Hello { incarnation, known, held, listen, platforms } => AgentUp::Hello {
            incarnation,
            known,
            held: each("assignments of a journal", held, AGENT_ASSIGNMENTS_MAX, held_assignment)?,
            listen: listen.map(|text| socket_address(&text)).transpose()?,
            platforms: reports::platforms(platforms)?,
        },
        AgentUp::Progress(it) => AgentUp::Progress(reports::progress(it)?),
        AgentUp::ProgressChanges(it) => AgentUp::ProgressChanges(reports::progress(it)?),
        AgentUp::Commit { commit, progress: it } => {
            if commit.assignment != it.assignment {
                return Err(CodecError::value("a commit of another assignment than its progress"));
            }
            reports::commit_body(&commit.body)?;
            AgentUp::Commit { commit, progress: reports::progress(it)? }
        }
        AgentUp::Refused(it) => AgentUp::Refused(refused_assignment(it)?),
        AgentUp::Result { assignment, fence, outcome, progress: it } => AgentUp::Result {
            assignment,
            fence,
            outcome: reports::outcome(outcome)?,
            progress: reports::progress(it)?,
        },
        AgentUp::Verdicts(list) => {
            AgentUp::Verdicts(each("verdicts", list, VERDICTS_PER_MESSAGE_MAX, |it| {
                reports::verdict(it, now)
            })?)
        }
        AgentUp::Unknown(list) => {
            AgentUp::Unknown(each("unknown assignments", list, AGENT_ASSIGNMENTS_MAX, held_assignment)?)
        }
        AgentUp::Runners(list) => {
            AgentUp::Runners(each("runners", list, RUNNERS_PER_MESSAGE_MAX, |it| runner(it, now))?)
        }
        AgentUp::Ping { sent_ms, refused } => AgentUp::Ping { sent_ms, refused },
    })
}

fn held_assignment(it: HeldAssignment) -> Result<HeldAssignment, CodecError> {
    let (installation, run) = (InstallationId::try_from(it.installation)?, RunId::try_from(it.run)?);
    let HeldAssignment { assignment, fence, .. } = it;
    Ok(HeldAssignment { assignment, fence, installation: (&installation).into(), run: (&run).into() })
}

fn refused_assignment(it: RefusedAssignment) -> Result<RefusedAssignment, CodecError> {
    let installation = InstallationId::try_from(it.installation)?;
    let code = reason_code(&it.code)?;
    Ok(RefusedAssignment {
        installation: (&installation).into(),
        code: code.as_str().to_owned(),
        message: cut(it.message, MESSAGE_BYTES_MAX),
        ..it
    })
}

fn runner(it: RunnerState, now: WallTime) -> Result<RunnerState, CodecError> {
    let host: HostName = name(&it.name)?;
    let address = match it.address.parse::<IpAddr>() {
        Ok(ip) => ip.to_string(),
        // A runner that has not connected yet has none.
        Err(_) if it.address.is_empty() => String::new(),
        Err(_) => socket_address(&it.address)?,
    };
    let last_seen_ms = it.last_seen_ms.clamp(0, now.0.max(0));
    reports::facts(&it.facts)?;
    Ok(RunnerState { name: host.to_string(), address, last_seen_ms, ..it })
}

fn socket_address(text: &str) -> Result<String, CodecError> {
    let address = text.parse::<SocketAddr>();
    address.map(|it| it.to_string()).map_err(|_| CodecError::value("what should be an address is none"))
}

#[cfg(test)]
mod tests {
    use trimaran_model::limits::{COMMIT_BYTES_MAX, INSTANCE_MESSAGE_BYTES_MAX, INSTANCES_REPORTED_MAX};
    use trimaran_model::target::PlatformKind;
    use trimaran_wire::v1::agent::{AgentVerdict, KnownCluster, Progress, RefusedCounts};
    use trimaran_wire::v1::assignment::{WireCommit, WireFailure, WireInstance, WireOutcome};
    use trimaran_wire::v1::common::{WireInstallation, WireRun};

    use super::*;

    const NOW: WallTime = WallTime(1_000_000);

    fn long() -> String {
        "x".repeat(1 << 20)
    }

    fn failure() -> WireFailure {
        WireFailure { code: "probe_failed".into(), message: long(), instance: Some("host-1".into()) }
    }

    fn whole() -> Progress {
        let instance = WireInstance {
            name: "host-1".into(),
            status: "healthy".into(),
            release: None,
            code: Some("probe_failed".into()),
            message: long(),
            began_from: None,
            steps: Vec::new(),
        };
        Progress {
            assignment: 1,
            fence: 2,
            done: 3,
            total: 4,
            failed: vec!["host-1".into()],
            lost: vec![],
            failure: Some(failure()),
            instances: vec![instance],
        }
    }

    #[test]
    fn texts_are_cut_and_everything_else_stays() {
        let checked = check(AgentUp::ProgressChanges(whole()), NOW);
        let Ok(AgentUp::ProgressChanges(it)) = checked else { panic!("{checked:?}") };
        assert_eq!(it.failure.as_ref().map(|it| it.message.len()), Some(MESSAGE_BYTES_MAX));
        assert_eq!(it.instances[0].message.len(), INSTANCE_MESSAGE_BYTES_MAX);
        assert_eq!((it.assignment, it.fence, it.done, it.total, it.failed.len()), (1, 2, 3, 4, 1));
    }

    fn runner_state() -> RunnerState {
        RunnerState {
            name: "host-1".into(),
            connected: true,
            incarnation: 1,
            address: "10.0.0.1:7".into(),
            last_seen_ms: i64::MAX,
            facts: Default::default(),
        }
    }

    #[test]
    fn a_field_that_is_not_of_its_type_or_over_its_bound_refuses_the_message() {
        let installation = WireInstallation { pipeline: "web".into(), target: "lab".into() };
        let run = WireRun { pipeline: "web".into(), number: 1 };
        let verdict = AgentVerdict {
            installation: installation.clone(),
            fence: 1,
            verdict: "healthy".into(),
            failure: None,
            down: 0,
            hosts: None,
            blind_since_ms: None,
        };
        let held = HeldAssignment { assignment: 1, fence: 1, installation, run };
        let state = runner_state();
        let result = |outcome| AgentUp::Result { assignment: 1, fence: 1, outcome, progress: whole() };
        let hello = |listen: &str, held| AgentUp::Hello {
            incarnation: 1,
            known: KnownCluster { epoch: 1, incarnation: 1, revoked: u64::MAX },
            held,
            listen: Some(listen.to_owned()),
            platforms: vec!["hosts".into(), "flink".into()],
        };
        let coded = |code: String| WireFailure { code, ..failure() };
        let named = |instance: String| WireFailure { instance: Some(instance), ..failure() };
        let progress = |change: &dyn Fn(&mut Progress)| {
            let mut it = whole();
            change(&mut it);
            AgentUp::Progress(it)
        };
        let verdicts = |change: &dyn Fn(&mut AgentVerdict)| {
            let mut it = verdict.clone();
            change(&mut it);
            AgentUp::Verdicts(vec![it])
        };
        let runners = |change: &dyn Fn(&mut RunnerState)| {
            let mut it = state.clone();
            change(&mut it);
            AgentUp::Runners(vec![it])
        };
        let unknown = |change: &dyn Fn(&mut HeldAssignment)| {
            let mut it = held.clone();
            change(&mut it);
            AgentUp::Unknown(vec![it])
        };
        let refused_order = |code: String, pipeline: String| {
            let installation = WireInstallation { pipeline, target: "lab".into() };
            let message = String::new();
            AgentUp::Refused(RefusedAssignment { assignment: 1, fence: 1, installation, code, message })
        };
        for bad in [
            hello(&long(), vec![]),
            hello("1.2.3.4:5", vec![held.clone(); AGENT_ASSIGNMENTS_MAX + 1]),
            progress(&|it| it.failed = vec![long()]),
            progress(&|it| it.failed = vec!["host-1".into(); INSTANCES_REPORTED_MAX + 1]),
            progress(&|it| it.instances = vec![it.instances[0].clone(); INSTANCES_REPORTED_MAX + 1]),
            progress(&|it| it.instances[0].status = long()),
            progress(&|it| it.instances[0].code = Some(long())),
            progress(&|it| it.instances[0].name = long()),
            progress(&|it| it.failure = Some(coded(long()))),
            progress(&|it| it.done = u32::MAX),
            progress(&|it| it.total = u32::MAX),
            result(WireOutcome::Failed(coded(long()))),
            result(WireOutcome::Fault(named(long()))),
            verdicts(&|it| it.verdict = long()),
            verdicts(&|it| it.installation.pipeline = long()),
            verdicts(&|it| it.failure = Some(named(long()))),
            verdicts(&|it| it.down = u32::MAX),
            AgentUp::Verdicts(vec![verdict.clone(); VERDICTS_PER_MESSAGE_MAX + 1]),
            unknown(&|it| it.run.pipeline = long()),
            unknown(&|it| it.installation.target = long()),
            AgentUp::Unknown(vec![held.clone(); AGENT_ASSIGNMENTS_MAX + 1]),
            runners(&|it| it.name = long()),
            runners(&|it| it.address = long()),
            AgentUp::Runners(vec![state.clone(); RUNNERS_PER_MESSAGE_MAX + 1]),
            refused_order(long(), "web".into()),
            refused_order("probe_failed".into(), long()),
            AgentUp::Commit {
                commit: WireCommit { assignment: 1, n: 1, body: vec![0; COMMIT_BYTES_MAX + 1] },
                progress: whole(),
            },
        ] {
            let checked = check(bad, NOW);
            assert!(matches!(checked, Err(CodecError::Value { .. })), "{checked:?}");
        }
        for good in [
            hello("1.2.3.4:5", vec![held.clone()]),
            verdicts(&|_| ()),
            unknown(&|_| ()),
            AgentUp::Ping { sent_ms: u64::MAX, refused: RefusedCounts { handshakes: u64::MAX, frames: 0 } },
        ] {
            assert_eq!(check(good.clone(), NOW), Ok(good));
        }
        let checked = check(AgentUp::Runners(vec![state.clone()]), NOW);
        let seen = RunnerState { last_seen_ms: NOW.0, ..state };
        assert_eq!(checked, Ok(AgentUp::Runners(vec![seen])), "nothing was seen after now");
    }

    #[test]
    fn an_agent_drives_platforms_that_exist_and_no_more_than_there_are() {
        let drives = |platforms: Vec<String>| AgentUp::Hello {
            incarnation: 1,
            known: KnownCluster { epoch: 1, incarnation: 1, revoked: 0 },
            held: vec![],
            listen: None,
            platforms,
        };
        let known = drives(vec!["hosts".into(), "flink".into()]);
        assert_eq!(check(known.clone(), NOW), Ok(known));
        for bad in [vec![long()], vec!["hosts".into(); PlatformKind::ALL.len() + 1]] {
            assert!(matches!(check(drives(bad), NOW), Err(CodecError::Value { .. })));
        }
    }
}
