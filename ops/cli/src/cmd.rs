//! The commands: one file each, listed here.

mod apply;
mod cluster;
mod completion;
mod context;
mod decide;
mod deploy;
mod dev;
mod explain;
mod history;
mod init;
mod lint;
mod logs;
mod machines;
mod render;
mod rollback;
mod run;
mod status;
mod verdict;
mod version;
mod watch;
mod why;

use crate::error::CliError;
use crate::ui::Global;

pub(crate) use lint::lint_error;

/// Shown below `trimaran --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  trimaran dev --hosts 6                               a whole cluster on this machine
  trimaran lint && trimaran plan -f trimaran.yaml --artifact bundle=v2
  trimaran deploy -f trimaran.yaml --artifact bundle=v2
  trimaran why web#12                                  why it does not move, failed or went back
  trimaran rollback web --env prod                     back to the last good release
  trimaran explain probe_failed                        what a code or reason means";

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Init(init::Args),
    Lint(lint::Args),
    Apply(apply::Args),
    Plan(deploy::PlanArgs),
    Deploy(deploy::DeployArgs),
    Watch(watch::Args),
    Status(status::Args),
    Why(why::Args),
    Logs(logs::Args),
    Approve(decide::ApproveArgs),
    Rollback(rollback::Args),
    Cancel(decide::CancelArgs),
    Resume(decide::ResumeArgs),
    History(history::Args),
    Run(run::Args),
    Target(machines::TargetArgs),
    Installation(status::InstallationArgs),
    Agent(machines::AgentArgs),
    Runner(machines::RunnerArgs),
    Operator(machines::OperatorArgs),
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

/// Runs one command and returns the exit code of the process.
pub(crate) fn run(command: Command, global: &Global) -> Result<u8, CliError> {
    match command {
        Command::Init(args) => init::run(&args, global),
        Command::Lint(args) => lint::run(&args, global),
        Command::Apply(args) => apply::run(&args, global),
        Command::Plan(args) => deploy::plan(&args, global),
        Command::Deploy(args) => deploy::deploy(&args, global),
        Command::Watch(args) => watch::run(&args, global),
        Command::Status(args) => status::run(&args, global),
        Command::Why(args) => why::run(&args, global),
        Command::Logs(args) => logs::run(&args, global),
        Command::Approve(args) => decide::approve(&args, global),
        Command::Rollback(args) => rollback::run(&args, global),
        Command::Cancel(args) => decide::cancel(&args, global),
        Command::Resume(args) => decide::resume(&args, global),
        Command::History(args) => history::run(&args, global),
        Command::Run(args) => run::run(&args, global),
        Command::Target(args) => machines::target(&args, global),
        Command::Installation(args) => status::installation(&args, global),
        Command::Agent(args) => machines::agent(&args, global),
        Command::Runner(args) => machines::runner(&args, global),
        Command::Operator(args) => machines::operator(&args, global),
        Command::Cluster(args) => cluster::run(&args, global),
        Command::Audit(args) => cluster::audit(&args, global),
        Command::Context(args) => context::run(&args, global),
        Command::Dev(args) => dev::run(&args, global),
        Command::Verdict(args) => verdict::run(&args, global),
        Command::Render(args) => render::run(&args, global),
        Command::Explain(args) => explain::run(&args, global),
        Command::Completion(args) => completion::run(&args),
        Command::Version(args) => version::run(&args, global),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::App;

    #[test]
    fn every_command_says_what_it_does_with_examples_that_parse() {
        trimaran_e2e::help::check(&App::command(), 30);
    }

    #[test]
    fn the_help_fits_a_screen() {
        let help = App::command().render_help().to_string();
        assert!(help.lines().count() <= 60, "{} lines", help.lines().count());
    }
}
