//! The state: every table, and the questions that several concerns ask it.

use trimaran_model::reason::{CLEARS_WAIT, ReasonCode};
use trimaran_model::run::{RunKind, Status};
use trimaran_model::target::selects;
use trimaran_model::time::{Timestamp, WallTime};
use trimaran_wire::codec::{CodecError, Message, encode};
use trimaran_wire::v1::common::{WireIdentity, WireInstallation, WireReason, WireRun};
use trimaran_wire::v1::row::{self, table};
use trimaran_wire::v1::target::WirePlatform;

use crate::event::Event;
use crate::table::{Row, RowChange, Table};

/// Makes the state's tables from one list: each has a name, its rows, their key in memory and as bytes, and perhaps what
/// makes a row active.
macro_rules! tables {
    ($($field:ident: $type:ident $table:ident, $key:ty, $row:ident => $make:expr, $name:ident => $bytes:expr
        $(, active $one:ident => $active:expr)?;)*) => {
        $(impl Row for row::$type {
            type Key = $key;
            const TABLE: u8 = table::$table;
            fn key(&self) -> $key { let $row = self; $make }
            fn key_bytes($name: &$key) -> Vec<u8> { $bytes }
            $(fn is_active(&self) -> bool { let $one = self; $active })?
        })*

        /// Everything that `apply` may read.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct State {
            $(pub(crate) $field: Table<row::$type>,)*
            /// Rows that leave memory with the entry.
            pub(crate) cold: Vec<RowChange>,
            pub(crate) events: Vec<Event>,
            /// The entry that is applied.
            pub(crate) revision: u64,
        }

        /// What is done to every table.
        impl State {
            /// Takes a stored row of table `number` in; cold rows are passed over.
            pub(crate) fn load(&mut self, number: u8, value: &[u8], hash: &mut u128) -> Result<(), LoadError> {
                match number {
                    $(table::$table => {
                        let row = row::$type::from_bytes(value)
                            .map_err(|source| LoadError::Row { table: number, source })?;
                        self.$field.load(row, hash);
                    })*
                    table::AUDIT | table::OLD_RUN | table::OLD_RELEASE => {}
                    table => return Err(LoadError::Table { table }),
                }
                Ok(())
            }

            /// Begins a change that can be taken back.
            pub(crate) fn begin(&mut self) {
                $(self.$field.begin();)*
            }

            pub(crate) fn take_back(&mut self) {
                $(self.$field.take_back();)*
            }

            /// Whether the entry has changed anything in memory.
            pub(crate) fn has_changed(&self) -> bool {
                $(self.$field.has_changed())||*
            }

            /// Moves what the entry changed out, table by table and cold rows last, and keeps the sum of hashes.
            pub(crate) fn drain(&mut self, hash: &mut u128) -> Vec<RowChange> {
                let mut rows = Vec::new();
                $(self.$field.drain(hash, &mut rows);)*
                rows.append(&mut self.cold);
                rows
            }
        }
    };
}

tables! {
    meta: Meta META, (), _it => (), _key => Vec::new();
    members: Member MEMBER, String, it => it.name.clone(), key => key.clone().into_bytes();
    alarms: Alarm ALARM, (String, String), it => (it.member.clone(), it.code.clone()), key => pair(&key.0, &key.1);
    targets: TargetRow TARGET, String, it => it.target.name.clone(), key => key.clone().into_bytes();
    pipelines: Pipeline PIPELINE, String, it => it.name.clone(), key => key.clone().into_bytes();
    runs: Run RUN, (String, u64), it => run_key(&it.id), key => run_key_bytes(key), active it => !status(&it.status).is_done();
    installations: Installation INSTALLATION, (String, String), it => installation_key(&it.id), key => pair(&key.0, &key.1), active it => it.bake_until.is_some();
    releases: ReleaseRow RELEASE, [u8; 32], it => it.digest, key => key.to_vec();
    assignments: AssignmentRow ASSIGNMENT, u64, it => it.assignment.id, key => key.to_be_bytes().to_vec();
    agents: Agent AGENT, String, it => it.name.clone(), key => key.clone().into_bytes(), active it => it.handover_until.is_some();
    runners: Runner RUNNER, String, it => it.name.clone(), key => key.clone().into_bytes();
    tokens: Token TOKEN, [u8; 32], it => it.sha256, key => key.to_vec();
    revoked: Revoked REVOKED, [u8; 32], it => it.key, key => key.to_vec();
    operators: Operator OPERATOR, String, it => it.name.clone(), key => key.clone().into_bytes();
    requests: Request REQUEST, RequestKey, it => request_key(&it.identity, it.id), key => [key.0.as_slice(), &key.1].concat();
    quarantine: Quarantine QUARANTINE, (String, [u8; 32]), it => (it.pipeline.clone(), it.plan), key => [key.0.as_bytes(), &[0], &key.1].concat();
    settle: Settle SETTLE, (String, u64), it => run_key(&it.run), key => run_key_bytes(key);
}

/// Why rows are not a state.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("a row has no table")]
    Empty,
    #[error("table {table} is not known to this build; the binary is too old")]
    Table { table: u8 },
    #[error("a row of table {table} can't be read")]
    Row { table: u8, source: CodecError },
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

pub fn run_key_bytes(key: &(String, u64)) -> Vec<u8> {
    [key.0.as_bytes(), &[0], &key.1.to_be_bytes()].concat()
}

pub(crate) fn installation_key(id: &WireInstallation) -> (String, String) {
    (id.pipeline.clone(), id.target.clone())
}

/// The whole key of a row that left memory, or never was there.
pub fn cold_key(table: u8, key: &[u8]) -> Vec<u8> {
    [&[table], key].concat()
}

/// The id comes first: it begins with the time at which it was made, so that rows are in the order in which
/// they may be forgotten. The identity scopes it.
pub(crate) type RequestKey = ([u8; 16], Vec<u8>);

pub(crate) fn request_key(identity: &WireIdentity, id: [u8; 16]) -> RequestKey {
    (id, encode(identity))
}

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

    pub(crate) fn wall(&self) -> WallTime {
        let meta = self.meta();
        WallTime(i64::try_from(meta.now_at).unwrap_or(i64::MAX).saturating_add(meta.offset_ms))
    }

    /// The wall time of a moment of cluster life, as it looks now.
    pub(crate) fn wall_of(&self, at: u64) -> WallTime {
        WallTime(i64::try_from(at).unwrap_or(i64::MAX).saturating_add(self.meta().offset_ms))
    }

    /// Enrolled runners of a host target, by name.
    pub(crate) fn hosts_of(&self, target: &row::TargetRow) -> Vec<String> {
        let here = self.runners.iter().filter(|runner| is_host_of(target, runner));
        here.map(|runner| runner.name.clone()).collect()
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

    /// Writes a row that only queries read.
    pub(crate) fn put_cold(&mut self, table: u8, key: &[u8], row: &impl Message) {
        self.cold.push((cold_key(table, key), Some(row.to_bytes())));
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
        self.wake_where(|run| targets.iter().any(|target| works_on(run, target)));
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

/// Whether a run brings earlier releases back, as its only work.
pub fn is_rollback(run: &row::Run) -> bool {
    run.kind == RunKind::Rollback.as_str()
}

/// Whether a run has a stage on this target.
pub(crate) fn works_on(run: &row::Run, target: &str) -> bool {
    run.stages.iter().any(|stage| stage.target.as_deref() == Some(target))
}

/// Whether a target of hosts selects this runner, which is enrolled with its agent.
pub fn is_host_of(target: &row::TargetRow, runner: &row::Runner) -> bool {
    let WirePlatform::Hosts { select } = &target.target.platform else { return false };
    runner.agent == target.target.agent && runner.key.is_some() && selects(select, &runner.labels)
}

/// A status as stored. Rows are written by this crate alone, with names of the list.
pub(crate) fn status(name: &str) -> Status {
    Status::from_name(name).unwrap_or(Status::Broken)
}
