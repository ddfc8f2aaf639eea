//! What only shows between documents: targets that do not exist or do not fit, prod without a judgment, and
//! two documents of one name.

use std::collections::BTreeMap;

use trimaran_model::error_code;
use trimaran_model::target::TargetClass;

use crate::diagnostic::{Diagnostic, Severity, at};
use crate::lower::{EnvironmentOutline, Outline, OutlineKind, Platform};
use crate::parse::shown;
use crate::suggest::did_you_mean;

/// What is known of a target.
#[derive(Clone, Copy)]
struct Known {
    class: Option<TargetClass>,
    platform: Option<Platform>,
}

/// Checks documents against each other. Without a target document among the files nothing is said of targets.
/// `complete`: every document could be read far enough to have an outline; otherwise a target that is not
/// among them may be one of the others.
pub(crate) fn across(outlines: &[Outline], complete: bool) -> Vec<Diagnostic> {
    let mut found = twice(outlines);
    let mut targets: BTreeMap<&str, Known> = BTreeMap::new();
    let mut all_named = complete;
    for outline in outlines {
        if let OutlineKind::Target { class, platform } = outline.kind {
            match &outline.name {
                Some((name, _)) => {
                    targets.entry(name).or_insert(Known { class, platform });
                }
                None => all_named = false,
            }
        }
    }
    if targets.is_empty() {
        return found;
    }
    for outline in outlines {
        let OutlineKind::Pipeline { platform, environments } = &outline.kind else { continue };
        for environment in environments {
            let check = Check { outline, platform: *platform, targets: &targets, all_named };
            check.targets(environment, &mut found);
            check.judgment(environment, &mut found);
        }
    }
    found
}

/// One pipeline against the targets.
struct Check<'a> {
    outline: &'a Outline,
    platform: Option<Platform>,
    targets: &'a BTreeMap<&'a str, Known>,
    all_named: bool,
}

impl Check<'_> {
    fn targets(&self, environment: &EnvironmentOutline, found: &mut Vec<Diagnostic>) {
        for (name, span) in &environment.targets {
            let (code, message, help) = match self.targets.get(name.as_str()) {
                None if self.all_named => {
                    let names = self.targets.keys().map(|name| (*name).to_owned());
                    let help = did_you_mean(name, names, || "name a target of these files".to_owned());
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
            found.push(at(&self.outline.file, Severity::Error, code, *span, message, help));
        }
    }

    fn judgment(&self, environment: &EnvironmentOutline, found: &mut Vec<Diagnostic>) {
        let classes =
            environment.targets.iter().filter_map(|(name, _)| self.targets.get(name.as_str())?.class);
        let prod = classes.into_iter().any(|class| class == TargetClass::Prod);
        if prod && !environment.approved && !environment.name.is_empty() {
            let message = format!("`{}` has prod targets and no `approve`", environment.name);
            let help = "add `approve: { options: [promote, roll_back] }`".to_owned();
            let code = error_code::PROD_APPROVE;
            found.push(at(&self.outline.file, Severity::Warning, code, environment.span, message, help));
        }
    }
}

/// Two documents of one kind and name.
fn twice(outlines: &[Outline]) -> Vec<Diagnostic> {
    let mut seen: BTreeMap<(&str, &str), &Outline> = BTreeMap::new();
    let mut found = Vec::new();
    for outline in outlines {
        let Some((name, span)) = &outline.name else { continue };
        let kind = match outline.kind {
            OutlineKind::Pipeline { .. } => "pipeline",
            OutlineKind::Target { .. } => "target",
        };
        match seen.get(&(kind, name.as_str())) {
            Some(first) => {
                let line = first.name.as_ref().map_or(1, |(_, span)| span.line);
                let message = format!(
                    "there are two documents for {kind} `{}`; first in {} line {line}",
                    shown(name),
                    first.file
                );
                let help = "remove or rename one of the two".to_owned();
                let code = error_code::DOCUMENT_TWICE;
                found.push(at(&outline.file, Severity::Error, code, *span, message, help));
            }
            None => {
                seen.insert((kind, name), outline);
            }
        }
    }
    found
}
