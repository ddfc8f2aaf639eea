//! What can be known of an upgrade before the running job is touched.
//!
//! Flink finds the state of an operator by the id of its task, which is derived from the uid of the first operator in it.
//! A task that holds state, and whose id the new version does not have, has lost it: when the new version has the same
//! operators under another id, their uid was changed; when it has nothing new, they were removed. Where operators
//! are chained in another way an id may go without harm, so that is a warning and Flink has the last word.
//!
//! Not to be seen here: types of state that can't be read any more. Those show in the window.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::action::Failure;
use trimaran_model::id::Digest;
use trimaran_model::pipeline::{FlinkUpgrade, UpgradeMode};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::FlinkFiles;

use crate::call::{Cluster, Topology, Vertex};
use crate::storage::storage;

/// A disk with less is full: metadata and a few pages of a file for each task that has state.
const SAVEPOINT_BYTES_MIN: u64 = 64 << 10;

/// The new version, and what it will replace.
#[derive(Debug, Clone, Copy)]
pub struct Check<'a> {
    pub cluster: &'a Cluster,
    pub plan: &'a [Vertex],
    /// `None`: nothing runs.
    pub topology: Option<&'a Topology>,
    pub upgrade: &'a FlinkUpgrade,
}

/// Warnings, or why the running job must not be stopped for this.
pub fn check(input: &Check<'_>) -> Result<Vec<String>, Failure> {
    check_slots(input)?;
    let Some(topology) = input.topology else { return Ok(Vec::new()) };
    let mut warnings = Vec::new();
    if input.upgrade.mode == UpgradeMode::Savepoint {
        warnings.extend(check_disk(input.cluster, topology)?);
    }
    if input.upgrade.mode == UpgradeMode::Savepoint && storage(&input.cluster.savepoints).is_none() {
        warnings.push(format!(
            "this agent can't list {}: when the JobManager is lost in the middle of the stop, the path of the \
             savepoint has to be found by hand",
            input.cluster.savepoints
        ));
    }
    if input.upgrade.mode != UpgradeMode::Stateless && !input.upgrade.allow_non_restored_state {
        warnings.extend(check_state(input.plan, topology)?);
    }
    match &topology.checkpointing {
        Some(checkpointing) if !checkpointing.retained => warnings.push(
            "checkpoints of the running job are deleted when it is canceled: without its savepoint there is \
             nothing to go back to"
                .to_owned(),
        ),
        Some(checkpointing) if checkpointing.timeout > input.upgrade.timeout => {
            let (checkpoint, upgrade) = (checkpointing.timeout, input.upgrade.timeout);
            warnings.push(format!(
                "a checkpoint may take {checkpoint}, and the upgrade waits for {upgrade} only"
            ));
        }
        Some(_) => {}
        None => warnings.push("the running job makes no checkpoints".to_owned()),
    }
    Ok(warnings)
}

/// What the new version changes in the tasks of the job, one line each: `+` a task that comes, `-` one that goes, `~` one
/// that stays and is changed. Parallelism is what the program asks for, so it is what the new job will have.
pub fn difference(plan: &[Vertex], running: Option<&Topology>) -> Vec<String> {
    let running = running.map_or(&[][..], |topology| topology.vertices.as_slice());
    let of = |vertices: &[Vertex], id: &str| vertices.iter().find(|it| it.id == id).cloned();
    let name = |vertex: &Vertex| vertex.operators.join(" -> ");
    let mut lines = Vec::new();
    let mut renamed = BTreeSet::new();
    for vertex in plan {
        let Some(before) = of(running, &vertex.id) else {
            let is_same = |it: &&Vertex| it.operators == vertex.operators && of(plan, &it.id).is_none();
            lines.push(match running.iter().find(is_same) {
                Some(other) => {
                    renamed.insert(other.id.clone());
                    format!("~ {}: its uid was changed, {} becomes {}", name(vertex), other.id, vertex.id)
                }
                None => format!("+ {} (parallelism {})", name(vertex), vertex.parallelism),
            });
            continue;
        };
        if before.operators != vertex.operators {
            lines.push(format!("~ {} becomes {}", name(&before), name(vertex)));
        }
        if before.parallelism != vertex.parallelism {
            let (from, to) = (before.parallelism, vertex.parallelism);
            lines.push(format!("~ {}: parallelism {from} becomes {to}", name(vertex)));
        }
    }
    let goes = |it: &&Vertex| of(plan, &it.id).is_none() && !renamed.contains(&it.id);
    lines.extend(running.iter().filter(goes).map(|vertex| format!("- {}", name(vertex))));
    lines
}

/// What changes in the files that are shipped with the job, one line each, with the beginning of their digests.
pub fn files_difference(new: Option<&FlinkFiles>, running: Option<&FlinkFiles>) -> Vec<String> {
    let of = |files: Option<&FlinkFiles>| -> BTreeMap<String, Digest> {
        let each = files.into_iter().flat_map(FlinkFiles::iter);
        each.map(|(name, content)| (name.to_owned(), content.digest)).collect()
    };
    let (new, running) = (of(new), of(running));
    let names: BTreeSet<&String> = new.keys().chain(running.keys()).collect();
    let line = |name: &String| match (new.get(name), running.get(name)) {
        (Some(digest), None) => Some(format!("+ file {name} ({})", digest.short())),
        (None, Some(_)) => Some(format!("- file {name}")),
        (Some(digest), Some(before)) if digest != before => {
            Some(format!("~ file {name}: {} becomes {}", before.short(), digest.short()))
        }
        (Some(_), Some(_)) | (None, None) => None,
    };
    names.into_iter().filter_map(line).collect()
}

/// The parallelism of the widest task; 0 without one.
pub(crate) fn widest(vertices: &[Vertex]) -> u32 {
    vertices.iter().map(|vertex| vertex.parallelism).max().unwrap_or(0)
}

/// Tasks share slots, so a job needs as many as its widest task. Those of the running job become free.
fn check_slots(input: &Check<'_>) -> Result<(), Failure> {
    let freed = input.topology.map_or(0, |topology| widest(&topology.vertices));
    let (needed, there) = (widest(input.plan), input.cluster.slots_available + freed);
    if needed <= there {
        return Ok(());
    }
    let message = format!("the job needs {needed} task slots, and {there} are free or become free");
    Err(Failure { code: ReasonCode::SlotsMissing, message, instance: None })
}

/// A stop whose savepoint can't be written to its end makes Flink start the job again from its last checkpoint: nothing is
/// lost, but all since then is repeated. Where a savepoint of the size of a checkpoint would not fit it is only a warning,
/// since the two formats differ in size.
fn check_disk(cluster: &Cluster, topology: &Topology) -> Result<Option<String>, Failure> {
    let Some(free) = cluster.savepoint_bytes_free else { return Ok(None) };
    let savepoints = &cluster.savepoints;
    if free < SAVEPOINT_BYTES_MIN {
        let message = format!("there is no space for a savepoint in {savepoints}: {free} bytes are free");
        return Err(Failure { code: ReasonCode::SavepointFailed, message, instance: None });
    }
    let state = topology.state_bytes.filter(|state| *state > free);
    Ok(state.map(|state| {
        format!("{savepoints} has {free} bytes free, and the last checkpoint of the running job has {state}")
    }))
}

fn check_state(plan: &[Vertex], running: &Topology) -> Result<Vec<String>, Failure> {
    let Some(stateful) = &running.stateful else { return Ok(Vec::new()) };
    let planned: BTreeSet<&str> = plan.iter().map(|vertex| vertex.id.as_str()).collect();
    let known: BTreeSet<&str> = running.vertices.iter().map(|vertex| vertex.id.as_str()).collect();
    let new: Vec<&Vertex> = plan.iter().filter(|vertex| !known.contains(vertex.id.as_str())).collect();
    let mut warnings = Vec::new();
    let is_lost = |vertex: &&Vertex| stateful.contains(&vertex.id) && !planned.contains(vertex.id.as_str());
    for vertex in running.vertices.iter().filter(is_lost) {
        let (operators, id) = (vertex.operators.join(" -> "), &vertex.id);
        let renamed = new.iter().find(|it| it.operators == vertex.operators);
        let message = match renamed {
            Some(renamed) => format!(
                "the uid of operator `{operators}` was changed (its id is {} instead of {id}), so its state would be \
                 lost",
                renamed.id
            ),
            None if new.is_empty() => {
                format!("operator `{operators}` ({id}) holds state and is not in the new version")
            }
            None => {
                warnings.push(format!(
                    "operator `{operators}` ({id}) holds state and is chained differently or gone"
                ));
                continue;
            }
        };
        return Err(Failure { code: ReasonCode::StateIncompatible, message, instance: None });
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Checkpointing;
    use trimaran_model::release::Content;
    use trimaran_model::time::Millis;

    fn vertex(id: &str, operators: &[&str], parallelism: u32) -> Vertex {
        let operators = operators.iter().map(|&name| name.to_owned()).collect();
        Vertex { id: id.to_owned(), operators, parallelism }
    }

    fn running() -> Topology {
        Topology {
            name: "demo".to_owned(),
            vertices: vec![vertex("a", &["Source: numbers"], 1), vertex("b", &["counter", "out"], 2)],
            stateful: Some(vec!["a".to_owned(), "b".to_owned()]),
            state_bytes: Some(4096),
            checkpointing: Some(Checkpointing { timeout: Millis::minutes(10), retained: true }),
        }
    }

    fn cluster(savepoint_bytes_free: Option<u64>) -> Cluster {
        Cluster {
            version: "2.3.0".to_owned(),
            savepoints: "file:/savepoints".to_owned(),
            refresh_interval: Millis::seconds(3),
            slots_available: 1,
            accepts_jars: true,
            savepoint_bytes_free,
        }
    }

    fn checked(plan: &[Vertex], running: &Topology, upgrade: &FlinkUpgrade) -> Result<Vec<String>, Failure> {
        check(&Check { cluster: &cluster(None), plan, topology: Some(running), upgrade })
    }

    #[test]
    fn a_full_disk_is_seen_before_the_stop_and_one_that_may_be_too_small_is_a_warning() {
        let plan = [vertex("b", &["counter", "out"], 2), vertex("a", &["Source: numbers"], 1)];
        let running = Topology { state_bytes: Some(5 << 30), ..running() };
        let on = |free, mode| {
            let upgrade = FlinkUpgrade { mode, ..FlinkUpgrade::default() };
            let (cluster, topology) = (&cluster(free), Some(&running));
            check(&Check { cluster, plan: &plan, topology, upgrade: &upgrade })
        };
        let full = on(Some(4096), UpgradeMode::Savepoint).expect_err("it is full");
        assert_eq!(full.code, ReasonCode::SavepointFailed);
        assert!(full.message.contains("file:/savepoints: 4096 bytes are free"), "{}", full.message);
        let small = on(Some(5 << 29), UpgradeMode::Savepoint).expect("it may fit");
        assert_eq!(small.len(), 1, "{small:?}");
        assert!(small[0].contains("2684354560 bytes free") && small[0].contains("5368709120"), "{small:?}");
        for (free, mode) in [
            (Some(6 << 30), UpgradeMode::Savepoint),
            (None, UpgradeMode::Savepoint),
            (Some(0), UpgradeMode::LastCheckpoint),
            (Some(0), UpgradeMode::Stateless),
        ] {
            assert_eq!(on(free, mode), Ok(Vec::new()), "{free:?} {mode:?}");
        }
    }

    #[test]
    fn the_same_operators_are_no_trouble() {
        let plan = [vertex("b", &["counter", "out"], 3), vertex("a", &["Source: numbers"], 1)];
        assert_eq!(checked(&plan, &running(), &FlinkUpgrade::default()), Ok(Vec::new()));
    }

    #[test]
    fn a_changed_uid_and_a_removed_operator_are_named() {
        let upgrade = FlinkUpgrade::default();
        let renamed = [vertex("a", &["Source: numbers"], 1), vertex("c", &["counter", "out"], 2)];
        let failure = checked(&renamed, &running(), &upgrade).expect_err("b is gone");
        assert_eq!(failure.code, ReasonCode::StateIncompatible);
        assert!(failure.message.contains("uid of operator `counter -> out`"), "{}", failure.message);
        let removed = [vertex("a", &["Source: numbers"], 1)];
        let failure = checked(&removed, &running(), &upgrade).expect_err("b is gone");
        assert!(failure.message.contains("holds state and is not in the new version"));
        // Where the author allows it, or nothing is known of its state, it is not refused.
        let allowed = FlinkUpgrade { allow_non_restored_state: true, ..upgrade.clone() };
        assert!(checked(&removed, &running(), &allowed).is_ok());
        assert!(checked(&removed, &Topology { stateful: None, ..running() }, &upgrade).is_ok());
        let stateless = Topology { stateful: Some(vec!["a".to_owned()]), ..running() };
        assert_eq!(checked(&removed, &stateless, &upgrade), Ok(Vec::new()));
    }

    #[test]
    fn the_difference_names_each_task_that_is_not_the_same() {
        let plan = [
            vertex("a", &["Source: numbers"], 4),
            vertex("c", &["counter", "out"], 2),
            vertex("e", &["audit"], 1),
        ];
        let mut topology = running();
        topology.vertices.push(vertex("d", &["old"], 1));
        assert_eq!(
            difference(&plan, Some(&topology)),
            [
                "~ Source: numbers: parallelism 1 becomes 4",
                "~ counter -> out: its uid was changed, b becomes c",
                "+ audit (parallelism 1)",
                "- old",
            ]
        );
        assert_eq!(difference(&running().vertices, Some(&running())), [""; 0]);
        let chained = [vertex("a", &["Source: numbers", "filter"], 1), running().vertices.remove(1)];
        assert_eq!(
            difference(&chained, Some(&running())),
            ["~ Source: numbers becomes Source: numbers -> filter"]
        );
        assert_eq!(difference(&plan[2..], None), ["+ audit (parallelism 1)"]);
    }

    #[test]
    fn the_difference_names_each_file_that_is_not_the_same() {
        let files = |files: &[(&str, u8)]| {
            let content = |n| Content { digest: Digest([n; 32]), bytes: 1 };
            let files = files.iter().map(|(name, n)| ((*name).to_owned(), content(*n)));
            FlinkFiles::new(Digest([0; 32]), files.collect()).expect("small files")
        };
        let (new, running) = (files(&[("a", 1), ("b", 2), ("c", 3)]), files(&[("b", 1), ("c", 3), ("d", 4)]));
        let short = |n| Digest([n; 32]).short();
        assert_eq!(
            files_difference(Some(&new), Some(&running)),
            [
                format!("+ file a ({})", short(1)),
                format!("~ file b: {} becomes {}", short(1), short(2)),
                "- file d".to_owned(),
            ]
        );
        assert_eq!(files_difference(Some(&new), Some(&new)), [""; 0]);
        assert_eq!(files_difference(None, Some(&new)).len(), 3);
    }

    #[test]
    fn another_chain_is_a_warning() {
        let plan = [vertex("a", &["Source: numbers"], 1), vertex("d", &["filter", "counter", "out"], 2)];
        let warnings = checked(&plan, &running(), &FlinkUpgrade::default()).expect("Flink has the last word");
        assert!(warnings.len() == 1 && warnings[0].contains("chained differently"), "{warnings:?}");
    }

    #[test]
    fn slots_of_the_running_job_count() {
        let wide = |n| [vertex("a", &["Source: numbers"], 1), vertex("b", &["counter", "out"], n)];
        assert!(checked(&wide(3), &running(), &FlinkUpgrade::default()).is_ok());
        let failure = checked(&wide(4), &running(), &FlinkUpgrade::default()).expect_err("1 + 2 are 3");
        assert_eq!(failure.code, ReasonCode::SlotsMissing);
        assert!(failure.message.contains("needs 4 task slots, and 3"), "{}", failure.message);
    }

    #[test]
    fn checkpoints_that_do_not_stay_are_a_warning() {
        let plan = running().vertices;
        let gone = Some(Checkpointing { timeout: Millis::minutes(10), retained: false });
        let topology = Topology { checkpointing: gone, ..running() };
        let warnings = checked(&plan, &topology, &FlinkUpgrade::default()).expect("a warning");
        assert!(warnings[0].contains("deleted when it is canceled"), "{warnings:?}");
    }
}
