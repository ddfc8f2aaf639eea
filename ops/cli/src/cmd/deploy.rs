//! `trimaran deploy`: the start of a run.

use trimaran_wire::document::RunDocument;
use trimaran_wire::v1::operator::OperatorBody;

use crate::arguments::{RequestIdArg, parse_digest};
use crate::deploy_inputs::{Inputs, ParsedInputs, Request};
use crate::error::CliError;
use crate::follow::{WaitArgs, follow_started};
use crate::pipeline_files;
use crate::remote::Remote;
use crate::ui::Ui;

/// Start a run.
///
/// On a terminal the run is watched until it is done; in a pipe the command ends at once, unless `--wait` is there.
/// Ctrl-C ends the watching, never the run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran deploy -f trimaran.yaml --artifact bundle=v2\n  trimaran deploy web --artifact bundle=v2@sha256:HEX --wait --timeout 30m\n  trimaran deploy web --artifact bundle=v2 --wait=baked\n  trimaran deploy web --artifact bundle=v2 --detach -o json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    inputs: Inputs,
    /// Fail unless the plan has this digest (the one you reviewed).
    #[arg(long, value_name = "PLAN")]
    digest: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    request: RequestIdArg,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let parsed = ParsedInputs::parse(&args.inputs)?;
    let digest = args.digest.as_deref().map(parse_digest).transpose()?;
    let remote = Remote::new(ui)?;
    let Request { deploy: request, upload, .. } = parsed.request(digest, &remote)?;
    if let Some(upload) = upload {
        upload.send(&remote)?;
    }
    let file = request.file.clone();
    let answer = remote.change::<RunDocument>(&args.request, OperatorBody::Deploy(request));
    let answer = answer.map_err(|error| error.shown_in(&pipeline_files::inputs(file.as_slice())))?;
    follow_started(&remote, ui, &args.wait, &answer)
}
