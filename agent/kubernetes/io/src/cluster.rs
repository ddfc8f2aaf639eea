//! One cluster as all targets in it share it: the way to it, what it serves, and its watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::discovery::{Discovery, Served};
use crate::informer::Informer;
use crate::link::{Credentials, Link};
use parking_lot::Mutex;

/// How often a cluster that is watched is asked for a sign when its watches are silent.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

pub(crate) struct Cluster {
    pub(crate) link: Arc<Link>,
    pub(crate) discovery: Discovery,
    informers: Mutex<BTreeMap<(Served, String), Weak<Informer>>>,
    probing: Mutex<bool>,
}

impl Cluster {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self {
            link: Arc::new(Link::new(credentials)),
            discovery: Discovery::default(),
            informers: Mutex::default(),
            probing: Mutex::new(false),
        }
    }

    /// The shared watch of a kind in a namespace; empty for the whole cluster.
    pub(crate) fn informer(self: &Arc<Self>, served: &Served, namespace: &str) -> Arc<Informer> {
        let mut informers = self.informers.lock();
        informers.retain(|_, informer| informer.strong_count() > 0);
        let namespace = if served.namespaced { namespace } else { "" };
        let key = (served.clone(), namespace.to_owned());
        if let Some(informer) = informers.get(&key).and_then(Weak::upgrade) {
            return informer;
        }
        let informer = Informer::start(&self.link, served, namespace);
        informers.insert(key, Arc::downgrade(&informer));
        drop(informers);
        self.probe_from_now_on();
        informer
    }

    fn is_watched(&self) -> bool {
        let informers = self.informers.lock();
        informers.values().any(|informer| informer.strong_count() > 0)
    }

    /// Asks for a sign now and then, as long as something is watched.
    fn probe_from_now_on(self: &Arc<Self>) {
        let mut probing = self.probing.lock();
        if *probing {
            return;
        }
        *probing = true;
        // A watch that begins is not blind before it had the time to hear something.
        self.link.received();
        let cluster = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PROBE_INTERVAL).await;
                let Some(cluster) = cluster.upgrade() else { return };
                cluster.link.probe().await;
                let mut probing = cluster.probing.lock();
                if !cluster.is_watched() {
                    *probing = false;
                    return;
                }
            }
        });
    }
}
