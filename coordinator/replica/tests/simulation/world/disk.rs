//! The writers: one group of jobs at a time, and what a crash or a failure leaves of it.

use trimaran_replica::staging::Staged;
use trimaran_replica::{Input, InstallJob, WriteJob, Written};

use super::{Event, World};

/// Where in a write a crash happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boundary {
    /// Nothing of it reached the disk.
    Before,
    /// It may have, and is not synced.
    During,
    /// It is durable, and the replica was not notified.
    After,
}

#[derive(Debug)]
pub(super) enum Job {
    Write(WriteJob),
    /// With the generation of its rows.
    Install(InstallJob, u64),
}

impl World {
    pub(super) fn enqueue(&mut self, node: usize, job: Job) {
        self.nodes[node].queue.push_back(job);
        self.start_write(node);
    }

    pub(crate) fn crash(&mut self, node: usize) {
        let boundary = if self.below(2) == 0 { Boundary::During } else { Boundary::Before };
        self.crash_while(node, boundary);
    }

    pub(super) fn crash_while(&mut self, node: usize, boundary: Boundary) {
        if self.nodes[node].replica.is_none() {
            return;
        }
        self.counts.crashes += 1;
        let partly = boundary == Boundary::During;
        let this = &mut self.nodes[node];
        this.replica = None;
        this.incarnation += 1;
        this.paused_until = self.now;
        // The write in flight may be on the disk or not, and what was not synced may be gone.
        let writing = std::mem::take(&mut this.writing).into_iter();
        let group: Vec<_> =
            writing.filter_map(|job| if let Job::Write(job) = job { Some(job) } else { None }).collect();
        if partly && !group.is_empty() {
            this.store.write_unsynced(group);
        }
        this.queue.clear();
        this.staged = Staged::default();
        self.stop_receiving(node);
        let this = &mut self.nodes[node];
        let unsynced = this.store.unsynced() as u64;
        let kept = self.below(unsynced + 1) as usize;
        self.nodes[node].store.crash(kept);
        let down = 10 + self.below(self.faults.down_max);
        self.at(down, Event::Restart { node });
    }

    fn start_write(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        if !this.writing.is_empty() {
            return;
        }
        while let Some(job) = this.queue.pop_front() {
            let install = matches!(job, Job::Install(..));
            if install && !this.writing.is_empty() {
                this.queue.push_front(job);
                break;
            }
            this.writing.push(job);
            if install {
                break;
            }
        }
        if !self.nodes[node].writing.is_empty() {
            let (incarnation, delay) = (self.nodes[node].incarnation, 1 + self.below(self.faults.write_max));
            let delay = self.slow.get(&node).copied().unwrap_or(delay);
            self.writes += 1;
            if let Some((number, boundary)) = self.crash_at
                && number == self.writes
            {
                self.at(0, Event::CrashWriting { node, boundary });
            }
            self.at(delay, Event::WriteDone { node, incarnation });
        }
    }

    pub(super) fn write_done(&mut self, node: usize) {
        if self.nodes[node].disk_fails {
            self.step(node, Input::WriteFailed { reason: "I/O error".into() });
            return;
        }
        let input = self.write_to_store(node);
        self.start_write(node);
        self.step(node, input);
    }

    pub(super) fn write_to_store(&mut self, node: usize) -> Input {
        let this = &mut self.nodes[node];
        let mut group = Vec::new();
        let mut input = None;
        for job in std::mem::take(&mut this.writing) {
            match job {
                Job::Write(job) => {
                    input = Some(Input::Written(Written { number: job.number }));
                    group.push(job);
                }
                Job::Install(job, generation) => {
                    this.store.install(&job, generation);
                    self.counts.installs += 1;
                    let (number, rows) = (job.number, this.store.rows());
                    input = Some(Input::SnapshotInstalled { number, rows: Box::new(rows.into_iter()) });
                }
            }
        }
        if !group.is_empty() {
            this.store.write(group);
        }
        input.expect("something was written")
    }
}
