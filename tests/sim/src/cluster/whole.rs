//! Three coordinators with the agent and its hosts as they run: the agent's sessions go to any coordinator, and to another one
//! when it is gone.
//!
//! Not here: what agents and hosts do (`crate::world::site`); lost quorums and restored backups, which the script meets.

use trimaran_model::run::Status;
use trimaran_query as query;
use trimaran_wire::v1::command::Command;

use super::{Cluster, Event, NODES, NetworkFaults};
use crate::trace::Trace;
use crate::world::operator::LAST_VERSION;
use crate::world::site::{AtSite, Coordinators, Notice, Site, View};
use crate::world::{Asker, Faults, HOSTS_SETTLE, LAST_DEPLOY_TIMEOUT, RUN_STEP};

impl Cluster {
    /// A world whose agent and hosts are not a script: they are what runs in production, over a network with faults.
    pub fn whole(seed: u64, faults: Faults, network: NetworkFaults, trace: Trace) -> Self {
        // The agent crashes by the site's own faults.
        let rough = faults.agent_crash_every > 0;
        let mut cluster = Self::new(seed, Faults { agent_crash_every: 0, ..faults }, network, trace);
        cluster.site = Some(Site::new(seed, NODES, cluster.now, faults.drift_ppm, rough));
        cluster.is_whole = true;
        cluster.at_site(|site| site.start());
        cluster
    }

    /// Lets the site do something, and take in what comes of it at the coordinators.
    pub(super) fn at_site(&mut self, act: impl FnOnce(&mut AtSite<'_>)) {
        let Some(mut site) = self.site.take() else { return };
        let mut at = AtSite::new(self.now, &mut site, self);
        act(&mut at);
        at.catch_up();
        self.site = Some(site);
    }

    /// What the site has to take in, if there is one.
    pub(super) fn notify_site(&mut self, node: usize, notice: Notice) {
        if self.is_whole {
            self.notices.push((node, notice));
        }
    }

    /// Everything that began ends within `length`, and a last release, which works everywhere, is the one that every host
    /// serves in the end.
    pub(super) fn heal_site(&mut self, length: u64) {
        self.at_site(|site| site.heal());
        self.run_until(length, Self::is_quiet);
        assert!(self.is_quiet(), "runs never end");
        let number = self.operators.deploy_last(self.wall().0);
        self.run_until(LAST_DEPLOY_TIMEOUT, |it| it.operators.is_answered(number) && it.is_quiet());
        // What hosts report of it last is on its way, and so are the last entries to those that follow.
        self.run(HOSTS_SETTLE);
        let run = self.operators.run_of(number).expect("it is started");
        for node in 0..NODES {
            let rows = self.rows(node).expect("a healed coordinator runs");
            let document = query::run(rows, &run).expect("it was acknowledged");
            assert_eq!(document.status, Status::Succeeded.as_str(), "the last run: {document:?}");
        }
        self.seen.site = self.site.as_mut().expect("it is not at work").check_end(LAST_VERSION);
        self.seen.results = self.seen.site.results;
    }

    /// Lets time pass until something holds, at most so long.
    fn run_until(&mut self, length: u64, holds: impl Fn(&Self) -> bool) {
        let end = self.now + length;
        while self.now < end && !holds(self) {
            self.run(RUN_STEP);
        }
    }

    /// Every coordinator has its place and a vote, and knows no run that is not done.
    fn is_quiet(&self) -> bool {
        let done = |status: &str| Status::from_name(status).is_some_and(Status::is_done);
        let quiet = |node: usize| {
            let runs = self.rows(node).map(|rows| query::runs(rows, None, usize::MAX).runs);
            runs.is_some_and(|runs| runs.iter().all(|run| done(&run.status)))
        };
        !self.members_change() && (0..NODES).all(quiet)
    }
}

impl Coordinators for Cluster {
    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.line(self.now, what);
    }

    fn plan(&mut self, delay: u64, number: u64) {
        self.at(delay, Event::Site(number));
    }

    fn view(&self, node: usize) -> Option<View<'_>> {
        let it = &self.nodes[node];
        let member = it.member.as_ref()?;
        let boot = it.clock.at(self.now);
        let status = member.status(boot);
        let machine = member.state_machine();
        Some(View {
            name: format!("c{}", it.id).parse().expect("a name"),
            clock: it.clock,
            boot,
            wall: status.wall_at(boot),
            status,
            rows: &machine.rows,
            revision: machine.revision,
        })
    }

    fn is_paused(&self, node: usize) -> bool {
        self.nodes[node].is_paused()
    }

    fn propose(&mut self, node: usize, command: Command, asker: Asker) {
        self.ask(node, command, asker);
    }

    fn notices(&mut self) -> Vec<(usize, Notice)> {
        std::mem::take(&mut self.notices)
    }
}
