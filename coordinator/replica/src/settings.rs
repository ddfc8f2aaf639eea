//! What an operator may set, with the defaults of the design.

use trimaran_model::limits;
use trimaran_model::time::Millis;

/// Settings of one replica. Times are measured on the caller's `now`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Id of this replica among the members; never 0, bound to one disk.
    pub id: u64,
    /// Seed of the election timeouts. The same seed gives the same timeouts.
    pub seed: u64,
    /// Length of a tick.
    pub tick: Millis,
    /// Ticks between heartbeats of a leader.
    pub heartbeat_ticks: usize,
    /// Ticks for which a voter that hears its leader votes for no one else, and after which a leader that hears no
    /// quorum steps down. Below the shortest election timeout, so that of two voters which lost the same leader at
    /// the same tick the first to ask is not refused by the other.
    pub lease_ticks: usize,
    /// Shortest election timeout, in ticks.
    pub election_ticks: usize,
    /// Election timeouts stay below this many ticks.
    pub election_ticks_max: usize,
    /// Entries after which a snapshot position is set.
    pub snapshot_entries: u64,
    /// Bytes of log after which a snapshot position is set, and above twice of which proposals are refused.
    pub snapshot_bytes: usize,
    /// Entries kept below the snapshot position for members that lag.
    pub kept_entries: u64,
    /// Requests that may wait for the log.
    pub waiters_max: usize,
    /// How long the outcome of a proposal is awaited after leadership was lost.
    pub indeterminate_after: Millis,
}

impl Settings {
    pub fn new(id: u64, seed: u64) -> Self {
        Self {
            id,
            seed,
            tick: Millis(50),
            heartbeat_ticks: 2,
            lease_ticks: 18,
            election_ticks: 20,
            election_ticks_max: 30,
            snapshot_entries: limits::SNAPSHOT_ENTRIES,
            snapshot_bytes: limits::LOG_BYTES_MAX / 2,
            kept_entries: limits::SNAPSHOT_ENTRIES / 2,
            waiters_max: limits::PROPOSALS_MAX,
            indeterminate_after: Millis::seconds(5),
        }
    }

    /// The settings for a heartbeat interval and a shortest election timeout, rounded up to ticks; the
    /// longest election timeout is half as long again.
    pub fn with_times(mut self, heartbeat: Millis, election: Millis) -> Self {
        let ticks =
            |length: Millis| usize::try_from(length.0.div_ceil(self.tick.0.max(1))).unwrap_or(usize::MAX);
        self.heartbeat_ticks = ticks(heartbeat).max(1);
        self.election_ticks = ticks(election).max(self.heartbeat_ticks + 1);
        self.lease_ticks = (self.election_ticks - self.heartbeat_ticks).max(self.heartbeat_ticks + 1);
        self.election_ticks_max = self.election_ticks + (self.election_ticks / 2).max(1);
        self
    }
}
