//! Earlier keys of the own agent, which were revoked when another process became that agent: a runner knows its agent by
//! name, and whoever has a copy of an earlier key must not order it.
//!
//! Kept in `DATA/revoked`, a key and its end a line: a runner that starts again meets its agent before it could be notified
//! again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use trimaran_model::id::Digest;
use trimaran_model::limits::AGENT_REVOKED_MAX;
use trimaran_model::time::WallTime;
use trimaran_process::files::write_atomically;
use trimaran_transport::{CertificateInfo, RevokedKeys};
use trimaran_wire::v1::runner::EarlierKey;

/// A clone is another handle.
#[derive(Clone)]
pub(crate) struct RevokedAgents {
    keys: RevokedKeys,
    /// As they are in the file.
    written: Arc<Mutex<Vec<(Digest, WallTime)>>>,
    file: PathBuf,
}

impl RevokedAgents {
    /// Those that an earlier process learned of. A file that can't be used keeps no service from running: its agent names them
    /// all again when it is met.
    pub(crate) fn load(data_dir: &Path, now: WallTime) -> Self {
        let file = data_dir.join("revoked");
        let written = read(&file).unwrap_or_else(|error| {
            tracing::error!(%error, file = %file.display(), "earlier keys of the agent can't be read");
            Vec::new()
        });
        let keys = RevokedKeys::default();
        keys.extend(now, written.iter().map(|(key, until)| (key.0, *until)));
        Self { keys, written: Arc::new(Mutex::new(written)), file }
    }

    /// Whether a certificate is of such a key.
    pub(crate) fn contains(&self, certificate: &CertificateInfo) -> bool {
        self.keys.contains(certificate)
    }

    /// Refuses these too, from now on and after a restart.
    pub(crate) async fn add(&self, now: WallTime, keys: &[EarlierKey]) -> io::Result<()> {
        let keys: Vec<(Digest, WallTime)> =
            keys.iter().take(AGENT_REVOKED_MAX).map(|it| (Digest(it.key), WallTime(it.until_ms))).collect();
        if !self.keys.extend(now, keys.iter().map(|(key, until)| (key.0, *until))) {
            return Ok(());
        }
        let all = {
            let mut written = self.written.lock();
            written.retain(|(known, until)| *until >= now && !keys.iter().any(|(key, _)| key == known));
            written.extend(keys.into_iter().filter(|(_, until)| *until >= now));
            let first = written.len().saturating_sub(AGENT_REVOKED_MAX);
            written.drain(..first);
            written.clone()
        };
        let text: String = all.iter().map(|(key, until)| format!("{key} {}\n", until.0)).collect();
        let file = self.file.clone();
        let saved =
            tokio::task::spawn_blocking(move || write_atomically(&file, text.as_bytes(), 0o600)).await;
        saved.map_err(io::Error::other)?.map_err(io::Error::other)
    }
}

fn read(file: &Path) -> io::Result<Vec<(Digest, WallTime)>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let line = |line: &str| {
        let (key, until) = line.split_once(' ')?;
        Some((key.parse::<Digest>().ok()?, WallTime(until.parse().ok()?)))
    };
    let lines = text.lines().map(line).collect::<Option<Vec<_>>>();
    lines.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a line is no key with its end"))
}

#[cfg(test)]
mod tests {
    use trimaran_model::id::Identity;

    use super::*;

    fn certificate(key: u8) -> CertificateInfo {
        CertificateInfo {
            cluster: "c".to_owned(),
            identity: Identity::Agent("lab".parse().expect("a name")),
            serial: Vec::new(),
            spki: Digest([key; 32]),
            fingerprint: Digest([0; 32]),
            not_before: WallTime(0),
            not_after: WallTime(100),
            issuers: Vec::new(),
        }
    }

    fn revoked(key: u8, until_ms: i64) -> EarlierKey {
        EarlierKey { key: [key; 32], until_ms }
    }

    #[tokio::test]
    async fn earlier_keys_of_the_agent_are_refused_after_a_restart_too_until_their_end() {
        let folder = tempfile::tempdir().expect("a directory");
        let known = RevokedAgents::load(folder.path(), WallTime(0));
        known.add(WallTime(0), &[revoked(1, 10), revoked(2, 20)]).await.expect("written");
        assert!(known.contains(&certificate(1)) && !known.contains(&certificate(3)));
        let again = RevokedAgents::load(folder.path(), WallTime(5));
        assert!(again.contains(&certificate(1)) && again.contains(&certificate(2)));
        again.add(WallTime(15), &[revoked(3, 30)]).await.expect("written");
        let last = RevokedAgents::load(folder.path(), WallTime(15));
        let refused = [1, 2, 3].map(|key| last.contains(&certificate(key)));
        assert_eq!(refused, [false, true, true], "the first one's certificates are over");
        std::fs::write(folder.path().join("revoked"), "half a li").expect("written");
        let damaged = RevokedAgents::load(folder.path(), WallTime(0));
        damaged.add(WallTime(0), &[revoked(2, 20)]).await.expect("the agent names it again");
        assert!(RevokedAgents::load(folder.path(), WallTime(0)).contains(&certificate(2)));
    }
}
