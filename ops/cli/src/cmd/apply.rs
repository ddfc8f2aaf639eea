//! `trimaran apply FILE…`: targets and pipelines into the cluster.

use trimaran_wire::document::Applied;
use trimaran_wire::v1::operator::OperatorBody;

use crate::arguments::RequestIdArg;
use crate::error::CliError;
use crate::pipeline_files;
use crate::remote::Remote;
use crate::ui::Ui;

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

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let files = args.files.iter().map(|file| pipeline_files::read(file)).collect::<Result<Vec<_>, _>>()?;
    pipeline_files::check(&files)?;
    let body = OperatorBody::Apply { files };
    Remote::new(ui)?.change::<Applied>(&args.request, body)?.print(ui, |applied| {
        let print = |kind: &str, name: &String| ui.print(&format!("{kind} {name} applied"));
        applied.targets.iter().for_each(|name| print("target", name));
        applied.pipelines.iter().for_each(|name| print("pipeline", name));
    });
    Ok(0)
}
