//! Sessions as streams of frames: in order, delayed, cut in one direction or both, and lost as a whole. Whoever is at the
//! other end of a connection that is gone notices it late.
//!
//! Not here: lost and repeated datagrams, which are QUIC's.

use std::collections::BTreeMap;

use trimaran_wire::frame::Frame;

use super::{AtSite, SiteEvent};

/// An end of a connection that is silent notices it within this time, as the transport's does.
const IDLE_TIMEOUT: u64 = 12_000;

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Dialer,
    Listener,
}

impl End {
    fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

/// Which connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Between {
    /// A process of the agent, by its number, and a coordinator.
    Agent { process: u64, node: usize },
    /// A process of a host's runner, and a process of the agent.
    Runner { host: usize, agent: u64 },
}

impl Between {
    /// Whether it is of a process of the agent to a coordinator.
    pub(crate) fn is_of_agent(self, its: u64) -> bool {
        matches!(self, Self::Agent { process, .. } if process == its)
    }
}

#[derive(Debug)]
struct Connection {
    between: Between,
    open: [bool; 2],
    /// Nothing that is sent in this direction arrives.
    cut: [bool; 2],
    /// When the last frame of a direction arrives.
    arrives: [u64; 2],
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Network {
    connections: BTreeMap<u64, Connection>,
    last: u64,
}

impl Network {
    /// The number of a session, which no other one has.
    pub(crate) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(crate) fn connect(&mut self, between: Between) -> u64 {
        let number = self.number();
        let made = Connection { between, open: [true; 2], cut: [false; 2], arrives: [0; 2] };
        self.connections.insert(number, made);
        number
    }

    pub(crate) fn between(&self, link: u64) -> Option<Between> {
        Some(self.connections.get(&link)?.between)
    }

    pub(crate) fn is_open(&self, link: u64, end: End) -> bool {
        self.connections.get(&link).is_some_and(|it| it.open[end as usize])
    }

    /// An end is gone; false when it was before.
    fn leave(&mut self, link: u64, end: End) -> bool {
        let Some(connection) = self.connections.get_mut(&link) else { return false };
        let was = std::mem::replace(&mut connection.open[end as usize], false);
        if connection.open == [false; 2] {
            self.connections.remove(&link);
        }
        was
    }

    /// The connections that are open at an end, of those that `wanted` names.
    pub(crate) fn open_at(&self, end: End, wanted: impl Fn(Between) -> bool) -> Vec<u64> {
        let open = self.connections.iter().filter(|(_, it)| it.open[end as usize] && wanted(it.between));
        open.map(|(link, _)| *link).collect()
    }
}

impl AtSite<'_> {
    /// Sends a frame from an end of a connection.
    pub(crate) fn send_frame(&mut self, link: u64, from: End, frame: &Frame) {
        let (now, site) = (self.now, &mut *self.site);
        let delay = match site.rough && site.random.below(12) == 0 {
            true => site.random.below(2500),
            false => 1 + site.random.below(20),
        };
        let Some(connection) = site.network.connections.get_mut(&link) else { return };
        if !connection.open[from as usize] || connection.cut[from as usize] {
            return;
        }
        let arrives = &mut connection.arrives[from as usize];
        *arrives = (now + delay).max(*arrives);
        let delay = *arrives - now;
        self.site_after(delay, SiteEvent::Frame { link, to: from.other(), bytes: frame.encode() });
    }

    /// An end closes its connection; the close overtakes what is on its way.
    pub(crate) fn close_link(&mut self, link: u64, by: End, superseded: bool) {
        let site = &mut *self.site;
        let cut = site.network.connections.get(&link).is_some_and(|it| it.cut[by as usize]);
        if site.network.leave(link, by) {
            let delay = 1 + if cut { site.random.below(IDLE_TIMEOUT) } else { site.random.below(40) };
            self.site_after(delay, SiteEvent::Gone { link, to: by.other(), superseded: superseded && !cut });
        }
    }

    /// The process at an end is gone without a word.
    pub(crate) fn vanish(&mut self, link: u64, end: End) {
        let site = &mut *self.site;
        if site.network.leave(link, end) {
            let delay = 1 + site.random.below(IDLE_TIMEOUT);
            self.site_after(delay, SiteEvent::Gone { link, to: end.other(), superseded: false });
        }
    }

    /// From now on nothing arrives at one end, or at both. The one that gets nothing notices it, and then the other.
    pub(crate) fn cut_link(&mut self, link: u64, directions: [bool; 2]) {
        let site = &mut *self.site;
        let Some(connection) = site.network.connections.get_mut(&link) else { return };
        connection.cut = directions;
        let first = IDLE_TIMEOUT / 2 + site.random.below(IDLE_TIMEOUT / 2);
        let second = site.random.below(IDLE_TIMEOUT);
        // What the dialer sends is cut: the listener gets nothing.
        let (deaf, other) = match directions {
            [true, _] => (End::Listener, End::Dialer),
            _ => (End::Dialer, End::Listener),
        };
        self.site_after(first, SiteEvent::Gone { link, to: deaf, superseded: false });
        self.site_after(first + second, SiteEvent::Gone { link, to: other, superseded: false });
    }

    /// An end notices that the connection is over; false when it knew.
    pub(crate) fn notice_end(&mut self, link: u64, end: End) -> bool {
        self.site.network.leave(link, end)
    }
}
