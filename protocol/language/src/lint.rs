//! What only shows between documents: targets that do not exist or do not fit, prod without a judgment, and
//! two documents of one name.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::error_code;
use trimaran_model::limits::SUGGESTIONS_MAX;
use trimaran_model::target::{Target, TargetClass, TargetPlatform};

use crate::diagnostic::{Diagnostic, Sink};
use crate::document::{EnvironmentOutline, Outline, OutlineKind, Platform};
use crate::parse::shown;
use crate::suggest::did_you_mean;

/// What is known of a target.
#[derive(Clone, Copy)]
struct Known {
    class: Option<TargetClass>,
    platform: Option<Platform>,
    require_user: bool,
}

/// Findings by file, each up to its bound.
#[derive(Default)]
struct Found<'a> {
    sinks: BTreeMap<&'a str, Sink>,
}

impl<'a> Found<'a> {
    fn of(&mut self, file: &'a str) -> &mut Sink {
        self.sinks.entry(file).or_insert_with(|| Sink::new(file))
    }

    fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.sinks.into_values().flat_map(Sink::into_diagnostics).collect()
    }
}

/// The targets that pipelines name.
pub(crate) fn named(outlines: &[Outline]) -> BTreeSet<&str> {
    let environments = outlines.iter().flat_map(|outline| match &outline.kind {
        OutlineKind::Pipeline { environments, .. } => environments.as_slice(),
        OutlineKind::Target { .. } => &[],
    });
    environments.flat_map(|it| it.targets.iter().map(|(name, _)| name.as_str())).collect()
}

/// Checks documents against each other, and against the targets of a cluster where those are given. Otherwise,
/// without a target document among the files, nothing is said of targets.
/// `complete`: every document could be read far enough to have an outline; otherwise a target that is not
/// among them may be one of the others.
pub(crate) fn across(outlines: &[Outline], complete: bool, cluster: Option<&[Target]>) -> Vec<Diagnostic> {
    let mut found = Found::default();
    twice(outlines, &mut found);
    let (targets, all_named) = match cluster {
        Some(cluster) => (cluster.iter().map(|target| (target.name.as_str(), known(target))).collect(), true),
        None => of_files(outlines, complete),
    };
    // Without any target nothing can be said of targets, unless it is known that there is none.
    for outline in outlines.iter().filter(|_| !targets.is_empty() || cluster.is_some()) {
        let OutlineKind::Pipeline { platform, names_user, environments, .. } = &outline.kind else {
            continue;
        };
        let otherwise = match cluster {
            Some(_) => "`trimaran target list` shows the targets; an admin adds one with `trimaran apply`",
            None => "name a target of these files",
        };
        let check =
            Check { platform: *platform, names_user: *names_user, targets: &targets, all_named, otherwise };
        for environment in environments {
            let sink = found.of(&outline.file);
            check.targets(environment, sink);
            check.judgment(environment, sink);
            check.user(environment, sink);
        }
    }
    found.into_diagnostics()
}

/// Targets by name.
type Targets<'a> = BTreeMap<&'a str, Known>;

fn known(target: &Target) -> Known {
    let require_user = matches!(target.platform, TargetPlatform::Hosts { require_user: true, .. });
    Known { class: Some(target.class), platform: Some(target.platform.as_str()), require_user }
}

/// The targets of the files, and whether no other can be meant.
fn of_files(outlines: &[Outline], complete: bool) -> (Targets<'_>, bool) {
    let mut targets = BTreeMap::new();
    let mut all_named = complete;
    for outline in outlines {
        if let OutlineKind::Target { class, platform, require_user } = outline.kind {
            match &outline.name {
                Some((name, _)) => {
                    targets.entry(name.as_str()).or_insert(Known { class, platform, require_user });
                }
                None => all_named = false,
            }
        }
    }
    (targets, all_named)
}

/// One pipeline against the targets.
struct Check<'a> {
    platform: Option<Platform>,
    names_user: bool,
    targets: &'a Targets<'a>,
    all_named: bool,
    /// What to do about an unknown target when none is near to it.
    otherwise: &'static str,
}

impl Check<'_> {
    fn targets(&self, environment: &EnvironmentOutline, sink: &mut Sink) {
        for (name, span) in &environment.targets {
            if sink.is_full() {
                return;
            }
            let (code, message, help) = match self.targets.get(name.as_str()) {
                None if self.all_named => {
                    // Of very many unknown names the first ones tell what is wrong with the others.
                    let suggests = sink.len() < SUGGESTIONS_MAX;
                    let names = self.targets.keys().filter(|_| suggests).map(|name| (*name).to_owned());
                    let help = did_you_mean(name, names, || self.otherwise.to_owned());
                    (error_code::TARGET_NAME, format!("there is no target `{name}`"), help)
                }
                None => continue,
                Some(target) => {
                    let (Some(has), Some(needs)) = (target.platform, self.platform) else { continue };
                    if has == needs {
                        continue;
                    }
                    let message = format!("target `{name}` is of platform {has}, the workload needs {needs}");
                    (error_code::TARGET_OTHER, message, format!("name a target with `{needs}:`"))
                }
            };
            sink.error(code, *span, message, help);
        }
    }

    fn judgment(&self, environment: &EnvironmentOutline, sink: &mut Sink) {
        let classes =
            environment.targets.iter().filter_map(|(name, _)| self.targets.get(name.as_str())?.class);
        let prod = classes.into_iter().any(|class| class == TargetClass::Prod);
        if prod && !environment.approved && !environment.name.is_empty() {
            let message = format!("`{}` has prod targets and no `approve`", environment.name);
            let help = "add `approve: { options: [promote, roll_back] }`";
            sink.warning(error_code::PROD_APPROVE, environment.span, message, help);
        }
    }
}

impl Check<'_> {
    /// A process of hosts that does not say as whom it runs.
    fn user(&self, environment: &EnvironmentOutline, sink: &mut Sink) {
        if self.names_user || self.platform != Some("hosts") {
            return;
        }
        let help = "add `user: NAME` to `workload.host.process`; `user: root` says that root is meant";
        let known = environment.targets.iter().filter_map(|(name, span)| {
            self.targets
                .get(name.as_str())
                .filter(|target| target.platform == self.platform)
                .map(|it| (name, span, it))
        });
        let mut warned = false;
        for (name, span, target) in known {
            if sink.is_full() {
                return;
            }
            if target.require_user {
                let message =
                    format!("target `{name}` demands that a process says its `user`, and this one does not");
                sink.error(error_code::REQUIRE_USER, *span, message, help);
            } else if target.class == Some(TargetClass::Prod) && !warned {
                warned = true;
                let message = format!(
                    "on prod target `{name}` the process runs as its runner's user, usually root (runs_as_root)"
                );
                sink.warning(error_code::RUNS_AS_ROOT, *span, message, help);
            }
        }
    }
}

/// Two documents of one kind and name.
fn twice<'a>(outlines: &'a [Outline], found: &mut Found<'a>) {
    let mut seen: BTreeMap<(&str, &str), &Outline> = BTreeMap::new();
    for outline in outlines {
        let Some((name, span)) = &outline.name else { continue };
        let kind = match outline.kind {
            OutlineKind::Pipeline { .. } => "pipeline",
            OutlineKind::Target { .. } => "target",
        };
        let Some(first) = seen.get(&(kind, name.as_str())) else {
            seen.insert((kind, name), outline);
            continue;
        };
        let line = first.name.as_ref().map_or(1, |(_, span)| span.line);
        let place = format!("first in {} line {line}", first.file);
        let message = format!("there are two documents for {kind} `{}`; {place}", shown(name));
        let help = "remove or rename one of the two";
        found.of(&outline.file).error(error_code::DOCUMENT_TWICE, *span, message, help);
    }
}
