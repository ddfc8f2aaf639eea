//! A driver that makes a few unguarded calls one after the other, and a disk with a volatile half.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_agent_core::driver::{
    CallId, Driver, Effect, EffectOf, Found, FoundOf, Guard, Input, Journaled,
};
use trimaran_model::action::{Action, Outcome, Progress, Wave};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, HostName, InstallationId};
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::{HostSettings, PlatformKind, Target, TargetClass, TargetPlatform};
use trimaran_model::time::{Millis, Timestamp};
use trimaran_wire::codec::{CodecError, decode, encode};
use trimaran_wire::v1::agent_journal::JournalRecord;

/// Calls of one assignment.
pub(crate) const CALLS: u32 = 3;
/// The assignment that commits a failure before it calls.
pub(crate) const COMMITS: u64 = 77;

pub(crate) struct Toy;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phase {
    done: u32,
    /// What an earlier order, which this one superseded, had done.
    inherited: u32,
    calling: Option<CallId>,
    next_call: u64,
    lease: bool,
    commits: bool,
    aborted: Option<ReasonCode>,
}

impl Phase {
    fn progress(&self) -> Progress {
        Progress { done: self.done, total: self.inherited, ..Progress::default() }
    }

    fn advance(&mut self, out: &mut Vec<EffectOf<Toy>>) {
        if self.calling.is_some() {
            return;
        }
        if self.aborted.is_some() {
            return out.push(Effect::Done(Outcome::Stopped));
        }
        if self.done == CALLS {
            return out.push(Effect::Done(Outcome::Done));
        }
        if self.lease && !self.commits {
            self.next_call += 1;
            let id = CallId(self.next_call);
            self.calling = Some(id);
            out.push(Effect::Call { id, call: (), deadline: Millis::seconds(10), guard: Guard::Unguarded });
        }
    }
}

impl Driver for Toy {
    type Order = Assignment;
    type Phase = Phase;
    type Call = ();
    type Reply = ();
    type Snapshot = ();
    type Query = ();
    type Progress = Progress;

    fn begin(
        &self,
        _: Timestamp,
        order: &Assignment,
        found: Option<FoundOf<Self>>,
        out: &mut Vec<EffectOf<Self>>,
    ) -> Phase {
        let commits = order.id.0 == COMMITS;
        let new = Phase {
            done: 0,
            inherited: 0,
            calling: None,
            next_call: 0,
            lease: false,
            commits,
            aborted: None,
        };
        let mut phase = match found {
            None => new,
            Some(Found::Resumed(phase)) => phase,
            Some(Found::Superseded { phase, .. }) => Phase { inherited: phase.done, ..new },
        };
        out.push(Effect::Persist);
        out.push(Effect::Watch(()));
        if phase.inherited > 0 {
            out.push(Effect::Report(phase.progress()));
        }
        if commits {
            let failed: Vec<HostName> = vec!["host-1".parse().expect("a name")];
            out.push(Effect::Commit {
                n: 1,
                body: vec![7],
                progress: Progress { failed, ..Progress::default() },
            });
        }
        phase.advance(out);
        phase
    }

    fn step(&self, phase: &mut Phase, _: Timestamp, input: Input<(), ()>, out: &mut Vec<EffectOf<Self>>) {
        match input {
            Input::Reply(id, ()) if phase.calling == Some(id) => {
                phase.calling = None;
                phase.done += 1;
                out.push(Effect::Persist);
                out.push(Effect::Report(phase.progress()));
            }
            Input::Lost(id) | Input::Unmade(id) if phase.calling == Some(id) => phase.calling = None,
            Input::Abort(reason) => {
                assert_ne!(phase.aborted, Some(reason), "one abort of a kind is enough");
                phase.aborted = Some(reason);
            }
            Input::LeaseLost => phase.lease = false,
            Input::LeaseBack => phase.lease = true,
            Input::Committed(_) => phase.commits = false,
            Input::Reply(..) | Input::Lost(_) | Input::Unmade(_) | Input::Observed(()) | Input::Due => {}
        }
        phase.advance(out);
    }
}

impl Journaled for Toy {
    fn save(&self, phase: &Phase) -> Vec<u8> {
        encode(&(phase.done, phase.inherited))
    }

    fn load(&self, order: &Assignment, bytes: &[u8]) -> Result<Phase, CodecError> {
        let (done, inherited) = decode(bytes)?;
        let commits = order.id.0 == COMMITS;
        Ok(Phase { done, inherited, calling: None, next_call: 0, lease: false, commits, aborted: None })
    }
}

fn installation() -> InstallationId {
    InstallationId { pipeline: "web".parse().expect("a name"), target: "prod".parse().expect("a name") }
}

pub(crate) fn assignment(id: u64, fence: u64) -> Assignment {
    let wave = Wave { target_count: 1, ..Wave::default() };
    Assignment {
        id: AssignmentId(id),
        fence: Fence(fence),
        installation: installation(),
        run: "web#1".parse().expect("a run"),
        stage: "prod/prod".parse().expect("a stage"),
        attempt: Attempt(1),
        platform: PlatformKind::Hosts,
        action: Action::Stop(Digest([1; 32])),
        release: None,
        wave,
        hosts: BTreeSet::new(),
        retained: BTreeSet::new(),
        committed: None,
        restore_from: None,
    }
}

/// Hosts under this name.
pub(crate) fn target(name: &str) -> Target {
    Target {
        name: name.parse().expect("a name"),
        agent: "lab".parse().expect("a name"),
        class: TargetClass::Staging,
        platform: TargetPlatform::Hosts {
            select: BTreeMap::from([("group".into(), name.into())]),
            require_user: false,
            settings: HostSettings::default(),
        },
        parallel: 64,
    }
}

/// The assignment of an installation of its own.
pub(crate) fn on_target(id: u64, fence: u64) -> Assignment {
    let target = format!("target-{id}").parse().expect("a name");
    Assignment { installation: InstallationId { target, ..installation() }, ..assignment(id, fence) }
}

/// The assignment of a pipeline of its own on the common target.
pub(crate) fn of_pipeline(id: u64, fence: u64) -> Assignment {
    let pipeline = format!("service-{id}").parse().expect("a name");
    Assignment { installation: InstallationId { pipeline, ..installation() }, ..assignment(id, fence) }
}

/// A journal whose writes become durable one by one.
#[derive(Default)]
pub(crate) struct Written {
    /// What survives a crash.
    pub(crate) records: Vec<JournalRecord>,
    pub(crate) replaced: usize,
    waiting: Vec<(u64, bool, Vec<JournalRecord>)>,
}

impl Written {
    pub(crate) fn append(&mut self, sequence: u64, records: Vec<JournalRecord>) {
        self.waiting.push((sequence, false, records));
    }

    pub(crate) fn replace(&mut self, sequence: u64, records: Vec<JournalRecord>) {
        self.waiting.push((sequence, true, records));
    }

    /// Makes the next write durable; its number.
    pub(crate) fn sync(&mut self) -> Option<u64> {
        if self.waiting.is_empty() {
            return None;
        }
        let (sequence, replaces, records) = self.waiting.remove(0);
        if replaces {
            self.records.clear();
            self.replaced += 1;
        }
        self.records.extend(records);
        Some(sequence)
    }

    pub(crate) fn crash(&mut self) {
        self.waiting.clear();
    }
}
