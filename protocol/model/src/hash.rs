//! Small hashes for order and comparison. Not against an adversary who chooses the input.

/// Where FNV-1a begins (draft-eastlake-fnv: the 64-bit offset basis).
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
/// The step of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
const SPLITMIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// FNV-1a over bytes with the finalizer of SplitMix64: inputs that differ in one byte spread over all bits, so
/// that sums of hashes do not cancel.
pub fn spread<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
    finalize(bytes.into_iter().fold(FNV_OFFSET, fnv))
}

/// The number that SplitMix64 gives for a seed: a pure function that passes for random.
pub fn splitmix(seed: u64) -> u64 {
    finalize(seed.wrapping_add(SPLITMIX_STEP))
}

fn finalize(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // SplitMix64's first outputs for the seed 0.
        assert_eq!(splitmix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(splitmix(SPLITMIX_STEP), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(spread(b""), finalize(FNV_OFFSET));
        // FNV-1a of `a` is 0xaf63dc4c8601ec8c (the published test vectors).
        assert_eq!(spread(b"a"), finalize(0xaf63_dc4c_8601_ec8c));
    }
}
