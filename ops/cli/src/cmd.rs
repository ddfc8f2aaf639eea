//! The commands: one file each, listed here.

mod agent;
mod apply;
mod approve;
mod cancel;
mod cluster;
mod completion;
mod context;
mod deploy;
mod dev;
mod explain;
mod history;
mod init;
mod lint;
mod logs;
mod operator;
mod plan;
mod render;
mod resume;
mod rollback;
mod run;
mod runner;
mod status;
mod target;
mod verdict;
mod version;
mod watch;
mod why;

use clap::CommandFactory as _;

use crate::App;
use crate::error::CliError;
use crate::ui::Ui;

/// Shown below `trimaran --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  trimaran dev --hosts 6                               a whole cluster on this machine
  trimaran lint && trimaran plan -f trimaran.yaml --artifact bundle=v2
  trimaran deploy -f trimaran.yaml --artifact bundle=v2
  trimaran why web                                     why its newest run waits, failed or was rolled back
  trimaran rollback web --env prod                     back to the last good release
  trimaran explain probe_failed                        what a code or reason means";

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Init(init::Args),
    Lint(lint::Args),
    Apply(apply::Args),
    Plan(plan::Args),
    Deploy(deploy::Args),
    Watch(watch::Args),
    Status(status::Args),
    Why(why::Args),
    Logs(logs::Args),
    Approve(approve::Args),
    Rollback(rollback::Args),
    Cancel(cancel::Args),
    Resume(resume::Args),
    History(history::Args),
    Run(run::Args),
    Target(target::Args),
    Installation(status::InstallationArgs),
    Agent(agent::Args),
    Runner(runner::Args),
    Operator(operator::Args),
    Cluster(cluster::Args),
    Audit(cluster::AuditArgs),
    Context(context::Args),
    Dev(dev::Args),
    Verdict(verdict::Args),
    Render(render::Args),
    Explain(explain::Args),
    Completion(completion::Args),
    Version(version::Args),
}

/// Commands that ask no server: options that choose one mean nothing there, are taken for scripts that give them to
/// every command, and do not stand in the help.
const OFFLINE: &[&str] = &["completion", "explain", "init", "lint", "render", "verdict", "version"];

/// The parser of the whole program.
pub(crate) fn program() -> clap::Command {
    let hidden = |name: &'static str| {
        clap::Arg::new(name).long(name).hide(true).action(clap::ArgAction::Append).help("Has no effect here.")
    };
    OFFLINE.iter().fold(App::command(), |program, name| {
        program.mut_subcommand(name, |command| command.arg(hidden("context")).arg(hidden("endpoint")))
    })
}

/// Runs one command and returns the exit code of the process.
pub(crate) fn run(command: Command, ui: &Ui) -> Result<u8, CliError> {
    match command {
        Command::Init(args) => init::run(&args, ui),
        Command::Lint(args) => lint::run(&args, ui),
        Command::Apply(args) => apply::run(&args, ui),
        Command::Plan(args) => plan::run(&args, ui),
        Command::Deploy(args) => deploy::run(&args, ui),
        Command::Watch(args) => watch::run(&args, ui),
        Command::Status(args) => status::run(&args, ui),
        Command::Why(args) => why::run(&args, ui),
        Command::Logs(args) => logs::run(&args, ui),
        Command::Approve(args) => approve::run(&args, ui),
        Command::Rollback(args) => rollback::run(&args, ui),
        Command::Cancel(args) => cancel::run(&args, ui),
        Command::Resume(args) => resume::run(&args, ui),
        Command::History(args) => history::run(&args, ui),
        Command::Run(args) => run::run(&args, ui),
        Command::Target(args) => target::run(&args, ui),
        Command::Installation(args) => status::installation(&args, ui),
        Command::Agent(args) => agent::run(&args, ui),
        Command::Runner(args) => runner::run(&args, ui),
        Command::Operator(args) => operator::run(&args, ui),
        Command::Cluster(args) => cluster::run(&args, ui),
        Command::Audit(args) => cluster::audit(&args, ui),
        Command::Context(args) => context::run(&args, ui),
        Command::Dev(args) => dev::run(&args, ui),
        Command::Verdict(args) => verdict::run(&args, ui),
        Command::Render(args) => render::run(&args, ui),
        Command::Explain(args) => explain::run(&args, ui),
        Command::Completion(args) => completion::run(&args, ui),
        Command::Version(args) => version::run(&args, ui),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_says_what_it_does_with_examples_that_parse() {
        trimaran_test_support::help::check(&program(), 30);
    }

    #[test]
    fn the_help_fits_a_screen() {
        let help = program().render_help().to_string();
        assert!(help.lines().count() <= 60, "{} lines", help.lines().count());
    }

    #[test]
    fn commands_that_ask_no_server_take_a_context_and_do_not_show_it() {
        for name in OFFLINE {
            let mut program = program();
            program.build();
            let help = program.find_subcommand_mut(name).expect("a command").render_help().to_string();
            assert!(!help.contains("--context") && !help.contains("--endpoint"), "{name}: {help}");
            assert!(help.contains("--output"), "{name}: {help}");
        }
        for words in
            [["trimaran", "lint", "--context", "prod"], ["trimaran", "version", "--endpoint", "c1:1"]]
        {
            program().try_get_matches_from(words).expect("taken");
        }
    }
}
