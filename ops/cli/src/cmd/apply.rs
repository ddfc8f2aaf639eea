//! `trimaran apply FILE…`: targets and pipelines into the cluster.

use trimaran_wire::document::Applied;
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::remote::{Remote, RequestIdArg};
use crate::sources;
use crate::ui::{Global, print_text};

/// Store targets and pipelines from files: all of them, or with any error none.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran apply targets.yaml\n  trimaran apply targets.yaml trimaran.yaml"
)]
pub(crate) struct Args {
    /// Files with `target:` and `pipeline:` documents; `-` is stdin.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    #[command(flatten)]
    request: RequestIdArg,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let files = args.files.iter().map(|file| sources::read(file)).collect::<Result<Vec<_>, _>>()?;
    sources::check(&files)?;
    let body = OperatorBody::Apply { files };
    Remote::new(global)?.change::<Applied>(&args.request, body)?.print(global, |applied| {
        let say = |kind: &str, name: &String| print_text(&format!("{kind} {name} applied"));
        applied.targets.iter().for_each(|name| say("target", name));
        applied.pipelines.iter().for_each(|name| say("pipeline", name));
    });
    Ok(0)
}
