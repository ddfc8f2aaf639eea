//! `trimaran status` and `trimaran installation list|show`: what runs where.

use serde_json::Value;
use trimaran_model::error_code;
use trimaran_wire::document::StatusDocument;
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::{Global, cell, print_table, print_text};

/// Show what runs where, since when and how well.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran status\n  trimaran status web -o json")]
pub(crate) struct Args {
    /// Only this pipeline.
    pipeline: Option<String>,
}

/// Installations: one pipeline on one target each.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran installation list web -o json\n  trimaran installation show web/lab-prod"
)]
pub(crate) struct InstallationArgs {
    #[command(subcommand)]
    verb: InstallationVerb,
}

#[derive(Debug, clap::Subcommand)]
enum InstallationVerb {
    /// List them: the same as `trimaran status`.
    List(Args),
    /// Show one, with the reason when it is not healthy.
    #[command(
        after_help = "Examples:\n  trimaran installation show web/lab-prod\n  trimaran installation show web/prod/lab-prod -o json"
    )]
    Show {
        /// `PIPELINE/TARGET` or `PIPELINE/ENV/TARGET`.
        name: String,
    },
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let remote = Remote::new(global)?;
    remote
        .read::<StatusDocument>(OperatorBody::Status { pipeline: args.pipeline.clone() })?
        .print(global, table);
    Ok(0)
}

pub(crate) fn installation(args: &InstallationArgs, global: &Global) -> Result<u8, CliError> {
    match &args.verb {
        InstallationVerb::List(args) => run(args, global),
        InstallationVerb::Show { name } => show(name, global),
    }
}

fn show(name: &str, global: &Global) -> Result<u8, CliError> {
    let wanted = Wanted::parse(name)?;
    let remote = Remote::new(global)?;
    let body = OperatorBody::Status { pipeline: Some(wanted.pipeline.to_owned()) };
    let mut answer = remote.read::<StatusDocument>(body)?;
    answer.document.installations.retain(|it| wanted.is(&it.environment, &it.target));
    if answer.document.installations.is_empty() {
        let why = format!("nothing was ever deployed as `{name}`");
        return Err(CliError::new(error_code::NOT_FOUND, why).help("trimaran installation list"));
    }
    // The same as in the document, in the JSON with fields that this build may not know.
    if let Some(Value::Array(list)) = answer.json.get_mut("installations") {
        list.retain(|it| {
            let field = |name| it.get(name).and_then(Value::as_str).unwrap_or_default();
            wanted.is(field("environment"), field("target"))
        });
    }
    answer.print(global, table);
    Ok(0)
}

/// An installation by its name.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    pipeline: &'a str,
    environment: Option<&'a str>,
    target: &'a str,
}

impl<'a> Wanted<'a> {
    fn parse(name: &'a str) -> Result<Self, CliError> {
        let parts: Vec<_> = name.split('/').collect();
        match *parts {
            [pipeline, target] => Ok(Self { pipeline, environment: None, target }),
            [pipeline, environment, target] => Ok(Self { pipeline, environment: Some(environment), target }),
            _ => {
                let why = format!("`{name}` is no installation; it is `PIPELINE/TARGET`");
                Err(CliError::new(error_code::USAGE, why).help("trimaran installation list"))
            }
        }
    }

    fn is(&self, environment: &str, target: &str) -> bool {
        target == self.target && self.environment.is_none_or(|wanted| wanted == environment)
    }
}

fn table(status: &StatusDocument) {
    let rows = status.installations.iter().map(|it| {
        vec![
            it.pipeline.clone(),
            it.environment.clone(),
            it.target.clone(),
            cell(it.version.as_deref()),
            cell(it.since.as_deref()),
            it.health.clone(),
            format!("{}/{}", it.ready, it.desired),
            cell(it.run.as_deref()),
        ]
    });
    print_table(&["PIPELINE", "ENV", "TARGET", "VERSION", "SINCE", "HEALTH", "READY", "RUN"], rows.collect());
    for it in &status.installations {
        if let (Some(code), Some(message)) = (&it.code, &it.message) {
            print_text(&format!("{} on {}: {code}: {message}", it.pipeline, it.target));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    #[test]
    fn an_installation_is_named_by_pipeline_and_target() {
        let short = Wanted::parse("web/lab-prod").expect("a name");
        assert!(short.is("prod", "lab-prod") && !short.is("prod", "lab-staging"));
        let long = Wanted::parse("web/prod/lab-prod").expect("a name");
        assert!(long.is("prod", "lab-prod") && !long.is("staging", "lab-prod"));
        for bad in ["web", "", "a/b/c/d"] {
            assert!(Wanted::parse(bad).is_err(), "{bad}");
        }
    }
}
