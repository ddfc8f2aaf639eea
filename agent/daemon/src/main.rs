//! Placeholder until its own commit; `shim` is the process that holds one service, see `trimaran_host::shim`.
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // Before anything else: a shim lives as long as its service and stays small.
    if args.next().is_some_and(|command| command == "shim") {
        return trimaran_host::shim::main(args);
    }
    ExitCode::from(2)
}
