//! Random bytes for keys, tokens and serial numbers, from the process's cryptography.

/// `N` unpredictable bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    aws_lc_rs::rand::fill(&mut out).expect("the operating system's random source works");
    out
}

/// 64 unpredictable bits.
pub fn next_u64() -> u64 {
    u64::from_le_bytes(bytes())
}
