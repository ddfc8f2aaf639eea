//! What every command shares of the terminal: global flags, the output of a command, tables and trees.
//!
//! `main` makes one [`Ui`] and hands it to the command; nothing else writes to stdout or stderr. What a text looks
//! like is made by functions of a [`View`], so that tests see it at any width and time.

mod diagnostics;
mod output;
mod run_tree;
mod style;
mod table;
mod terminal;
mod text;
mod time;
mod yaml;

use jiff::Timestamp;

pub(crate) use diagnostics::{diagnostic_document, render};
pub(crate) use output::{OutputForm, document_text, write_stderr, write_stderr_raw, write_stdout};
pub(crate) use run_tree::{
    Since, lines as run_lines, lines_since as run_lines_since, reason_line, rollback_line, short,
    wave_number, words,
};
pub(crate) use table::{Cell, Table};
pub(crate) use terminal::Terminal;
pub(crate) use text::{printable, visible_width, wrapped};
pub(crate) use yaml::yaml_documents;

/// Flags that every command has.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// How to print the result: table, json, jsonl (one JSON value a line) or yaml.
    #[arg(short = 'o', long = "output", value_enum, default_value_t = OutputForm::Table, global = true,
          value_name = "FORM", hide_possible_values = true)]
    pub(crate) output: OutputForm,
    /// The context to use, from the configuration file.
    #[arg(long, env = "TRIMARAN_CONTEXT", global = true, value_name = "NAME", hide_env_values = true)]
    pub(crate) context: Option<String>,
    /// A coordinator's address; may be repeated. Overrides the context's.
    #[arg(long, global = true, value_name = "ADDR", value_parser = parse_endpoint)]
    pub(crate) endpoint: Vec<String>,
}

impl Global {
    /// The context that was named; an empty name is none, as with other variables of the environment.
    pub(crate) fn context(&self) -> Option<&str> {
        self.context.as_deref().filter(|name| !name.is_empty())
    }
}

/// What one command prints, where, and in which form.
#[derive(Debug)]
pub(crate) struct Ui {
    pub(crate) global: Global,
    pub(crate) stdout: Terminal,
    pub(crate) stderr: Terminal,
}

impl Ui {
    /// For this process.
    pub(crate) fn new(global: Global) -> Self {
        let (stdout, stderr) = (Terminal::of(&std::io::stdout()), Terminal::of(&std::io::stderr()));
        Self { global, stdout, stderr }
    }

    pub(crate) fn form(&self) -> OutputForm {
        self.global.output
    }

    /// Whether a human reads progress on stderr: a program that asked for a document on a pipe does not.
    pub(crate) fn is_for_people(&self) -> bool {
        self.form() == OutputForm::Table || self.stderr.is_terminal
    }

    /// Whether a human reads the result: text for people on a terminal.
    pub(crate) fn is_interactive(&self) -> bool {
        self.stdout.is_terminal && self.form() == OutputForm::Table
    }

    /// How text on stdout looks now.
    pub(crate) fn view(&self) -> View {
        View::of(&self.stdout)
    }

    /// Writes text and a line end to stdout.
    pub(crate) fn print(&self, text: &str) {
        write_stdout(text);
    }

    /// Writes a document in one of the forms for programs.
    pub(crate) fn document(&self, document: &serde_json::Value) {
        write_stdout(&document_text(self.form(), document));
    }

    /// Writes a table to stdout.
    pub(crate) fn table(&self, table: &Table) {
        self.print(&table.text(&self.view()));
    }

    /// Writes to stderr without a line end, such as moves of the cursor.
    pub(crate) fn raw(&self, text: &str) {
        write_stderr_raw(text);
    }

    /// Writes a remark for people to stderr.
    pub(crate) fn note(&self, text: &str) {
        write_stderr(text);
    }
}

/// How text looks: on a terminal of a width, in colours, at a time; or in a pipe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) is_terminal: bool,
    pub(crate) colours: bool,
    /// Columns of a line; without bound in a pipe.
    pub(crate) columns: usize,
    pub(crate) now: Timestamp,
}

impl View {
    pub(crate) fn of(terminal: &Terminal) -> Self {
        let columns = if terminal.is_terminal { terminal.columns.max(1) } else { usize::MAX };
        let Terminal { is_terminal, colours, .. } = *terminal;
        Self { is_terminal, colours, columns, now: Timestamp::now() }
    }

    /// `text` in the colour of a status, where colours are wanted.
    pub(crate) fn paint(&self, status: &str, text: &str) -> String {
        if self.colours { style::painted(status, text) } else { text.to_owned() }
    }

    /// A time of a document: its age on a terminal, as it is in a pipe.
    pub(crate) fn time(&self, rfc3339: &str) -> String {
        if self.is_terminal { time::relative(rfc3339, self.now) } else { rfc3339.to_owned() }
    }

    /// For how long still, or until when: `for 9m more` on a terminal.
    pub(crate) fn remaining(&self, rfc3339: &str) -> String {
        match self.seconds_since(rfc3339) {
            Some(seconds) if self.is_terminal => format!("for {} more", time::short_duration(-seconds)),
            Some(_) | None => format!("until {rfc3339}"),
        }
    }

    /// Seconds since a time of a document.
    pub(crate) fn seconds_since(&self, rfc3339: &str) -> Option<i64> {
        Some(self.now.duration_since(rfc3339.parse().ok()?).as_secs())
    }

    /// One line with its blanks where it fits, as columns have; else as by [`Self::wrap`].
    pub(crate) fn fit(&self, first: &str, next: &str, text: &str) -> Vec<String> {
        let whole = format!("{first}{text}");
        if visible_width(&whole) <= self.columns { vec![whole] } else { self.wrap(first, next, text) }
    }

    /// Lines of a text that is broken between words where it has to be.
    pub(crate) fn wrap(&self, first: &str, next: &str, text: &str) -> Vec<String> {
        if self.is_terminal {
            wrapped(first, next, text, self.columns)
        } else {
            vec![format!("{first}{text}")]
        }
    }
}

#[cfg(test)]
impl View {
    /// A terminal without colours, half a minute into 2026.
    pub(crate) fn terminal(columns: usize) -> Self {
        let now = "2026-01-01T00:00:30Z".parse().expect("a time");
        Self { is_terminal: true, colours: false, columns, now }
    }

    pub(crate) fn pipe() -> Self {
        Self { is_terminal: false, columns: usize::MAX, ..Self::terminal(1) }
    }
}

/// `HOST:PORT`.
pub(crate) fn parse_endpoint(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let port = parts.and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(1..) => Ok(text.to_owned()),
        Some(0) | None => Err("an endpoint is written HOST:PORT".to_owned()),
    }
}
