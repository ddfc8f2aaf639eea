//! A command's way to the cluster: the chosen context, one small runtime, and errors in the CLI's form.

use std::future::Future;

use serde_json::Value;
use trimaran_client::ClientError;
use trimaran_client::client::{Client, Replies};
use trimaran_client::config::{self, Config};
use trimaran_language::{Diagnostic, Severity};
use trimaran_model::error_code::{self, ErrorCode};
use trimaran_wire::document::Document;
use trimaran_wire::v1::operator::{OperatorBody, Refusal};

use crate::arguments::RequestIdArg;
use crate::error::CliError;
use crate::ui::{OutputForm, Ui, write_stderr};

/// A connection that is made when it is first needed.
pub(crate) struct Remote {
    client: Client,
    runtime: tokio::runtime::Runtime,
    /// Reads are answered from what one coordinator has, also without a quorum.
    stale: bool,
}

impl Remote {
    /// Uses the context of the global flags.
    pub(crate) fn new(ui: &Ui) -> Result<Self, CliError> {
        let path = config::path();
        let config = Config::load(&path).map_err(config_error)?;
        let (_, context) = config.context(ui.global.context()).map_err(config_error)?;
        let mut context = context.clone();
        if !ui.global.endpoint.is_empty() {
            context.endpoints.clone_from(&ui.global.endpoint);
        }
        let mut client = Client::new(context);
        // A program reads one document on stderr; people want to know what takes so long.
        if ui.form() == OutputForm::Table {
            client = client.on_repeat(Box::new(|why, timeout| {
                write_stderr(&format!(
                    "the answer was lost ({why}); the same request is sent again for up to {} s",
                    timeout.as_secs()
                ));
            }));
        }
        Ok(Self { client, runtime: runtime(), stale: false })
    }

    /// Whether reads that can be are answered without a quorum.
    pub(crate) fn stale(mut self, stale: bool) -> Self {
        self.stale = stale;
        self
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
        self.block_on(self.ask(body))
    }

    /// Asks for a document, within [`Remote::block_on`].
    pub(crate) async fn ask<D: Document>(&self, body: OperatorBody) -> Result<Answer<D>, CliError> {
        let body = if self.stale { body.stale() } else { body };
        self.request(None, body).await
    }

    /// Changes something; the request id makes a repetition safe.
    pub(crate) fn change<D: Document>(
        &self,
        id: &RequestIdArg,
        body: OperatorBody,
    ) -> Result<Answer<D>, CliError> {
        self.block_on(self.request(Some(id.bytes()), body))
    }

    async fn request<D: Document>(
        &self,
        id: Option<[u8; 16]>,
        body: OperatorBody,
    ) -> Result<Answer<D>, CliError> {
        let (_, json) = self.client.request(id, body).await.map_err(client_error)?;
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
    /// As of when it is, when it was asked for from one coordinator alone.
    pub(crate) fn note_as_of(&self, ui: &Ui) {
        if let Some(at) = self.json["as_of"].as_str() {
            ui.note(&format!("as of {at}; it may be older than what the other coordinators have"));
        }
    }

    /// Prints the document for programs, or what `text` prints of it for people.
    pub(crate) fn print(&self, ui: &Ui, text: impl FnOnce(&D)) {
        match ui.form() {
            OutputForm::Table => text(&self.document),
            _ => ui.document(&self.json),
        }
    }
}

pub(crate) fn config_error(error: config::Error) -> CliError {
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    if let config::Error::Parse { path, line, column, .. } = &error {
        return CliError::new(error_code::CONTEXT_UNKNOWN, error.to_string())
            .cause(
                "it is TOML with a table `[contexts.NAME]` of endpoints, ca, cert and key for each context",
            )
            .help("fix the marked place, or move the file away and add the contexts again")
            .at(path.display().to_string(), *line, *column);
    }
    let built = CliError::new(error_code::CONTEXT_UNKNOWN, error.to_string());
    let built = match cause {
        Some(cause) => built.cause(cause),
        None => built,
    };
    built.help(
        "`trimaran context list` shows the contexts; `trimaran context add NAME --endpoint HOST:PORT \
         --token-file FILE` adds one; `trimaran dev` makes a cluster on this machine with one",
    )
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
        ClientError::IdentityFile { path, why } => {
            let what = format!("the context's file {} can't be read", path.display());
            CliError::new(error_code::CONTEXT_UNKNOWN, what)
                .cause(why)
                .help("correct its path in the configuration, or add the context again with a new token")
        }
        ClientError::Protocol { why } => CliError::new(error_code::BUG, why),
    }
}

fn refused(refusal: Refusal) -> CliError {
    let mut error = CliError::new(ErrorCode(refusal.code), refusal.message);
    error.more.cause = refusal.cause;
    error.more.help = refusal.help;
    let diagnostics: Vec<_> = refusal.diagnostics.into_iter().map(Diagnostic::from).collect();
    if let Some(first) = diagnostics.iter().find(|it| it.severity == Severity::Error) {
        error = error.at(first.file.clone(), first.line as usize, first.column as usize);
    }
    if diagnostics.is_empty() { error } else { error.found(&[], diagnostics) }
}

/// Frames of a stream until it ends; `None` at its end.
pub(crate) async fn next_reply(
    replies: &mut Replies,
) -> Result<Option<trimaran_wire::v1::operator::OperatorReply>, CliError> {
    replies.next().await.map_err(client_error)
}
