//! `trimaran why RUN[/STAGE]`: why something does not move, and what clears it.

use trimaran_wire::document::Why;
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::{Global, back_line, print_text, printable};

/// Say why a run or stage does not move, failed or went back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran why web#12\n  trimaran why web#12/prod/lab-prod -o json")]
pub(crate) struct Args {
    /// PIPELINE#N, or PIPELINE#N/ENV/TARGET for one stage
    #[arg(value_name = "RUN[/STAGE]")]
    run: String,
}

/// Splits `web#12/prod/lab-prod` into run and stage.
pub(crate) fn split(text: &str) -> (String, Option<String>) {
    match text.split_once('/') {
        Some((run, stage)) => (run.to_owned(), Some(stage.to_owned())),
        None => (text.to_owned(), None),
    }
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let (run, stage) = split(&args.run);
    let remote = Remote::new(global)?;
    remote.read::<Why>(OperatorBody::Why { run, stage })?.print(global, table);
    Ok(0)
}

fn table(why: &Why) {
    let mut lines = vec![format!("{} is {}", why.run, why.status.replace('_', " "))];
    if let Some(by) = &why.caused_by {
        lines.push(format!("caused by {by}"));
    }
    lines.extend(why.rollback.as_ref().map(back_line));
    for stage in why.stages.iter().filter(|stage| !stage.reasons.is_empty()) {
        lines.push(format!("{} is {} because:", stage.name, stage.status.replace('_', " ")));
        for (number, reason) in stage.reasons.iter().enumerate() {
            lines.push(format!(" {}. {}: {}", number + 1, reason.code, printable(&reason.message)));
            if reason.clears != "wait" {
                let who = if reason.who.is_empty() {
                    String::new()
                } else {
                    format!("  (by {})", reason.who.join(", "))
                };
                lines.push(format!("    clear: {}{who}", reason.clears));
            }
            if let Some(next) = &reason.next_check {
                lines.push(format!("    next look: {next}"));
            }
        }
    }
    if lines.len() == 1 {
        lines.push("Nothing holds it.".to_owned());
    }
    print_text(&lines.join("\n"));
}
