//! The commands that need no server, as real processes: what they print where, and their exit codes (INTERFACE 3
//! and 4).
#![allow(clippy::disallowed_methods, reason = "a test starts processes and writes files")]

#[path = "offline/explain.rs"]
mod explain;
#[path = "offline/forms.rs"]
mod forms;
#[path = "offline/lint.rs"]
mod lint;
#[path = "offline/mistakes.rs"]
mod mistakes;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A directory of its own to run commands in, with a configuration that knows no cluster.
struct Desk {
    folder: tempfile::TempDir,
}

/// What a command left behind.
struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), text).expect("the desk can be written");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trimaran"));
        command
            .args(args)
            .current_dir(self.path())
            .env("TRIMARAN_CONFIG", self.path().join("config.toml"))
            .env_remove("TRIMARAN_CONTEXT")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Done {
        Done::from(self.command(args).output().expect("the command starts"))
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code().expect("an exit code"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Done {
    /// The document on stdout.
    fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// The error on stderr, which has the shape of INTERFACE 4.
    fn error(&self) -> Value {
        let document: Value =
            serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("{error}: {}", self.stderr));
        assert_eq!(document["schema"], "trimaran.error/v1");
        let error = document["error"].clone();
        let keys: Vec<&str> = error.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "message", "cause", "help", "position"]);
        for key in ["code", "message", "cause", "help"] {
            assert!(error[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {error}");
        }
        error
    }
}
