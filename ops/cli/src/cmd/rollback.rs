//! `trimaran rollback PIPELINE --env NAME`: back to the last good release.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use trimaran_model::error_code;
use trimaran_wire::document::{PlanDocument, RunDocument};
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::follow::{WaitArgs, started};
use crate::remote::{Remote, RequestIdArg};
use crate::ui::{Global, short};

/// Go back to an earlier release: the last good one unless another is named.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran rollback web --env prod\n  trimaran rollback web --env prod --to 3f9a1c2b7d10 --yes --wait"
)]
pub(crate) struct Args {
    /// The pipeline.
    pipeline: String,
    /// The environment to restore.
    #[arg(long = "env", value_name = "NAME")]
    environment: String,
    /// A release of `trimaran history`, by digest or its first digits.
    #[arg(long, value_name = "RELEASE")]
    to: Option<String>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Kept in the audit log.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    request: RequestIdArg,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let remote = Remote::new(global)?;
    if !args.yes {
        confirm(args, &remote)?;
    }
    let body = OperatorBody::Rollback {
        pipeline: args.pipeline.clone(),
        environment: args.environment.clone(),
        to: args.to.clone(),
        reason: args.reason.clone(),
    };
    let answer = remote.change::<RunDocument>(&args.request, body)?;
    started(&remote, global, &args.wait, &answer)
}

/// Shows what would happen and asks for the pipeline's name.
fn confirm(args: &Args, remote: &Remote) -> Result<(), CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::new(
            error_code::CONFIRMATION,
            format!("rolling `{}` back needs a confirmation", args.pipeline),
        ));
    }
    let body = OperatorBody::RollbackPlan {
        pipeline: args.pipeline.clone(),
        environment: args.environment.clone(),
        to: args.to.clone(),
    };
    let plan = remote.read::<PlanDocument>(body)?.document;
    for stage in &plan.stages {
        let from = stage.from.as_ref().map_or("nothing".to_owned(), |from| from.version.clone());
        eprintln!("{}: {from} -> {} ({})", stage.name, stage.to.version, short(&stage.to.release));
    }
    eprint!("continue? type `{}`: ", args.pipeline);
    // A terminal that can't be written to can't be asked either; the read below then fails.
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && line.trim() == args.pipeline {
        return Ok(());
    }
    Err(CliError::new(error_code::CONFIRMATION, "not confirmed; nothing was changed")
        .cause("The answer was not the name that was asked for.")
        .help("type the pipeline's name, or give `--yes`"))
}
