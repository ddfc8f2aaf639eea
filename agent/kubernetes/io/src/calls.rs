//! Calls of the driver, performed.

use futures_util::{StreamExt as _, TryStreamExt as _};
use trimaran_agent_core::Permit;
use trimaran_agent_core::platform::Answer;
use trimaran_kubernetes_driver::{ADJUSTER, Call, Live, MANAGER, ObjectKey, Reply};
use trimaran_process::clock::boot_time;

use crate::apply::{NoChange, Wanted};
use crate::place::Place;
use crate::releases::Releases;
use crate::request::RequestError;

/// Requests of one read that are sent side by side.
const READS_AT_ONCE: usize = 8;

impl Place {
    pub(crate) async fn perform(
        &self,
        call: Call,
        permit: &Permit,
        releases: &impl Releases,
    ) -> Answer<Reply> {
        if !permit.allows(boot_time()) {
            return Answer::Unmade;
        }
        let done = match call {
            Call::Identify => self.identify().await.map(Reply::Identified).map_err(NoChange::from),
            Call::Read { keys } => self.read_all(keys).await.map(Reply::Live).map_err(NoChange::from),
            Call::Apply { key, document, expect, on_conflict, keep } => {
                self.apply(Wanted { key: &key, document, expect, on_conflict, keep }, permit).await
            }
            Call::Edit { key, uid, resource_version, merge } => {
                self.edit(&key, [&uid, &resource_version], &merge, MANAGER, permit).await
            }
            Call::Adjust { key, uid, resource_version, merge } => {
                self.edit(&key, [&uid, &resource_version], &merge, ADJUSTER, permit).await
            }
            Call::PutBack { key, uid, resource_version } => {
                self.put_back(&key, &uid, &resource_version, permit).await
            }
            Call::Delete { key, uid, resource_version } => {
                self.delete(&key, &uid, resource_version.as_deref(), permit).await
            }
            Call::Unused { versions, retained } => {
                self.unused(versions, &retained, releases).await.map(Reply::Unused).map_err(NoChange::Refused)
            }
        };
        match done {
            Ok(reply) => Answer::Reply(reply),
            Err(NoChange::Unmade) => Answer::Unmade,
            Err(NoChange::Refused(refusal)) => Answer::Reply(Reply::Refused(refusal)),
        }
    }

    async fn read_all(&self, keys: Vec<ObjectKey>) -> Result<Vec<Live>, RequestError> {
        let reads = keys.into_iter().map(|key| async move { self.read(&key).await });
        futures_util::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await
    }

    pub(crate) async fn read(&self, key: &ObjectKey) -> Result<Live, RequestError> {
        let Some(served) = self.served(key).await? else { return Ok(Live::NotServed) };
        match self.get(&served, key).await? {
            Some(document) => Ok(Live::Present(self.live(key, &document).await?)),
            None => Ok(Live::Absent),
        }
    }
}
