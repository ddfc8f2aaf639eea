//! What is done around the stop and the start of a service on a host: its permission to be stopped, the balancer that is
//! asked to leave it out, and programs of the release itself.
//!
//! The order of one change: `may_stop`, hooks `before_stop`, drain, stop, hooks `after_stop`, the new release, hooks
//! `before_start`, start, hooks `after_start`, verification, hooks `after_healthy`, undrain. Until the stop everything is
//! of the release that runs, behind it of the one that comes. A restart by the restart policy does none of it.

use std::collections::BTreeMap;

use super::health::ProbeUrl;
use crate::time::Millis;

/// Everything that a service asks for around its changes; empty for most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lifecycle {
    pub may_stop: Option<MayStop>,
    pub drain: Option<Drain>,
    pub undrain: Option<Drain>,
    /// Never an empty list. In the order of the file.
    pub hooks: BTreeMap<HookEvent, Vec<Hook>>,
}

impl Lifecycle {
    /// A hook by its place.
    pub fn hook(&self, event: HookEvent, place: usize) -> Option<&Hook> {
        self.hooks.get(&event)?.get(place)
    }

    /// What lets the service take part again: said, or what undoes a drain by file.
    pub fn undrain(&self) -> Option<Drain> {
        self.undrain.clone().or_else(|| {
            let drain = self.drain.as_ref()?;
            matches!(drain.by, DrainBy::File(_)).then(|| drain.clone())
        })
    }

    /// The programs that it runs, first words of their commands.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        let drains = [&self.drain, &self.undrain].into_iter().flatten().filter_map(|drain| match &drain.by {
            DrainBy::Command(command) => Some(command),
            DrainBy::Http(_) | DrainBy::File(_) => None,
        });
        let hooks = self.hooks.values().flatten().map(|hook| &hook.command);
        drains.chain(hooks).filter_map(|command| command.first()).map(String::as_str)
    }
}

/// The service is asked whether it may be stopped now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MayStop {
    /// A GET that is answered with 2xx when it may.
    pub http: ProbeUrl,
    /// How often it is asked.
    pub every: Millis,
    /// For how long; then the host fails, with the service as it was.
    pub deadline: Millis,
}

impl MayStop {
    pub const INTERVAL: Millis = Millis::seconds(10);
    pub const DEADLINE: Millis = Millis::minutes(10);
    /// For one answer; none is a no.
    pub const TIMEOUT: Millis = Millis::seconds(2);
}

/// Leaves the service out of, or back into, what sends it requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    pub by: DrainBy,
    /// The longest that it is waited for.
    pub wait: Millis,
}

impl Drain {
    pub const WAIT: Millis = Millis::seconds(30);
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrainBy {
    /// A program that ends with exit code 0 when it is done. It runs as the service does, in its release.
    Command(Vec<String>),
    /// A POST that is answered with 2xx when it is done; where that is no method of the URL (405, 501), a GET.
    Http(ProbeUrl),
    /// A file that is made to drain and removed to undrain; absolute, or relative to the service's run directory. The
    /// drain is done when the service or the balancer removes it, or `wait` has passed.
    File(String),
}

impl std::fmt::Display for DrainBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command(command) => write!(f, "command {}", command.join(" ")),
            Self::Http(url) => write!(f, "{url}"),
            Self::File(path) => write!(f, "file {path}"),
        }
    }
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookEvent {
    BeforeStop,
    AfterStop,
    BeforeStart,
    AfterStart,
    AfterHealthy,
}

impl HookEvent {
    pub const ALL: [Self; 5] =
        [Self::BeforeStop, Self::AfterStop, Self::BeforeStart, Self::AfterStart, Self::AfterHealthy];

    /// Its key in a file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeStop => "before_stop",
            Self::AfterStop => "after_stop",
            Self::BeforeStart => "before_start",
            Self::AfterStart => "after_start",
            Self::AfterHealthy => "after_healthy",
        }
    }
}

/// A program of the release that runs as the service does. Exit code 0 is success; one that was interrupted, as by a
/// reboot of its host, is run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub command: Vec<String>,
    /// Then it is ended with everything that it has started.
    pub timeout: Millis,
}

impl Hook {
    pub const TIMEOUT: Millis = Millis::minutes(5);
}
