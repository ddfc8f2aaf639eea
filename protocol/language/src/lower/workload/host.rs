//! `workload.host`: an archive, one process in it, and how its health is judged.

mod command;
mod health;
mod lifecycle;
mod process;

use trimaran_model::pipeline::{HealthCheck, HostWorkload, Lifecycle, Process};

use self::lifecycle::LifecycleKeys;

use super::{Uses, Wants};
use crate::decode::Fields;
use crate::diagnostic::Sink;
use crate::tree::Entry;

const LATER: &[&str] = &["root", "keep_releases"];

pub(super) fn lower(entry: &Entry, uses: &mut Uses, sink: &mut Sink) -> Option<HostWorkload> {
    let Some(it) = Fields::below(entry, sink) else {
        uses.complete = false;
        return None;
    };
    let mut it = it.later(LATER);
    let unpack = it.required("unpack");
    uses.complete &= unpack.is_some();
    let sections = HostSections::read(&mut it);
    it.finish(sink);
    let unpack = unpack.and_then(|entry| uses.artifact(&entry.value, "`unpack`", Wants::File, sink));
    let Sections { process, health, lifecycle } = sections.lower(sink)?;
    Some(HostWorkload { unpack: unpack?, process, health, lifecycle })
}

/// What is said of one service.
pub(crate) struct Sections {
    pub(crate) process: Process,
    pub(crate) health: HealthCheck,
    pub(crate) lifecycle: Lifecycle,
}

/// The sections of a service, which SPEC files of single hosts share.
pub(crate) struct HostSections<'a> {
    process: Option<&'a Entry>,
    health: Option<&'a Entry>,
    lifecycle: LifecycleKeys<'a>,
}

impl<'a> HostSections<'a> {
    pub(crate) fn read(it: &mut Fields<'a>) -> Self {
        let (process, health) = (it.required("process"), it.required("health"));
        Self { process, health, lifecycle: LifecycleKeys::read(it) }
    }

    pub(crate) fn lower(self, sink: &mut Sink) -> Option<Sections> {
        let process = self.process.and_then(|entry| process::lower(entry, sink));
        let health = self.health.and_then(|entry| health::lower(entry, sink));
        let lifecycle = self.lifecycle.lower(sink);
        Some(Sections { process: process?, health: health?, lifecycle: lifecycle? })
    }
}
