//! `trimaran installation adopt|reapply`: what is right after a restore from a backup.

use trimaran_model::error_code;
use trimaran_wire::document::RunDocument;
use trimaran_wire::v1::operator::OperatorBody;

use crate::arguments::RequestIdArg;
use crate::error::CliError;
use crate::follow::{WaitArgs, follow_started};
use crate::remote::Remote;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The installation, as `trimaran status` shows it.
    #[arg(value_name = "PIPELINE/ENV/TARGET")]
    name: String,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    request: RequestIdArg,
}

/// What is right.
#[derive(Debug, Clone, Copy)]
pub(super) enum Right {
    WhatRuns,
    WhatIsKnown,
}

pub(super) fn run(args: &Args, right: Right, ui: &Ui) -> Result<u8, CliError> {
    let parts: Vec<String> = args.name.split('/').map(str::to_owned).collect();
    let Ok([pipeline, environment, target]) = <[String; 3]>::try_from(parts) else {
        let why = format!("`{}` is not an installation; write PIPELINE/ENV/TARGET", args.name);
        return Err(CliError::new(error_code::USAGE, why).help("`trimaran installation list` shows them"));
    };
    let body = match right {
        Right::WhatRuns => OperatorBody::Adopt { pipeline, environment, target },
        Right::WhatIsKnown => OperatorBody::Reapply { pipeline, environment, target },
    };
    let remote = Remote::new(ui)?;
    let answer = remote.change::<RunDocument>(&args.request, body)?;
    follow_started(&remote, ui, &args.wait, &answer)
}
