//! A part of content: what releases name by digest comes in parts, ahead of the run that names it.
//!
//! Whether the whole has its digest is checked by the coordinator that takes the last part: it reads the others from rows,
//! which are not in memory here.

use trimaran_model::release::Content;
use trimaran_wire::v1::release_platforms::WireContent;

use super::convert::checked;
use crate::contents::expire_unnamed;
use crate::refusal::Refusal;
use crate::rows::cold;
use crate::state::State;
use crate::state::pipeline::ContentEntry;
use crate::state::request::Outcome;

pub(super) fn run(
    state: &mut State,
    content: WireContent,
    part: u32,
    bytes: &[u8],
) -> Result<Outcome, Refusal> {
    let content: Content = checked(content)?;
    if content.part_bytes(part) != Some(bytes.len()) {
        return Err(Refusal::Malformed);
    }
    let known = state.contents.get(&content.digest).cloned();
    let mut entry = match known {
        Some(known) if known.content != content => return Err(Refusal::Malformed),
        Some(known) if known.is_whole() => {
            // Whoever wants it now has the whole time to name it.
            let (parts, begun) = (known.parts, state.now());
            state.contents.put(ContentEntry { begun, ..known });
            return Ok(Outcome::Stored { parts });
        }
        Some(known) if part > known.parts => return Ok(Outcome::Stored { parts: known.parts }),
        // The first part begins anew; any other that is stored already is not stored again.
        Some(known) if part > 0 && part < known.parts => return Ok(Outcome::Stored { parts: known.parts }),
        Some(known) => known,
        None if part > 0 => return Ok(Outcome::Stored { parts: 0 }),
        None => {
            expire_unnamed(state)?;
            ContentEntry { content, parts: 0, begun: state.now() }
        }
    };
    entry.parts = part + 1;
    let parts = entry.parts;
    state.contents.put(entry);
    state.cold.push(cold::content_part(content.digest, part, bytes.to_vec()));
    Ok(Outcome::Stored { parts })
}
