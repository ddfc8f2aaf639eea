//! What a shim is started with, as bytes that pass through a memory file: nothing of it is in an argument list, where
//! every user of the host could read it, or on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use trimaran_model::limits::SHIM_SPEC_BYTES_MAX;

use super::confine::{Confinement, Credentials, Rlimit};
use super::group::GroupLimits;

/// One service to be started, or one command beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimSpec {
    /// State, lock and socket of the shim; one directory per service.
    pub dir: PathBuf,
    /// Program and arguments; the program is relative to `cwd` unless it is absolute.
    pub command: Vec<String>,
    pub cwd: PathBuf,
    /// The whole environment, but for the mark by which the service's processes are found.
    pub environment: BTreeMap<String, String>,
    pub output: OutputPlace,
    /// The run that the output belongs to.
    pub run: String,
    pub confinement: Confinement,
    pub group_limits: GroupLimits,
    /// All of it is killed when it runs for longer.
    pub time_limit: Option<Duration>,
}

/// Where the output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputPlace {
    /// Lines in files of this directory.
    Log(PathBuf),
    /// The end of it into the file `output` beside the shim's state.
    Tail,
}

impl ShimSpec {
    /// A service of the caller's user without any limit, with an empty environment.
    pub fn new(dir: PathBuf, command: Vec<String>, cwd: PathBuf, log_dir: PathBuf, run: String) -> Self {
        Self {
            dir,
            command,
            cwd,
            environment: BTreeMap::new(),
            output: OutputPlace::Log(log_dir),
            run,
            confinement: Confinement::none(),
            group_limits: GroupLimits::default(),
            time_limit: None,
        }
    }
}

/// Why a service can't be described to a shim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpec {
    #[error("the command is empty")]
    NoCommand,
    #[error("{what} holds a NUL character, which no process can be given")]
    Nul { what: String },
    #[error("{what} is not UTF-8")]
    Text { what: String },
    #[error("`{name}` can't be the name of an environment variable")]
    Variable { name: String },
    #[error("command and environment have {bytes} bytes, more than {SHIM_SPEC_BYTES_MAX}")]
    TooLarge { bytes: usize },
}

/// First field; a shim of another version refuses it.
const MAGIC: &str = "trimaran-shim-2";

impl ShimSpec {
    /// Fields `KEY=VALUE`, each ended by NUL, behind the magic. `dir` is not among them: the shim has it as its argument.
    pub(super) fn encode(&self) -> Result<Vec<u8>, BadSpec> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err(BadSpec::NoCommand);
        }
        let mut out = Fields(format!("{MAGIC}\0").into_bytes());
        out.text("run", "the run", &self.run)?;
        out.path("cwd", "the working directory", &self.cwd)?;
        if let OutputPlace::Log(directory) = &self.output {
            out.path("log", "the log directory", directory)?;
        }
        for argument in &self.command {
            out.text("arg", "an argument", argument)?;
        }
        for (name, value) in &self.environment {
            if name.is_empty() || name.contains('=') {
                return Err(BadSpec::Variable { name: name.clone() });
            }
            out.text("env", &format!("the variable `{name}`"), &format!("{name}={value}"))?;
        }
        let Confinement { credentials, umask, rlimits, capabilities, no_new_privileges } = &self.confinement;
        if let Some(Credentials { uid, gid, groups }) = credentials {
            out.number("uid", uid);
            out.number("gid", gid);
            groups.iter().for_each(|group| out.number("group", group));
        }
        out.number("umask", umask);
        for Rlimit { resource, soft, hard } in rlimits {
            out.number("rlimit", format_args!("{resource} {soft} {hard}"));
        }
        capabilities.iter().for_each(|set| out.number("capabilities", set));
        if *no_new_privileges {
            out.number("no_new_privileges", 1);
        }
        let GroupLimits { memory, cpu_percent, tasks } = &self.group_limits;
        memory.iter().for_each(|bytes| out.number("memory", bytes));
        cpu_percent.iter().for_each(|percent| out.number("cpu", percent));
        tasks.iter().for_each(|tasks| out.number("tasks", tasks));
        self.time_limit.iter().for_each(|limit| out.number("time_limit_ms", limit.as_millis()));
        match out.0.len() {
            ..=SHIM_SPEC_BYTES_MAX => Ok(out.0),
            bytes => Err(BadSpec::TooLarge { bytes }),
        }
    }

    /// Reads what [`ShimSpec::encode`] writes. A key that is not known is refused: a bound that a later version asks for
    /// must not be left out.
    pub(super) fn decode(dir: &Path, bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\0')?;
        let mut fields = text.split('\0');
        if fields.next()? != MAGIC {
            return None;
        }
        let (mut run, mut cwd) = (None, None);
        let (mut uid, mut gid, mut groups) = (None, None, Vec::new());
        let mut spec = Self::new(dir.to_owned(), Vec::new(), PathBuf::new(), PathBuf::new(), String::new());
        spec.output = OutputPlace::Tail;
        let Self { command, environment, output, confinement, group_limits, time_limit, .. } = &mut spec;
        for field in fields {
            let (key, value) = field.split_once('=')?;
            match key {
                "run" => run = Some(value.to_owned()),
                "cwd" => cwd = Some(PathBuf::from(value)),
                "log" => *output = OutputPlace::Log(PathBuf::from(value)),
                "arg" => command.push(value.to_owned()),
                "env" => {
                    let (name, value) = value.split_once('=')?;
                    environment.insert(name.to_owned(), value.to_owned());
                }
                "uid" => uid = Some(number(value)?),
                "gid" => gid = Some(number(value)?),
                "group" => groups.push(number(value)?),
                "umask" => confinement.umask = number(value)?,
                "rlimit" => {
                    let mut words = value.split(' ');
                    confinement.rlimits.push(Rlimit {
                        resource: number(words.next()?)?,
                        soft: number(words.next()?)?,
                        hard: number(words.next()?)?,
                    });
                }
                "capabilities" => confinement.capabilities = Some(number(value)?),
                "no_new_privileges" => confinement.no_new_privileges = true,
                "memory" => group_limits.memory = Some(number(value)?),
                "cpu" => group_limits.cpu_percent = Some(number(value)?),
                "tasks" => group_limits.tasks = Some(number(value)?),
                "time_limit_ms" => *time_limit = Some(Duration::from_millis(number(value)?)),
                _ => return None,
            }
        }
        confinement.credentials = match (uid, gid) {
            (Some(uid), Some(gid)) => Some(Credentials { uid, gid, groups }),
            (None, None) => None,
            _ => return None,
        };
        (spec.run, spec.cwd) = (run?, cwd?);
        spec.command.first().filter(|program| !program.is_empty())?;
        Some(spec)
    }

    /// The program as a path that needs no search.
    pub(super) fn program(&self) -> PathBuf {
        self.cwd.join(&self.command[0])
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// The bytes of a specification so far.
struct Fields(Vec<u8>);

impl Fields {
    fn text(&mut self, key: &str, what: &str, value: &str) -> Result<(), BadSpec> {
        if value.contains('\0') {
            return Err(BadSpec::Nul { what: what.to_owned() });
        }
        self.number(key, value);
        Ok(())
    }

    fn path(&mut self, key: &str, what: &str, path: &Path) -> Result<(), BadSpec> {
        let text = path.to_str().ok_or_else(|| BadSpec::Text { what: what.to_owned() })?;
        self.text(key, what, text)
    }

    /// What is written without NUL.
    fn number(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0.extend(format!("{key}={value}\0").into_bytes());
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
            uid in any::<Option<u32>>(),
        ) {
            let dir = PathBuf::from("/d");
            let mut spec = ShimSpec::new(dir, command, PathBuf::from("/c"), PathBuf::from("/l"), run);
            spec.environment = environment;
            if let Some(uid) = uid {
                spec.confinement.credentials = Some(Credentials { uid, gid: 7, groups: vec![7, 8] });
                spec.confinement.rlimits = vec![Rlimit { resource: 7, soft: 1, hard: u64::MAX }];
                spec.confinement.capabilities = Some(1 << 10);
                spec.group_limits = GroupLimits { memory: Some(1), cpu_percent: Some(200), tasks: Some(3) };
                spec.output = OutputPlace::Tail;
                spec.time_limit = Some(Duration::from_millis(5));
            }
            let bytes = spec.encode().expect("no NUL inside");
            prop_assert_eq!(ShimSpec::decode(&spec.dir, &bytes), Some(spec));
        }

        #[test]
        fn foreign_bytes_are_refused_or_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let magic = [MAGIC.as_bytes(), b"\0", &bytes].concat();
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
            let command = command.iter().map(|it| (*it).to_owned()).collect();
            let none = PathBuf::new();
            let mut spec = ShimSpec::new(none.clone(), command, PathBuf::from("/"), none, String::new());
            spec.environment = BTreeMap::from([(name.to_owned(), value.to_owned())]);
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
