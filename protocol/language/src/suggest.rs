//! "Did you mean": the nearest known name to one that is not known.

use trimaran_model::limits::{SUGGEST_CANDIDATES_MAX, SUGGEST_NAME_CHARS_MAX};

/// The candidate with the smallest edit distance to `name`, when it is near enough to be a slip: at most
/// a third of the name's length, and at least one. Of very many or very long names only some are compared.
pub fn nearest(name: &str, candidates: impl IntoIterator<Item = String>) -> Option<String> {
    let name: Vec<char> = name.chars().take(SUGGEST_NAME_CHARS_MAX + 1).collect();
    if name.len() > SUGGEST_NAME_CHARS_MAX {
        return None;
    }
    let bound = (name.len() / 3).max(1);
    let mut other = Vec::with_capacity(SUGGEST_NAME_CHARS_MAX);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= SUGGEST_NAME_CHARS_MAX)
        .filter(|candidate| candidate.chars().count().abs_diff(name.len()) <= bound)
        .take(SUGGEST_CANDIDATES_MAX)
        .map(|candidate| {
            other.clear();
            other.extend(candidate.chars());
            (distance(&name, &other), candidate)
        })
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The help for an unknown name: the nearest known one, or what `otherwise` says.
pub fn did_you_mean(
    name: &str,
    candidates: impl IntoIterator<Item = String>,
    otherwise: impl FnOnce() -> String,
) -> String {
    match nearest(name, candidates) {
        Some(near) => format!("did you mean `{near}`?"),
        None => otherwise(),
    }
}

/// Edit distance in characters, where two neighbours that changed places count once. Both are bounded.
fn distance(a: &[char], b: &[char]) -> usize {
    // Three rows of the table: the one before the last, the last and the next.
    let mut before = [0; SUGGEST_NAME_CHARS_MAX + 1];
    let mut row = before;
    let mut next = before;
    row.iter_mut().enumerate().for_each(|(column, cell)| *cell = column);
    for i in 0..a.len() {
        next[0] = i + 1;
        for j in 0..b.len() {
            let replaced = row[j] + usize::from(a[i] != b[j]);
            let mut best = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            next[j + 1] = best;
        }
        (before, row, next) = (row, next, before);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let names = || ["staging", "prod", "on"].map(str::to_owned);
        assert_eq!(nearest("stagin", names()), Some("staging".to_owned()));
        assert_eq!(nearest("satging", names()), Some("staging".to_owned()));
        assert_eq!(nearest("no", names()), Some("on".to_owned()));
        assert_eq!(nearest("porduction", names()), None);
        assert_eq!(nearest(&"x".repeat(1000), names()), None);
    }
}
