//! Contents: what of them is kept. Releases in memory count as references; what none of them names is kept for a while, so that
//! a run can be started after its content was uploaded.

use trimaran_model::id::Digest;
use trimaran_model::limits::{CONTENT_UNNAMED_TTL, CONTENTS_UNNAMED_MAX};
use trimaran_model::release::Content;

use crate::refusal::Refusal;
use crate::rows::cold;
use crate::state::State;
use crate::state::pipeline::ContentEntry;

/// Forgets what was uploaded and not used in time.
pub(crate) fn expire_unnamed(state: &mut State) -> Result<(), Refusal> {
    let is_named = |it: &&ContentEntry| state.releases.index().is_content_named(it.content.digest);
    let unnamed: Vec<ContentEntry> = state.contents.iter().filter(|it| !is_named(it)).cloned().collect();
    let (old, waiting): (Vec<_>, Vec<_>) =
        unnamed.into_iter().partition(|it| it.begun + CONTENT_UNNAMED_TTL <= state.now());
    for entry in old {
        forget(state, entry.content.digest);
    }
    if waiting.len() >= CONTENTS_UNNAMED_MAX {
        let waiting = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        return Err(Refusal::ContentsFull { waiting });
    }
    Ok(())
}

/// Removes content with all of its parts.
pub(crate) fn forget(state: &mut State, digest: Digest) {
    let Some(entry) = state.contents.remove(&digest) else { return };
    for part in 0..entry.parts {
        state.cold.push((cold::content_part_key(digest, part), None));
    }
}

/// Refuses a release whose content is not stored.
pub(crate) fn check_whole(state: &State, content: Content) -> Result<(), Refusal> {
    let known = state.contents.get(&content.digest);
    if known.is_some_and(|it| it.content == content && it.is_whole()) {
        return Ok(());
    }
    Err(Refusal::ContentMissing { content: content.digest })
}
