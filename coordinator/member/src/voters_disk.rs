//! The space on the disks of the other members as the leader knows it, and which of them should lead instead of one with
//! less.

use std::collections::BTreeMap;

use trimaran_model::time::{Millis, Timestamp};

use crate::disk_level::DiskLevel;

/// A voter whose disk was not reported for so long is not one to lead.
const FRESH: Millis = Millis(1500);

/// The disks of the other members as the leader knows them.
#[derive(Debug, Default)]
pub(crate) struct VotersDisk {
    /// The level, and the boot time here when it was reported.
    known: BTreeMap<u64, (DiskLevel, Timestamp)>,
}

impl VotersDisk {
    pub(crate) fn set(&mut self, member: u64, level: DiskLevel, boot: Timestamp) {
        self.known.insert(member, (level, boot));
    }

    /// The voter with more space than `own` that should lead: of those with the most space the one that has most of the
    /// log, by `matched`.
    pub(crate) fn better(
        &self,
        own: DiskLevel,
        voters: &[u64],
        matched: &[(u64, u64)],
        boot: Timestamp,
    ) -> Option<u64> {
        let level = |id: u64| {
            let (level, at) = self.known.get(&id)?;
            (*level > own && boot - *at <= FRESH && voters.contains(&id)).then_some(*level)
        };
        let found = matched.iter().filter_map(|(id, matched)| Some((level(*id)?, *matched, *id)));
        found.max().map(|(_, _, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_voter_with_most_space_and_most_of_the_log_leads_next() {
        let mut disks = VotersDisk::default();
        let now = Timestamp(5000);
        disks.set(2, DiskLevel::Low, Timestamp(4900));
        disks.set(3, DiskLevel::Enough, Timestamp(4900));
        disks.set(4, DiskLevel::Enough, Timestamp(4900));
        let matched = [(1, 90), (2, 90), (3, 70), (4, 80)];
        let better = |disks: &VotersDisk, own, now| disks.better(own, &[1, 2, 3, 4], &matched, now);
        assert_eq!(better(&disks, DiskLevel::Full, now), Some(4));
        assert_eq!(disks.better(DiskLevel::Full, &[1, 2, 3], &matched, now), Some(3), "a learner can't lead");
        disks.set(3, DiskLevel::Low, now);
        disks.set(4, DiskLevel::Full, now);
        assert_eq!(better(&disks, DiskLevel::Full, now), Some(2));
        assert_eq!(better(&disks, DiskLevel::Low, now), None, "one that is as full gains nothing");
        assert_eq!(better(&disks, DiskLevel::Full, Timestamp(9000)), None, "that was long ago");
    }
}
