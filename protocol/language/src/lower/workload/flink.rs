//! `workload.flink`: a job, how its state moves, when it is healthy and from where it goes back.

use std::collections::BTreeMap;

use trimaran_model::error_code;
use trimaran_model::limits::FLINK_FILES_MAX;
use trimaran_model::pipeline::{
    FlinkHealth, FlinkRestore, FlinkRollback, FlinkSources, FlinkUpgrade, FlinkWorkload, OnStopFailure,
    UpgradeMode, Workload,
};
use trimaran_model::release::flink_file_name_error;

use super::{Use, Uses, Wants};
use crate::decode::{
    Fields, boolean, choice, count, duration, each, expression, map, or_default, positive_count,
    positive_duration, quoted, text, texts, words,
};
use crate::diagnostic::Sink;
use crate::document::FilePlace;
use crate::parse::shown;
use crate::tree::Entry;

const LATER: &[&str] = &["preflight", "savepoints", "initial_savepoint"];
const UPGRADE_LATER: &[&str] = &["drain", "format", "max_state_age", "initial_savepoint"];
const HEALTH_LATER: &[&str] = &["lag", "backpressure", "strict"];

/// Flink's own key for what `files` names.
const CACHED_FILES: &str = "pipeline.cached-files";

/// `places`: where the paths of files stand.
pub(super) fn lower(
    entry: &Entry,
    uses: &mut Uses,
    places: &mut Vec<FilePlace>,
    sink: &mut Sink,
) -> Option<Workload> {
    let Some(it) = Fields::below(entry, sink) else {
        uses.complete = false;
        return None;
    };
    let mut it = it.later(LATER);
    let jar = it.required("jar");
    uses.complete &= jar.is_some();
    let entry_class = it.required("entry_class");
    let [args, parallelism, config, bounded] =
        ["args", "parallelism", "config", "bounded"].map(|key| it.optional(key));
    let files = it.optional("files");
    let [upgrade, health, rollback] = ["upgrade", "health", "rollback"].map(|key| it.optional(key));
    it.finish(sink);
    if let (Some(files), Some(config)) = (files, config) {
        check_cached_files(files, config, sink);
    }
    let jar = jar.and_then(|entry| uses.artifact(&entry.value, "`jar`", Wants::File, sink));
    let entry_class = entry_class.and_then(|entry| text(entry, sink));
    let args = or_default(args, Vec::new(), |entry| words(entry, "an argument", sink));
    let parallelism = or_default(parallelism, None, |entry| positive_count(entry, sink).map(Some));
    let config = or_default(config, BTreeMap::new(), |entry| texts(entry, sink));
    let bounded = or_default(bounded, false, |entry| boolean(entry, sink));
    let files = or_default(files, BTreeMap::new(), |entry| files_of(entry, uses, places, sink));
    let upgrade = or_default(upgrade, FlinkUpgrade::default(), |entry| upgrade_of(entry, sink));
    let health = or_default(health, FlinkHealth::default(), |entry| health_of(entry, sink));
    let rollback = or_default(rollback, FlinkRollback::default(), |entry| rollback_of(entry, sink));
    let job = FlinkWorkload {
        jar: jar?,
        entry_class: entry_class?,
        args: args?,
        parallelism: parallelism?,
        config: config?,
        bounded: bounded?,
        upgrade: upgrade?,
        health: health?,
        rollback: rollback?,
    };
    Some(Workload::Flink { job, files: files? })
}

/// Names of the cache to paths or artifacts.
fn files_of(
    entry: &Entry,
    uses: &mut Uses,
    places: &mut Vec<FilePlace>,
    sink: &mut Sink,
) -> Option<BTreeMap<String, String>> {
    let entries = map(entry, sink);
    uses.complete &= entries.is_some();
    let entries = entries?;
    if entries.len() > FLINK_FILES_MAX {
        let message = format!("a job has at most {FLINK_FILES_MAX} files, and these are {}", entries.len());
        let help = "pack several into one archive that the program opens";
        sink.error(error_code::OVER_LIMIT, entry.key_span, message, help);
        return None;
    }
    let pairs = each(entries, |file| {
        let path = path_of(file, uses, sink);
        if expression(&file.key, file.key_span, "a key", sink) {
            return None;
        }
        if let Some(why) = flink_file_name_error(&file.key) {
            let message = format!("`{}` is not the name of a file: {why}", shown(&file.key));
            let help = "write NAME: PATH; the program asks the cache for NAME";
            sink.error(error_code::BAD_NAME, file.key_span, message, help);
            return None;
        }
        places.push(FilePlace { name: file.key.clone(), span: file.value.span });
        Some((file.key.clone(), path?))
    })?;
    Some(pairs.into_iter().collect())
}

fn path_of(file: &Entry, uses: &mut Uses, sink: &mut Sink) -> Option<String> {
    if let Some(secret) = file.value.get("secret") {
        uses.complete = false;
        let message =
            format!("`{}` is a secret, and every job of the cluster can read such a file", shown(&file.key));
        let help = "let the program fetch it from where secrets are kept, with an identity of its own";
        sink.error(error_code::FILE_SECRET, secret.key_span, message, help);
        return None;
    }
    let path = text(file, sink).filter(|path| {
        let is_there = !path.trim().is_empty();
        if !is_there {
            let message = format!("{} has no path", quoted(file));
            sink.error(error_code::WRONG_TYPE, file.value.span, message, "name a file, or an artifact");
        }
        is_there
    });
    uses.complete &= path.is_some();
    if let Some(Ok(name)) = path.as_deref().map(str::parse) {
        uses.named.push(Use { name, span: file.value.span, maybe: true, wants: Wants::File });
    }
    path
}

/// One would replace the other without a word.
fn check_cached_files(files: &Entry, config: &Entry, sink: &mut Sink) {
    let Some(cached) = config.value.get(CACHED_FILES).filter(|_| !files.value.entries().is_empty()) else {
        return;
    };
    let message = format!("`{CACHED_FILES}` stands beside `files`, and Flink takes one of them");
    let help = "move its files to `files`, which writes this key, or remove `files`";
    sink.error(error_code::CACHED_FILES, cached.key_span, message, help);
}

fn upgrade_of(entry: &Entry, sink: &mut Sink) -> Option<FlinkUpgrade> {
    let default = FlinkUpgrade::default();
    let mut it = Fields::below(entry, sink)?.later(UPGRADE_LATER);
    let [mode_at, timeout, retries, stop_at, dropped_at] =
        ["mode", "timeout", "retries", "on_stop_failure", "allow_non_restored_state"]
            .map(|key| it.optional(key));
    it.finish(sink);
    let modes = UpgradeMode::ALL.map(|it| (it.as_str(), it));
    let mode = or_default(mode_at, default.mode, |entry| choice(&entry.value, "`mode`", &modes, sink));
    let timeout = or_default(timeout, default.timeout, |entry| positive_duration(entry, sink));
    let retries = or_default(retries, default.retries, |entry| count(entry, sink));
    let ways = OnStopFailure::ALL.map(|it| (it.as_str(), it));
    let on_stop_failure = or_default(stop_at, default.on_stop_failure, |entry| {
        choice(&entry.value, "`on_stop_failure`", &ways, sink)
    });
    let allow_non_restored_state = or_default(dropped_at, false, |entry| boolean(entry, sink));
    let upgrade = FlinkUpgrade {
        mode: mode?,
        timeout: timeout?,
        retries: retries?,
        on_stop_failure: on_stop_failure?,
        allow_non_restored_state: allow_non_restored_state?,
    };
    let drops = [
        (upgrade.mode == UpgradeMode::Stateless, mode_at),
        (upgrade.on_stop_failure == OnStopFailure::Stateless, stop_at),
        (upgrade.allow_non_restored_state, dropped_at),
    ];
    for (_, entry) in drops.iter().filter(|(drops, _)| *drops) {
        if let Some(entry) = entry {
            let message = format!("with this `{}` state may be lost", entry.key);
            sink.warning(error_code::STATE_DROPPED, entry.value.span, message, "");
        }
    }
    Some(upgrade)
}

fn health_of(entry: &Entry, sink: &mut Sink) -> Option<FlinkHealth> {
    let default = FlinkHealth::default();
    let mut it = Fields::below(entry, sink)?.later(HEALTH_LATER);
    let [start_timeout, window] = ["start_timeout", "window"].map(|key| it.optional(key));
    let counts = ["max_restarts", "min_checkpoints", "max_failed_checkpoints"].map(|key| it.optional(key));
    it.finish(sink);
    let start_timeout =
        or_default(start_timeout, default.start_timeout, |entry| positive_duration(entry, sink));
    let window = or_default(window, default.window, |entry| duration(entry, sink));
    let [restarts, checkpoints, failed] = counts;
    let max_restarts = or_default(restarts, default.max_restarts, |entry| count(entry, sink));
    let min_checkpoints = or_default(checkpoints, default.min_checkpoints, |entry| count(entry, sink));
    let max_failed_checkpoints =
        or_default(failed, default.max_failed_checkpoints, |entry| count(entry, sink));
    Some(FlinkHealth {
        start_timeout: start_timeout?,
        window: window?,
        max_restarts: max_restarts?,
        min_checkpoints: min_checkpoints?,
        max_failed_checkpoints: max_failed_checkpoints?,
    })
}

fn rollback_of(entry: &Entry, sink: &mut Sink) -> Option<FlinkRollback> {
    let default = FlinkRollback::default();
    let mut it = Fields::below(entry, sink)?;
    let [prefer, max_replay, sources] = ["prefer", "max_replay", "sources"].map(|key| it.optional(key));
    it.finish(sink);
    let words = FlinkRestore::ALL.map(|it| (it.as_str(), it));
    let prefer = or_default(prefer, default.prefer, |entry| choice(&entry.value, "`prefer`", &words, sink));
    let max_replay = or_default(max_replay, default.max_replay, |entry| duration(entry, sink));
    let sources = or_default(sources, default.sources, |entry| sources_of(entry, sink));
    Some(FlinkRollback { prefer: prefer?, max_replay: max_replay?, sources: sources? })
}

fn sources_of(entry: &Entry, sink: &mut Sink) -> Option<FlinkSources> {
    let mut it = Fields::below(entry, sink)?;
    let [replayable, retention] = ["replayable", "retention"].map(|key| it.optional(key));
    it.finish(sink);
    let replayable = or_default(replayable, true, |entry| boolean(entry, sink));
    let retention = or_default(retention, None, |entry| duration(entry, sink).map(Some));
    Some(FlinkSources { replayable: replayable?, retention: retention? })
}
