//! The configuration file with its contexts: `TRIMARAN_CONFIG`, else `~/.config/trimaran/config.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml_edit::{DocumentMut, Item, TableLike};

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The context that is used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// One cluster with the identity to use there. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Coordinators, `HOST:PORT`.
    pub endpoints: Vec<String>,
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the configuration {path} can't be read")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration {path} is not valid: {why}")]
    Parse {
        path: PathBuf,
        why: String,
        /// Both from 1; the column counts characters.
        line: usize,
        column: usize,
    },
    #[error("the configuration {path} can't be written")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("there is no context `{name}`; there are: {known}")]
    Unknown { name: String, known: String },
    #[error("no context is chosen and none is named")]
    NoneChosen,
}

/// Where the configuration is.
pub fn path() -> PathBuf {
    let named = std::env::var_os("TRIMARAN_CONFIG").filter(|path| !path.is_empty());
    if let Some(path) = named {
        return PathBuf::from(path);
    }
    let base = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".config"));
    base.join("trimaran/config.toml")
}

impl Config {
    /// Reads the file; one that is not there is an empty configuration.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
        };
        toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
            Error::Parse { path: path.to_owned(), why: error.message().to_owned(), line, column }
        })
    }

    /// Writes the file by rename, so that a reader sees the old or the new one. Comments, order and fields that this
    /// build does not know stay.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let write = || -> std::io::Result<()> {
            let folder = path.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder)?;
            let text = self.merged_into(&std::fs::read_to_string(path).unwrap_or_default());
            let temporary = path.with_extension(format!("tmp{}", std::process::id()));
            std::fs::write(&temporary, text)?;
            std::fs::rename(&temporary, path)
        };
        write().map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    /// The text of a file with what is different here. A file that is not TOML is written anew.
    fn merged_into(&self, text: &str) -> String {
        let mut document = text.parse::<DocumentMut>().unwrap_or_default();
        let own = toml::to_string(self).expect("the configuration is plain data");
        let own = own.parse::<DocumentMut>().expect("it was written as TOML");
        update(document.as_table_mut(), own.as_table());
        if self.current.is_none() {
            document.remove("current");
        }
        if let Some(contexts) = document.get_mut("contexts").and_then(Item::as_table_like_mut) {
            let known: Vec<String> = contexts.iter().map(|(name, _)| name.to_owned()).collect();
            for gone in known.iter().filter(|name| !self.contexts.contains_key(*name)) {
                contexts.remove(gone);
            }
        }
        document.to_string()
    }

    /// The named context, else the current one, else the only one.
    pub fn context(&self, name: Option<&str>) -> Result<(&str, &Context), Error> {
        let only = || (self.contexts.len() == 1).then(|| self.contexts.keys().next()).flatten();
        let name =
            name.or(self.current.as_deref()).or(only().map(String::as_str)).ok_or(Error::NoneChosen)?;
        let found = self.contexts.get_key_value(name).ok_or_else(|| Error::Unknown {
            name: name.to_owned(),
            known: self.contexts.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        Ok((found.0, found.1))
    }
}

/// Sets what is different in `new`; what is the same keeps its form.
fn update(old: &mut dyn TableLike, new: &dyn TableLike) {
    for (key, item) in new.iter() {
        match (old.get_mut(key), item.as_table_like()) {
            (Some(known), Some(table)) if known.is_table_like() => {
                update(known.as_table_like_mut().expect("it is a table"), table);
            }
            (Some(known), None) => {
                let text = |item: &Item| item.clone().into_value().map(|it| it.decorated("", "").to_string());
                if text(known).ok() != text(item).ok() {
                    *known = item.clone();
                }
            }
            (Some(_) | None, _) => drop(old.insert(key, item.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(endpoint: &str) -> Context {
        let file = |name: &str| PathBuf::from("/somewhere").join(name);
        Context { endpoints: vec![endpoint.to_owned()], ca: file("ca"), cert: file("cert"), key: file("key") }
    }

    #[test]
    fn a_configuration_reads_back_what_it_wrote() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("deep/config.toml");
        let contexts = BTreeMap::from([("dev".to_owned(), context("127.0.0.1:1"))]);
        let config = Config { current: Some("dev".to_owned()), contexts };
        config.save(&path).expect("written");
        assert_eq!(Config::load(&path).expect("read"), config);
        assert_eq!(Config::load(&folder.path().join("none")).expect("empty"), Config::default());
    }

    #[test]
    fn comments_and_order_stay_when_a_context_is_added() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("config.toml");
        let text = "\
# ours
current = \"prod\" # careful

[contexts.prod] # three machines
endpoints = [\"a:1\", \"b:1\"]
ca = \"/somewhere/ca\"
cert = \"/somewhere/cert\"
key = \"/somewhere/key\"
";
        std::fs::write(&path, text).expect("written");
        let mut config = Config::load(&path).expect("read");
        config.contexts.insert("dev".to_owned(), context("127.0.0.1:1"));
        config.save(&path).expect("written");
        let now = std::fs::read_to_string(&path).expect("read");
        assert!(now.starts_with(text), "{now}");
        assert_eq!(Config::load(&path).expect("read"), config);
        config.contexts.remove("prod");
        config.current = Some("dev".to_owned());
        config.save(&path).expect("written");
        assert_eq!(Config::load(&path).expect("read"), config);
    }

    #[test]
    fn a_configuration_that_is_not_valid_says_where() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("config.toml");
        for (text, place) in [("[contexts.x]\nendpoints = 5\n", (2, 13)), ("# \u{fc}\n[[[[", (2, 3))] {
            std::fs::write(&path, text).expect("written");
            let error = Config::load(&path).expect_err("not valid");
            let Error::Parse { line, column, .. } = error else { panic!("{error}") };
            assert_eq!((line, column), place, "{text}");
        }
    }

    #[test]
    fn the_only_context_needs_no_name() {
        let mut config = Config::default();
        assert!(matches!(config.context(None), Err(Error::NoneChosen)));
        config.contexts.insert("a".to_owned(), context("a:1"));
        assert_eq!(config.context(None).expect("the only one").0, "a");
        config.contexts.insert("b".to_owned(), context("b:1"));
        assert!(matches!(config.context(None), Err(Error::NoneChosen)));
        assert!(matches!(config.context(Some("c")), Err(Error::Unknown { .. })));
    }
}
