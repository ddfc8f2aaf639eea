//! Packages of registries, fetched by their own clients into their own caches.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// The folder of a Go module in the module cache.
pub(super) fn go_module(path: &str, version: &str) -> Result<PathBuf, String> {
    let module = format!("{path}@{version}");
    // Outside of any module, so that no `go.mod` is asked for or written.
    let output = run(Command::new("go").args(["mod", "download", "-json", &module]).current_dir("/"))?;
    let answer: Value = serde_json::from_slice(&output).map_err(|error| format!("{module}: {error}"))?;
    match (answer["Dir"].as_str(), answer["Error"].as_str()) {
        (Some(folder), None) => Ok(folder.into()),
        (_, error) => Err(format!("{module}: {}", error.unwrap_or("it has no folder"))),
    }
}

/// The output of a program, also when it fails with an answer.
fn run(command: &mut Command) -> Result<Vec<u8>, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program} can't be started: {error}"))?;
    if !output.status.success() && output.stdout.is_empty() {
        return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(output.stdout)
}
