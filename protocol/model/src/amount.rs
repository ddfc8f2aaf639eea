//! How many of something: a count, or a share of all.

/// A count or a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IntOrPercent {
    Count(u32),
    /// 0 to 100.
    Percent(u8),
}

impl IntOrPercent {
    /// The share of `total` rounded down: for what may be harmed.
    pub fn floor_of(self, total: u32) -> u32 {
        match self {
            Self::Count(n) => n,
            Self::Percent(p) => share(total, p) / 100,
        }
    }
    /// The share of `total` rounded up and at most `total`: for progress.
    pub fn ceil_of(self, total: u32) -> u32 {
        match self {
            Self::Count(n) => n.min(total),
            Self::Percent(p) => share(total, p).div_ceil(100).min(total),
        }
    }
}

/// `total * percent`; hosts are far below the 2^32 / 100 where this would overflow.
fn share(total: u32, percent: u8) -> u32 {
    total.saturating_mul(u32::from(percent))
}

impl std::fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(n) => write!(f, "{n}"),
            Self::Percent(p) => write!(f, "{p}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harm_rounds_down_and_progress_rounds_up() {
        let third = IntOrPercent::Percent(33);
        assert_eq!((third.floor_of(4), third.ceil_of(4)), (1, 2));
        assert_eq!((third.floor_of(2), third.ceil_of(2)), (0, 1));
        assert_eq!(IntOrPercent::Count(9).ceil_of(4), 4);
        assert_eq!(IntOrPercent::Percent(100).ceil_of(6), 6);
    }
}
