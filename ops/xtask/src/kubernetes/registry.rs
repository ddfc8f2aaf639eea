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

/// The folder of a crate in cargo's cache of sources.
pub(super) fn cargo_crate(name: &str, version: &str) -> Result<PathBuf, String> {
    // `info` brings the crate into the cache without building anything.
    run(Command::new("cargo").args(["info", "--quiet", &format!("{name}@{version}")]).current_dir("/"))?;
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| std::env::home_dir().map(|it| it.join(".cargo"))).ok_or("cargo has no home")?;
    let sources = std::fs::read_dir(home.join("registry/src")).map_err(|error| error.to_string())?;
    let folders = sources.filter_map(Result::ok).map(|it| it.path().join(format!("{name}-{version}")));
    folders.into_iter().find(|it| it.is_dir()).ok_or_else(|| format!("{name} {version} is not in the cache"))
}

/// The folder of an npm package, unpacked into the folder for temporary files.
pub(super) fn npm_package(name: &str, version: &str) -> Result<PathBuf, String> {
    let folder = std::env::temp_dir().join("trimaran-xtask-npm").join(name.replace('/', "-")).join(version);
    let package = folder.join("package");
    if package.is_dir() {
        return Ok(package);
    }
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let answer = run(Command::new("npm")
        .args(["pack", "--silent", &format!("{name}@{version}")])
        .current_dir(&folder))?;
    let archive = String::from_utf8_lossy(&answer).trim().to_owned();
    run(Command::new("tar").args(["xzf", &archive]).current_dir(&folder))?;
    if package.is_dir() { Ok(package) } else { Err(format!("{name} {version} has no folder `package`")) }
}
