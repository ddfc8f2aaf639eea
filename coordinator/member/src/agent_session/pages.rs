//! Lists for an agent in pages that fit a frame.

use trimaran_model::limits::{PAGE_BYTES_MAX, PAGE_NAMES_MAX};

/// A list in pages within [`PAGE_NAMES_MAX`] and [`PAGE_BYTES_MAX`], each with whether it is the last one. One member alone
/// may be larger; an empty list is one empty page.
pub(super) fn pages<T>(list: Vec<T>, bytes_of: impl Fn(&T) -> usize) -> impl Iterator<Item = (Vec<T>, bool)> {
    let (mut pages, mut bytes) = (vec![Vec::new()], 0);
    for it in list {
        let size = bytes_of(&it) + 8;
        let page = pages.last_mut().expect("there is always one");
        if !page.is_empty() && (page.len() >= PAGE_NAMES_MAX || bytes + size > PAGE_BYTES_MAX) {
            pages.push(vec![it]);
            bytes = size;
        } else {
            page.push(it);
            bytes += size;
        }
    }
    let last = pages.len() - 1;
    pages.into_iter().enumerate().map(move |(number, page)| (page, number == last))
}
