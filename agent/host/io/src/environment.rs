//! What a service's environment is made of: nothing of it comes from whoever started the runner.
//!
//! Not here: the variables that name the release (`platform`).

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use trimaran_host_core::host::HostFailure;
use trimaran_model::pipeline::Process;
use trimaran_model::reason::ReasonCode;

use crate::account::{self, Resolved};
use crate::filesystem::open_regular;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const LANG: &str = "C.UTF-8";
/// Bytes of one file of variables, and of one secret.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// `PATH HOME USER LOGNAME LANG` for the user that a service runs as.
pub(crate) fn base_environment(who: &Resolved) -> BTreeMap<String, String> {
    let mut base = account::variables(who);
    base.extend([("PATH", PATH), ("LANG", LANG)].map(|(name, value)| (name.to_owned(), value.to_owned())));
    base
}

/// The environment of a service, without what Trimaran sets itself. What comes later counts more: the base, its files in
/// `release`, its own variables, its secrets.
pub(crate) fn environment(
    process: &Process,
    who: &Resolved,
    release: &Path,
    secrets: Option<&Path>,
) -> Result<BTreeMap<String, String>, HostFailure> {
    let mut all = base_environment(who);
    for file in &process.environment_files {
        let failed = |why: String| HostFailure::new(ReasonCode::EnvironmentFile, format!("`{file}`: {why}"));
        let text = read(&release.join(file)).map_err(|error| failed(error.to_string()))?;
        all.extend(parse(&text).map_err(failed)?);
    }
    all.extend(process.environment.clone());
    for (variable, name) in &process.secrets {
        let failed = |why: String| {
            let message = format!("the secret `{name}` for `{variable}`: {why}");
            HostFailure::new(ReasonCode::SecretMissing, message)
        };
        let Some(directory) = secrets else {
            return Err(failed("the runner was started without `--secrets DIR`".to_owned()));
        };
        let path = directory.join(name);
        let text = read(&path).map_err(|error| failed(format!("{}: {error}", path.display())))?;
        // Editors and `echo` end a file with a line's end, which is not meant.
        all.insert(variable.clone(), text.strip_suffix('\n').unwrap_or(&text).to_owned());
    }
    Ok(all)
}

/// A text file of bounded size without NUL, which no variable can hold.
fn read(path: &Path) -> std::io::Result<String> {
    let invalid = |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_owned());
    let mut text = String::new();
    open_regular(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(invalid(&format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    if text.contains('\0') {
        return Err(invalid("it holds a NUL character"));
    }
    Ok(text)
}

/// Lines `NAME=VALUE`. Empty ones and those that begin with `#` say nothing; quotes around a whole value are not part of
/// it. Nothing is expanded: no shell reads this.
fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.split_once('=').filter(|(name, _)| is_name(name.trim_end()));
        let Some((name, value)) = pair else {
            return Err(format!("line {number} is not like NAME=VALUE"));
        };
        let value = value.trim_start();
        let bare = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        variables.insert(name.trim_end().to_owned(), bare.unwrap_or(value).to_owned());
    }
    Ok(variables)
}

/// A name of letters, digits and `_` that does not begin with a digit, and is none of Trimaran's own.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(plain)
        && !name.starts_with("TRIMARAN_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use trimaran_model::pipeline::{Account, Restart, RestartOn, Stop, StopSignal};
    use trimaran_model::time::Millis;

    fn process() -> Process {
        let stop = Stop { signal: StopSignal::Term, grace: Millis(1) };
        let restart = Restart { on: RestartOn::Never, delay: Millis(1), max: 1, per: Millis(1) };
        Process::new(vec!["web".to_owned()], stop, restart)
    }

    fn own() -> Resolved {
        account::resolve(&Account::default()).expect("the own user")
    }

    #[test]
    fn the_base_is_five_variables_of_which_none_is_inherited() {
        let base = base_environment(&own());
        let names: Vec<&str> = base.keys().map(String::as_str).collect();
        assert_eq!(names, ["HOME", "LANG", "LOGNAME", "PATH", "USER"]);
        assert_eq!((base["PATH"].as_str(), base["LANG"].as_str()), (PATH, LANG));
        assert!(base["HOME"].starts_with('/') && base["USER"] == base["LOGNAME"]);
    }

    #[test]
    fn files_own_variables_and_secrets_count_in_this_order() {
        let folder = tempfile::tempdir().expect("a directory");
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writable");
        write("one", "# comment\n\nA=1\nB = \"x y\" \nC='z'\nPATH=/opt\n");
        write("two", "A=2\nD=a=b #c\n");
        write("password", "geheim\n");
        let mut process = process();
        process.environment_files = vec!["one".to_owned(), "two".to_owned()];
        process.environment = BTreeMap::from([("C".to_owned(), "own".to_owned())]);
        process.secrets = BTreeMap::from([("DB".to_owned(), "password".to_owned())]);
        let all = environment(&process, &own(), folder.path(), Some(folder.path())).expect("all is there");
        let get = |name: &str| all.get(name).map(String::as_str);
        assert_eq!((get("A"), get("B"), get("C")), (Some("2"), Some("x y"), Some("own")));
        assert_eq!((get("D"), get("PATH"), get("DB")), (Some("a=b #c"), Some("/opt"), Some("geheim")));
    }

    #[test]
    fn what_is_missing_or_no_variable_is_named() {
        let folder = tempfile::tempdir().expect("a directory");
        let mut process = process();
        process.secrets = BTreeMap::from([("DB".to_owned(), "password".to_owned())]);
        let missing = environment(&process, &own(), folder.path(), None).expect_err("no directory");
        assert_eq!(missing.code, ReasonCode::SecretMissing);
        assert!(missing.message.contains("--secrets"), "{}", missing.message);
        let missing = environment(&process, &own(), folder.path(), Some(folder.path())).expect_err("no file");
        assert!(missing.message.contains("`password` for `DB`"), "{}", missing.message);
        process.environment_files = vec!["env".to_owned()];
        for (text, line) in [("A=1\nexport B=2", "line 2"), ("=1", "line 1"), ("TRIMARAN_RUN=x", "line 1")] {
            std::fs::write(folder.path().join("env"), text).expect("writable");
            let bad = environment(&process, &own(), folder.path(), None).expect_err("no variable");
            assert_eq!(bad.code, ReasonCode::EnvironmentFile);
            assert!(bad.message.contains(line), "{text}: {}", bad.message);
        }
    }
}
