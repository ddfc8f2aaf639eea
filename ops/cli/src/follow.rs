//! Following a run to its end: a tree on a terminal, plain lines in a pipe, events for programs.

mod echo;
mod screen;
mod wait;

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use trimaran_client::ClientError;
use trimaran_client::client::Replies;
use trimaran_model::error_code;
use trimaran_model::event::EventPosition;
use trimaran_model::run::Status;
use trimaran_wire::document::{EventDocument, RunDocument};
use trimaran_wire::v1::operator::{OperatorBody, OperatorReply};

use self::screen::Screen;
pub(crate) use self::wait::{Wait, WaitArgs};
use self::wait::{is_paused_for_a_human, waits_for_approval};
use crate::bake::{self, Bake};
use crate::error::CliError;
use crate::remote::{Answer, Remote, answer, client_error};
use crate::ui::{OutputForm, Ui, run_lines};

/// How long the last events of a run may take that is done already.
const LAST_EVENTS_TIMEOUT: Duration = Duration::from_millis(500);
/// How often elapsed times are drawn again, and a bake is asked for.
const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// How soon a coordinator that went away is asked again.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// What is shown while following.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// Progress to stderr and, at the end, the document or tree to stdout.
    Progress,
    /// Every event as a line of JSON to stdout.
    Events,
}

/// What a command does with the run that it started: follows it, or prints it and ends.
pub(crate) fn follow_started(
    remote: &Remote,
    ui: &Ui,
    wait: &WaitArgs,
    run: &Answer<RunDocument>,
) -> Result<u8, CliError> {
    let name = &run.document.run;
    let Some(until) = wait.resolve(ui) else {
        run.print(ui, |run| ui.print(&run_lines(run, &ui.view()).join("\n")));
        if !wait.detach && ui.form() == OutputForm::Table {
            ui.note(&format!("detached: the run continues; watch it with `trimaran watch {name}`"));
        }
        return Ok(0);
    };
    let timeout = wait.timeout;
    let what = What { run: name, stage: None, wait: until, timeout, show: Show::Progress, since: None };
    follow(remote, ui, &what)
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
pub(crate) fn follow(remote: &Remote, ui: &Ui, what: &What<'_>) -> Result<u8, CliError> {
    let deadline = what.timeout.map(|timeout| Instant::now() + timeout);
    let mut follower =
        Follower { remote, ui, what: *what, since: what.since, screen: Screen::of(ui), last: None };
    let code = remote.block_on(async {
        let code = tokio::select! {
            code = follower.until_end() => code?,
            () = passed(deadline) => 7,
            _ = tokio::signal::ctrl_c() => 130,
        };
        // However short the time: whether there is such a run, and how it is, has an answer.
        let unseen = code == 7 && follower.last.is_none();
        Ok::<_, CliError>(if unseen { follower.refresh().await?.unwrap_or(code) } else { code })
    });
    follower.screen.clear(ui);
    let code = code?;
    follower.print_result(code);
    if code == 7 {
        let name = what.name();
        let still = match what.wait {
            Wait::Baked => format!("`{name}` is still running or baking"),
            Wait::Unblocked | Wait::Finished | Wait::Approval => format!("`{name}` is still running"),
        };
        return Err(CliError::new(error_code::TIMEOUT, still)
            .help(format!("watch it again: `trimaran watch {name}`")));
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
    ui: &'a Ui,
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
            let ended = self.refresh().await?;
            if let Some(code) = ended.filter(|_| self.what.show != Show::Events) {
                return Ok(code);
            }
            let body = OperatorBody::Watch {
                run: Some(self.what.run.to_owned()),
                since: self.since.map(Into::into),
            };
            let mut replies = match self.remote.client().stream(body).await {
                Ok(replies) => replies,
                Err(ClientError::Unreachable { .. }) => {
                    tokio::time::sleep(RETRY_DELAY).await;
                    continue;
                }
                Err(error) => return Err(client_error(error)),
            };
            if let Some(code) = ended {
                self.print_last_events(&mut replies).await;
                return Ok(code);
            }
            if let Some(code) = self.follow_events(&mut replies).await? {
                return Ok(code);
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    /// The exit code, or `None` when the stream ended before the run.
    async fn follow_events(&mut self, replies: &mut Replies) -> Result<Option<u8>, CliError> {
        let mut ticks = tokio::time::interval(TICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let reply = {
                // A reply that is half read when the clock ticks is read on afterwards.
                let mut next = std::pin::pin!(replies.next());
                loop {
                    tokio::select! {
                        reply = &mut next => break reply,
                        _ = ticks.tick() => {
                            if let Some(code) = self.tick().await? {
                                return Ok(Some(code));
                            }
                        }
                    }
                }
            };
            let Ok(Some(reply)) = reply else { return Ok(None) };
            let OperatorReply::Event { position, json } = reply else { continue };
            self.since = position.map(Into::into).or(self.since);
            let end = self.on_event(&json);
            if let Some(code) = self.refresh().await? {
                if self.what.show == Show::Events && !end {
                    self.print_last_events(replies).await;
                }
                return Ok(Some(code));
            }
        }
    }

    /// Time that passes without an event.
    async fn tick(&mut self) -> Result<Option<u8>, CliError> {
        if self.what.wait == Wait::Baked && self.last.as_ref().is_some_and(|(run, _)| is_done(&run.status)) {
            return self.refresh().await;
        }
        if let Some((run, _)) = self.last.as_ref().filter(|_| self.screen.ticks()) {
            self.screen.show(self.ui, run);
        }
        Ok(None)
    }

    /// The events between what was read and the end of the run, which is done by now.
    async fn print_last_events(&mut self, replies: &mut Replies) {
        while let Ok(Ok(Some(reply))) = tokio::time::timeout(LAST_EVENTS_TIMEOUT, replies.next()).await {
            let OperatorReply::Event { position, json } = reply else { continue };
            self.since = position.map(Into::into).or(self.since);
            if self.on_event(&json) {
                return;
            }
        }
    }

    /// Prints an event that was asked for, and whether it is the last one.
    fn on_event(&self, json: &str) -> bool {
        let Ok(event) = serde_json::from_str::<EventDocument>(json) else { return false };
        let of_stage = self.what.stage.is_none() || event.stage.as_deref() == self.what.stage;
        if self.what.show == Show::Events && of_stage {
            self.ui.print(json);
        }
        let done = event.status.as_deref().is_some_and(is_done);
        let end = if self.what.stage.is_some() { "stage" } else { "run" };
        event.event == end && of_stage && done
    }

    /// Reads the run and shows it; the exit code when following ends here.
    async fn refresh(&mut self) -> Result<Option<u8>, CliError> {
        let body = OperatorBody::RunShow { run: self.what.run.to_owned() };
        let (_, json) = match self.remote.client().request(None, body).await {
            Ok(found) => found,
            Err(ClientError::Unreachable { .. }) => return Ok(None),
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
            keep_stage(&mut document, stage)?;
        }
        if self.what.show == Show::Progress {
            self.screen.show(self.ui, &document);
        }
        let mut code = ended(&document, self.what);
        if code == Some(0) && self.what.wait == Wait::Baked {
            code = match bake::of_run(self.remote, &document).await? {
                Bake::Baking { .. } => None,
                Bake::Passed => Some(0),
                Bake::RolledBack { .. } => Some(12),
            };
        }
        self.last = Some((document, answer.json));
        Ok(code)
    }

    /// The result on stdout, and what a human should know of it on stderr.
    fn print_result(&self, code: u8) {
        let Some((document, json)) = &self.last else { return };
        match (self.what.show, self.ui.form()) {
            (Show::Events, _) => return,
            (Show::Progress, OutputForm::Table) => {
                self.ui.print(&run_lines(document, &self.ui.view()).join("\n"));
            }
            (Show::Progress, _) => return self.ui.document(json),
        }
        let name = self.what.name();
        match code {
            130 => self
                .ui
                .note(&format!("stopped watching; the run continues. Watch again: `trimaran watch {name}`")),
            0 | 12 => bake::note(self.remote, self.ui, document),
            _ => {}
        }
    }
}

/// Leaves one stage of a run, which has to be there.
fn keep_stage(run: &mut RunDocument, stage: &str) -> Result<(), CliError> {
    let known: Vec<String> = run.stages.iter().map(|it| it.name.clone()).collect();
    run.stages.retain(|it| it.name == stage);
    if run.stages.is_empty() { Err(crate::run_name::no_stage(&run.run, stage, &known)) } else { Ok(()) }
}

fn is_done(status: &str) -> bool {
    Status::from_name(status).is_some_and(Status::is_done)
}

/// The exit code when there is nothing more to wait for.
fn ended(run: &RunDocument, what: What<'_>) -> Option<u8> {
    let stage = run.stages.first().filter(|_| what.stage.is_some());
    let status = stage.map_or(&run.status, |stage| &stage.status);
    if let Some(code) = Status::from_name(status).and_then(Status::exit_code) {
        return Some(code);
    }
    let needs_a_human = match what.wait {
        Wait::Approval => waits_for_approval(run) || is_paused_for_a_human(run),
        Wait::Unblocked | Wait::Baked => is_paused_for_a_human(run),
        Wait::Finished => false,
    };
    needs_a_human.then_some(8)
}
