//! Keys that the name of this agent had before, for its runners: they know their agent by name.

use std::collections::BTreeMap;

use trimaran_model::limits::AGENT_REVOKED_MAX;
use trimaran_model::time::WallTime;
use trimaran_wire::v1::agent::RevokedKey;
use trimaran_wire::v1::runner::{EarlierKey, RunnerDown};

/// Keys of earlier processes with this agent's name: another one was enrolled in the place of each.
#[derive(Debug, Default)]
pub(super) struct EarlierKeys(BTreeMap<[u8; 32], i64>);

impl EarlierKeys {
    /// Takes those among revoked keys that were the agent's own, and forgets what is over; true when there are new ones.
    pub(super) fn add(&mut self, now: WallTime, keys: &[RevokedKey]) -> bool {
        self.0.retain(|_, until_ms| *until_ms >= now.0);
        let mut new = false;
        for key in keys.iter().filter(|key| key.of_agent && key.until_ms >= now.0) {
            new |= self.0.insert(key.key, key.until_ms).is_none();
        }
        while self.0.len() > AGENT_REVOKED_MAX
            && let Some(first) = self.0.iter().min_by_key(|(_, until_ms)| **until_ms).map(|(key, _)| *key)
        {
            self.0.remove(&first);
        }
        new
    }

    /// All of them, for a runner; `None` when there are none.
    pub(super) fn message(&self) -> Option<RunnerDown> {
        let key = |(key, until_ms): (&[u8; 32], &i64)| EarlierKey { key: *key, until_ms: *until_ms };
        (!self.0.is_empty()).then(|| RunnerDown::Revoked { keys: self.0.iter().map(key).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u16, until_ms: i64, of_agent: bool) -> RevokedKey {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        RevokedKey { key, until_ms, of_agent }
    }

    fn named(keys: &EarlierKeys) -> Vec<u16> {
        let Some(RunnerDown::Revoked { keys }) = keys.message() else { return Vec::new() };
        keys.iter().map(|it| u16::from_be_bytes([it.key[0], it.key[1]])).collect()
    }

    #[test]
    fn runners_are_sent_the_agents_own_earlier_keys_alone_and_no_more_than_fit() {
        let mut keys = EarlierKeys::default();
        assert!(!keys.add(WallTime(0), &[key(1, 10, false)]), "a runner's");
        assert!(keys.message().is_none());
        assert!(keys.add(WallTime(0), &[key(2, 10, true), key(3, 20, true)]));
        assert!(!keys.add(WallTime(0), &[key(2, 10, true)]), "it is known");
        assert_eq!(named(&keys), [2, 3]);
        assert!(keys.add(WallTime(15), &[key(4, 40, true)]));
        assert_eq!(named(&keys), [3, 4], "the first one is over");
        let many: Vec<RevokedKey> =
            (0..2000).map(|number| key(number, 100 + i64::from(number), true)).collect();
        assert!(keys.add(WallTime(15), &many));
        assert_eq!(named(&keys).len(), AGENT_REVOKED_MAX);
        assert!(named(&keys).contains(&1999) && !named(&keys).contains(&3), "the last ones");
    }
}
