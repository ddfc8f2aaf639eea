//! By which certificates a runner knows that who dials as its agent is not: those of earlier keys of that agent, which were
//! revoked when another process became it, and those that a coordinator signs which was removed. Whoever has a copy of such a
//! key must not order the runner.
//!
//! Kept in `DATA/revoked`: a runner that starts again meets its agent before it could be notified again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use trimaran_model::limits::{AGENT_REVOKED_MAX, RUNNER_ISSUERS_MAX};
use trimaran_model::time::WallTime;
use trimaran_process::files::write_atomically;
use trimaran_transport::{CertificateInfo, RevokedKeys};
use trimaran_wire::v1::runner::EarlierKey;

use crate::revocations::{Revocations, Revoked};

/// A clone is another handle.
#[derive(Clone)]
pub(crate) struct RevokedAgents {
    keys: RevokedKeys,
    /// As they are in the file.
    written: Arc<Mutex<Revocations>>,
    file: PathBuf,
}

impl RevokedAgents {
    /// What an earlier process learned of. A file that can't be used keeps no service from running: its agent says it all again
    /// when it is met.
    pub(crate) fn load(data_dir: &Path, now: WallTime) -> Self {
        let file = data_dir.join("revoked");
        let written = read(&file).unwrap_or_else(|error| {
            tracing::error!(%error, file = %file.display(), "revoked keys of agents can't be read");
            Revocations::default()
        });
        let keys = RevokedKeys::default();
        keys.add_issuers(written.issuers.iter().copied());
        keys.extend(now, written.ends());
        Self { keys, written: Arc::new(Mutex::new(written)), file }
    }

    /// Whether a certificate proves nothing: its key counts no more, or that of its issuer.
    pub(crate) fn refuses(&self, certificate: &CertificateInfo) -> bool {
        self.keys.contains(certificate) || self.keys.refuses_issuer(certificate)
    }

    /// Refuses earlier keys of the agent too, from now on and after a restart.
    pub(crate) async fn add(&self, now: WallTime, keys: &[EarlierKey]) -> io::Result<()> {
        let keys = &keys[..keys.len().min(AGENT_REVOKED_MAX)];
        self.extend(now, keys, true, &[]).await
    }

    /// Refuses what revoked ones among the issuers sign, from now on and after a restart.
    pub(crate) async fn add_issuers(
        &self,
        now: WallTime,
        issuers: &[[u8; 32]],
        revoked: &[EarlierKey],
    ) -> io::Result<()> {
        if issuers.len().max(revoked.len()) > RUNNER_ISSUERS_MAX {
            return Err(io::Error::other("more issuers than a runner knows"));
        }
        self.extend(now, revoked, false, issuers).await
    }

    async fn extend(
        &self,
        now: WallTime,
        keys: &[EarlierKey],
        of_agent: bool,
        issuers: &[[u8; 32]],
    ) -> io::Result<()> {
        // Ahead of those that count no more: what these certified goes on.
        self.keys.add_issuers(issuers.iter().copied());
        self.keys.extend(now, keys.iter().map(|it| (it.key, WallTime(it.until_ms))));
        let text = {
            let mut written = self.written.lock();
            let revoked = |it: &EarlierKey| (it.key, Revoked { until: WallTime(it.until_ms), of_agent });
            let new = written.add(now, keys.iter().map(revoked));
            if !new && (issuers.is_empty() || written.issuers.iter().eq(issuers)) {
                return Ok(());
            }
            if !issuers.is_empty() {
                written.issuers = issuers.iter().copied().collect();
            }
            written.keep(AGENT_REVOKED_MAX + RUNNER_ISSUERS_MAX);
            written.text()
        };
        let file = self.file.clone();
        let saved =
            tokio::task::spawn_blocking(move || write_atomically(&file, text.as_bytes(), 0o600)).await;
        saved.map_err(io::Error::other)?.map_err(io::Error::other)
    }
}

fn read(file: &Path) -> io::Result<Revocations> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Revocations::default()),
        Err(error) => return Err(error),
    };
    let read = Revocations::parse(&text);
    read.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a line is no key with its end"))
}

#[cfg(test)]
mod tests {
    use trimaran_model::id::{Digest, Identity};

    use super::*;

    fn certificate(key: u8, issuers: &[u8]) -> CertificateInfo {
        CertificateInfo {
            cluster: "c".to_owned(),
            identity: Identity::Agent("lab".parse().expect("a name")),
            serial: Vec::new(),
            spki: Digest([key; 32]),
            fingerprint: Digest([0; 32]),
            not_before: WallTime(0),
            not_after: WallTime(100),
            issuers: issuers.iter().map(|key| Digest([*key; 32])).collect(),
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
        let refuses = |known: &RevokedAgents, key| known.refuses(&certificate(key, &[]));
        assert!(refuses(&known, 1) && !refuses(&known, 3));
        let again = RevokedAgents::load(folder.path(), WallTime(5));
        assert!(refuses(&again, 1) && refuses(&again, 2));
        again.add(WallTime(15), &[revoked(3, 30)]).await.expect("written");
        let last = RevokedAgents::load(folder.path(), WallTime(15));
        let refused = [1, 2, 3].map(|key| refuses(&last, key));
        assert_eq!(refused, [false, true, true], "the first one's certificates are over");
        std::fs::write(folder.path().join("revoked"), "half a li").expect("written");
        let damaged = RevokedAgents::load(folder.path(), WallTime(0));
        damaged.add(WallTime(0), &[revoked(2, 20)]).await.expect("the agent names it again");
        assert!(refuses(&RevokedAgents::load(folder.path(), WallTime(0)), 2));
    }

    #[tokio::test]
    async fn what_a_removed_coordinator_signs_is_refused_after_a_restart_too() {
        let folder = tempfile::tempdir().expect("a directory");
        let known = RevokedAgents::load(folder.path(), WallTime(0));
        let (first, second, new) =
            (certificate(1, &[11]), certificate(1, &[12, 11]), certificate(1, &[9, 11]));
        known.add(WallTime(0), &[revoked(2, 20)]).await.expect("written");
        known.add_issuers(WallTime(0), &[[11; 32], [12; 32]], &[revoked(11, 100)]).await.expect("written");
        for known in [known, RevokedAgents::load(folder.path(), WallTime(0))] {
            assert!(known.refuses(&first), "it was removed");
            assert!(!known.refuses(&second), "it certified another one while it was a member");
            assert!(known.refuses(&new), "and this one since");
            assert!(known.refuses(&certificate(2, &[12])), "an earlier key");
        }
        let too_many = vec![[1; 32]; RUNNER_ISSUERS_MAX + 1];
        let known = RevokedAgents::load(folder.path(), WallTime(0));
        known.add_issuers(WallTime(0), &too_many, &[]).await.expect_err("more than any cluster has");
    }
}
