//! `trimaran-agent install` and `uninstall`: the systemd unit that starts a role at boot.
//!
//! The unit has everything in its command line, so that one file says what runs. Data directories, and services that
//! run, are left alone by both.

mod unit;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use trimaran_model::error_code;
use trimaran_model::report::Report;

use crate::run::Role;
use crate::settings::Settings;
use unit::Unit;

/// Where an administrator's units are (systemd.unit(5)).
const UNIT_DIR: &str = "/etc/systemd/system";
/// There while systemd is the first process (sd_booted(3)).
const RUNNING: &str = "/run/systemd/system";

/// Write the systemd unit that starts this role at boot, and start it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran-agent install --role runner --name web-1 --endpoint agent:7800 --token-file /run/trimaran/token\n  trimaran-agent install --role agent --name tokyo --endpoint c1:7700 --listen 0.0.0.0:7800 --dry-run\n\nA runner's unit ends the runner alone when it is stopped: services go on under their shims. The same command again\nreplaces the unit."
)]
pub(crate) struct InstallArgs {
    /// What the unit runs.
    #[arg(long, value_enum)]
    role: Role,
    /// The name used at enrolment.
    #[arg(long)]
    name: String,
    /// The role's data directory; default: /var/lib/trimaran/ROLE.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// File with the one-time token of the first start.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A reviewed settings file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    place: Place,
    /// Print the unit and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Stop the role and remove its systemd unit; its data directory stays, and so do services that run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran-agent uninstall --role runner")]
pub(crate) struct UninstallArgs {
    /// What the unit runs.
    #[arg(long, value_enum)]
    role: Role,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Where units are.
    #[arg(long, value_name = "DIR", default_value = UNIT_DIR)]
    unit_dir: PathBuf,
}

impl Place {
    fn file(&self, role: Role) -> PathBuf {
        self.unit_dir.join(unit::name(role))
    }
}

pub(crate) fn install(args: InstallArgs) -> ExitCode {
    trimaran_process::end(try_install(args))
}

pub(crate) fn uninstall(args: &UninstallArgs) -> ExitCode {
    trimaran_process::end(try_uninstall(args))
}

fn try_install(args: InstallArgs) -> Result<(), Report> {
    let InstallArgs { role, name, data_dir, token_file, config, settings, place, dry_run } = args;
    crate::run::identity(role, &name)?;
    crate::run::fits(role, &settings)?;
    if settings.endpoints.is_empty() && config.is_none() {
        return Err(Report::new(error_code::USAGE, "no `--endpoint` says whom to dial"));
    }
    let own = |what: &str| {
        let message = format!("{what} can't be found");
        move |error: std::io::Error| Report::because(error_code::DATA_DIR, message.clone(), &error)
    };
    let unit = Unit {
        role,
        binary: std::env::current_exe().map_err(own("the own binary"))?,
        name,
        data_dir: absolute(data_dir.unwrap_or_else(|| unit::data_dir(role)))?,
        token_file: token_file.map(absolute).transpose()?,
        config: config.map(absolute).transpose()?,
        settings: Settings { secrets: settings.secrets.map(absolute).transpose()?, ..settings },
    };
    let text = unit.text()?;
    if dry_run {
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
        return Ok(());
    }
    let file = place.file(role);
    let written = trimaran_process::files::write_atomically(&file, text.as_bytes(), 0o644);
    written.map_err(|error| {
        Report::because(error_code::DATA_DIR, format!("the unit {} can't be written", file.display()), &error)
    })?;
    println!("wrote {}", file.display());
    let service = unit::name(role);
    if is_booted(&place) {
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", &service])?;
        // One that runs already runs the new command line from now on.
        systemctl(&["restart", &service])?;
        println!("started {service}");
    } else {
        println!("systemd does not run here: `systemctl enable --now {service}` starts it where it does");
    }
    Ok(())
}

fn try_uninstall(args: &UninstallArgs) -> Result<(), Report> {
    let file = args.place.file(args.role);
    let service = unit::name(args.role);
    if !file.exists() {
        let message = format!("there is no unit {}", file.display());
        return Err(Report::new(error_code::NOT_FOUND, message));
    }
    if is_booted(&args.place) {
        systemctl(&["disable", "--now", &service])?;
    }
    std::fs::remove_file(&file).map_err(|error| {
        Report::because(error_code::DATA_DIR, format!("the unit {} can't be removed", file.display()), &error)
    })?;
    if is_booted(&args.place) {
        systemctl(&["daemon-reload"])?;
    }
    println!("removed {}", file.display());
    if args.role == Role::Runner {
        println!("services go on; `trimaran-agent host stop-all --data-dir DIR` ends them");
    }
    Ok(())
}

/// Whether the units of the directory are those of a systemd that runs.
fn is_booted(place: &Place) -> bool {
    place.unit_dir == Path::new(UNIT_DIR) && Path::new(RUNNING).is_dir()
}

fn systemctl(args: &[&str]) -> Result<(), Report> {
    let failed = |cause: &dyn std::error::Error| {
        Report::because(error_code::DATA_DIR, format!("`systemctl {}` failed", args.join(" ")), cause)
    };
    let output = Command::new("systemctl").args(args).output().map_err(|error| failed(&error))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(&std::io::Error::other(words)))
}

fn absolute(path: PathBuf) -> Result<PathBuf, Report> {
    std::path::absolute(&path).map_err(|error| {
        Report::because(error_code::USAGE, format!("{} is not a path", path.display()), &error)
    })
}
