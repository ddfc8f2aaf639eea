//! `trimaran installation adopt` and `reapply`: after a restore a user says of an installation what is right, what runs
//! or what the state has.
//!
//! Either way a run brings that release there under a fence of the new epoch, which hosts that have it already take without a
//! change: from then on the state says what runs, whoever was away gets it, and its end is shown like that of every run.

use std::sync::Arc;

use trimaran_model::id::{Digest, EnvironmentName, Identity, InstallationId, RunId};
use trimaran_model::release::Release;
use trimaran_model::why::Why;
use trimaran_wire::v1::common::WireInstallation;
use trimaran_wire::v1::release::WireRelease;

use super::convert::{checked, named, record};
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::settle::rollback::{self, Restoration};
use crate::state::State;
use crate::state::installation::Installation;
use crate::state::pipeline::ReleaseEntry;
use crate::state::request::Outcome;
use crate::state::undecided::UndecidedSubject;

pub(super) fn adopt(
    state: &mut State,
    identity: &Identity,
    (installation, environment): (&WireInstallation, &str),
    release: &WireRelease,
) -> Result<Outcome, Refusal> {
    let it = undecided(state, installation, environment)?;
    let digest = release.digest();
    let release: Release = checked(release.clone())?;
    let is_of_target = state.target(&it.id.target).is_some_and(|target| {
        release.target == target.name
            && release.pipeline == it.id.pipeline
            && release.workload.platform() == target.platform.kind()
    });
    // One that would be written otherwise has another digest for whoever gets it.
    let is_exact = WireRelease::from(&release).digest() == digest;
    if !is_of_target || !is_exact || release.workload.content().is_some() {
        return Err(Refusal::Malformed);
    }
    state.releases.put(ReleaseEntry { digest, release: Arc::new(release) });
    Ok(Outcome::Run(bring(state, identity, it, digest, Why::Adopted { by: identity.clone() })))
}

pub(super) fn reapply(
    state: &mut State,
    identity: &Identity,
    (installation, environment): (&WireInstallation, &str),
) -> Result<Outcome, Refusal> {
    let it = undecided(state, installation, environment)?;
    let Some(current) = it.current else {
        return Err(Refusal::NothingToReapply { installation: it.id, environment: it.environment });
    };
    Ok(Outcome::Run(bring(state, identity, it, current, Why::Reapplied { by: identity.clone() })))
}

fn undecided(
    state: &State,
    installation: &WireInstallation,
    environment: &str,
) -> Result<Installation, Refusal> {
    if state.observes() {
        return Err(Refusal::Observes);
    }
    let installation: InstallationId = checked(installation.clone())?;
    let environment: EnvironmentName = named(environment)?;
    let found = state.installations.get(&installation).filter(|it| it.environment == environment).cloned();
    let nothing = || Refusal::NothingUndecided { installation, environment };
    found.filter(|it| state.is_undecided(&it.id)).ok_or_else(nothing)
}

fn bring(
    state: &mut State,
    identity: &Identity,
    installation: Installation,
    release: Digest,
    cause: Why,
) -> RunId {
    state.decide(&UndecidedSubject::Installation { installation: installation.id.clone() });
    let restoration = Restoration { installation, to: Some(release), all: false };
    rollback::start_rollback_run(state, &[restoration], identity, cause, None)
}

pub(super) fn audit(verb: &'static str, installation: &WireInstallation, environment: &str) -> Record {
    record(verb, format!("{}/{environment}/{}", installation.pipeline, installation.target))
}
