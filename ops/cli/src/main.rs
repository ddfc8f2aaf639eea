//! `trimaran`: the command line of operators and of the people who write pipelines.
//!
//! Each command has one file in `cmd/`; what they share of the terminal is in `ui/`. A command gets its
//! parsed arguments and the chosen output form and returns an exit code or one [`error::CliError`]; only this
//! file ends the process. Deliberately not here: what a server decides, which every command asks for
//! through `trimaran-client`.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a command reads files, the environment and clocks")]

mod arguments;
mod artifact;
mod bake;
mod cmd;
mod confirmation;
mod decision;
mod deploy_inputs;
mod enrollment;
mod error;
mod follow;
mod input;
mod job_files;
mod known_names;
mod lint_report;
mod machine_table;
mod manifest_archive;
mod manifest_lint;
mod manifest_set;
mod manifests;
mod pipeline_files;
mod pipelines;
mod plan_difference;
mod remote;
mod run_name;
#[cfg(test)]
mod samples;
mod ui;
mod upload;

use std::process::ExitCode;

use clap::FromArgMatches as _;

/// Releases software to hosts, Kubernetes and Flink, and rolls back automatically.
#[derive(Debug, clap::Parser)]
#[command(name = "trimaran", version, after_help = cmd::EXAMPLES)]
struct App {
    #[command(flatten)]
    global: ui::Global,
    #[command(subcommand)]
    command: cmd::Command,
}

fn main() -> ExitCode {
    // A shell that asks for completions gets them here, and the process ends.
    clap_complete::CompleteEnv::with_factory(cmd::program).complete();
    let app = match cmd::program().try_get_matches().and_then(|it| App::from_arg_matches(&it)) {
        Ok(app) => app,
        Err(error) => return error::clap_exit(&error),
    };
    let ui = ui::Ui::new(app.global);
    match cmd::run(app.command, &ui) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            error.print(ui.form());
            ExitCode::from(error.exit())
        }
    }
}
