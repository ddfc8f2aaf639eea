//! What a shim is started with, as bytes that pass through a memory file: nothing of it is in an argument list, where
//! every user of the host could read it, or on disk.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use trimaran_model::limits::SHIM_SPEC_BYTES_MAX;

/// One service to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimSpec {
    /// State, lock and socket of the shim; one directory per service.
    pub dir: PathBuf,
    /// Program and arguments; the program is relative to `cwd` unless it is absolute.
    pub command: Vec<String>,
    pub cwd: PathBuf,
    /// The whole environment, but for the mark by which the service's processes are found.
    pub environment: BTreeMap<String, String>,
    pub log_dir: PathBuf,
    /// The run that the output belongs to.
    pub run: String,
}

/// Why a service can't be described to a shim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpec {
    #[error("the command is empty")]
    NoCommand,
    #[error("{what} holds a NUL character, which no process can be given")]
    Nul { what: String },
    #[error("`{name}` can't be the name of an environment variable")]
    Variable { name: String },
    #[error("command and environment have {bytes} bytes, more than {SHIM_SPEC_BYTES_MAX}")]
    TooLarge { bytes: usize },
}

/// First field; a shim of another version refuses it.
const MAGIC: &[u8] = b"trimaran-shim-1";

impl ShimSpec {
    /// Fields, each ended by NUL: magic, run, cwd, log directory, the count of arguments, the arguments, then
    /// `NAME=VALUE` for each variable. `dir` is not among them: the shim has it as its argument.
    pub(super) fn encode(&self) -> Result<Vec<u8>, BadSpec> {
        let mut out = Vec::new();
        let mut field = |what: &str, bytes: &[u8]| {
            if bytes.contains(&0) {
                return Err(BadSpec::Nul { what: what.to_owned() });
            }
            out.extend_from_slice(bytes);
            out.push(0);
            Ok(())
        };
        if self.command.first().is_none_or(String::is_empty) {
            return Err(BadSpec::NoCommand);
        }
        field("the magic", MAGIC)?;
        field("the run", self.run.as_bytes())?;
        field("the working directory", self.cwd.as_os_str().as_bytes())?;
        field("the log directory", self.log_dir.as_os_str().as_bytes())?;
        field("the count", self.command.len().to_string().as_bytes())?;
        for argument in &self.command {
            field("an argument", argument.as_bytes())?;
        }
        for (name, value) in &self.environment {
            if name.is_empty() || name.contains('=') {
                return Err(BadSpec::Variable { name: name.clone() });
            }
            field(&format!("the variable `{name}`"), format!("{name}={value}").as_bytes())?;
        }
        match out.len() {
            bytes @ ..=SHIM_SPEC_BYTES_MAX => Ok(out[..bytes].to_vec()),
            bytes => Err(BadSpec::TooLarge { bytes }),
        }
    }

    /// Reads what [`ShimSpec::encode`] writes.
    pub(super) fn decode(dir: &Path, bytes: &[u8]) -> Option<Self> {
        let mut fields = bytes.strip_suffix(&[0])?.split(|byte| *byte == 0);
        let mut text = || fields.next().and_then(|field| String::from_utf8(field.to_vec()).ok());
        if text()?.as_bytes() != MAGIC {
            return None;
        }
        let run = text()?;
        let mut path = || fields.next().map(|field| PathBuf::from(OsStr::from_bytes(field)));
        let (cwd, log_dir) = (path()?, path()?);
        let mut rest = fields.map(|field| String::from_utf8(field.to_vec()).ok());
        let count: usize = rest.next()??.parse().ok()?;
        let command: Vec<String> = rest.by_ref().take(count).collect::<Option<_>>()?;
        if command.len() < count.max(1) {
            return None;
        }
        let variable = |field: Option<String>| {
            let (name, value) = field.as_deref()?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let environment = rest.map(variable).collect::<Option<_>>()?;
        Some(Self { dir: dir.to_owned(), command, cwd, environment, log_dir, run })
    }

    /// The program as a path that needs no search.
    pub(super) fn program(&self) -> PathBuf {
        self.cwd.join(&self.command[0])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_shim_reads_what_the_runner_wrote(
            command in prop::collection::vec("[^\0]{1,20}", 1..5),
            environment in prop::collection::btree_map("[A-Z_]{1,8}", "[^\0]{0,20}", 0..5),
            run in "[^\0]{0,20}",
        ) {
            let spec = ShimSpec {
                dir: PathBuf::from("/d"), command, cwd: PathBuf::from("/c"), environment,
                log_dir: PathBuf::from("/l"), run,
            };
            let bytes = spec.encode().expect("no NUL inside");
            prop_assert_eq!(ShimSpec::decode(&spec.dir, &bytes), Some(spec));
        }

        #[test]
        fn foreign_bytes_are_refused_or_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let magic = [MAGIC, &bytes].concat();
            for bytes in [bytes, magic] {
                if let Some(spec) = ShimSpec::decode(Path::new("/d"), &bytes) {
                    prop_assert!(!spec.command.is_empty());
                }
            }
        }
    }

    #[test]
    fn what_no_process_can_be_given_is_refused() {
        let spec = |command: &[&str], name: &str, value: &str| {
            let spec = ShimSpec {
                dir: PathBuf::new(),
                command: command.iter().map(|it| (*it).to_owned()).collect(),
                cwd: PathBuf::from("/"),
                environment: BTreeMap::from([(name.to_owned(), value.to_owned())]),
                log_dir: PathBuf::new(),
                run: String::new(),
            };
            spec.encode().expect_err("it is refused")
        };
        assert_eq!(spec(&[], "A", "1"), BadSpec::NoCommand);
        assert_eq!(spec(&["a\0b"], "A", "1"), BadSpec::Nul { what: "an argument".to_owned() });
        assert_eq!(spec(&["a"], "A=B", "1"), BadSpec::Variable { name: "A=B".to_owned() });
        assert_eq!(spec(&["a"], "A", "\0"), BadSpec::Nul { what: "the variable `A`".to_owned() });
        let large = "x".repeat(SHIM_SPEC_BYTES_MAX);
        assert!(matches!(spec(&["a"], "A", &large), BadSpec::TooLarge { .. }));
    }
}
