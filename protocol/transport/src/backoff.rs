//! Delays between attempts to connect: exponential with full jitter, so that thousands of agents that lost
//! the same coordinator spread over the whole interval ("Exponential Backoff And Jitter", AWS 2015).

use trimaran_model::time::Millis;

/// Bounds of the delays of one kind of connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first delay; each further attempt doubles it.
    pub base: Millis,
    /// No delay is longer.
    pub max: Millis,
}

/// Agents and runners: a coordinator that ends leaves a third of the fleet behind, which spreads over 5 s.
pub const AGENT: Backoff = Backoff { base: Millis(500), max: Millis::seconds(5) };
/// A person waits for the answer.
pub const OPERATOR: Backoff = Backoff { base: Millis(50), max: Millis::seconds(1) };

impl Backoff {
    /// The delay before attempt `attempt` (0 is the first repetition): evenly spread over
    /// `0..=min(max, base * 2^attempt)`. `entropy` is any random number.
    pub fn delay(self, attempt: u32, entropy: u64) -> Millis {
        let doubled = 1u64.checked_shl(attempt).unwrap_or(u64::MAX);
        let bound = self.base.0.saturating_mul(doubled).min(self.max.0);
        match bound.checked_add(1) {
            Some(values) => Millis(entropy % values),
            None => Millis(entropy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_maximum() {
        for (attempt, bound) in
            [(0, 500), (1, 1000), (3, 4000), (4, 5000), (63, 5000), (64, 5000), (u32::MAX, 5000)]
        {
            let longest = (0..=bound).map(|entropy| AGENT.delay(attempt, entropy).0).max();
            assert_eq!(longest, Some(bound), "attempt {attempt}");
            assert!(AGENT.delay(attempt, u64::MAX).0 <= bound);
        }
        assert_eq!(Backoff { base: Millis(1), max: Millis(u64::MAX) }.delay(70, 9), Millis(9));
    }
}
