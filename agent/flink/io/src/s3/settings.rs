//! Where the store is and who the agent is there, as the tools of AWS name both: variables of the environment, and the file
//! of shared credentials. The file is read before each listing, so that replaced keys are used without a restart.

use std::path::{Path, PathBuf};

use super::signature::Keys;

/// Bytes of a file of shared credentials.
const FILE_BYTES_MAX: u64 = 1 << 20;
const DEFAULT_REGION: &str = "us-east-1";
const DEFAULT_PROFILE: &str = "default";

/// What the agent knows of its object store.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Settings {
    pub(crate) region: String,
    /// `None`: AWS itself.
    pub(crate) endpoint: Option<String>,
    /// A PEM file with the certificates to trust instead of the well-known ones.
    pub(crate) ca: Option<PathBuf>,
    keys: Source,
}

#[derive(Clone, PartialEq, Eq)]
enum Source {
    Given(Keys),
    File {
        path: PathBuf,
        profile: String,
    },
    /// There is no home directory in which a file could be.
    None,
}

/// Why there are no keys. Their values are never named.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error(
        "the agent has no keys for it: set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or \
         `AWS_SHARED_CREDENTIALS_FILE`, in its environment"
    )]
    None,
    #[error("can't read `{path}` with the agent's keys: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("`{path}` has no keys of the profile `{profile}`")]
    NoProfile { path: String, profile: String },
}

impl S3Settings {
    /// Reads `AWS_REGION` (or `AWS_DEFAULT_REGION`), `AWS_ENDPOINT_URL_S3` (or `AWS_ENDPOINT_URL`), `AWS_CA_BUNDLE`,
    /// `AWS_ACCESS_KEY_ID` with `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, `AWS_SHARED_CREDENTIALS_FILE` with
    /// `AWS_PROFILE`, and `HOME`. An empty variable counts as none.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let first = |names: [&str; 2]| names.into_iter().find_map(&variable);
        let keys = match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => {
                Source::Given(Keys { id, secret, token: variable("AWS_SESSION_TOKEN") })
            }
            _ => {
                let home = || variable("HOME").map(|home| Path::new(&home).join(".aws/credentials"));
                let path = variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(home);
                let profile = variable("AWS_PROFILE").unwrap_or_else(|| DEFAULT_PROFILE.to_owned());
                path.map_or(Source::None, |path| Source::File { path, profile })
            }
        };
        Self {
            region: first(["AWS_REGION", "AWS_DEFAULT_REGION"]).unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            endpoint: first(["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
                .map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
            ca: variable("AWS_CA_BUNDLE").map(PathBuf::from),
            keys,
        }
    }

    /// The keys as they are now.
    pub(crate) async fn keys(&self) -> Result<Keys, KeysError> {
        match &self.keys {
            Source::Given(keys) => Ok(keys.clone()),
            Source::None => Err(KeysError::None),
            Source::File { path, profile } => {
                let text = match read_text(path).await {
                    Ok(text) => text,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        return Err(KeysError::None);
                    }
                    Err(source) => return Err(KeysError::Io { path: path.display().to_string(), source }),
                };
                keys_of(&text, profile).ok_or_else(|| KeysError::NoProfile {
                    path: path.display().to_string(),
                    profile: profile.clone(),
                })
            }
        }
    }
}

async fn read_text(path: &Path) -> std::io::Result<String> {
    use tokio::io::AsyncReadExt as _;

    let file = tokio::fs::File::open(path).await?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).await?;
    Ok(text)
}

/// The keys of one section.
fn keys_of(text: &str, profile: &str) -> Option<Keys> {
    let (mut is_here, mut id, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            is_here = section.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_here) {
            let value = Some(value.trim().to_owned());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Keys { id: id?, secret: secret?, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> S3Settings {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        S3Settings::from_variables(value)
    }

    #[test]
    fn variables_win_over_the_file_and_the_own_endpoint_over_the_general_one() {
        let it = settings(&[
            ("HOME", "/root"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT_URL", "http://other"),
            ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000/"),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
        ]);
        assert_eq!(it.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(it.region, "eu-central-1");
        assert!(matches!(&it.keys, Source::Given(keys) if keys.id == "id" && keys.token.is_none()));
        let bare = settings(&[("AWS_ACCESS_KEY_ID", "id"), ("AWS_REGION", "")]);
        assert!(bare.keys == Source::None && bare.region == "us-east-1" && bare.endpoint.is_none());
        assert!(matches!(settings(&[("HOME", "/root")]).keys, Source::File { .. }));
    }

    #[test]
    fn the_keys_of_a_profile_are_found() {
        let text = "[default]\naws_access_key_id = a\naws_secret_access_key=b\n\n# other\n[flink]\n\
                    region = x\naws_access_key_id=c\naws_secret_access_key = d=\naws_session_token=e\n";
        let keys = keys_of(text, "default").expect("it is there");
        assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.token), ("a", "b", None));
        let keys = keys_of(text, "flink").expect("it is there");
        assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.token.as_deref()), ("c", "d=", Some("e")));
        assert!(keys_of(text, "none").is_none());
    }
}
