//! What is done beside a service around its changes: the question whether it may be stopped, hooks, drain and undrain.
//!
//! Not here: when each is done, and what follows from its end (`trimaran_host_core`).

use std::path::PathBuf;
use std::time::Duration;

use trimaran_host_core::host::{Errand, HostFailure, Launch, Reply};
use trimaran_model::limits;
use trimaran_model::pipeline::{
    Drain, DrainBy, HttpProbe, MayStop, Probe, ProbeCheck, ProbeUrl, Process, Reload,
};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Millis;

use crate::helper::{Ended, with_words};
use crate::platform::Platform;
use crate::probe::{self, Place};
use crate::shim::{self, Attached};

/// How often a drain by file looks whether its file is gone.
const FILE_POLL: Duration = Duration::from_millis(200);
/// Making or removing a file takes no longer.
const FILE_COMMAND: Millis = Millis::seconds(5);

/// A launch with what its commands are run with.
struct Beside<'a> {
    platform: &'a Platform,
    launch: &'a Launch,
    process: &'a Process,
    release: PathBuf,
}

/// How something beside a service ended badly.
enum Problem {
    TimedOut(String),
    Failed(String),
}

impl Platform {
    pub(crate) async fn run_errand(&self, launch: &Launch, process: &Process, errand: &Errand) -> Reply {
        let release = match self.release_dir(launch.digest).await {
            Ok(release) => release,
            Err(failure) => return Reply::Failed(failure),
        };
        let beside = Beside { platform: self, launch, process, release };
        let failed = |code, message| Reply::Failed(HostFailure::new(code, message));
        match errand {
            Errand::MayStop(url) => match beside.ask(url, "GET", MayStop::TIMEOUT).await {
                Ok(()) => Reply::Done,
                Err(Problem::TimedOut(message) | Problem::Failed(message)) => {
                    failed(ReasonCode::StopVetoed, message)
                }
            },
            Errand::Hook { event, hook } => {
                let shown = format!("hook {} `{}`", event.as_str(), hook.command.join(" "));
                match beside.command(&hook.command, hook.timeout).await {
                    Ok(()) => Reply::Done,
                    Err(Problem::Failed(why)) => failed(ReasonCode::HookFailed, format!("{shown}: {why}")),
                    Err(Problem::TimedOut(why)) => failed(ReasonCode::HookTimeout, format!("{shown}: {why}")),
                }
            }
            Errand::Drain(drain) => match beside.drain(drain).await {
                Ok(()) => Reply::Done,
                Err(Problem::TimedOut(why)) => {
                    let message = format!("the drain by {}: {why}; it was stopped all the same", drain.by);
                    Reply::Warned(HostFailure::new(ReasonCode::DrainTimeout, message))
                }
                Err(Problem::Failed(why)) => {
                    failed(ReasonCode::DrainFailed, format!("the drain by {}: {why}", drain.by))
                }
            },
            Errand::Reload(reload) => match beside.reload(reload).await {
                Ok(()) => Reply::Done,
                Err(Problem::TimedOut(why) | Problem::Failed(why)) => {
                    failed(ReasonCode::ReloadFailed, format!("the reload: {why}"))
                }
            },
            Errand::Undrain(drain) => match beside.undrain(drain).await {
                Ok(()) => Reply::Done,
                Err(Problem::TimedOut(why) | Problem::Failed(why)) => {
                    failed(ReasonCode::DrainFailed, format!("the undrain by {}: {why}", drain.by))
                }
            },
        }
    }
}

impl Beside<'_> {
    async fn drain(&self, drain: &Drain) -> Result<(), Problem> {
        match &drain.by {
            DrainBy::Command(command) => self.command(command, drain.wait).await,
            DrainBy::Http(url) => self.change(url, drain.wait).await,
            DrainBy::File(path) => {
                let began = tokio::time::Instant::now();
                let file = self.file(path);
                self.file_command("touch", &file).await?;
                // Whoever drains says so by removing it; otherwise its time passes, which is what was asked for.
                while began.elapsed() < drain.wait.to_std()
                    && matches!(tokio::fs::try_exists(&file).await, Ok(true))
                {
                    tokio::time::sleep(FILE_POLL.min(drain.wait.to_std())).await;
                }
                Ok(())
            }
        }
    }

    async fn undrain(&self, drain: &Drain) -> Result<(), Problem> {
        match &drain.by {
            DrainBy::Command(command) => self.command(command, drain.wait).await,
            DrainBy::Http(url) => self.change(url, drain.wait).await,
            DrainBy::File(path) => self.file_command("rm", &self.file(path)).await,
        }
    }

    async fn reload(&self, reload: &Reload) -> Result<(), Problem> {
        let words = |error: &dyn std::fmt::Display| Problem::Failed(error.to_string());
        let written = self
            .platform
            .with_service(self.process.clone(), self.release.clone(), |service| {
                Ok(service.write_environment())
            })
            .await
            .map_err(|failure| Problem::Failed(failure.message))?;
        written.map_err(|error| words(&error))?;
        match reload {
            Reload::Command(command) => self.command(command, limits::HOST_RELOAD).await,
            Reload::Signal(signal) => {
                let dirs = self.platform.run_dirs().await;
                let (dir, _) = dirs.get(&self.launch.number).ok_or_else(|| words(&"nothing runs"))?;
                match shim::attach(dir).await.map_err(|error| words(&error))? {
                    Attached::Running(shim) => shim.signal(*signal).map_err(|error| words(&error)),
                    Attached::Ended(exit) => Err(words(&exit)),
                    Attached::Nothing => Err(words(&"nothing runs")),
                }
            }
        }
    }

    /// Relative to the service's run directory.
    fn file(&self, path: &str) -> PathBuf {
        self.platform.store.service_run_dir().join(path)
    }

    /// As the service's user, who may do no more there than the service itself.
    async fn file_command(&self, program: &str, file: &std::path::Path) -> Result<(), Problem> {
        let mut command = vec![format!("/usr/bin/{program}")];
        command.extend((program == "rm").then(|| "-f".to_owned()));
        command.extend(["--".to_owned(), file.display().to_string()]);
        self.command(&command, FILE_COMMAND).await
    }

    async fn command(&self, command: &[String], limit: Millis) -> Result<(), Problem> {
        let ran =
            self.platform.command(self.launch, self.process.clone(), &self.release, command, limit).await;
        match ran {
            Ok((Ended::Exit(exit), _)) if exit.is_success() => Ok(()),
            Ok((Ended::Exit(exit), words)) => Err(Problem::Failed(with_words(exit.to_string(), &words))),
            Ok((Ended::TimedOut, words)) => {
                Err(Problem::TimedOut(with_words(format!("it did not end within {limit}"), &words)))
            }
            Err(message) => Err(Problem::Failed(message)),
        }
    }

    /// A request that changes something: a POST, or a GET where the URL has no POST (RFC 9110, 15.5.6 and 15.6.2).
    async fn change(&self, url: &ProbeUrl, limit: Millis) -> Result<(), Problem> {
        match self.ask(url, "POST", limit).await {
            Err(Problem::Failed(why)) if why == "HTTP 405" || why == "HTTP 501" => {
                self.ask(url, "GET", limit).await
            }
            answered => answered,
        }
    }

    async fn ask(&self, url: &ProbeUrl, method: &str, limit: Millis) -> Result<(), Problem> {
        let http = HttpProbe { method: method.to_owned(), ..HttpProbe::get(url.clone()) };
        let asked = Probe {
            check: ProbeCheck::Http(http),
            interval: Probe::INTERVAL,
            timeout: limit,
            successes: Probe::SUCCESSES,
            failures: Probe::FAILURES,
        };
        let place = Place { own: self.platform.shared.address(), release: &self.release };
        let began = tokio::time::Instant::now();
        match probe::probe(&asked, place).await {
            Ok(_) => Ok(()),
            Err(why) if began.elapsed() >= limit.to_std() => Err(Problem::TimedOut(why)),
            Err(why) => Err(Problem::Failed(why)),
        }
    }
}
