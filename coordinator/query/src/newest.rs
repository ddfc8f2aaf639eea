//! Runs from the newest on, hot and old merged, read only as far as they are asked for: what a list costs depends on what it
//! shows and not on how many runs there ever were.

use std::collections::BinaryHeap;

use trimaran_engine::rows::{cold_key, run_key, tables};
use trimaran_engine::state::pipeline::Pipeline;
use trimaran_engine::state::run::Run;
use trimaran_model::id::{PipelineName, RunId};

use crate::rows::{RowSource, all, decode};

/// Old runs that are read ahead at most.
const READ_AHEAD_MAX: usize = 256;

/// Iterates over runs, the newest first: those of one pipeline, or of all.
pub(crate) struct Newest<'a> {
    rows: &'a dyn RowSource,
    pipelines: Vec<OfPipeline>,
    /// The sequence of the next run of each pipeline that has one, with its place in `pipelines`.
    heads: BinaryHeap<(u64, usize)>,
}

impl<'a> Newest<'a> {
    pub(crate) fn new(rows: &'a dyn RowSource, pipeline: Option<&PipelineName>) -> Self {
        let names = match pipeline {
            Some(name) => vec![name.clone()],
            None => all::<Pipeline>(rows).into_iter().map(|it| it.name).collect(),
        };
        let mut newest = Self { rows, pipelines: Vec::new(), heads: BinaryHeap::new() };
        for name in names {
            newest.pipelines.push(OfPipeline::new(rows, name));
            newest.add_head(newest.pipelines.len() - 1);
        }
        newest
    }

    fn add_head(&mut self, place: usize) {
        if let Some(run) = self.pipelines[place].peek(self.rows) {
            self.heads.push((run.sequence, place));
        }
    }
}

impl Iterator for Newest<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let (_, place) = self.heads.pop()?;
        let run = self.pipelines[place].pop();
        self.add_head(place);
        run
    }
}

/// Runs of one pipeline. The order of their numbers is that of their sequences.
struct OfPipeline {
    name: PipelineName,
    /// Hot ones, the newest last.
    hot: Vec<Run>,
    /// Old ones that were read ahead, the newest last.
    old: Vec<Run>,
    /// Old runs from this number on were read; `None` when there are no more.
    below: Option<u64>,
    read_ahead: usize,
}

impl OfPipeline {
    fn new(rows: &dyn RowSource, name: PipelineName) -> Self {
        let mut hot = Vec::new();
        let (first, end) = (key(tables::RUN, &name, 0), key(tables::RUN, &name, u64::MAX));
        rows.scan_back(&first, &end, &mut |key, value| {
            hot.extend(decode::<Run>(rows, key, value));
            true
        });
        hot.reverse();
        Self { name, hot, old: Vec::new(), below: Some(u64::MAX), read_ahead: 1 }
    }

    /// The newest that was not passed yet.
    fn peek(&mut self, rows: &dyn RowSource) -> Option<&Run> {
        if self.old.is_empty() {
            self.read_old(rows);
        }
        match self.is_hot_next() {
            true => self.hot.last(),
            false => self.old.last(),
        }
    }

    fn is_hot_next(&self) -> bool {
        let number = |runs: &[Run]| runs.last().map(|run| run.id.number);
        number(&self.hot) > number(&self.old)
    }

    fn pop(&mut self) -> Option<Run> {
        match self.is_hot_next() {
            true => self.hot.pop(),
            false => self.old.pop(),
        }
    }

    /// Reads the next old runs, each time more of them: one is enough for most pipelines of a short list.
    fn read_old(&mut self, rows: &dyn RowSource) {
        let Some(below) = self.below.take() else { return };
        let (first, end) = (key(tables::OLD_RUN, &self.name, 0), key(tables::OLD_RUN, &self.name, below));
        let (mut read, wanted) = (0, self.read_ahead);
        rows.scan_back(&first, &end, &mut |key, value| {
            self.old.extend(decode::<Run>(rows, key, value));
            read += 1;
            read < wanted
        });
        self.below = self.old.last().filter(|_| read == wanted).map(|run| run.id.number);
        self.old.reverse();
        self.read_ahead = (wanted * 4).min(READ_AHEAD_MAX);
    }
}

/// The whole key of a run's row.
fn key(table: u8, pipeline: &PipelineName, number: u64) -> Vec<u8> {
    cold_key(table, &run_key(&RunId { pipeline: pipeline.clone(), number }))
}
