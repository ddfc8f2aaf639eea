//! Where an installation goes back to, by its row alone: the state asks before it acts, and `plan` shows it.

use trimaran_model::verdict::Verdict;
use trimaran_wire::v1::row;

/// Where a new release goes back to when it fails: the last good one, or without any what runs healthy now. To
/// stop a service that was healthy would be worse than to go back to a release in its bake.
pub fn rollback_target(it: &row::Installation) -> Option<[u8; 32]> {
    let healthy = it.health == Verdict::Healthy.as_str();
    it.stable_releases.first().copied().or(it.current.filter(|_| healthy))
}

/// Where what runs now goes back to: the last good release that it is not, or without any what ran healthy
/// before it.
pub fn previous_stable(it: &row::Installation) -> Option<[u8; 32]> {
    let other = |digest: &[u8; 32]| Some(*digest) != it.current;
    it.stable_releases.iter().copied().find(other).or(it.before.filter(other))
}
