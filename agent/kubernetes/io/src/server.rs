//! One API server, whoever asks it: it is asked for a sign only when no one receives anything.
//!
//! Identities share nothing but that: what one may see stays its own.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use trimaran_process::clock::boot_time;

use crate::link::Link;
use crate::signs::Signs;

#[derive(Default)]
pub(crate) struct Server {
    pub(crate) signs: Arc<Signs>,
    watched: Mutex<Watching>,
}

#[derive(Default)]
struct Watching {
    /// Those that watch something; who asked last is the last one.
    links: VecDeque<Weak<Link>>,
    /// A task asks.
    is_asking: bool,
}

impl Server {
    /// Asks for a sign now and then, as long as something is watched by any link.
    pub(crate) fn ask_for(self: &Arc<Self>, link: &Arc<Link>) {
        let mut watched = self.watched.lock();
        let link = Arc::downgrade(link);
        if !watched.links.iter().any(|known| known.ptr_eq(&link)) {
            watched.links.push_back(link);
        }
        if watched.is_asking {
            return;
        }
        watched.is_asking = true;
        self.signs.begin(boot_time());
        tokio::spawn(ask_while_watched(Arc::downgrade(self)));
    }

    /// The links that watch something, those first that asked least lately; `None` and the end of asking when there is none.
    fn links(&self) -> Option<Vec<Arc<Link>>> {
        let mut watched = self.watched.lock();
        watched.links.retain(|link| link.upgrade().is_some_and(|link| link.is_watched()));
        watched.is_asking = !watched.links.is_empty();
        let links = watched.links.iter().filter_map(Weak::upgrade).collect();
        watched.is_asking.then_some(links)
    }

    fn asked_by(&self, link: &Arc<Link>) {
        let mut watched = self.watched.lock();
        let link = Arc::downgrade(link);
        let at = watched.links.iter().position(|known| known.ptr_eq(&link));
        if let Some(link) = at.and_then(|at| watched.links.remove(at)) {
            watched.links.push_back(link);
        }
    }

    /// Asks until one answers: who gets no answer may be alone with that, where a helper for its credentials hangs.
    async fn ask(&self, links: &[Arc<Link>]) {
        for link in links {
            self.asked_by(link);
            if link.probe().await {
                return;
            }
        }
    }
}

async fn ask_while_watched(server: Weak<Server>) {
    let mut asked = boot_time();
    loop {
        let Some(due) = server.upgrade().map(|server| server.signs.due(asked)) else { return };
        tokio::time::sleep(Duration::from_millis((due - boot_time()).0)).await;
        let Some(server) = server.upgrade() else { return };
        let Some(links) = server.links() else { return };
        let (refused, accepted): (Vec<_>, Vec<_>) = links.iter().cloned().partition(|it| it.is_refused());
        // Whether one is accepted again is noticed by no other.
        for link in &refused {
            link.probe().await;
        }
        if server.signs.due(asked) <= boot_time() {
            asked = boot_time();
            server.ask(&accepted).await;
        }
        // That there is silence is no change that a watch would show.
        links.iter().for_each(|link| link.changed());
    }
}
