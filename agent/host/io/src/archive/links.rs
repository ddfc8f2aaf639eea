//! Symbolic links of an archive: whether each one, through all others, stays below the root. Pure.
//!
//! Nothing is followed while an archive is unpacked, so the order of entries does not matter; what counts
//! is the finished tree. A component that does not exist counts as a directory: a later write must not
//! make a dangling link an escape.

use std::collections::BTreeMap;

use trimaran_archive::{BadName, Name, refuse_control, show};
use trimaran_model::limits::{
    ARCHIVE_LINK_DEPTH_MAX, ARCHIVE_LINK_STEPS_MAX, ARCHIVE_LINKS_MAX, ARCHIVE_PATH_BYTES_MAX,
};

/// The links seen so far, by the path of each.
#[derive(Debug, Default)]
pub(super) struct Links {
    targets: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Links {
    pub(super) fn add(&mut self, name: &Name, target: &[u8]) -> Result<(), BadName> {
        let path = name.as_bytes();
        if name.is_root() || target.is_empty() {
            return Err(BadName::Escape(format!("a link without name or target: `{}`", show(path))));
        }
        if target.len() > ARCHIVE_PATH_BYTES_MAX {
            return Err(BadName::Limit(format!("a link's target of {} bytes", target.len())));
        }
        refuse_control(target)?;
        if target[0] == b'/' {
            return Err(escape(path, target));
        }
        if self.targets.len() >= ARCHIVE_LINKS_MAX {
            return Err(BadName::Limit(format!("more than {ARCHIVE_LINKS_MAX} symbolic links")));
        }
        self.targets.insert(path.to_vec(), target.to_vec());
        Ok(())
    }

    /// Refuses an entry whose path goes through a link of the archive.
    pub(super) fn pass(&self, name: &Name) -> Result<(), BadName> {
        if self.targets.is_empty() {
            return Ok(());
        }
        match name.parents().find(|parent| self.targets.contains_key(*parent)) {
            Some(link) => Err(BadName::Escape(format!(
                "`{}` lies behind the link `{}`",
                show(name.as_bytes()),
                show(link)
            ))),
            None => Ok(()),
        }
    }

    /// Resolves every link.
    pub(super) fn check(&self) -> Result<(), BadName> {
        let mut steps = 0;
        for (path, target) in &self.targets {
            self.resolve(path, target, &mut steps)?;
        }
        Ok(())
    }

    fn resolve(&self, path: &[u8], target: &[u8], steps: &mut usize) -> Result<(), BadName> {
        // The real path so far; starts at the directory of the link, which no link leads to (`pass`).
        let mut at = path.to_vec();
        pop(&mut at);
        // Components still to walk, the next one last.
        let mut ahead: Vec<&[u8]> = components(target);
        let mut followed = 0;
        while let Some(component) = ahead.pop() {
            *steps += 1;
            if *steps > ARCHIVE_LINK_STEPS_MAX {
                return Err(BadName::Limit("symbolic links that take too many steps to resolve".to_owned()));
            }
            if component == b".." {
                if at.is_empty() {
                    return Err(escape(path, target));
                }
                pop(&mut at);
                continue;
            }
            push(&mut at, component);
            if let Some(next) = self.targets.get(&at) {
                followed += 1;
                if followed > ARCHIVE_LINK_DEPTH_MAX {
                    return Err(BadName::Escape(format!("the link `{}` never ends", show(path))));
                }
                pop(&mut at);
                ahead.extend(components(next));
            }
        }
        Ok(())
    }
}

fn escape(path: &[u8], target: &[u8]) -> BadName {
    BadName::Escape(format!("the link `{}` leads outside, to `{}`", show(path), show(target)))
}

/// In reverse order, without empty ones and `.`.
fn components(target: &[u8]) -> Vec<&[u8]> {
    target.rsplit(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect()
}

fn push(path: &mut Vec<u8>, component: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(component);
}

fn pop(path: &mut Vec<u8>) {
    path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
}
