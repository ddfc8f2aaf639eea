//! What every rule is given besides the object: the other documents, the clock and the start of the deploy.

use trimaran_model::time::WallTime;

use crate::custom::RuleSet;
use crate::object::Object;
use crate::snapshot::{Event, Snapshot};
use crate::verdict::grace;

#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) snapshot: &'a Snapshot<'a>,
    pub(super) rules: &'a RuleSet,
    pub(super) now: WallTime,
    /// The start of the deploy, as given by the caller.
    pub(super) since: Option<WallTime>,
    /// The documents are those of live watches at this moment.
    pub(super) is_watched: bool,
}

impl<'a> Context<'a> {
    /// The start of the deploy: as given, otherwise the creation of the revision in question.
    pub(super) fn start(&self, revision_created: Option<WallTime>) -> Option<WallTime> {
        self.since.or(revision_created)
    }

    /// Whether something that happened at `at` belongs to a deploy that began at `start`. Without a start
    /// everything does; without a time it belongs to a deploy only when that has no known start.
    pub(super) fn belongs(&self, at: Option<WallTime>, start: Option<WallTime>) -> bool {
        match (at, start) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(at), Some(start)) => at + grace::EVENT_SLACK >= start,
        }
    }

    /// Events about the object that belong to the deploy, oldest first.
    pub(super) fn events(
        &self,
        object: Object<'a>,
        start: Option<WallTime>,
    ) -> impl DoubleEndedIterator<Item = Event<'a>> {
        let context = *self;
        self.snapshot.events(object).filter(move |event| context.belongs(Some(event.last), start))
    }
}
