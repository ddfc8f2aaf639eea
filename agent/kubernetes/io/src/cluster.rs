//! One cluster as all targets share it that ask it as the same identity: the way to it, what it serves, and its watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::discovery::{Discovery, Served};
use crate::informer::Informer;
use crate::link::Link;
use crate::server::Server;

pub(crate) struct Cluster {
    pub(crate) link: Arc<Link>,
    pub(crate) discovery: Discovery,
    server: Arc<Server>,
    informers: Mutex<BTreeMap<(Served, String), Weak<Informer>>>,
}

impl Cluster {
    pub(crate) fn new(link: Link, server: Arc<Server>) -> Self {
        Self { link: Arc::new(link), discovery: Discovery::default(), server, informers: Mutex::default() }
    }

    /// The shared watch of a kind in a namespace; empty for the whole cluster.
    pub(crate) fn informer(&self, served: &Served, namespace: &str) -> Arc<Informer> {
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
        self.server.ask_for(&self.link);
        informer
    }
}
