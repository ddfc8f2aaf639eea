//! Keys: a table's number, then the parts of the key in their order, separated by a byte that no name has.

use trimaran_model::id::{
    AgentName, AssignmentId, Digest, HostName, Identity, InstallationId, OperatorName, PipelineName,
    RequestId, RunId, TargetName,
};
use trimaran_wire::codec::{CodecError, encode};
use trimaran_wire::v1::row::table;

use super::{Frozen, from_bytes, to_bytes};
use crate::state::agent::{Agent, Runner};
use crate::state::assignment::{LiveAssignment, TargetEntry};
use crate::state::cluster::{Alarm, AlarmSubject, Cluster, Member};
use crate::state::index::{
    AgentIndex, AssignmentIndex, InstallationIndex, ReleaseIndex, RunIndex, RunnerIndex, StageIndex,
    TargetIndex,
};
use crate::state::installation::Installation;
use crate::state::pipeline::{ContentEntry, Pipeline, Quarantine, ReleaseEntry, SettleEntry};
use crate::state::request::Request;
use crate::state::run::Run;
use crate::state::stage::Stage;
use crate::state::token::{Operator, Revoked, RevokedId, Token};
use crate::state::undecided::{Undecided, UndecidedSubject};
use crate::table::Row;

/// The index of a table, or none.
macro_rules! index_type {
    () => {
        ()
    };
    ($index:ty) => {
        $index
    };
}

/// Implements `Row`: table, key, its bytes, and perhaps an index.
macro_rules! row {
    ($type:ident $table:ident, $key:ty, $it:ident => $make:expr, $of:ident => $bytes:expr
        $(, index $index:ty)?) => {
        impl Row for $type {
            type Key = $key;
            type Index = index_type!($($index)?);
            const TABLE: u8 = table::$table;
            fn key(&self) -> $key {
                let $it = self;
                $make
            }
            fn key_bytes($of: &$key) -> Vec<u8> {
                $bytes
            }
            fn to_bytes(&self) -> Vec<u8> {
                to_bytes(self)
            }
            fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
                from_bytes(bytes)
            }
        }
    };
}

row!(Cluster META, (), _it => (), _key => Vec::new());
row!(Member MEMBER, u64, it => it.raft_id, key => key.to_be_bytes().to_vec());
row!(Alarm ALARM, (AlarmSubject, String), it => (it.subject.clone(), it.code.clone()), key => alarm_key(key));
row!(TargetEntry TARGET, TargetName, it => it.target.name.clone(), key => text(key.as_str()),
    index TargetIndex);
row!(Pipeline PIPELINE, PipelineName, it => it.name.clone(), key => text(key.as_str()));
row!(Run RUN, RunId, it => it.id.clone(), key => run_key(key),
    index RunIndex);
row!(Stage STAGE, (RunId, u16), it => (it.run.clone(), it.index), key => stage_key(&key.0, key.1),
    index StageIndex);
row!(Installation INSTALLATION, InstallationId, it => it.id.clone(), key => installation_key(key),
    index InstallationIndex);
row!(ReleaseEntry RELEASE, Digest, it => it.digest, key => key.0.to_vec(),
    index ReleaseIndex);
row!(ContentEntry CONTENT, Digest, it => it.content.digest, key => key.0.to_vec());
row!(LiveAssignment ASSIGNMENT, AssignmentId, it => it.order.id, key => key.0.to_be_bytes().to_vec(),
    index AssignmentIndex);
row!(Agent AGENT, AgentName, it => it.name.clone(), key => text(key.as_str()),
    index AgentIndex);
row!(Runner RUNNER, HostName, it => it.name.clone(), key => text(key.as_str()),
    index RunnerIndex);
row!(Token TOKEN, Digest, it => it.sha256, key => key.0.to_vec());
// The end comes first, so that rows are in the order in which they may be forgotten.
row!(Revoked REVOKED, RevokedId, it => it.id,
    key => [key.until.0.max(0).to_be_bytes(), key.number.to_be_bytes()].concat());
row!(Operator OPERATOR, OperatorName, it => it.name.clone(), key => text(key.as_str()));
// The id comes first: it begins with the time at which it was made, so that rows are in the order in which they may be
// forgotten. The identity scopes it.
row!(Request REQUEST, (RequestId, Identity), it => (it.id, it.identity.clone()),
    key => [key.0.0.as_slice(), &encode(&key.1.freeze())].concat());
row!(Quarantine QUARANTINE, (PipelineName, Digest), it => (it.pipeline.clone(), it.plan),
    key => [key.0.as_str().as_bytes(), &[0], &key.1.0].concat());
row!(SettleEntry SETTLE, RunId, it => it.run.clone(), key => run_key(key));
row!(Undecided UNDECIDED, UndecidedSubject, it => it.subject.clone(), key => undecided_key(key));

fn text(name: &str) -> Vec<u8> {
    name.as_bytes().to_vec()
}

fn alarm_key((subject, code): &(AlarmSubject, String)) -> Vec<u8> {
    let subject = match subject {
        AlarmSubject::Cluster => "0".to_owned(),
        AlarmSubject::Member { name } => format!("1{name}"),
        AlarmSubject::Run { run } => format!("2{run}"),
        AlarmSubject::Agent { name } => format!("3{name}"),
    };
    [subject.as_bytes(), &[0], code.as_bytes()].concat()
}

fn undecided_key(subject: &UndecidedSubject) -> Vec<u8> {
    match subject {
        UndecidedSubject::Cluster => b"0".to_vec(),
        UndecidedSubject::Installation { installation } => {
            [b"1".as_slice(), &installation_key(installation)].concat()
        }
        UndecidedSubject::Run { run } => [b"2".as_slice(), &run_key(run)].concat(),
    }
}

fn installation_key(id: &InstallationId) -> Vec<u8> {
    [id.pipeline.as_str().as_bytes(), &[0], id.target.as_str().as_bytes()].concat()
}

/// The key of a run within its table.
pub fn run_key(id: &RunId) -> Vec<u8> {
    [id.pipeline.as_str().as_bytes(), &[0], &id.number.to_be_bytes()].concat()
}

/// The key of a stage within its table.
pub fn stage_key(run: &RunId, index: u16) -> Vec<u8> {
    [run_key(run).as_slice(), &index.to_be_bytes()].concat()
}

/// The whole key of a row in a cold table.
pub fn cold(table: u8, key: &[u8]) -> Vec<u8> {
    [&[table], key].concat()
}

/// What the whole keys of a run's stages begin with, in the hot or the cold table.
pub fn stages_prefix(table: u8, run: &RunId) -> Vec<u8> {
    cold(table, &run_key(run))
}

/// The whole key of what was reported of a stage's instances.
pub fn instances_key(run: &RunId, index: u16) -> Vec<u8> {
    cold(table::INSTANCES, &stage_key(run, index))
}
