//! `trimaran approve|cancel|resume`: answers to a run.

use trimaran_model::error_code;
use trimaran_model::id::Digest;
use trimaran_wire::document::Decision;
use trimaran_wire::v1::operator::OperatorBody;

use super::why::split;
use crate::error::CliError;
use crate::remote::{Remote, RequestIdArg};
use crate::ui::{Global, print_text};

/// Choose an option of a waiting approval.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran approve web#12\n  trimaran approve web#12 --option roll_back --comment \"too slow\""
)]
pub(crate) struct ApproveArgs {
    /// PIPELINE#N, or PIPELINE#N/ENV/approve when several wait
    #[arg(value_name = "RUN[/STAGE]")]
    run: String,
    /// The option to choose; the first one when left out.
    #[arg(long, value_name = "NAME")]
    option: Option<String>,
    /// Refuse when the run's plan has another digest.
    #[arg(long, value_name = "PLAN")]
    digest: Option<String>,
    /// Kept in the audit log.
    #[arg(long, default_value = "")]
    comment: String,
    #[command(flatten)]
    request: RequestIdArg,
}

/// Cancel a run: nothing more starts, hosts in flight finish, nothing is restored.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran cancel web#12")]
pub(crate) struct CancelArgs {
    /// PIPELINE#N
    run: String,
    #[command(flatten)]
    request: RequestIdArg,
}

/// Go on with a paused stage in the same attempt, from what runs now.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran resume web#12\n  trimaran resume web#12/prod/lab-prod")]
pub(crate) struct ResumeArgs {
    /// PIPELINE#N, or PIPELINE#N/ENV/TARGET for one stage
    #[arg(value_name = "RUN[/STAGE]")]
    run: String,
    #[command(flatten)]
    request: RequestIdArg,
}

pub(crate) fn approve(args: &ApproveArgs, global: &Global) -> Result<u8, CliError> {
    let (run, stage) = split(&args.run);
    let digest = args.digest.as_deref().map(parse_digest).transpose()?;
    let body = OperatorBody::Approve {
        run,
        stage,
        option: args.option.clone(),
        digest,
        comment: args.comment.clone(),
    };
    decide(&args.request, body, global)
}

pub(crate) fn cancel(args: &CancelArgs, global: &Global) -> Result<u8, CliError> {
    decide(&args.request, OperatorBody::Cancel { run: args.run.clone() }, global)
}

pub(crate) fn resume(args: &ResumeArgs, global: &Global) -> Result<u8, CliError> {
    let (run, stage) = split(&args.run);
    decide(&args.request, OperatorBody::Resume { run, stage }, global)
}

fn decide(request: &RequestIdArg, body: OperatorBody, global: &Global) -> Result<u8, CliError> {
    let id = RequestIdArg::clone(request);
    let answer = Remote::new(global)?.change::<Decision>(&id, body)?;
    answer.print(global, |decision| {
        let stage = decision.stage.as_deref().map(|stage| format!("/{stage}")).unwrap_or_default();
        print_text(&format!(
            "{}{stage}: {} by {}",
            decision.run,
            decision.decision.replace('_', " "),
            decision.by
        ));
    });
    Ok(0)
}

/// A digest argument.
pub(crate) fn parse_digest(text: &str) -> Result<[u8; 32], CliError> {
    text.parse::<Digest>().map(|digest| digest.0).map_err(|error| {
        CliError::new(error_code::USAGE, format!("`{text}` is no digest")).cause(error.to_string())
    })
}
