//! What a test plays when all of it takes too long for every run: a part that the day draws. `TRIMARAN_SEED=N` draws as on
//! another day, `TRIMARAN_FULL=1` plays all, `TRIMARAN_ONLY=WORDS` those whose names contain it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Whether all is played.
pub fn is_full() -> bool {
    std::env::var_os("TRIMARAN_FULL").is_some()
}

/// The number of the day, or `TRIMARAN_SEED`. It is printed, so that a failure can be played again.
pub fn of_day() -> u64 {
    let given = std::env::var("TRIMARAN_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let days = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() / 86_400;
    let seed = given.unwrap_or_else(days);
    eprintln!("TRIMARAN_SEED={seed}");
    seed
}

/// Those of a list whose names contain `TRIMARAN_ONLY`; all of them without it.
pub fn named<T: Clone>(list: &[T], name: impl Fn(&T) -> String) -> Vec<T> {
    let only = std::env::var("TRIMARAN_ONLY").unwrap_or_default();
    list.iter().filter(|it| name(it).contains(&only)).cloned().collect()
}

/// So many different ones of a list, in its order; all of it with [`is_full`]. `salt` differs between the lists of a day.
pub fn drawn<T: Clone>(list: &[T], count: usize, salt: u64) -> Vec<T> {
    if is_full() || list.len() <= count { list.to_vec() } else { draw(list, count, of_day(), salt) }
}

/// One number of a day, of those that differ by `salt`.
pub fn number(seed: u64, salt: u64) -> u64 {
    mixed(mixed(seed) ^ salt)
}

fn draw<T: Clone>(list: &[T], count: usize, seed: u64, salt: u64) -> Vec<T> {
    let mut places: Vec<usize> = (0..list.len()).collect();
    let mut take = |n: u64| {
        let number = mixed(mixed(seed) ^ (salt << 8 | n)) % places.len() as u64;
        places.remove(usize::try_from(number).expect("less than a length"))
    };
    let mut chosen: Vec<usize> = (0..count as u64).map(&mut take).collect();
    chosen.sort_unstable();
    chosen.into_iter().map(|place| list[place].clone()).collect()
}

/// SplitMix64: neighbouring days are far apart, whatever they are divided by.
fn mixed(seed: u64) -> u64 {
    let mut it = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    it = (it ^ (it >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    it = (it ^ (it >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    it ^ (it >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::draw;

    #[test]
    fn a_day_draws_different_ones_and_in_time_all_are_drawn() {
        let list: Vec<u32> = (0..7).collect();
        let mut seen = BTreeSet::new();
        for day in 20_000..20_030 {
            let drawn = draw(&list, 2, day, 3);
            assert!(drawn.len() == 2 && drawn[0] < drawn[1], "{drawn:?}");
            assert_eq!(drawn, draw(&list, 2, day, 3), "a day draws the same each time");
            seen.extend(drawn);
        }
        assert_eq!(seen.len(), list.len());
        // A long list of which a day plays one: each has its day within a year.
        let long: Vec<u32> = (0..35).collect();
        let days: BTreeSet<u32> = (20_000..20_365).flat_map(|day| draw(&long, 1, day, 0)).collect();
        assert_eq!(days.len(), long.len());
    }
}
