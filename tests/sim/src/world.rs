//! One coordinator as it runs: the member that the server runs, with a replica of one voter, over a disk that loses
//! what was not synced and groups its jobs as the store's writer does; operators as scripts; and a fleet's agent, as a script or
//! with its hosts as they run (`site`).
//! One thread, one seed.
//!
//! Faults: crashes at any moment and within a write, slow and full disks, pauses of the whole process, boot clocks that begin
//! anywhere and run a little too fast or too slow.
//!
//! Checked on the way: an answer comes only after its entry is durable, and every request gets one; a result of an
//! agent is never answered as unknown, and gets only fences that grow; a request that is repeated over crashes is
//! answered as before; the cluster's wall time follows the true one; and what `crate::check` says after every applied
//! entry; a command is refused for want of space exactly when the disk has too little for it. After [`World::heal`] everything has to end.

pub(crate) mod agent;
pub(crate) mod clock;
pub(crate) mod machine;
pub(crate) mod operator;
pub(crate) mod site;
pub(crate) mod watchers;

use std::collections::{BTreeMap, VecDeque};

use trimaran_engine::Outcome;
use trimaran_member::{DiskLevel, Input, Member, Output, Proposed, StateChange};
use trimaran_model::run::Status;
use trimaran_model::time::WallTime;
use trimaran_query as query;
use trimaran_replica::memory::MemoryStore;
use trimaran_replica::{EntryMeta, Replica, Settings, StateMachine as _, WriteGroup, WriteJob, Written};
use trimaran_wire::codec::encode;
use trimaran_wire::raft::ConfState;
use trimaran_wire::v1::command::{Command, CommandBody, Entry};

use crate::check::Rows;
use crate::lab::{WALL, system};
use crate::random::Random;
use crate::trace::{Trace, variant};
use agent::Agent;
use clock::Clock;
use machine::CheckedMachine;
use operator::Operators;
use site::{AtSite, Coordinators, Notice, Site, SiteSeen, View};
use watchers::{WatchSeen, Watchers};

/// How far the cluster's wall time may be from the true one, once the member leads for [`WALL_SETTLES`].
const WALL_TOLERANCE_MS: u64 = 2500;
const WALL_SETTLES: u64 = 5000;
/// The longest that a request waits for its answer in a world without faults.
const ANSWER_TIMEOUT: u64 = 30_000;
/// The longest that the last release of a healed world takes, with its hosts.
pub(crate) const LAST_DEPLOY_TIMEOUT: u64 = 120_000;
/// The longest that a write stalls, and the longest time in which writes do.
const STALL_MAX: u64 = 1500;
const STALLS_MAX: u64 = 6000;
/// What hosts report of it is shown within this time.
pub(crate) const HOSTS_SETTLE: u64 = 5000;
/// How often watchers move to another coordinator, or lose theirs.
pub(crate) const WATCHERS_INTERVAL: u64 = 400;
/// How often it is looked whether a world has come to its end.
pub(crate) const RUN_STEP: u64 = 2000;

/// What goes wrong, and how often; 0 is never.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Milliseconds between crashes of the coordinator, about.
    pub crash_every: u64,
    /// Milliseconds between pauses of the coordinator, about.
    pub pause_every: u64,
    /// Milliseconds between crashes of the agent; every third time it loses its disk.
    pub agent_crash_every: u64,
    /// Millionths by which the coordinator's clock may be wrong.
    pub drift_ppm: u64,
    /// Milliseconds between times of little or no space on the disk, about.
    pub disk_full_every: u64,
    /// The longest write.
    pub write_max: u64,
    /// Milliseconds between times in which each write stalls for up to [`STALL_MAX`], about.
    pub stalls_every: u64,
    /// Of a hundred results so many are failures, and so many faults of the platform.
    pub failures: u64,
    pub faults: u64,
    /// The disk says that it synced and did not: a defect that has to be found.
    pub forgets_sync: bool,
}

impl Faults {
    pub const ROUGH: Self = Self {
        crash_every: 4000,
        pause_every: 9000,
        agent_crash_every: 12_000,
        drift_ppm: 400,
        disk_full_every: 12_000,
        write_max: 40,
        stalls_every: 0,
        failures: 10,
        faults: 8,
        forgets_sync: false,
    };
    pub const NONE: Self = Self {
        crash_every: 0,
        pause_every: 0,
        agent_crash_every: 0,
        drift_ppm: 0,
        disk_full_every: 0,
        write_max: 5,
        stalls_every: 0,
        failures: 0,
        faults: 0,
        forgets_sync: false,
    };
}

/// Counts, so that a test can say that something happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub crashes: usize,
    pub pauses: usize,
    pub agent_crashes: usize,
    pub entries: usize,
    pub results: usize,
    pub repeated: usize,
    pub runs: usize,
    /// Commands that were refused for want of space.
    pub no_space: usize,
    pub watch: WatchSeen,
    /// Of a world with the agent and its hosts as they run.
    pub site: SiteSeen,
}

impl Seen {
    pub fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.pauses += other.pauses;
        self.agent_crashes += other.agent_crashes;
        self.entries += other.entries;
        self.results += other.results;
        self.repeated += other.repeated;
        self.runs += other.runs;
        self.no_space += other.no_space;
        self.watch.add(&other.watch);
        self.site.add(&other.site);
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Due {
        incarnation: u64,
    },
    WriteDone {
        incarnation: u64,
    },
    Start,
    Crash,
    Pause,
    Continue {
        incarnation: u64,
    },
    Agent,
    AgentCrash,
    Operator,
    Watchers,
    DiskSpace,
    DiskStalls,
    /// By its number in the site.
    Site(u64),
}

/// Who asked for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    Internal,
    /// The attach of the agent's incarnation of this number.
    Attach(u64),
    /// The result of this assignment.
    Result(u64),
    /// The operators' request of this number.
    Request(u64),
    /// A change of the members, of this number.
    Members(u64),
    /// What an operator asks while the builds of coordinators differ.
    Upgrade,
    /// A session of the agent at a coordinator, by its connection, and its proposal.
    Session {
        node: usize,
        link: u64,
        number: u64,
    },
}

/// Views of this world are the rows of the state: no one asks for a revision.
type NoReader = std::convert::Infallible;
type In = Input<Asker, NoReader>;
type Out = Output<Asker, NoReader>;

/// The world.
pub struct World {
    pub seen: Seen,
    pub trace: Trace,
    now: u64,
    random: Random,
    faults: Faults,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    incarnation: u64,
    clock: Clock,
    store: MemoryStore,
    disk: DiskLevel,
    /// What the member knows of it: a process that is paused hears of it later.
    disk_known: DiskLevel,
    /// Of its own, so that what else happens in a world of one seed does not depend on it.
    disk_random: Random,
    /// Terms of the entries that were handed to the disk, by index.
    terms: BTreeMap<u64, u64>,
    writing: Option<WriteGroup>,
    jobs: VecDeque<WriteJob>,
    due: Option<u64>,
    member: Option<Member<CheckedMachine, Asker, NoReader>>,
    leads_since: Option<u64>,
    /// Writes stall until then.
    stalls_until: u64,
    /// What waits for a process that is paused.
    paused: Option<Vec<In>>,
    agent: Agent,
    operators: Operators,
    watchers: Watchers,
    healing: bool,
    /// The agent and its hosts as they run, instead of the script.
    site: Option<Site>,
    is_whole: bool,
    /// What the site has to take in.
    notices: Vec<(usize, Notice)>,
}

impl World {
    /// A world at its begin; `trace` keeps what happens.
    pub fn new(seed: u64, faults: Faults, trace: Trace) -> Self {
        let mut engine = trimaran_engine::Engine::new();
        let bootstrap = CommandBody::Bootstrap {
            cluster: "c0".to_owned(),
            wall_ms: WALL,
            incarnation: 1,
            admin_token_sha256: [1; 32],
            admin: "admin".to_owned(),
        };
        let first = engine.apply(1, &Entry { now_ms: 0, commands: vec![system(bootstrap)] });
        let rows: Vec<_> = first.rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let members = ConfState { voters: vec![1], ..ConfState::default() };
        let mut random = Random::new(seed);
        let mut world = Self {
            seen: Seen::default(),
            trace,
            now: 1000,
            clock: Clock::boot(1000, faults.drift_ppm, &mut random),
            random,
            faults,
            events: BTreeMap::new(),
            sequence: 0,
            incarnation: 0,
            store: MemoryStore::init(members, &rows),
            disk: DiskLevel::Enough,
            disk_known: DiskLevel::Enough,
            disk_random: Random::new(seed ^ 0x0D15_C0DE),
            terms: BTreeMap::new(),
            writing: None,
            jobs: VecDeque::new(),
            due: None,
            member: None,
            leads_since: None,
            stalls_until: 0,
            paused: None,
            agent: Agent::default(),
            operators: Operators::new(seed),
            watchers: Watchers::new(seed, 1),
            healing: false,
            site: None,
            is_whole: false,
            notices: Vec::new(),
        };
        world.at(0, Event::Start);
        world.at(50, Event::Agent);
        world.at(60, Event::Operator);
        world.at(WATCHERS_INTERVAL, Event::Watchers);
        world.at(faults.crash_every, Event::Crash);
        world.at(faults.pause_every, Event::Pause);
        world.at(faults.agent_crash_every, Event::AgentCrash);
        world.at(faults.disk_full_every, Event::DiskSpace);
        world.at(faults.stalls_every, Event::DiskStalls);
        world
    }

    /// A world whose agent and hosts are not a script: they are what runs in production, over a network with faults.
    pub fn whole(seed: u64, faults: Faults, trace: Trace) -> Self {
        // The agent crashes by the site's own faults.
        let rough = faults.agent_crash_every > 0;
        let mut world = Self::new(seed, Faults { agent_crash_every: 0, ..faults }, trace);
        world.site = Some(Site::new(seed, 1, world.now, faults.drift_ppm, rough));
        world.is_whole = true;
        world.at_site(|site| site.start());
        world
    }

    /// Lets the site do something, and take in what comes of it at the coordinator.
    fn at_site(&mut self, act: impl FnOnce(&mut AtSite<'_>)) {
        let Some(mut site) = self.site.take() else { return };
        let mut at = AtSite::new(self.now, &mut site, self);
        act(&mut at);
        at.catch_up();
        self.site = Some(site);
    }

    /// What the site has to take in, if there is one.
    fn notify_site(&mut self, notice: Notice) {
        if self.is_whole {
            self.notices.push((0, notice));
        }
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    /// About every so many milliseconds.
    fn again(&mut self, every: u64, event: Event) {
        let delay = every / 2 + self.random.below(every);
        self.at(delay, event);
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.line(self.now, what);
    }

    /// Lets so many virtual milliseconds pass.
    pub fn run(&mut self, length: u64) {
        let end = self.now + length;
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((now, _), event) = entry.remove_entry();
            self.now = now;
            self.handle(event);
            if !self.notices.is_empty() {
                self.at_site(|_| {});
            }
        }
        self.now = end;
    }

    /// Ends all faults and new work; then everything that began has to end within `length`.
    pub fn heal(&mut self, length: u64) {
        self.note(format_args!("the faults end"));
        (self.faults, self.stalls_until) = (Faults::NONE, 0);
        self.healing = true;
        self.set_disk(DiskLevel::Enough);
        self.at_site(|site| site.heal());
        match self.is_whole {
            true => self.run_until(length, |world| world.live_runs().is_some_and(|live| live.is_empty())),
            false => self.run(length),
        }
        let left = self.live_runs().expect("a healed coordinator runs");
        assert!(left.is_empty(), "these never end: {left:?}");
        let unanswered = self.operators.unanswered(self.now.saturating_sub(ANSWER_TIMEOUT));
        assert!(unanswered.is_empty(), "these requests are never answered: {unanswered:?}");
        self.operators.check(self.rows().expect("a healed coordinator runs"));
        if self.is_whole {
            self.deploy_last();
        }
        self.watchers.check_end();
        self.seen.watch = self.watchers.seen.clone();
        self.seen.runs = self.operators.runs();
    }

    /// A last release, which works everywhere, is the one that every host serves in the end.
    fn deploy_last(&mut self) {
        let number = self.operators.deploy_last(self.wall().0);
        self.run_until(LAST_DEPLOY_TIMEOUT, |world| {
            world.operators.is_answered(number) && world.live_runs().is_some_and(|live| live.is_empty())
        });
        // What hosts report of it last is on its way.
        self.run(HOSTS_SETTLE);
        let rows = self.rows().expect("a healed coordinator runs");
        let run = self.operators.run_of(number).expect("it is started");
        let document = query::run(rows, &run).expect("it was acknowledged");
        assert_eq!(document.status, Status::Succeeded.as_str(), "the last run: {document:?}");
        let site = self.site.as_mut().expect("it is not at work");
        self.seen.site = site.check_end(operator::LAST_VERSION);
        self.seen.results = self.seen.site.results;
    }

    /// Lets time pass until something holds, at most so long.
    fn run_until(&mut self, length: u64, holds: impl Fn(&Self) -> bool) {
        let end = self.now + length;
        while self.now < end && !holds(self) {
            self.run(RUN_STEP);
        }
    }

    /// The runs that are not done; `None` while no coordinator runs.
    fn live_runs(&self) -> Option<Vec<(String, String)>> {
        let all = query::runs(self.rows()?, None, usize::MAX).runs;
        let live = |status: &str| Status::from_name(status).is_some_and(|status| !status.is_done());
        Some(all.into_iter().filter(|run| live(&run.status)).map(|run| (run.run, run.status)).collect())
    }

    fn rows(&self) -> Option<&Rows> {
        Some(&self.member.as_ref()?.state_machine().rows)
    }

    fn handle(&mut self, event: Event) {
        match event {
            // An earlier moment may have been set after this one was.
            Event::Due { incarnation } if incarnation == self.incarnation && self.due == Some(self.now) => {
                self.due = None;
                self.input(Input::Due);
            }
            Event::WriteDone { incarnation } if incarnation == self.incarnation => self.write_done(),
            Event::Continue { incarnation } if incarnation == self.incarnation => self.resume(),
            Event::Due { .. } | Event::WriteDone { .. } | Event::Continue { .. } => {}
            Event::Start => self.start(),
            Event::Crash => {
                if self.faults.crash_every > 0 {
                    self.crash();
                    self.again(self.faults.crash_every, Event::Crash);
                }
            }
            Event::Pause => {
                if self.faults.pause_every > 0 {
                    self.pause();
                    self.again(self.faults.pause_every, Event::Pause);
                }
            }
            Event::Agent if self.is_whole => {}
            Event::Agent => {
                self.agent_moves();
                let delay = 20 + self.random.below(150);
                self.at(delay, Event::Agent);
            }
            Event::AgentCrash => {
                if self.faults.agent_crash_every > 0 {
                    self.seen.agent_crashes += 1;
                    let disk_lost = self.random.below(3) == 0;
                    self.note(format_args!("the agent crashes, its disk lost: {disk_lost}"));
                    self.agent.crash(disk_lost);
                    self.again(self.faults.agent_crash_every, Event::AgentCrash);
                }
            }
            Event::Watchers => {
                self.watchers.moves();
                self.at(WATCHERS_INTERVAL, Event::Watchers);
            }
            Event::DiskSpace => self.disk_changes(),
            Event::DiskStalls if self.faults.stalls_every > 0 => {
                self.stalls_until = self.now + self.disk_random.below(STALLS_MAX);
                self.again(self.faults.stalls_every, Event::DiskStalls);
            }
            Event::DiskStalls => {}
            Event::Site(number) => self.at_site(|site| site.on_event(number)),
            Event::Operator => {
                self.check_wall();
                self.operators_move();
                let delay = 50 + self.random.below(400);
                self.at(delay, Event::Operator);
            }
        }
    }

    fn start(&mut self) {
        if self.member.is_some() {
            return;
        }
        let loaded = self.store.load();
        let mut machine = CheckedMachine::default();
        machine.restore(loaded.applied, Box::new(self.store.rows().into_iter())).expect("rows of an engine");
        let mut settings = Settings::new(1, self.random.number());
        (settings.snapshot_entries, settings.kept_entries) = (60, 20);
        self.note(format_args!("the coordinator starts at revision {}", loaded.applied.index));
        let revision = loaded.applied.index;
        let replica = Replica::new(settings, machine, loaded).expect("a store always loads");
        if self.random.below(3) == 0 {
            self.clock = Clock::boot(self.now, self.faults.drift_ppm, &mut self.random);
        }
        self.member = Some(Member::new(replica, self.clock.at(self.now), 0));
        self.disk_known = DiskLevel::Enough;
        self.due = None;
        self.leads_since = None;
        self.watchers.start(0, revision);
        self.input(Input::Due);
        self.input(Input::DiskSpace(self.disk));
    }

    /// A disk with enough space loses it for a while.
    fn disk_changes(&mut self) {
        if self.faults.disk_full_every == 0 {
            return;
        }
        if self.disk < DiskLevel::Enough {
            self.set_disk(DiskLevel::Enough);
            let every = self.faults.disk_full_every;
            let delay = every / 2 + self.disk_random.below(every);
            return self.at(delay, Event::DiskSpace);
        }
        let level = if self.disk_random.below(2) == 0 { DiskLevel::Low } else { DiskLevel::Full };
        self.set_disk(level);
        let length = 100 + self.disk_random.below(3000);
        self.at(length, Event::DiskSpace);
    }

    fn set_disk(&mut self, level: DiskLevel) {
        self.note(format_args!("the disk's space: {level:?}"));
        self.disk = level;
        self.input(Input::DiskSpace(level));
    }

    /// The process ends in the middle of whatever it does, and the disk loses what was not synced.
    fn crash(&mut self) {
        if self.member.take().is_none() {
            return;
        }
        self.seen.crashes += 1;
        self.incarnation += 1;
        self.paused = None;
        if let Some(group) = self.writing.take()
            && self.random.below(2) == 0
        {
            self.store.write_unsynced(group.jobs().to_vec());
        }
        self.jobs.clear();
        let unsynced = self.store.unsynced();
        let kept = self.random.below(unsynced as u64 + 1);
        self.note(format_args!("the coordinator crashes; {kept} of {unsynced} unsynced writes stay"));
        self.store.crash(usize::try_from(kept).expect("few groups"));
        self.watchers.crash(0);
        self.agent.session_lost();
        self.notify_site(Notice::Crashed);
        self.operators.session_lost();
        let down = 10 + self.random.below(1500);
        self.at(down, Event::Start);
    }

    /// The process is stopped for a while: nothing is read, and its clock runs on.
    fn pause(&mut self) {
        if self.member.is_none() || self.paused.is_some() {
            return;
        }
        self.seen.pauses += 1;
        self.paused = Some(Vec::new());
        let (length, incarnation) = (10 + self.random.below(3000), self.incarnation);
        self.note(format_args!("the coordinator is paused for {length} ms"));
        self.at(length, Event::Continue { incarnation });
    }

    fn resume(&mut self) {
        self.note(format_args!("the coordinator continues"));
        let waiting = self.paused.take().unwrap_or_default();
        waiting.into_iter().for_each(|input| self.step(input));
        self.settle();
        self.notify_site(Notice::Continues);
    }

    /// Sends the coordinator a command; it is lost when that is down.
    fn ask(&mut self, command: Command, asker: Asker) {
        if self.member.is_some() {
            self.note(format_args!("{asker:?} asks for {}", variant(&command.body)));
            let bytes = encode(&command).len();
            self.input(Input::Propose { requester: asker, command, bytes });
        }
    }

    /// Hands an input over as the server's thread does: what is due follows when nothing else waits.
    fn input(&mut self, input: In) {
        if let Some(waiting) = &mut self.paused {
            return waiting.push(input);
        }
        self.step(input);
        self.settle();
    }

    /// Lets the member do what is due now, and plans when to call it again.
    fn settle(&mut self) {
        // One more call a millisecond is enough: a member that is due for ever would stop the world.
        if self.deadline().is_some_and(|at| at <= self.now) {
            self.step(Input::Due);
        }
        if let Some(at) = self.deadline() {
            let at = at.max(self.now + 1);
            if self.due.is_none_or(|due| at < due) {
                self.due = Some(at);
                self.at(at - self.now, Event::Due { incarnation: self.incarnation });
            }
        }
    }

    /// When the member wants to be called, in true time.
    fn deadline(&self) -> Option<u64> {
        Some(self.clock.true_time(self.member.as_ref()?.next_deadline()?))
    }

    fn wall(&self) -> WallTime {
        WallTime(WALL + i64::try_from(self.now).expect("a short time"))
    }

    fn step(&mut self, input: In) {
        let (boot, wall) = (self.clock.at(self.now), self.wall());
        let Some(member) = &mut self.member else { return };
        let mut out: Vec<Out> = Vec::new();
        if let Input::DiskSpace(level) = &input {
            self.disk_known = *level;
        }
        let fits = match &input {
            Input::Propose { command, .. } => Some(self.disk_known.accepts(&command.body)),
            _ => None,
        };
        member.step(boot, wall, input, &mut out);
        let no_space = |it: &Out| matches!(it, Output::Proposed { answer: Proposed::NoSpace, .. });
        let refused = out.iter().any(no_space);
        assert!(fits.is_none_or(|fits| fits != refused), "space: {:?}, refused: {refused}", self.disk_known);
        self.seen.no_space += usize::from(refused);
        match member.status(boot).leads() {
            true => drop(self.leads_since.get_or_insert(self.now)),
            false => self.leads_since = None,
        }
        for output in out {
            self.output(output);
        }
    }

    /// The cluster's wall time is about the true one, however often the process starts anew.
    fn check_wall(&self) {
        // Wall time follows by entries, which are as slow as writes that stall.
        let stalled = self.stalls_until + STALL_MAX;
        let settled = self.leads_since.is_some_and(|since| self.now >= since.max(stalled) + WALL_SETTLES);
        let Some(member) = self.member.as_ref().filter(|_| settled && self.paused.is_none()) else { return };
        let boot = self.clock.at(self.now);
        let (found, wall) = (member.status(boot).wall_at(boot), self.wall());
        let difference = found.0.abs_diff(wall.0);
        assert!(difference <= WALL_TOLERANCE_MS, "the cluster's wall time is {difference} ms wrong");
    }

    fn output(&mut self, output: Out) {
        match output {
            Output::Write(job) => {
                self.terms.extend(job.entries.iter().map(|entry| (entry.index, entry.term)));
                self.jobs.push_back(job);
                self.start_write();
            }
            Output::Proposed { requester, answer } => self.answer(requester, answer),
            Output::Read { requester, .. } => match requester {},
            Output::Applied(applied) => {
                self.seen.entries += 1;
                self.watchers.on_change(0, StateChange::Applied(&applied));
                self.notify_site(Notice::Applied(applied));
            }
            Output::Fatal(fatal) => panic!("{fatal}"),
            Output::Send { .. }
            | Output::SendPeer { .. }
            | Output::SendSnapshot { .. }
            | Output::BuildSnapshot { .. } => panic!("one voter has no peers"),
            Output::InstallSnapshot(_) | Output::StateReplaced { .. } => panic!("no peer sends snapshots"),
        }
    }

    fn answer(&mut self, asker: Asker, answer: Proposed) {
        self.note(format_args!("{asker:?} is answered {answer:?}"));
        let Proposed::Done { revision, outcome } = answer else {
            // Whoever asked asks again.
            return match asker {
                Asker::Session { link, number, .. } => {
                    self.notify_site(Notice::Answered { link, number, answer })
                }
                Asker::Attach(_) => self.agent.session_lost(),
                Asker::Request(number) => self.operators.not_accepted(number),
                Asker::Internal | Asker::Result(_) | Asker::Members(_) | Asker::Upgrade => {}
            };
        };
        let entry = EntryMeta { index: revision, term: self.terms.get(&revision).copied().unwrap_or(0) };
        assert!(self.store.holds(entry), "entry {revision} is answered and not durable");
        self.outcome(asker, revision, outcome);
    }

    fn outcome(&mut self, asker: Asker, revision: u64, outcome: Outcome) {
        match asker {
            Asker::Internal | Asker::Members(_) | Asker::Upgrade => {}
            Asker::Session { link, number, .. } => {
                self.notify_site(Notice::Answered {
                    link,
                    number,
                    answer: Proposed::Done { revision, outcome },
                });
            }
            Asker::Attach(incarnation) => self.agent.attached(incarnation, &outcome),
            Asker::Result(assignment) => {
                self.seen.results += 1;
                self.agent.answered(assignment, &outcome);
            }
            Asker::Request(number) => self.seen.repeated += self.operators.answered(number, outcome),
        }
    }

    fn start_write(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let Some(first) = self.jobs.pop_front() else { return };
        let mut group = WriteGroup::new(first);
        while group.has_capacity()
            && let Some(job) = self.jobs.pop_front()
        {
            group.push(job);
        }
        self.writing = Some(group);
        let stall = if self.now < self.stalls_until { self.random.below(STALL_MAX) } else { 0 };
        let delay = 1 + self.random.below(self.faults.write_max) + stall;
        self.at(delay, Event::WriteDone { incarnation: self.incarnation });
    }

    fn write_done(&mut self) {
        let Some(group) = self.writing.take() else { return };
        let number = group.number();
        let mut jobs = group.jobs().to_vec();
        if self.faults.forgets_sync {
            jobs.iter_mut().for_each(|job| job.sync = false);
        }
        self.store.write(jobs);
        self.start_write();
        self.input(Input::Written(Written { number }));
    }

    fn agent_moves(&mut self) {
        let Some(member) = &self.member else { return };
        let moves = self.agent.moves(&member.state_machine().rows, &mut self.random, self.faults);
        for (command, asker) in moves {
            self.ask(command, asker);
        }
    }

    fn operators_move(&mut self) {
        let wall = self.wall().0;
        let Some(member) = &self.member else { return };
        let moves = self.operators.moves(&member.state_machine().rows, (self.now, wall), self.healing);
        for (command, asker) in moves {
            self.ask(command, asker);
        }
    }
}

impl Coordinators for World {
    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.line(self.now, what);
    }

    fn plan(&mut self, delay: u64, number: u64) {
        self.at(delay, Event::Site(number));
    }

    fn view(&self, _: usize) -> Option<View<'_>> {
        let member = self.member.as_ref()?;
        let boot = self.clock.at(self.now);
        let status = member.status(boot);
        let machine = member.state_machine();
        Some(View {
            name: "c1".parse().expect("a name"),
            clock: self.clock,
            boot,
            wall: status.wall_at(boot),
            status,
            rows: &machine.rows,
            revision: machine.revision,
        })
    }

    fn is_paused(&self, _: usize) -> bool {
        self.paused.is_some()
    }

    fn propose(&mut self, _: usize, command: Command, asker: Asker) {
        self.ask(command, asker);
    }

    fn notices(&mut self) -> Vec<(usize, Notice)> {
        std::mem::take(&mut self.notices)
    }
}
