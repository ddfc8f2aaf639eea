//! `trimaran explain CODE|REASON`: the long text of an error code or reason, offline.

use serde_json::json;
use trimaran_model::error_code::{self, ErrorCode, Exit};
use trimaran_model::reason::ReasonCode;

use crate::error::CliError;
use crate::ui::{OutputForm, Ui};

/// Explain an error code or a reason.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran explain TR1001\n  trimaran explain probe_failed")]
pub(crate) struct Args {
    /// `TR####`, or a reason such as `crash_loop`.
    #[arg(value_name = "CODE|REASON")]
    name: String,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let (document, text) = if let Some(entry) = ErrorCode::parse(&args.name).and_then(ErrorCode::entry) {
        let code = entry.code.to_string();
        (
            json!({"schema": "trimaran.explain/v1", "code": code, "title": entry.title, "cause": entry.cause,
                   "help": entry.help, "exit_code": entry.exit as u8}),
            format!(
                "{code}: {}\n\n{}\n\n{}\n\nExit code {}{}.",
                entry.title,
                entry.cause,
                entry.help,
                entry.exit as u8,
                if entry.exit == Exit::BadInput { "; as a warning 0" } else { "" }
            ),
        )
    } else if let Some(code) = ReasonCode::from_name(&args.name) {
        let fault = code.fault().map(|fault| fault.as_str());
        let whose = match fault {
            Some(whose) => format!("Fault: {whose}."),
            None => "No fault: it waits.".to_owned(),
        };
        (
            json!({"schema": "trimaran.explain/v1", "code": code.as_str(), "title": code.summary(),
                   "help": code.advice(), "fault": fault}),
            format!("{}\n\n{}\n\n{}\n\n{whose}", code.as_str(), code.summary(), code.advice()),
        )
    } else {
        return Err(unknown(&args.name));
    };
    match ui.form() {
        OutputForm::Table => ui.print(&text),
        _ => ui.document(&document),
    }
    Ok(0)
}

fn unknown(name: &str) -> CliError {
    let reasons = ReasonCode::ALL.iter().map(|code| code.as_str().to_owned());
    let codes = error_code::catalogue().map(|entry| entry.code.to_string());
    let nearest = trimaran_language::suggest::nearest(name, reasons.chain(codes));
    let error = CliError::new(error_code::NOT_FOUND, format!("there is no code or reason `{name}`"))
        .cause("It is neither in the catalogue of errors nor in the list of reasons.");
    match nearest {
        Some(near) => error.help(format!("did you mean `trimaran explain {near}`?")),
        None => error.help("codes look like TR1203, reasons like crash_loop"),
    }
}
