//! What stands on hosts while nothing works on an installation, as its agent gets it.

use std::collections::BTreeSet;
use std::sync::Arc;

use trimaran_engine::state::installation::Installation;
use trimaran_engine::state::stage::Stage;
use trimaran_model::assignment::{HostOrder, HostStanding};
use trimaran_model::id::{Digest, RunId};
use trimaran_model::target::{PlatformKind, Target};
use trimaran_model::verdict::Verdict;

use crate::rows::{RowSource, release, stored_run};

/// `None` on other platforms, and while the largest fence is not that of an assignment that ended.
pub(crate) fn host_standing(rows: &dyn RowSource, at: &Target, it: &Installation) -> Option<HostStanding> {
    if at.platform.kind() != PlatformKind::Hosts {
        return None;
    }
    let last = it.ended.last().filter(|last| last.fence == it.fence)?;
    // Between two assignments of an attempt its release and the earlier one are both right.
    let in_attempt = it.health == Verdict::Progressing;
    let right = it.current.into_iter().chain(it.mixed.as_ref().map(|mixed| mixed.release));
    // What is bad somewhere is not brought anywhere else.
    let spreads = it.health == Verdict::Healthy && it.mixed.is_none();
    let goal = it.current.filter(|_| spreads).and_then(|digest| {
        let release = release(rows, &digest)?.release;
        Some(HostOrder { digest, release: Arc::unwrap_or_clone(release) })
    });
    let run = it.run.clone().or_else(|| it.mixed.as_ref().map(|mixed| mixed.run.clone()));
    let none = || RunId { pipeline: it.id.pipeline.clone(), number: 0 };
    Some(HostStanding {
        assignment: last.assignment,
        run: run.unwrap_or_else(none),
        releases: (!in_attempt).then(|| right.collect::<BTreeSet<Digest>>()),
        goal,
        max_failures: max_failures(rows, it),
    })
}

/// The budget of the deploy that brought the release.
fn max_failures(rows: &dyn RowSource, it: &Installation) -> u32 {
    let stages = it.run.as_ref().and_then(|run| stored_run(rows, run)).map(|it| it.stages);
    let stages = stages.unwrap_or_default();
    let mut deploys = stages.iter().filter_map(Stage::deploy);
    let deploy = deploys.find(|deploy| deploy.target == it.id.target);
    deploy.map_or(0, |deploy| deploy.batches.max_failures.floor_of(it.desired))
}
