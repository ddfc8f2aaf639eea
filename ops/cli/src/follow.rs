//! Following a run to its end: a tree on a terminal, plain lines in a pipe, events for programs.

mod screen;

use std::time::Duration;

use tokio::time::Instant;
use trimaran_model::error_code;
use trimaran_model::run::Status;
use trimaran_wire::document::{EventDocument, RunDocument};
use trimaran_wire::v1::operator::{OperatorBody, OperatorReply};

use self::screen::Screen;
use crate::error::CliError;
use crate::remote::{Answer, Remote, answer, client_error};
use crate::ui::{Global, OutputForm, on_terminal, paint, print_text, run_lines};

/// How long the last events of a run may take that is done already.
const REST: Duration = Duration::from_millis(500);

/// Until when to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Wait {
    /// Until the run is done.
    Finished,
    /// Until an approval waits (exit code 8), or the run is done.
    Approval,
}

/// `--wait` and `--timeout`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WaitArgs {
    /// Wait for the run: `finished` (the default when given without a value) or `approval`.
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "finished")]
    pub(crate) wait: Option<Wait>,
    /// Do not wait; print the new run and end.
    #[arg(long, conflicts_with = "wait")]
    pub(crate) detach: bool,
    /// Stop waiting after this time with exit code 7; the run goes on.
    #[arg(long, value_parser = crate::remote::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
}

impl WaitArgs {
    /// What to wait for: as asked; else the end on a terminal, and nothing in a pipe.
    pub(crate) fn resolve(&self, global: &Global) -> Option<Wait> {
        if self.detach {
            return None;
        }
        let interactive = on_terminal() && global.output == OutputForm::Table;
        self.wait.or(interactive.then_some(Wait::Finished))
    }
}

/// What is shown while following.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// Progress to stderr and, at the end, the document or tree to stdout.
    Progress,
    /// Every event as a line of JSON to stdout.
    Events,
}

/// What a command does with the run that it started: follows it, or prints it and ends.
pub(crate) fn started(
    remote: &Remote,
    global: &Global,
    wait: &WaitArgs,
    run: &Answer<RunDocument>,
) -> Result<u8, CliError> {
    match wait.resolve(global) {
        None => {
            run.print(global, |run| {
                print_text(&run_lines(run, &|status, text| paint(status, text)).join("\n"))
            });
            Ok(0)
        }
        Some(until) => follow(remote, global, &run.document.run, until, wait.timeout, Show::Progress, None),
    }
}

/// Follows `run` and returns the exit code of INTERFACE 3.
pub(crate) fn follow(
    remote: &Remote,
    global: &Global,
    run: &str,
    wait: Wait,
    timeout: Option<Duration>,
    show: Show,
    since: Option<u64>,
) -> Result<u8, CliError> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let screen = Screen::of(global);
    let mut follower = Follower { remote, run, wait, show, since, screen, last: None };
    let code = remote.block_on(async {
        tokio::select! {
            code = follower.until_end() => code,
            () = passed(deadline) => Ok(7),
            _ = tokio::signal::ctrl_c() => Ok(130),
        }
    })?;
    follower.finish(global, code);
    if code == 7 {
        return Err(CliError::new(error_code::TIMEOUT, format!("`{run}` is not done yet and goes on"))
            .help(format!("`trimaran watch {run}` goes on watching")));
    }
    Ok(code)
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

struct Follower<'a> {
    remote: &'a Remote,
    run: &'a str,
    wait: Wait,
    show: Show,
    since: Option<u64>,
    screen: Screen,
    last: Option<(RunDocument, serde_json::Value)>,
}

impl Follower<'_> {
    /// Reads the run, then its events, and again from the last revision when a coordinator goes away.
    async fn until_end(&mut self) -> Result<u8, CliError> {
        loop {
            // A run that is done has events to show nevertheless: at least those of its end.
            let ended = self.look().await?;
            if let Some(code) = ended.filter(|_| self.show != Show::Events) {
                return Ok(code);
            }
            let body = OperatorBody::Watch { run: Some(self.run.to_owned()), since_revision: self.since };
            let mut replies = match self.remote.client().stream(body).await {
                Ok(replies) => replies,
                Err(trimaran_client::ClientError::Unreachable { .. }) => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
                Err(error) => return Err(client_error(error)),
            };
            if let Some(code) = ended {
                self.print_rest(&mut replies).await;
                return Ok(code);
            }
            while let Ok(Some(reply)) = replies.next().await {
                let OperatorReply::Event { revision, json } = reply else { continue };
                self.since = Some(revision);
                if self.show == Show::Events {
                    print_text(&json);
                }
                if let Some(code) = self.look().await? {
                    if self.show == Show::Events && !is_end(&json) {
                        self.print_rest(&mut replies).await;
                    }
                    return Ok(code);
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The events between what was read and the end of the run, which is done by now.
    async fn print_rest(&mut self, replies: &mut trimaran_client::client::Replies) {
        while let Ok(Ok(Some(reply))) = tokio::time::timeout(REST, replies.next()).await {
            let OperatorReply::Event { revision, json } = reply else { continue };
            self.since = Some(revision);
            print_text(&json);
            if is_end(&json) {
                return;
            }
        }
    }

    /// Shows the run as it is now; the exit code when following ends here.
    async fn look(&mut self) -> Result<Option<u8>, CliError> {
        let body = OperatorBody::RunShow { run: self.run.to_owned() };
        let (_, json) = match self.remote.client().request(None, body).await {
            Ok(found) => found,
            Err(trimaran_client::ClientError::Unreachable { .. }) => return Ok(None),
            Err(error) => return Err(client_error(error)),
        };
        let answer = answer::<RunDocument>(&json)?;
        if self.since.is_none() {
            // Events begin with the run's last change, so that its state is known from the first line on.
            let shown = u64::from(self.show == Show::Events);
            self.since = Some(answer.document.revision.saturating_sub(shown));
        }
        if self.show == Show::Progress {
            self.screen.show(&answer.document);
        }
        let code = ended(&answer.document, self.wait);
        self.last = Some((answer.document, answer.json));
        Ok(code)
    }

    fn finish(&mut self, global: &Global, code: u8) {
        self.screen.clear();
        let Some((document, json)) = &self.last else { return };
        match (self.show, global.output) {
            (Show::Events, _) => {}
            (Show::Progress, OutputForm::Table) => {
                print_text(&run_lines(document, &|status, text| paint(status, text)).join("\n"));
                if code == 130 {
                    eprintln!("detached; the run continues. `trimaran watch {}` goes on watching", self.run);
                }
            }
            (Show::Progress, form) => crate::ui::print_document(form, json),
        }
    }
}

/// Whether this is the event with which a run ends.
fn is_end(json: &str) -> bool {
    let Ok(event) = serde_json::from_str::<EventDocument>(json) else { return false };
    let status = event.status.as_deref().and_then(Status::from_name);
    event.event == "run" && status.is_some_and(Status::is_done)
}

/// The exit code when there is nothing more to wait for.
pub(crate) fn ended(run: &RunDocument, wait: Wait) -> Option<u8> {
    if let Some(code) = Status::from_name(&run.status).and_then(Status::exit_code) {
        return Some(code);
    }
    let approval = |stage: &trimaran_wire::document::StageDocument| {
        stage.status == Status::Waiting.as_str()
            && stage.reasons.iter().any(|reason| reason.code == "approval")
    };
    (wait == Wait::Approval && run.stages.iter().any(approval)).then_some(8)
}
