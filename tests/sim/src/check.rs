//! What must hold after every entry.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_engine::Engine;
use trimaran_engine::rows::{from_bytes, tables};
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_engine::state::run::Run;
use trimaran_model::reason::ReasonCode;
use trimaran_model::run::Status;
use trimaran_query::{self as query, RowSource};
use trimaran_wire::document::StageDocument;

/// Rows as a store has them.
#[derive(Debug, Clone, Default)]
pub struct Rows(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl Rows {
    pub fn write(&mut self, changes: &[(Vec<u8>, Option<Vec<u8>>)]) {
        for (key, value) in changes {
            match value {
                Some(value) => self.0.insert(key.clone(), value.clone()),
                None => self.0.remove(key),
            };
        }
    }

    /// The state that these rows are.
    pub fn engine(&self) -> Engine {
        let rows = self.0.iter().map(|(key, value)| (key.clone(), value.clone()));
        Engine::from_rows(rows).expect("rows that an engine wrote")
    }

    /// Live assignments.
    pub fn assignments(&self) -> Vec<LiveAssignment> {
        let mut found = Vec::new();
        self.scan(&[tables::ASSIGNMENT], &mut |_, value| {
            found.push(from_bytes(value).expect("a stored row"));
            true
        });
        found
    }
}

impl RowSource for Rows {
    fn damaged(&self, key: &[u8], why: &dyn std::fmt::Display) {
        panic!("{} is damaged: {why}", trimaran_query::describe_key(key));
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }

    fn scan_back(&self, first: &[u8], end: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        for (key, value) in self.0.range(first.to_vec()..end.to_vec()).rev() {
            if !each(key, value) {
                return;
            }
        }
    }

    fn scan(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        for (key, value) in self.0.range(prefix.to_vec()..) {
            if !key.starts_with(prefix) || !each(key, value) {
                return;
            }
        }
    }
}

/// Looks at a state and its rows; `Err` says what does not hold. `fence` is the largest before.
pub fn state(engine: &Engine, rows: &Rows, fence: &mut u64) -> Result<(), String> {
    if engine.next_timer().is_some_and(|timer| timer <= engine.now()) {
        return Err(format!("a timer of {:?} is still set at {:?}", engine.next_timer(), engine.now()));
    }
    assignments(rows, fence)?;
    if engine.settle_queue_len() == 0 {
        runs(rows)?;
    }
    Ok(())
}

/// What costs more to look at: settling all runs changes nothing, indexes are those that the rows make, and reloaded
/// rows are the same state.
pub fn whole(engine: &Engine, rows: &Rows) -> Result<(), String> {
    engine.check_quiescent()?;
    engine.check_indexes()?;
    let loaded = rows.engine();
    if loaded.hash() != engine.hash() {
        return Err(format!("reloaded rows hash to {:032x}, not {:032x}", loaded.hash(), engine.hash()));
    }
    if loaded.next_timer() != engine.next_timer() && engine.settle_queue_len() == 0 {
        return Err("a reloaded state has another next timer".to_owned());
    }
    Ok(())
}

/// One live assignment an installation, each with its own fence; new ones have larger fences than all before.
fn assignments(rows: &Rows, fence: &mut u64) -> Result<(), String> {
    let live = rows.assignments();
    let (mut installations, mut fences) = (BTreeSet::new(), BTreeSet::new());
    for live in &live {
        let it = &live.order;
        if !installations.insert(&it.installation) {
            return Err(format!("two live assignments on {:?}", it.installation));
        }
        if !fences.insert(it.fence) {
            return Err(format!("fence {} is given twice", it.fence));
        }
    }
    let cluster = query::cluster(rows);
    let given = cluster.last_fence().0;
    if given < *fence || cluster.fence != cluster.assignment {
        return Err(format!("fence {given} after {fence}, with {} assignments", cluster.assignment));
    }
    *fence = given;
    Ok(())
}

/// Every run that is not done moves or says why it does not.
fn runs(rows: &Rows) -> Result<(), String> {
    let mut hot = Vec::new();
    rows.scan(&[tables::RUN], &mut |_, value| {
        hot.push(from_bytes::<Run>(value).expect("a stored row").id);
        true
    });
    for id in hot {
        let run = query::run(rows, &id).ok_or("a stored run is not found")?;
        let done = Status::from_name(&run.status).is_some_and(Status::is_done);
        let all_done = run.stages.iter().all(|it| status(it).is_done());
        if done != all_done && run.status != Status::Broken.as_str() {
            return Err(format!("{} is {} while its stages are not", run.run, run.status));
        }
        for stage in &run.stages {
            let broken = run.status == Status::Broken.as_str();
            stage_has_reason(stage, broken).map_err(|why| format!("{}/{}: {why}", run.run, stage.name))?;
        }
    }
    Ok(())
}

fn status(stage: &StageDocument) -> Status {
    Status::from_name(&stage.status).expect("a known status")
}

fn stage_has_reason(stage: &StageDocument, broken: bool) -> Result<(), String> {
    let status = status(stage);
    for reason in &stage.reasons {
        let known = ReasonCode::from_name(&reason.code).is_some();
        if !known || reason.message.is_empty() || reason.since.is_empty() {
            return Err(format!("an incomplete reason: {reason:?}"));
        }
        let command = reason.clears.starts_with("trimaran ");
        if command == reason.who.is_empty() || !(command || reason.clears == "wait") {
            return Err(format!("who may run `{}`: {:?}", reason.clears, reason.who));
        }
    }
    let moves = matches!(status, Status::Running | Status::RollingBack) && !broken;
    if stage.reasons.is_empty() && !moves && !matches!(status, Status::Succeeded) {
        return Err(format!("{} without a reason", stage.status));
    }
    Ok(())
}
