//! What a failed command says: code, what, where, why and what to do.

use std::process::ExitCode;

use clap::ValueEnum as _;
use serde_json::json;
use trimaran_language::{Diagnostic, Severity, SourceFile};
use trimaran_model::error_code::{self, ErrorCode, Exit};

use crate::ui::{
    OutputForm, Terminal, View, diagnostic_document, document_text, printable, render, write_stderr,
    write_stdout,
};

/// An error for the user. Without `cause` and `help` those of the catalogue are shown.
#[derive(Debug, Clone)]
pub(crate) struct CliError {
    pub(crate) code: ErrorCode,
    /// What failed, with the names of this case; no period at its end.
    pub(crate) message: String,
    /// Boxed, since every command returns an error by value.
    pub(crate) more: Box<More>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct More {
    pub(crate) cause: Option<String>,
    pub(crate) help: Option<String>,
    pub(crate) position: Option<Position>,
    /// Every finding in the files of the command; the error itself is the first.
    diagnostics: Vec<Diagnostic>,
    rendered: Option<String>,
}

/// A place in a file; line and column start at 1, columns count characters.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl CliError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), more: Box::default() }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.more.help = Some(help.into());
        self
    }

    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        self.more.cause = Some(cause.into());
        self
    }

    pub(crate) fn at(mut self, file: impl Into<String>, line: usize, column: usize) -> Self {
        self.more.position = Some(Position { file: file.into(), line, column });
        self
    }

    /// All that is wrong in files: people see it with the lines of those that are at hand, programs as a list.
    pub(crate) fn found(mut self, files: &[SourceFile<'_>], diagnostics: Vec<Diagnostic>) -> Self {
        self.more.rendered = Some(render(files, &diagnostics, &stderr_view()));
        self.more.diagnostics = diagnostics;
        self
    }

    /// Shows findings that came from elsewhere with the lines of these files.
    pub(crate) fn shown_in(mut self, files: &[SourceFile<'_>]) -> Self {
        let diagnostics = std::mem::take(&mut self.more.diagnostics);
        if diagnostics.is_empty() { self } else { self.found(files, diagnostics) }
    }

    /// The same as one of many findings; without a position at the start of no file.
    pub(crate) fn finding(&self) -> Diagnostic {
        let at = self.more.position.as_ref();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Diagnostic {
            code: self.code,
            severity: Severity::Error,
            message: format!("{}: {}", self.message, self.cause_text()),
            file: at.map_or_else(String::new, |at| at.file.clone()),
            line: at.map_or(1, |at| count(at.line)),
            column: at.map_or(1, |at| count(at.column)),
            length: 1,
            help: self.help_text(),
        }
    }

    pub(crate) fn exit(&self) -> u8 {
        self.code.exit() as u8
    }

    /// Writes the error to stderr: as a document for programs, as text for people.
    pub(crate) fn print(&self, form: OutputForm) {
        match form {
            OutputForm::Table => write_stderr(&self.text(&stderr_view())),
            OutputForm::Json | OutputForm::Jsonl => write_stderr(&self.document().to_string()),
            OutputForm::Yaml => write_stderr(document_text(form, &self.document()).trim_end()),
        }
    }

    fn cause_text(&self) -> String {
        let entry = self.code.entry();
        self.more.cause.clone().or(entry.map(|e| e.cause.to_owned())).unwrap_or_default()
    }

    /// What to do about it.
    pub(crate) fn help_text(&self) -> String {
        let entry = self.code.entry();
        self.more.help.clone().or(entry.map(|e| e.help.to_owned())).unwrap_or_default()
    }

    fn document(&self) -> serde_json::Value {
        let position = self
            .more
            .position
            .as_ref()
            .map(|at| json!({"file": at.file, "line": at.line, "column": at.column}));
        let mut document = json!({
            "schema": "trimaran.error/v1",
            "error": {
                "code": self.code.to_string(),
                "message": self.message,
                "cause": self.cause_text(),
                "help": self.help_text(),
                "position": position,
            }
        });
        if !self.more.diagnostics.is_empty() {
            let all: Vec<_> = self.more.diagnostics.iter().map(diagnostic_document).collect();
            document["diagnostics"] = all.into();
        }
        document
    }

    fn text(&self, view: &View) -> String {
        if let Some(rendered) = &self.more.rendered {
            return rendered.clone();
        }
        let head = view.paint("failed", &format!("error[{}]", self.code));
        let mut text = format!("{head}: {}", printable(&self.message));
        if let Some(at) = &self.more.position {
            text.push_str(&format!("\n  --> {}:{}:{}", printable(&at.file), at.line, at.column));
        }
        for (name, words) in [("why", self.cause_text()), ("help", self.help_text())] {
            if !words.is_empty() {
                text.push_str(&format!("\n  {name}: {}", printable(&words)));
            }
        }
        text
    }
}

/// How text on stderr looks. Errors are lines that may be copied, so they are not broken.
fn stderr_view() -> View {
    View::of(&Terminal::of(&std::io::stderr()))
}

/// What clap found wrong: help and version go to stdout with 0, everything else is a usage error with 2.
pub(crate) fn clap_exit(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        write_stdout(&error.render().to_string());
        return ExitCode::SUCCESS;
    }
    if let Some(error) = wait_without_equals(std::env::args()) {
        error.print(asked_form(std::env::args()));
        return ExitCode::from(Exit::Usage as u8);
    }
    match asked_form(std::env::args()) {
        // With the code that every other error has.
        OutputForm::Table => {
            let text = error.render().to_string();
            let text = text.trim_end();
            match text.strip_prefix("error: ") {
                Some(rest) => write_stderr(&format!("error[{}]: {rest}", error_code::USAGE)),
                // A command without its verb gets the help.
                None => write_stderr(text),
            }
        }
        form => {
            // Up to the usage and the hints, on one line.
            let text = error.render().to_string();
            let words = text.split("\n\nUsage:").next().unwrap_or_default().trim_start_matches("error: ");
            let message = words.split_whitespace().collect::<Vec<_>>().join(" ");
            CliError::new(error_code::USAGE, message).print(form);
        }
    }
    ExitCode::from(Exit::Usage as u8)
}

/// `--wait approval`: what stands behind a blank is the pipeline, since `--wait` needs no value.
fn wait_without_equals(args: impl Iterator<Item = String>) -> Option<CliError> {
    let args: Vec<String> = args.collect();
    let is_wait = |pair: &&[String]| {
        pair[0] == "--wait" && matches!(pair[1].as_str(), "finished" | "approval" | "baked")
    };
    let pair = args.windows(2).find(is_wait)?;
    let message = format!("`--wait {}`: the value stands behind `=`", pair[1]);
    Some(CliError::new(error_code::USAGE, message).help(format!("write `--wait={}`", pair[1])))
}

/// The form that was asked for in arguments that could not be understood as a whole.
fn asked_form(args: impl Iterator<Item = String>) -> OutputForm {
    let mut form = OutputForm::Table;
    let mut expects_value = false;
    for arg in args {
        let value = match arg.as_str() {
            value if expects_value => Some(value),
            long if long.starts_with("--output=") => long.strip_prefix("--output="),
            long if long.starts_with("--") => None,
            short => short.strip_prefix("-o").filter(|value| !value.is_empty()),
        };
        expects_value = !expects_value && matches!(arg.as_str(), "-o" | "--output");
        let value = value.map(|value| value.trim_start_matches('='));
        form = value.and_then(|value| OutputForm::from_str(value, false).ok()).unwrap_or(form);
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_wait_behind_a_blank_says_what_to_type() {
        let slip = |args: &str| wait_without_equals(args.split(' ').map(str::to_owned));
        let error = slip("trimaran deploy -f x.yaml --wait approval").expect("a slip");
        assert_eq!(error.more.help.as_deref(), Some("write `--wait=approval`"));
        assert!(slip("trimaran deploy --wait web").is_none() && slip("trimaran deploy --wait").is_none());
    }

    #[test]
    fn the_form_is_known_even_when_the_arguments_are_not() {
        let form = |args: &str| asked_form(args.split(' ').map(str::to_owned));
        for json in
            ["x -o json", "x --output json", "x -ojson", "x -o=json", "x --output=json", "-o json y z"]
        {
            assert_eq!(form(json), OutputForm::Json, "{json}");
        }
        for table in ["x", "x -o", "x -o what", "x json", "x --only json"] {
            assert_eq!(form(table), OutputForm::Table, "{table}");
        }
        assert_eq!(form("x -o json -o yaml"), OutputForm::Yaml);
    }
}
