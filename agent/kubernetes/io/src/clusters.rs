//! The clusters that targets lead to: one for each identity, with one server behind all identities of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::cluster::Cluster;
use crate::credentials::{Address, Found, Identity};
use crate::link::Link;
use crate::server::Server;

#[derive(Default)]
pub(crate) struct Clusters {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    clusters: BTreeMap<Identity, Weak<Cluster>>,
    servers: BTreeMap<Address, Weak<Server>>,
}

impl Clusters {
    /// Where credentials lead to.
    ///
    /// # Errors
    /// They make no client.
    pub(crate) fn of(&self, found: Found) -> Result<Arc<Cluster>, String> {
        let Found { identity, config, .. } = found;
        let server = {
            let mut known = self.known.lock();
            if let Some(cluster) = known.clusters.get(&identity).and_then(Weak::upgrade) {
                return Ok(cluster);
            }
            known.server(identity.address)
        };
        // A helper for credentials may be asked for them: others don't wait for it.
        let link = Link::new(config, server.signs.clone())?;
        let mut known = self.known.lock();
        if let Some(cluster) = known.clusters.get(&identity).and_then(Weak::upgrade) {
            return Ok(cluster);
        }
        let cluster = Arc::new(Cluster::new(link, server));
        known.clusters.retain(|_, cluster| cluster.strong_count() > 0);
        known.clusters.insert(identity, Arc::downgrade(&cluster));
        Ok(cluster)
    }
}

impl Known {
    fn server(&mut self, address: Address) -> Arc<Server> {
        self.servers.retain(|_, server| server.strong_count() > 0);
        if let Some(server) = self.servers.get(&address).and_then(Weak::upgrade) {
            return server;
        }
        let server = Arc::new(Server::default());
        self.servers.insert(address, Arc::downgrade(&server));
        server
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};
    use trimaran_kubernetes_driver::ObjectKey;

    use super::*;
    use crate::evidence::Evidence;
    use crate::fake::Fake;

    fn answer(request: &str) -> Option<(u16, Value)> {
        let configmaps = json!({"name": "configmaps", "kind": "ConfigMap", "namespaced": true});
        if request.ends_with(" /api/v1") {
            return Some((200, json!({"resources": [configmaps]})));
        }
        let list = json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "5"}, "items": []});
        (!request.contains("watch=true")).then_some((200, list))
    }

    #[tokio::test]
    async fn targets_with_the_same_credentials_watch_a_kind_once_and_others_on_their_own() {
        let server = Fake::start(answer).await;
        let clusters = Arc::<Clusters>::default();
        let document = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "shop"}});
        let key = ObjectKey::of(&document).expect("a key");
        let mut held = Vec::new();
        let mut found = Vec::new();
        for (name, token) in [("one", "same"), ("two", "same"), ("three", "other"), ("four", "same")] {
            let way = server.route(name, token, &clusters);
            let cluster = way.cluster().await.expect("the kubeconfig is good");
            let keys = std::collections::BTreeSet::from([key.clone()]);
            let evidence = Evidence::of(cluster.clone(), keys).await.expect("it answers");
            let known = async {
                while evidence.gather().is_none() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), known).await.expect("the list came");
            found.push(cluster);
            held.push((way, evidence));
        }
        assert!(Arc::ptr_eq(&found[0], &found[1]) && Arc::ptr_eq(&found[0], &found[3]));
        assert!(!Arc::ptr_eq(&found[0], &found[2]), "what one may see, another may not");
        let listed = |it: &str| it.contains("configmaps") && !it.contains("watch=true");
        assert_eq!(server.count(listed), 2, "once for each identity");
        assert_eq!(server.count(|it| it.ends_with(" /api/v1")), 2, "so is what is served");
        assert_eq!(server.count(|it| it.contains("/version")), 0, "who answers is not asked for a sign");
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_replaced_leads_elsewhere() {
        let server = Fake::start(answer).await;
        let clusters = Arc::<Clusters>::default();
        let way = server.route("one", "first", &clusters);
        let before = way.cluster().await.expect("the kubeconfig is good");
        let same = server.route("two", "first", &clusters).cluster().await.expect("so is this");
        // It takes the place of the file of that name.
        drop(server.route("one", "second-token", &clusters));
        let after = way.cluster().await.expect("it was replaced by a good one");
        assert!(Arc::ptr_eq(&before, &same) && !Arc::ptr_eq(&before, &after));
    }
}
