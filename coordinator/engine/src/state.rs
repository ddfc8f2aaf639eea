//! The state: every table, and the questions that several concerns ask it.

use trimaran_model::reason::{CLEARS_WAIT, ReasonCode};
use trimaran_model::run::Status;
use trimaran_model::target::selects;
use trimaran_model::time::{Timestamp, Wall};
use trimaran_wire::codec::encode;
use trimaran_wire::v1::common::{WireIdentity, WireInstallation, WireReason, WireRun};
use trimaran_wire::v1::row::{self, table};
use trimaran_wire::v1::target::WirePlatform;

use crate::event::Event;
use crate::table::{Row, Table};

macro_rules! keyed {
    ($($type:ident $table:ident $key:ty, $row:ident => $make:expr, $name:ident => $bytes:expr
        $(, active $one:ident => $active:expr)?;)*) => {
        $(impl Row for row::$type {
            type Key = $key;
            const TABLE: u8 = table::$table;
            fn key(&self) -> $key { let $row = self; $make }
            fn key_bytes($name: &$key) -> Vec<u8> { $bytes }
            $(fn is_active(&self) -> bool { let $one = self; $active })?
        })*
    };
}

keyed! {
    Meta META (), _it => (), _key => Vec::new();
    Member MEMBER String, it => it.name.clone(), key => key.clone().into_bytes();
    Alarm ALARM (String, String), it => (it.member.clone(), it.code.clone()), key => pair(&key.0, &key.1);
    TargetRow TARGET String, it => it.target.name.clone(), key => key.clone().into_bytes();
    Pipeline PIPELINE String, it => it.name.clone(), key => key.clone().into_bytes();
    Run RUN (String, u64), it => run_key(&it.id), key => run_key_bytes(key), active it => !status(&it.status).is_done();
    Installation INSTALLATION (String, String), it => installation_key(&it.id), key => pair(&key.0, &key.1), active it => it.bake_until.is_some();
    ReleaseRow RELEASE [u8; 32], it => it.digest, key => key.to_vec();
    AssignmentRow ASSIGNMENT u64, it => it.assignment.id, key => key.to_be_bytes().to_vec();
    Agent AGENT String, it => it.name.clone(), key => key.clone().into_bytes(), active it => it.handover_until.is_some();
    Runner RUNNER String, it => it.name.clone(), key => key.clone().into_bytes();
    Token TOKEN [u8; 32], it => it.sha256, key => key.to_vec();
    Revoked REVOKED [u8; 32], it => it.key, key => key.to_vec();
    Operator OPERATOR String, it => it.name.clone(), key => key.clone().into_bytes();
    Request REQUEST RequestKey, it => request_key(&it.identity, it.id), key => [key.0.as_slice(), &key.1].concat();
    Quarantine QUARANTINE (String, [u8; 32]), it => (it.pipeline.clone(), it.plan), key => [key.0.as_bytes(), &[0], &key.1].concat();
    Settle SETTLE (String, u64), it => run_key(&it.run), key => run_key_bytes(key);
}

/// `web#12`.
pub fn run_name(id: &WireRun) -> String {
    format!("{}#{}", id.pipeline, id.number)
}

fn pair(a: &str, b: &str) -> Vec<u8> {
    [a.as_bytes(), &[0], b.as_bytes()].concat()
}

pub(crate) fn run_key(id: &WireRun) -> (String, u64) {
    (id.pipeline.clone(), id.number)
}

pub(crate) fn run_key_bytes(key: &(String, u64)) -> Vec<u8> {
    [key.0.as_bytes(), &[0], &key.1.to_be_bytes()].concat()
}

pub(crate) fn installation_key(id: &WireInstallation) -> (String, String) {
    (id.pipeline.clone(), id.target.clone())
}

/// The id comes first: it begins with the time at which it was made, so that rows are in the order in which
/// they may be forgotten. The identity scopes it.
pub(crate) type RequestKey = ([u8; 16], Vec<u8>);

pub(crate) fn request_key(identity: &WireIdentity, id: [u8; 16]) -> RequestKey {
    (id, encode(identity))
}

/// Everything that `apply` may read.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) meta: Table<row::Meta>,
    pub(crate) members: Table<row::Member>,
    pub(crate) alarms: Table<row::Alarm>,
    pub(crate) targets: Table<row::TargetRow>,
    pub(crate) pipelines: Table<row::Pipeline>,
    pub(crate) runs: Table<row::Run>,
    pub(crate) installations: Table<row::Installation>,
    pub(crate) releases: Table<row::ReleaseRow>,
    pub(crate) assignments: Table<row::AssignmentRow>,
    pub(crate) agents: Table<row::Agent>,
    pub(crate) runners: Table<row::Runner>,
    pub(crate) tokens: Table<row::Token>,
    pub(crate) revoked: Table<row::Revoked>,
    pub(crate) operators: Table<row::Operator>,
    pub(crate) requests: Table<row::Request>,
    pub(crate) quarantine: Table<row::Quarantine>,
    pub(crate) settle: Table<row::Settle>,
    /// Rows that leave memory with the entry.
    pub(crate) cold: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(crate) events: Vec<Event>,
    /// The entry that is applied.
    pub(crate) revision: u64,
}

/// Calls the same method of every table.
macro_rules! each_table {
    ($state:expr, $method:ident ( $($argument:expr),* )) => {{
        $state.meta.$method($($argument),*);
        $state.members.$method($($argument),*);
        $state.alarms.$method($($argument),*);
        $state.targets.$method($($argument),*);
        $state.pipelines.$method($($argument),*);
        $state.runs.$method($($argument),*);
        $state.installations.$method($($argument),*);
        $state.releases.$method($($argument),*);
        $state.assignments.$method($($argument),*);
        $state.agents.$method($($argument),*);
        $state.runners.$method($($argument),*);
        $state.tokens.$method($($argument),*);
        $state.revoked.$method($($argument),*);
        $state.operators.$method($($argument),*);
        $state.requests.$method($($argument),*);
        $state.quarantine.$method($($argument),*);
        $state.settle.$method($($argument),*);
    }};
}
pub(crate) use each_table;

impl State {
    pub(crate) fn meta(&self) -> row::Meta {
        self.meta.get(&()).cloned().unwrap_or_default()
    }

    pub(crate) fn set_meta(&mut self, change: impl FnOnce(&mut row::Meta)) {
        let mut meta = self.meta();
        change(&mut meta);
        self.meta.put(meta);
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.meta.get(&()).map_or(0, |meta| meta.now_at))
    }

    pub(crate) fn wall(&self) -> Wall {
        let meta = self.meta();
        Wall(i64::try_from(meta.now_at).unwrap_or(i64::MAX).saturating_add(meta.offset_ms))
    }

    /// The wall time of a moment of cluster life, as it looks now.
    pub(crate) fn wall_of(&self, at: u64) -> Wall {
        Wall(i64::try_from(at).unwrap_or(i64::MAX).saturating_add(self.meta().offset_ms))
    }

    /// Enrolled runners of a host target, by name.
    pub(crate) fn hosts_of(&self, target: &row::TargetRow) -> Vec<String> {
        let WirePlatform::Hosts { select } = &target.target.platform else { return Vec::new() };
        let mine = |runner: &&row::Runner| {
            runner.agent == target.target.agent && runner.key.is_some() && selects(select, &runner.labels)
        };
        self.runners.iter().filter(mine).map(|runner| runner.name.clone()).collect()
    }

    pub(crate) fn live_runs(&self) -> impl Iterator<Item = &row::Run> {
        self.runs.active()
    }

    /// Runs of a pipeline that are in memory, oldest first.
    pub(crate) fn runs_of(&self, pipeline: &str) -> impl DoubleEndedIterator<Item = &row::Run> {
        self.runs.between((pipeline.to_owned(), 0), (pipeline.to_owned(), u64::MAX))
    }

    pub(crate) fn live_runs_of(&self, pipeline: &str) -> impl DoubleEndedIterator<Item = &row::Run> {
        self.runs_of(pipeline).filter(|run| !status(&run.status).is_done())
    }

    /// Installations of a pipeline, by target.
    pub(crate) fn installations_of(&self, pipeline: &str) -> impl Iterator<Item = &row::Installation> {
        let of = pipeline.to_owned();
        // Names of targets have no byte as large as the last one.
        self.installations.between((of.clone(), String::new()), (of, char::MAX.to_string()))
    }

    /// Queues a run for settling.
    pub(crate) fn wake(&mut self, run: &WireRun) {
        self.settle.put(row::Settle { run: run.clone() });
    }

    /// Queues every live run that `concerns` picks: the waiters of a resource.
    pub(crate) fn wake_where(&mut self, concerns: impl Fn(&row::Run) -> bool) {
        let runs: Vec<WireRun> =
            self.live_runs().filter(|run| concerns(run)).map(|run| run.id.clone()).collect();
        runs.iter().for_each(|run| self.wake(run));
    }

    /// The waiters of an agent: runs with a stage on one of its targets.
    pub(crate) fn wake_agent(&mut self, agent: &str) {
        let targets: Vec<String> = self
            .targets
            .iter()
            .filter(|target| target.target.agent == agent)
            .map(|target| target.target.name.clone())
            .collect();
        self.wake_where(|run| {
            run.stages
                .iter()
                .any(|stage| stage.target.as_ref().is_some_and(|target| targets.contains(target)))
        });
    }

    /// Installations of the targets that an agent serves.
    pub(crate) fn installations_at(&self, agent: &str) -> impl Iterator<Item = &row::Installation> {
        self.installations.iter().filter(move |it| {
            self.targets.get(&it.id.target).is_some_and(|target| target.target.agent == agent)
        })
    }

    pub(crate) fn installation(&self, pipeline: &str, target: &str) -> Option<&row::Installation> {
        self.installations.get(&(pipeline.to_owned(), target.to_owned()))
    }

    /// A reason that goes by itself. It began now, unless the stage had the same one already.
    pub(crate) fn waits(&self, code: ReasonCode, message: impl Into<String>) -> WireReason {
        WireReason {
            code: code.as_str().to_owned(),
            message: message.into(),
            since: self.wall().0,
            clears: CLEARS_WAIT.to_owned(),
            who: Vec::new(),
            next_check: None,
        }
    }

    /// A reason that goes at a moment of cluster life.
    pub(crate) fn waits_until(&self, code: ReasonCode, message: impl Into<String>, at: u64) -> WireReason {
        WireReason { next_check: Some(self.wall_of(at).0), ..self.waits(code, message) }
    }

    /// A reason that a command of an operator clears.
    pub(crate) fn asks(&self, code: ReasonCode, message: impl Into<String>, clears: String) -> WireReason {
        let who = vec!["operator".to_owned(), "admin".to_owned()];
        WireReason { clears, who, ..self.waits(code, message) }
    }

    /// Sets an alarm; its time stays when it is known already.
    pub(crate) fn raise_alarm(&mut self, member: &str, code: &str, message: &str) {
        let key = (member.to_owned(), code.to_owned());
        let since_ms = self.alarms.get(&key).map_or(self.wall().0, |known| known.since_ms);
        self.alarms.put(row::Alarm { member: key.0, code: key.1, message: message.to_owned(), since_ms });
    }

    pub(crate) fn clear_alarm(&mut self, member: &str, code: &str) {
        self.alarms.remove(&(member.to_owned(), code.to_owned()));
    }
}

/// A status as stored. Rows are written by this crate alone, with names of the list.
pub(crate) fn status(name: &str) -> Status {
    Status::from_name(name).unwrap_or(Status::Broken)
}
