//! `cargo xtask leftovers`: processes of this build that a test run left behind. `make test` ends with it.
//!
//! A process belongs to the build when its program lies in the target directory. Deliberately not here: ending them; who
//! reads the failure wants to look at them first.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long processes that are just ending may take.
const GRACE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// One line for each process of the build that still runs.
pub(crate) fn check(target: &Path) -> Result<(), String> {
    let target = target.canonicalize().map_err(|error| format!("{}: {error}", target.display()))?;
    let deadline = Instant::now() + GRACE;
    loop {
        let found = running(&target)?;
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the test run left processes behind:\n{}", found.join("\n")));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Process id and command line of each, this process left out.
fn running(target: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let own = std::process::id();
    let found = ids.filter(|id| *id != own).filter_map(|id| {
        // Gone meanwhile, or of another user: not one of a test run.
        let program = std::fs::read_link(format!("/proc/{id}/exe")).ok()?;
        let command = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        belongs(&program, target).then(|| format!("  {id}: {}", words(&command)))
    });
    Ok(found.collect())
}

/// Whether a program lies in a directory, also one that was removed or replaced since.
fn belongs(program: &Path, target: &Path) -> bool {
    let name = program.to_string_lossy();
    PathBuf::from(name.strip_suffix(" (deleted)").unwrap_or(&name)).starts_with(target)
}

fn words(command: &[u8]) -> String {
    String::from_utf8_lossy(command).trim_end_matches('\0').replace('\0', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_the_target_directory_belong_to_the_build() {
        let target = Path::new("/srv/target");
        assert!(belongs(Path::new("/srv/target/debug/trimaran-agent"), target));
        assert!(belongs(Path::new("/srv/target/debug/deps/shim-1a2b (deleted)"), target));
        assert!(!belongs(Path::new("/srv/target-of-others/debug/trimaran-agent"), target));
        assert!(!belongs(Path::new("/usr/bin/sh"), target));
        assert_eq!(words(b"trimaran-agent\0run\0"), "trimaran-agent run");
    }

    #[test]
    fn a_process_is_found_while_it_runs() {
        let folder = std::env::temp_dir().join(format!("trimaran-leftovers-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a directory");
        let program = folder.join("sleeper");
        std::fs::copy("/bin/sleep", &program).expect("a copy");
        let mut child = std::process::Command::new(&program).arg("60").spawn().expect("it starts");
        let folder = folder.canonicalize().expect("a directory");
        // Its words are not there in the first moment of a program.
        let mut found = Vec::new();
        for _ in 0..1000 {
            found = running(&folder).expect("readable");
            if found.iter().all(|it| it.ends_with(" 60")) && !found.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.kill().expect("it ends");
        child.wait().expect("it is reaped");
        let gone = running(&folder).expect("readable");
        std::fs::remove_dir_all(&folder).expect("removable");
        assert!(found.len() == 1 && found[0].ends_with(" 60"), "{found:?}");
        assert!(gone.is_empty(), "{gone:?}");
    }
}
