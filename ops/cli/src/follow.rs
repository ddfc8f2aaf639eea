//! Following a run to its end: a tree on a terminal, plain lines in a pipe, events for programs.

mod screen;

use std::time::Duration;

use tokio::time::Instant;
use trimaran_model::error_code;
use trimaran_model::event::EventPosition;
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
        Some(until) => {
            let run = &run.document.run;
            let timeout = wait.timeout;
            let what = What { run, stage: None, wait: until, timeout, show: Show::Progress, since: None };
            follow(remote, global, &what)
        }
    }
}

/// What is followed, and until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct What<'a> {
    pub(crate) run: &'a str,
    /// Only this stage: what is shown, and whose end is waited for.
    pub(crate) stage: Option<&'a str>,
    pub(crate) wait: Wait,
    pub(crate) timeout: Option<Duration>,
    pub(crate) show: Show,
    /// Events start behind this revision.
    pub(crate) since: Option<EventPosition>,
}

impl What<'_> {
    /// As the user named it.
    fn name(&self) -> String {
        self.stage.map_or_else(|| self.run.to_owned(), |stage| format!("{}/{stage}", self.run))
    }
}

/// Follows a run, or one of its stages, and returns the exit code of INTERFACE 3.
pub(crate) fn follow(remote: &Remote, global: &Global, what: &What<'_>) -> Result<u8, CliError> {
    let deadline = what.timeout.map(|timeout| Instant::now() + timeout);
    let screen = Screen::of(global);
    let mut follower = Follower { remote, what: *what, since: what.since, screen, last: None };
    let code = remote.block_on(async {
        let code = tokio::select! {
            code = follower.until_end() => code?,
            () = passed(deadline) => 7,
            _ = tokio::signal::ctrl_c() => 130,
        };
        // However short the time: whether there is such a run, and how it is, has an answer.
        let unseen = code == 7 && follower.last.is_none();
        Ok(if unseen { follower.look().await?.unwrap_or(code) } else { code })
    })?;
    follower.finish(global, code);
    if code == 7 {
        let name = what.name();
        return Err(CliError::new(error_code::TIMEOUT, format!("`{name}` is not done yet and goes on"))
            .help(format!("`trimaran watch {name}` goes on watching")));
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
    what: What<'a>,
    /// The position of the last event that was shown.
    since: Option<EventPosition>,
    screen: Screen,
    last: Option<(RunDocument, serde_json::Value)>,
}

impl Follower<'_> {
    /// Reads the run, then its events, and again from the last revision when a coordinator goes away.
    async fn until_end(&mut self) -> Result<u8, CliError> {
        loop {
            // A run that is done has events to show nevertheless: at least those of its end.
            let ended = self.look().await?;
            if let Some(code) = ended.filter(|_| self.what.show != Show::Events) {
                return Ok(code);
            }
            let body = OperatorBody::Watch {
                run: Some(self.what.run.to_owned()),
                since: self.since.map(Into::into),
            };
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
                let OperatorReply::Event { position, json } = reply else { continue };
                self.since = position.map(Into::into).or(self.since);
                let end = self.tell(&json);
                if let Some(code) = self.look().await? {
                    if self.what.show == Show::Events && !end {
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
            let OperatorReply::Event { position, json } = reply else { continue };
            self.since = position.map(Into::into).or(self.since);
            if self.tell(&json) {
                return;
            }
        }
    }

    /// Prints an event that was asked for, and whether it is the last one.
    fn tell(&self, json: &str) -> bool {
        let Ok(event) = serde_json::from_str::<EventDocument>(json) else { return false };
        let of_stage = self.what.stage.is_none() || event.stage.as_deref() == self.what.stage;
        if self.what.show == Show::Events && of_stage {
            print_text(json);
        }
        let done = event.status.as_deref().and_then(Status::from_name).is_some_and(Status::is_done);
        let end = if self.what.stage.is_some() { "stage" } else { "run" };
        event.event == end && of_stage && done
    }

    /// Shows the run as it is now; the exit code when following ends here.
    async fn look(&mut self) -> Result<Option<u8>, CliError> {
        let body = OperatorBody::RunShow { run: self.what.run.to_owned() };
        let (_, json) = match self.remote.client().request(None, body).await {
            Ok(found) => found,
            Err(trimaran_client::ClientError::Unreachable { .. }) => return Ok(None),
            Err(error) => return Err(client_error(error)),
        };
        let answer = answer::<RunDocument>(&json)?;
        if self.since.is_none() {
            // Events begin with the run's last change, so that its state is known from the first line on.
            let shown = u64::from(self.what.show == Show::Events);
            let revision = answer.document.revision.saturating_sub(shown);
            self.since = Some(EventPosition::end_of(revision));
        }
        let mut document = answer.document;
        if let Some(stage) = self.what.stage {
            only_stage(&mut document, stage)?;
        }
        if self.what.show == Show::Progress {
            self.screen.show(&document);
        }
        let code = ended(&document, self.what);
        self.last = Some((document, answer.json));
        Ok(code)
    }

    fn finish(&mut self, global: &Global, code: u8) {
        self.screen.clear();
        let Some((document, json)) = &self.last else { return };
        match (self.what.show, global.output) {
            (Show::Events, _) => {}
            (Show::Progress, OutputForm::Table) => {
                print_text(&run_lines(document, &|status, text| paint(status, text)).join("\n"));
                if code == 130 {
                    let name = self.what.name();
                    eprintln!("detached; the run continues. `trimaran watch {name}` goes on watching");
                }
            }
            (Show::Progress, form) => crate::ui::print_document(form, json),
        }
    }
}

/// Leaves one stage of a run, which has to be there.
fn only_stage(run: &mut RunDocument, stage: &str) -> Result<(), CliError> {
    let known: Vec<String> = run.stages.iter().map(|it| it.name.clone()).collect();
    run.stages.retain(|it| it.name == stage);
    if !run.stages.is_empty() {
        return Ok(());
    }
    let message = format!("`{}` has no stage `{stage}`", run.run);
    Err(CliError::new(error_code::NOT_FOUND, message).help(format!("it has: {}", known.join(", "))))
}

/// The exit code when there is nothing more to wait for.
fn ended(run: &RunDocument, what: What<'_>) -> Option<u8> {
    let stage = run.stages.first().filter(|_| what.stage.is_some());
    let status = stage.map_or(&run.status, |stage| &stage.status);
    if let Some(code) = Status::from_name(status).and_then(Status::exit_code) {
        return Some(code);
    }
    let approval = |stage: &trimaran_wire::document::StageDocument| {
        stage.status == Status::Waiting.as_str()
            && stage.reasons.iter().any(|reason| reason.code == "approval")
    };
    (what.wait == Wait::Approval && run.stages.iter().any(approval)).then_some(8)
}
