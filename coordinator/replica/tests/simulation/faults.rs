//! What goes wrong in a world, and how often.

use crate::random::Random;

/// Chances and periods of all faults. A period of 0 is never; times are in milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    /// Messages lost, per thousand.
    pub(crate) loss: u64,
    /// Messages that arrive twice, per thousand.
    pub(crate) duplicates: u64,
    /// Longest way of a message. Later ones overtake earlier ones.
    pub(crate) delay_max: u64,
    /// Longest write.
    pub(crate) write_max: u64,
    /// How much faster or slower a node's clock may run, per thousand.
    pub(crate) clock_rate: u64,
    pub(crate) crash: u64,
    /// Longest time until a crashed node starts again.
    pub(crate) down_max: u64,
    /// Links are cut: all of a node or of a pair, both ways or one way.
    pub(crate) cut: u64,
    /// A node stands still as after SIGSTOP and finds everything that came meanwhile.
    pub(crate) pause: u64,
    /// Writes of a node take seconds.
    pub(crate) slow_disk: u64,
    /// A write of a node fails.
    pub(crate) failing_disk: u64,
    /// A member's disk is lost for good; a new node is there to take its place.
    pub(crate) wipe: u64,
    /// Members are added, promoted, removed and replaced.
    pub(crate) members: u64,
    pub(crate) transfer: u64,
}

/// What a fault's event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Crash,
    Cut,
    Pause,
    SlowDisk,
    FailingDisk,
    Wipe,
    Members,
    Transfer,
}

impl Fault {
    pub(crate) const ALL: [Self; 8] = [
        Self::Crash,
        Self::Cut,
        Self::Pause,
        Self::SlowDisk,
        Self::FailingDisk,
        Self::Wipe,
        Self::Members,
        Self::Transfer,
    ];
}

pub(crate) const CALM: Faults = Faults {
    loss: 0,
    duplicates: 0,
    delay_max: 5,
    write_max: 5,
    clock_rate: 0,
    crash: 0,
    down_max: 3_000,
    cut: 0,
    pause: 0,
    slow_disk: 0,
    failing_disk: 0,
    wipe: 0,
    members: 0,
    transfer: 0,
};

impl Faults {
    pub(crate) fn period(&self, fault: Fault) -> u64 {
        match fault {
            Fault::Crash => self.crash,
            Fault::Cut => self.cut,
            Fault::Pause => self.pause,
            Fault::SlowDisk => self.slow_disk,
            Fault::FailingDisk => self.failing_disk,
            Fault::Wipe => self.wipe,
            Fault::Members => self.members,
            Fault::Transfer => self.transfer,
        }
    }

    /// A mix in which each fault is there or not: one that is always there hides what others would show.
    pub(crate) fn swarm(random: &mut Random) -> Self {
        let mut some = |value: u64| if random.below(2) == 0 { value } else { 0 };
        Self {
            loss: some(60),
            duplicates: some(60),
            delay_max: 30,
            write_max: 5 + some(40),
            clock_rate: some(250),
            crash: some(3_000),
            down_max: 40 + some(3_000),
            cut: some(3_500),
            pause: some(5_000),
            slow_disk: some(6_000),
            failing_disk: some(8_000),
            wipe: some(6_000),
            members: some(700),
            transfer: some(2_500),
        }
    }
}
