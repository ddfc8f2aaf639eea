//! A host's runner: the real machine of its installation, driven as the runner's worker drives it, and its session with
//! the agent. Processes of the service outlive it.

use std::collections::VecDeque;

use trimaran_agent_core::driver::{Driver as _, Effect, Found, Input};
use trimaran_host_core::host::{
    Admission, Call, HostEffect, HostMachine, Journal, Phase, Query, Reply, SeenCluster, Snapshot, admit,
};
use trimaran_model::assignment::{HostGoal, HostReport};
use trimaran_model::id::{Digest, Epoch, Fence, HostName};
use trimaran_model::limits::RUNNER_FRAME_BYTES_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::assignment::WireFailure;
use trimaran_wire::v1::journal::WireHostJournal;
use trimaran_wire::v1::runner::{RunnerDown, RunnerUp};

use super::network::{Between, End};
use super::platform::Machine;
use super::{AtSite, Site, SiteEvent};
use crate::random::Random;
use crate::world::clock::Clock;

/// A host.
pub(crate) struct Host {
    pub(crate) name: HostName,
    pub(crate) machine: Machine,
    clock: Clock,
    /// The number of its last process, and the process while it runs.
    processes: u64,
    pub(crate) runner: Option<Runner>,
    /// The largest fence that its disk ever had.
    fence: Fence,
}

/// A process of the runner.
pub(crate) struct Runner {
    number: u64,
    incarnation: u64,
    /// What it does for the installation, once it has an order.
    work: Option<Work>,
    /// The session with the agent, and the state of the cluster that this obeys.
    link: Option<u64>,
    agent: SeenCluster,
    /// Orders that wait for the disk, with their numbers in the session.
    goals: VecDeque<(u64, u64, HostGoal)>,
}

/// Bytes that are being written, and the session and number of the order that is answered then.
type Saving = (Vec<u8>, Option<(u64, u64)>);

struct Work {
    phase: Phase,
    next: Option<HostGoal>,
    abort_requested: bool,
    effects: VecDeque<HostEffect>,
    saving: Option<Saving>,
    inputs: VecDeque<Input<Reply, Snapshot>>,
    watched: Option<u64>,
    /// Answers that belong to an earlier order have another number.
    generation: u64,
}

impl Host {
    pub(crate) fn new(name: HostName, now: u64, drift_ppm: u64, random: &mut Random) -> Self {
        Self {
            name,
            machine: Machine::new(),
            clock: Clock::boot(now, drift_ppm, random),
            processes: 0,
            runner: None,
            fence: Fence::default(),
        }
    }

    /// What its installation's report says is current.
    pub(crate) fn reported(&self) -> Option<Digest> {
        self.runner.as_ref()?.work.as_ref()?.phase.report().current
    }
}

impl Runner {
    fn work(&mut self) -> Option<&mut Work> {
        self.work.as_mut()
    }
}

impl AtSite<'_> {
    fn host(&mut self, host: usize) -> &mut Host {
        &mut self.site.hosts[host]
    }

    /// The runner's process starts, and continues what its disk has.
    pub(crate) fn start_runner(&mut self, host: usize) {
        let (now, site) = (self.now, &mut *self.site);
        let incarnation = site.random.number();
        let it = &mut site.hosts[host];
        if it.runner.is_some() {
            return;
        }
        it.processes += 1;
        let number = it.processes;
        let mut runner = Runner {
            number,
            incarnation,
            work: None,
            link: None,
            agent: SeenCluster::default(),
            goals: VecDeque::new(),
        };
        if let Some(bytes) = &it.machine.disk.journal {
            let wire = WireHostJournal::from_bytes(bytes).expect("a journal that was written whole");
            let (journal, next) = Journal::from_wire(wire).expect("its own journal");
            runner.work = Some(Work::begin(it.clock.at(now), journal, next));
        }
        it.runner = Some(runner);
        let delay = site.random.below(400);
        self.site_after(delay, SiteEvent::RunnerDials { host });
        self.runner_works(host);
    }

    /// The runner's process ends at any moment; with `power` the machine loses its power.
    pub(crate) fn crash_runner(&mut self, host: usize, power: bool) {
        let (now, site) = (self.now, &mut *self.site);
        let it = &mut site.hosts[host];
        let Some(runner) = it.runner.take() else { return };
        // A write that was in progress is there or not, and never in part: it is a new file and a rename.
        if let Some((bytes, _)) = runner.work.and_then(|work| work.saving)
            && site.random.below(2) == 0
        {
            it.machine.disk.journal = Some(bytes);
        }
        if power {
            it.machine.reboot();
            it.clock = Clock::boot(now, site.drift_ppm, &mut site.random);
        }
        let delay = 50 + site.random.below(3000);
        if let Some(link) = runner.link {
            self.vanish(link, End::Dialer);
        }
        self.site_after(delay, SiteEvent::RunnerStarts { host });
    }

    /// The service's process ends, and with `shim_too` no one sees how.
    pub(crate) fn kill_service(&mut self, host: usize, shim_too: bool) {
        self.host(host).machine.kill(shim_too);
        self.show_exit(host);
    }

    fn show_exit(&mut self, host: usize) {
        let Host { runner, machine, .. } = self.host(host);
        let Some(work) = runner.as_mut().and_then(Runner::work) else { return };
        if let Some(launch) = work.watched
            && let Some(exit) = machine.exit(launch)
        {
            work.watched = None;
            work.inputs.push_back(Input::Observed(Snapshot { launch, exit }));
            self.runner_works(host);
        }
    }

    pub(crate) fn runner_dials(&mut self, host: usize) {
        let site = &mut *self.site;
        let agent = site.current_agent();
        let Some(runner) = site.hosts[host].runner.as_mut() else { return };
        // Whoever greets has inspected what it has.
        let ready = runner.work.as_ref().is_none_or(|work| work.phase.is_inspected());
        let Some(agent) = agent.filter(|_| ready && runner.link.is_none()) else {
            if runner.link.is_none() {
                self.site_after(300, SiteEvent::RunnerDials { host });
            }
            return;
        };
        let link = site.network.connect(Between::Runner { host, agent });
        (runner.link, runner.agent) = (Some(link), SeenCluster::default());
        let hello = RunnerUp::Hello {
            incarnation: runner.incarnation,
            address: format!("10.0.0.{host}"),
            reports: runner.work.iter().map(|work| (&work.report()).into()).collect(),
            facts: Default::default(),
        };
        self.send_frame(link, End::Dialer, &hello.to_frame());
    }

    /// Its session with the agent is over.
    pub(crate) fn runner_loses(&mut self, host: usize, link: u64, superseded: bool) {
        let site = &mut *self.site;
        let Some(runner) = site.hosts[host].runner.as_mut().filter(|it| it.link == Some(link)) else {
            return;
        };
        assert!(!superseded, "there is one process of a runner");
        runner.link = None;
        runner.goals.clear();
        let delay = 20 + site.random.below(800);
        self.site_after(delay, SiteEvent::RunnerDials { host });
    }

    pub(crate) fn runner_receives(&mut self, host: usize, link: u64, bytes: &[u8]) {
        let (frame, _) = Frame::decode(bytes, RUNNER_FRAME_BYTES_MAX).expect("a frame of the agent");
        let message = RunnerDown::from_frame(&frame).expect("a message of the agent");
        let it = self.host(host);
        let Some(runner) = it.runner.as_mut().filter(|runner| runner.link == Some(link)) else { return };
        match message {
            RunnerDown::Welcome { epoch, incarnation, .. } => {
                runner.agent = SeenCluster { epoch: Epoch(epoch), incarnation };
                let seen = it.machine.disk.seen.greet(runner.agent);
                it.machine.disk.seen = seen.expect("the cluster has one incarnation");
            }
            RunnerDown::Goal { sequence, goal } => {
                let goal = HostGoal::try_from(goal).expect("what was written");
                runner.goals.push_back((link, sequence, goal));
                self.runner_works(host);
            }
            RunnerDown::Revoked { .. } | RunnerDown::Issuers { .. } => {}
        }
    }

    /// The disk has what was being written.
    pub(crate) fn runner_saved(&mut self, host: usize, number: u64) {
        let it = self.host(host);
        let Some(runner) = it.runner.as_mut().filter(|runner| runner.number == number) else { return };
        let Some(work) = runner.work() else { return };
        let Some((bytes, answers)) = work.saving.take() else { return };
        it.machine.disk.journal = Some(bytes);
        it.fence = it.fence.max(work.next.as_ref().unwrap_or(&work.phase.journal.goal).fence);
        if let Some((link, sequence)) = answers {
            self.say(host, Some(link), &RunnerUp::Answer { sequence, refused: None });
            self.say_report(host);
        }
        self.runner_works(host);
    }

    pub(crate) fn runner_input(
        &mut self,
        host: usize,
        (number, generation): (u64, u64),
        input: Input<Reply, Snapshot>,
    ) {
        let it = self.host(host);
        let Some(runner) = it.runner.as_mut().filter(|runner| runner.number == number) else { return };
        let Some(work) = runner.work().filter(|work| work.generation == generation) else { return };
        work.inputs.push_back(input);
        self.runner_works(host);
    }

    /// Does what can be done before the disk or an answer is there.
    fn runner_works(&mut self, host: usize) {
        loop {
            let (now, site) = (self.now, &mut *self.site);
            let Site { hosts, random, .. } = site;
            let Host { machine, clock, runner, .. } = &mut hosts[host];
            let Some(runner) = runner else { return };
            let number = runner.number;
            let Some(work) = &mut runner.work else {
                match runner.goals.pop_front() {
                    Some(goal) => self.take_goal(host, goal),
                    None => return,
                }
                continue;
            };
            if work.saving.is_some() {
                return;
            }
            if let Some(effect) = work.effects.pop_front() {
                match effect {
                    Effect::Persist => self.save(host, None),
                    Effect::Call { call: Call::ReleaseSlot, .. } => {}
                    Effect::Call { id, call, deadline, .. } => {
                        let traced = !matches!(call, Call::Probe { .. } | Call::Inspect | Call::Fetch { .. });
                        let (reply, takes) = machine.perform(clock.at(now), call);
                        let lost = traced && site.rough && random.below(150) == 0;
                        let event = (number, work.generation);
                        let (delay, input) = match lost {
                            true => (deadline.0, Input::Lost(id)),
                            false => (takes.0, Input::Reply(id, reply)),
                        };
                        self.site_after(delay, SiteEvent::HostInput { host, of: event, input });
                        // What it ended or started is seen by those who watch.
                        self.show_exit(host);
                    }
                    Effect::Watch(Query { launch }) => {
                        work.watched = Some(launch);
                        self.show_exit(host);
                    }
                    Effect::Report(_) | Effect::Commit { .. } => self.say_report(host),
                    Effect::WakeAt(at) => {
                        let delay = clock.true_time(at).saturating_sub(now);
                        let event = (number, work.generation);
                        self.site_after(delay, SiteEvent::HostInput { host, of: event, input: Input::Due });
                    }
                    Effect::Done(_) => {
                        work.begin_next(clock.at(now));
                        self.say_report(host);
                    }
                }
                continue;
            }
            if work.request_abort(clock.at(now)) {
                continue;
            }
            if let Some(input) = work.inputs.pop_front() {
                work.step(clock.at(now), input);
                continue;
            }
            match runner.goals.pop_front() {
                Some(goal) => self.take_goal(host, goal),
                None => return,
            }
        }
    }

    /// Takes an order, by the state of the cluster and by its fence, once it is on the disk.
    fn take_goal(&mut self, host: usize, (link, sequence, goal): (u64, u64, HostGoal)) {
        let (now, site) = (self.now, &mut *self.site);
        let it = &mut site.hosts[host];
        let Some(runner) = &mut it.runner else { return };
        let seen = it.machine.disk.seen.admit(runner.agent, goal.fence);
        it.machine.disk.seen = seen.expect("the cluster has one incarnation");
        let known = runner.work.as_ref().map(|work| work.next.as_ref().unwrap_or(&work.phase.journal.goal));
        let refused = match admit(known, &goal) {
            Admission::Take => {
                assert!(goal.fence >= it.fence, "{} takes {} after {}", it.name, goal.fence, it.fence);
                match &mut runner.work {
                    Some(work) => work.next = Some(goal),
                    None => {
                        runner.work = Some(Work::begin(it.clock.at(now), Journal::new(goal), None));
                    }
                }
                return self.save(host, Some((link, sequence)));
            }
            Admission::Same => None,
            Admission::Lower { largest } => Some(format!("fence {} is lower than {largest}", goal.fence)),
            Admission::Mismatch { assignment } => {
                panic!("fence {} is of {} and of {assignment}", goal.fence, goal.assignment)
            }
        };
        let code = ReasonCode::Fenced.as_str().to_owned();
        let refused = refused.map(|message| WireFailure { code, message, instance: None });
        self.say(host, Some(link), &RunnerUp::Answer { sequence, refused });
    }

    /// Writes the journal as it is now.
    fn save(&mut self, host: usize, answers: Option<(u64, u64)>) {
        let site = &mut *self.site;
        let Some(runner) = &mut site.hosts[host].runner else { return };
        let Some(work) = &mut runner.work else { return };
        work.saving = Some((work.phase.journal.to_wire(work.next.as_ref()).to_bytes(), answers));
        let (number, delay) = (runner.number, 1 + site.random.below(15));
        self.site_after(delay, SiteEvent::HostSaved { host, number });
    }

    fn say_report(&mut self, host: usize) {
        let Some(runner) = &mut self.host(host).runner else { return };
        let (link, Some(work)) = (runner.link, &runner.work) else { return };
        let report = RunnerUp::Report((&work.report()).into());
        self.say(host, link, &report);
    }

    /// Sends something in a session, if it is still the one.
    fn say(&mut self, host: usize, link: Option<u64>, message: &RunnerUp) {
        let current = self.host(host).runner.as_ref().and_then(|runner| runner.link);
        if let Some(link) = link.filter(|link| current == Some(*link)) {
            self.send_frame(link, End::Dialer, &message.to_frame());
        }
    }
}

impl Work {
    /// Continues with a journal.
    fn begin(now: Timestamp, journal: Journal, next: Option<HostGoal>) -> Self {
        let goal = journal.goal.clone();
        let mut effects = Vec::new();
        let phase = HostMachine.begin(now, &goal, Some(Found::Resumed(journal.into())), &mut effects);
        Self {
            phase,
            next,
            abort_requested: false,
            effects: effects.into(),
            saving: None,
            inputs: VecDeque::new(),
            watched: None,
            generation: 0,
        }
    }

    fn step(&mut self, now: Timestamp, input: Input<Reply, Snapshot>) {
        let mut effects = Vec::new();
        HostMachine.step(&mut self.phase, now, input, &mut effects);
        self.effects.extend(effects);
    }

    /// Asks the machine to make way for an order that waits; whether it was asked.
    fn request_abort(&mut self, now: Timestamp) -> bool {
        let Some(next) = &self.next else { return false };
        let Some(reason) = HostMachine.handover(&self.phase, next).abort_reason() else { return false };
        if reason == ReasonCode::Interrupted && self.abort_requested {
            return false;
        }
        self.abort_requested = true;
        self.step(now, Input::Abort(reason));
        true
    }

    /// The machine has made way: what is still in flight changes nothing.
    fn begin_next(&mut self, now: Timestamp) {
        (self.watched, self.abort_requested) = (None, false);
        self.inputs.clear();
        self.generation += 1;
        let order = self.phase.journal.goal.clone();
        let goal = self.next.take().unwrap_or_else(|| order.clone());
        let found = Some(Found::Superseded { order, phase: self.phase.clone() });
        let mut effects = Vec::new();
        self.phase = HostMachine.begin(now, &goal, found, &mut effects);
        self.effects.extend(effects);
    }

    fn report(&self) -> HostReport {
        self.phase.report_with(self.next.as_ref())
    }
}
