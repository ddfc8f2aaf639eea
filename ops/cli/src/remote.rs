//! A command's way to the cluster: the chosen context, one small runtime, and errors in the CLI's form.

use std::future::Future;
use std::time::Duration;

use serde_json::Value;
use trimaran_client::ClientError;
use trimaran_client::client::{Client, Replies};
use trimaran_client::config::{self, Config};
use trimaran_language::{Diagnostic, Severity};
use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::time::Millis;
use trimaran_wire::document::Document;
use trimaran_wire::v1::operator::{OperatorBody, Refusal, WireDiagnostic};

use crate::error::CliError;
use crate::ui::{Global, OutputForm, print_document};

/// A connection that is made when it is first needed.
pub(crate) struct Remote {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Remote {
    /// Uses the context of the global flags.
    pub(crate) fn new(global: &Global) -> Result<Self, CliError> {
        let path = config::path();
        let config = Config::load(&path).map_err(config_error)?;
        let (_, context) = config.context(global.context()).map_err(config_error)?;
        let mut context = context.clone();
        if !global.endpoint.is_empty() {
            context.endpoints.clone_from(&global.endpoint);
        }
        let mut client = Client::new(context);
        // A program reads one document on stderr; people want to know what takes so long.
        if global.output == OutputForm::Table {
            client = client.telling(Box::new(|why, patience| {
                eprintln!(
                    "the answer was lost ({why}); the same request goes out again for up to {} s",
                    patience.as_secs()
                );
            }));
        }
        Ok(Self { client, runtime: runtime() })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a future of this command to its end.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Asks for a document.
    pub(crate) fn read<D: Document>(&self, body: OperatorBody) -> Result<Answer<D>, CliError> {
        self.ask(None, body)
    }

    /// Changes something; the request id makes a repetition safe.
    pub(crate) fn change<D: Document>(
        &self,
        id: &RequestIdArg,
        body: OperatorBody,
    ) -> Result<Answer<D>, CliError> {
        self.ask(Some(id.bytes()), body)
    }

    fn ask<D: Document>(&self, id: Option<[u8; 16]>, body: OperatorBody) -> Result<Answer<D>, CliError> {
        let (_, json) = self.block_on(self.client.request(id, body)).map_err(client_error)?;
        answer(&json)
    }
}

/// The runtime of a command: one thread is enough for one connection.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

/// A document, and the JSON that it was read from with fields that this build may not know.
pub(crate) struct Answer<D> {
    pub(crate) document: D,
    pub(crate) json: Value,
}

pub(crate) fn answer<D: Document>(json: &str) -> Result<Answer<D>, CliError> {
    let bad = |error: serde_json::Error| {
        CliError::new(error_code::BUG, format!("the coordinator's answer can't be read: {error}"))
    };
    let value: Value = serde_json::from_str(json).map_err(bad)?;
    Ok(Answer { document: D::from_json(json).map_err(bad)?, json: value })
}

impl<D> Answer<D> {
    /// Prints the document for programs, or what `table` makes of it for people.
    pub(crate) fn print(&self, global: &Global, table: impl FnOnce(&D)) {
        match global.output {
            OutputForm::Table => table(&self.document),
            form => print_document(form, &self.json),
        }
    }
}

/// `--request-id` of every command that changes something.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct RequestIdArg {
    /// A UUIDv7 that makes the request safe to repeat; made anew when it is left out.
    #[arg(long, value_name = "UUIDv7", value_parser = parse_request_id)]
    request_id: Option<uuid::Uuid>,
}

impl RequestIdArg {
    pub(crate) fn bytes(&self) -> [u8; 16] {
        self.request_id.unwrap_or_else(uuid::Uuid::now_v7).into_bytes()
    }
}

/// A usage error, found before any file is read.
fn parse_request_id(text: &str) -> Result<uuid::Uuid, String> {
    match uuid::Uuid::parse_str(text) {
        Ok(id) if id.get_version_num() == 7 => Ok(id),
        Ok(id) => {
            Err(format!("it is a UUID of version {}, and a request id has version 7", id.get_version_num()))
        }
        Err(_) => Err("it is no UUID; a request id is a UUID of version 7".to_owned()),
    }
}

pub(crate) fn config_error(error: config::Error) -> CliError {
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    if let config::Error::Parse { path, line, column, .. } = &error {
        return CliError::new(error_code::CONTEXT_UNKNOWN, error.to_string())
            .cause(
                "it is TOML with a table `[contexts.NAME]` of endpoints, ca, cert and key for each context",
            )
            .help("mend the marked place, or move the file away and add the contexts again")
            .at(path.display().to_string(), *line, *column);
    }
    let built = CliError::new(error_code::CONTEXT_UNKNOWN, error.to_string());
    let built = match cause {
        Some(cause) => built.cause(cause),
        None => built,
    };
    built.help("`trimaran context list` shows the contexts; `trimaran dev` makes one called `dev`")
}

/// What a client says, with code and help.
pub(crate) fn client_error(error: ClientError) -> CliError {
    match error {
        ClientError::Refused(refusal) => refused(refusal),
        ClientError::Unreachable { attempts } => {
            CliError::new(error_code::UNREACHABLE, "no coordinator answers").cause(attempts)
        }
        ClientError::Indeterminate { why } => {
            CliError::new(error_code::INDETERMINATE, "the outcome is not known").cause(why)
        }
        ClientError::Identity { why } => CliError::new(error_code::IDENTITY, why),
        ClientError::Protocol { why } => CliError::new(error_code::BUG, why),
    }
}

fn refused(refusal: Refusal) -> CliError {
    let mut error = CliError::new(ErrorCode(refusal.code), refusal.message);
    error.more.cause = refusal.cause;
    error.more.help = refusal.help;
    let diagnostics: Vec<_> = refusal.diagnostics.into_iter().map(diagnostic).collect();
    if let Some(first) = diagnostics.iter().find(|it| it.severity == Severity::Error) {
        error = error.at(first.file.clone(), first.line as usize, first.column as usize);
    }
    if diagnostics.is_empty() { error } else { error.found(&[], diagnostics) }
}

fn diagnostic(it: WireDiagnostic) -> Diagnostic {
    Diagnostic {
        code: ErrorCode(it.code),
        severity: if it.warning { Severity::Warning } else { Severity::Error },
        message: it.message,
        file: it.file,
        line: it.line,
        column: it.column,
        length: it.length,
        help: it.help,
    }
}

/// Frames of a stream until it ends; `None` at its end.
pub(crate) async fn next_reply(
    replies: &mut Replies,
) -> Result<Option<trimaran_wire::v1::operator::OperatorReply>, CliError> {
    replies.next().await.map_err(client_error)
}

/// Reads `30s`, `10m`, `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no duration; write 90s, 10m, 1h30m or 3d");
    Millis::parse(text).map(Millis::to_std).ok_or_else(bad)
}
