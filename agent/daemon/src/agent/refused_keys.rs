//! Keys that count no more, as this agent knows them: for its own handshakes, for its runners, and for its next start, which
//! may be without a coordinator that says them again.
//!
//! They are refused from the moment at which a coordinator names them. A task writes them behind that: what was not written
//! when the process ends is sent again, because the number up to which they are known is in the same text.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use trimaran_model::limits::{AGENT_REVOKED_MAX, RUNNER_ISSUERS_MAX};
use trimaran_model::time::WallTime;
use trimaran_transport::RevokedKeys;
use trimaran_wire::v1::agent::RevokedKey;
use trimaran_wire::v1::runner::{EarlierKey, RunnerDown};

use crate::certificate::Own;
use crate::log_on_change::LogOnChange;
use crate::revocations::{Revocations, Revoked};
use crate::state::State;

/// Between two tries to write them.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What this agent refuses.
pub(super) struct RefusedKeys {
    known: Arc<Mutex<Revocations>>,
    changed: Arc<Notify>,
    handshakes: RevokedKeys,
    own: Own,
    /// For runners: the keys that this agent's name had before.
    earlier: Option<RunnerDown>,
    /// For runners: the keys of coordinators, when some of them count no more.
    issuers: Option<RunnerDown>,
}

/// What a message of a coordinator changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Added {
    /// There are further keys.
    pub(super) keys: bool,
    /// Runners have to be sent something else than before.
    pub(super) for_runners: bool,
}

impl RefusedKeys {
    /// What an earlier process of this agent learned. A text that can't be used is replaced by what coordinators say.
    pub(super) fn load(state: &State, own: &Own, now: WallTime) -> Self {
        let text = state.revocations().unwrap_or_else(|report| {
            tracing::error!(message = %report.message, cause = %report.cause_text(), "revoked keys can't be read");
            String::new()
        });
        let mut known = Revocations::parse(&text).unwrap_or_else(|| {
            tracing::error!("the text of revoked keys in {state} is damaged; coordinators say them again");
            Revocations::default()
        });
        known.add(now, []);
        // The handle by which this agent judges its own certificate, too.
        let handshakes = own.issuers.clone();
        handshakes.add_issuers(known.issuers.iter().copied());
        handshakes.extend(now, known.ends());
        let mut loaded = Self {
            known: Arc::new(Mutex::new(known)),
            changed: Arc::default(),
            handshakes,
            own: own.clone(),
            earlier: None,
            issuers: None,
        };
        loaded.update_messages();
        loaded.renew_own();
        loaded
    }

    /// For handshakes.
    pub(super) fn handshakes(&self) -> RevokedKeys {
        self.handshakes.clone()
    }

    /// Writes what is known whenever that has changed.
    pub(super) fn keep(&self, state: State) -> impl Future<Output = ()> + use<> {
        let (known, changed) = (self.known.clone(), self.changed.clone());
        async move {
            let mut log = LogOnChange::default();
            loop {
                changed.notified().await;
                while let Err(report) =
                    state.save_revocations(text(&known, state.kept_revocations_max())).await
                {
                    log.warn("revoked keys can't be written; trying again", report.cause_text());
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                log.forget();
            }
        }
    }

    /// Up to which number the revocations of this incarnation of the cluster are known.
    pub(super) fn up_to(&self, incarnation: u64) -> u64 {
        let (of, up_to) = self.known.lock().known;
        if of == incarnation { up_to } else { 0 }
    }

    /// Takes what a coordinator of this incarnation says.
    pub(super) fn add(
        &mut self,
        now: WallTime,
        up_to: (u64, u64),
        keys: &[RevokedKey],
        issuers: Vec<[u8; 32]>,
    ) -> Added {
        let revoked =
            |it: &RevokedKey| (it.key, Revoked { until: WallTime(it.until_ms), of_agent: it.of_agent });
        let new = {
            let mut known = self.known.lock();
            known.known = up_to;
            known.issuers.extend(issuers.iter().copied());
            known.add(now, keys.iter().map(revoked))
        };
        // Ahead of those that count no more: what these certified goes on.
        self.handshakes.add_issuers(issuers);
        self.handshakes.extend(now, keys.iter().map(|it| (it.key, WallTime(it.until_ms))));
        self.changed.notify_one();
        self.renew_own();
        Added { keys: new, for_runners: self.update_messages() }
    }

    /// Whether this agent's own certificate is by a coordinator that was removed: its runners would refuse it.
    pub(super) fn refuses_own(&self) -> bool {
        self.own.is_by_a_removed_coordinator()
    }

    fn renew_own(&self) {
        if self.refuses_own() {
            tracing::info!("a removed coordinator signed the certificate: it is renewed");
            self.own.refused.notify_one();
        }
    }

    /// What a runner has to know beside its orders. Of issuers nothing while it would refuse this agent itself.
    pub(super) fn for_runners(&self) -> impl Iterator<Item = RunnerDown> {
        let issuers = self.issuers.clone().filter(|_| !self.refuses_own());
        self.earlier.clone().into_iter().chain(issuers)
    }

    /// Makes the messages for runners again; whether they are others now.
    fn update_messages(&mut self) -> bool {
        let known = self.known.lock();
        let earlier = known.keys.iter().filter(|(_, it)| it.of_agent).map(|(key, it)| (*key, it.until));
        let earlier = last_of(earlier, AGENT_REVOKED_MAX);
        let revoked = last_of(known.revoked_issuers(), RUNNER_ISSUERS_MAX);
        let issuers = known.issuers.iter().copied().take(RUNNER_ISSUERS_MAX).collect();
        drop(known);
        let earlier = (!earlier.is_empty()).then_some(RunnerDown::Revoked { keys: earlier });
        let issuers = (!revoked.is_empty()).then_some(RunnerDown::Issuers { known: issuers, revoked });
        let changed = (&earlier, &issuers) != (&self.earlier, &self.issuers);
        (self.earlier, self.issuers) = (earlier, issuers);
        changed
    }
}

/// The text of the last ones. Where some are left out, the next process asks for all of them.
fn text(known: &Mutex<Revocations>, max: usize) -> String {
    let mut known = known.lock().clone();
    if !known.keep(max) {
        known.known.1 = 0;
    }
    known.text()
}

/// Those that are refused for longest, at most `max`.
fn last_of(keys: impl Iterator<Item = ([u8; 32], WallTime)>, max: usize) -> Vec<EarlierKey> {
    let mut keys: Vec<_> = keys.map(|(key, until)| EarlierKey { key, until_ms: until.0 }).collect();
    keys.sort_unstable_by_key(|it| (it.until_ms, it.key));
    keys.drain(..keys.len().saturating_sub(max));
    keys
}

#[cfg(test)]
mod tests {
    use trimaran_model::id::Identity;
    use trimaran_process::DataDir;
    use trimaran_transport::authority::{Authority, Issuer};
    use trimaran_transport::enroll::{Csr, make_key_and_csr};
    use trimaran_transport::files::IdentityFiles;

    use super::*;

    const NOW: WallTime = WallTime(1_800_000_000_000);

    fn revoked(key: u16, end: i64, of_agent: bool) -> RevokedKey {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&key.to_be_bytes());
        RevokedKey { key: bytes, until_ms: NOW.0 + end, of_agent }
    }

    /// A cluster with two coordinators.
    struct World {
        _folder: tempfile::TempDir,
        authority: Authority,
        issuers: [Issuer; 2],
        state: State,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a directory");
            let state = State::Directory(DataDir::at(folder.path()).expect("a path"));
            let authority = Authority::new_root("lab", NOW).expect("a root");
            let issuer =
                |name: &str| authority.new_issuer(&name.parse().expect("a name"), 0, NOW).expect("an issuer");
            let issuers = [issuer("c1"), issuer("c2")];
            Self { _folder: folder, authority, issuers, state }
        }

        fn files(&self, issuer: usize) -> IdentityFiles {
            let agent = Identity::Agent("lab".parse().expect("a name"));
            let (key, csr) = make_key_and_csr("any").expect("a key");
            let csr = Csr::parse(&csr).expect("a request");
            let issued = self.issuers[issuer].issue(&agent, &csr, NOW, trimaran_model::limits::LEAF_TTL);
            let cert = issued.expect("a leaf").pem();
            IdentityFiles { cert, key, ca: self.authority.certificate_pem() }
        }

        async fn enrolled(&self) -> Own {
            self.state.save_identity(&self.files(0)).await.expect("written");
            let agent = Identity::Agent("lab".parse().expect("a name"));
            Own::load(&self.state, &agent).expect("readable").expect("enrolled")
        }

        fn keys(&self) -> [[u8; 32]; 2] {
            [self.issuers[0].key_digest().0, self.issuers[1].key_digest().0]
        }
    }

    fn named(refused: &RefusedKeys) -> Vec<u16> {
        let key = |it: &EarlierKey| u16::from_be_bytes([it.key[0], it.key[1]]);
        let keys = refused.for_runners().find_map(|message| match message {
            RunnerDown::Revoked { keys } => Some(keys.iter().map(key).collect()),
            _ => None,
        });
        keys.unwrap_or_default()
    }

    #[tokio::test]
    async fn what_a_coordinator_said_is_known_to_the_next_process() {
        let world = World::new();
        let own = world.enrolled().await;
        let mut refused = RefusedKeys::load(&world.state, &own, NOW);
        assert_eq!((refused.up_to(7), refused.handshakes().len()), (0, 0));
        let keys = [revoked(1, 10, false), revoked(2, 10, true), revoked(3, 20, true)];
        let added = refused.add(NOW, (7, 12), &keys, Vec::new());
        assert_eq!(added, Added { keys: true, for_runners: true });
        let again = refused.add(NOW, (7, 12), &keys, Vec::new());
        assert_eq!(again, Added { keys: false, for_runners: false });
        let kept = tokio::time::timeout(Duration::from_secs(5), async {
            tokio::select! {
                () = refused.keep(world.state.clone()) => {}
                () = async {
                    while world.state.revocations().expect("readable").is_empty() {
                        tokio::task::yield_now().await;
                    }
                } => {}
            }
        });
        kept.await.expect("it is written");

        let own = world.enrolled().await;
        let mut next = RefusedKeys::load(&world.state, &own, NOW);
        assert_eq!((next.up_to(7), next.up_to(8), next.handshakes().len()), (12, 0, 3));
        assert_eq!(named(&next), [2, 3], "runners know their agent by its name");
        let many: Vec<RevokedKey> = (10..2010).map(|it| revoked(it, 100 + i64::from(it), true)).collect();
        next.add(NOW, (7, 13), &many, Vec::new());
        assert_eq!(named(&next).len(), AGENT_REVOKED_MAX);
        assert!(named(&next).contains(&2009) && !named(&next).contains(&10), "the last ones");
        let later = RefusedKeys::load(&world.state, &world.enrolled().await, WallTime(NOW.0 + 15));
        assert_eq!((later.handshakes().len(), named(&later)), (1, vec![3]), "the others are over");
    }

    #[tokio::test]
    async fn runners_learn_of_a_removed_coordinator_when_the_agents_own_certificate_is_by_another_one() {
        let world = World::new();
        let own = world.enrolled().await;
        let mut refused = RefusedKeys::load(&world.state, &own, NOW);
        let [first, second] = world.keys();
        let gone = RevokedKey { key: first, until_ms: NOW.0 + 1000, of_agent: false };
        let added = refused.add(NOW, (7, 1), &[gone], vec![first, second]);
        assert_eq!(added, Added { keys: true, for_runners: true });
        assert!(refused.refuses_own() && refused.for_runners().next().is_none());
        own.refused.notified().await;
        own.store.replace(&world.files(1)).expect("usable");
        assert!(!refused.refuses_own());
        let messages: Vec<RunnerDown> = refused.for_runners().collect();
        let mut known = vec![first, second];
        known.sort_unstable();
        let revoked = vec![EarlierKey { key: first, until_ms: gone.until_ms }];
        assert_eq!(messages, [RunnerDown::Issuers { known, revoked }]);
    }

    #[test]
    fn of_more_keys_than_fit_the_last_ones_are_kept_and_the_next_process_asks_for_all() {
        let revoked = |until| Revoked { until: WallTime(until), of_agent: false };
        let mut known = Revocations { known: (7, 9), ..Revocations::default() };
        known.add(WallTime(0), [([1; 32], revoked(10)), ([2; 32], revoked(20))]);
        let known = Mutex::new(known);
        let read = |max| Revocations::parse(&text(&known, max)).expect("a text");
        assert_eq!((read(2).known, read(2).keys.len()), ((7, 9), 2));
        assert_eq!((read(1).known, read(1).keys.keys().next()), ((7, 0), Some(&[2; 32])));
    }
}
