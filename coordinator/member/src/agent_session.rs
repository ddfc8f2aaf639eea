//! The session of one attached agent without I/O: its assignments out, its reports in, the answers that keep its lease, and
//! what is written of it when it comes and goes.
//!
//! [`AgentSession::step`] takes one [`Input`] and appends [`Output`]s; [`AgentSession::next_deadline`] says when to call
//! again without one. The server performs the outputs of a session in a task of its own, the simulator on its virtual
//! network; both run this one.
//!
//! Invariants:
//! - nothing is sent before the attach is in the log, and the first answered ping comes behind everything that the log
//!   has for the agent then;
//! - a ping is answered only while this coordinator is sure of a quorum ([`trimaran_model::limits::QUORUM_LEASE`]);
//! - the answer to a report leaves only as an output of the step in which the log answered it;
//! - what the agent is sent is read from the rows, and only a row that is gone cancels;
//! - an attach and the end of it are written one behind the other ([`Output::Acquire`]).
//!
//! Deliberately not here: streams and frames, the soft state that viewers read (the server), what attaching and reports
//! mean (`trimaran-engine`), content that an agent fetches.

mod attaching;
pub mod border;
mod changes;
mod inventory;
mod io;
mod lost;
mod orders;
mod pages;
mod questions;
mod report_queue;
mod reports;
mod rest;
mod verdict_queue;

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::id::{AgentName, CoordinatorName, InstallationId};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_wire::v1::agent::{AgentUp, KnownCluster};
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;
use trimaran_wire::v1::target::WireTarget;

pub use changes::{Changes, Concerned, concerned};
pub use io::{Attachment, Close, Input, Moment, Note, Output};
pub use questions::{Answer, Question};

use inventory::Inventory;
use lost::LostReport;
use orders::{Next, StandingSent};
use report_queue::ReportQueue;
use rest::RestingRead;
use verdict_queue::VerdictQueue;

/// Settings that no order needs reach an agent so often at most: it keeps each of them durably.
const TARGETS_REST_MIN: Millis = Millis(100);

/// How an agent greeted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    pub incarnation: u64,
    pub known: KnownCluster,
    /// Assignments of its journal, with their fences.
    pub held: BTreeMap<u64, u64>,
    /// The address at which it listens, as it says.
    pub listen: Option<String>,
    pub platforms: Vec<String>,
}

impl Greeting {
    /// The first message of a session; `None` when it is something else.
    pub fn of(message: AgentUp) -> Option<Self> {
        let AgentUp::Hello { incarnation, known, held, listen, platforms } = message else { return None };
        let held = held.iter().map(|it| (it.assignment, it.fence)).collect();
        Some(Self { incarnation, known, held, listen, platforms })
    }
}

/// An assignment that the agent has.
#[derive(Debug)]
struct Sent {
    fence: u64,
    /// Its end was asked for.
    canceled: bool,
    /// Known from the agent's journal; it is sent again, because the agent may have it in part only.
    held: bool,
    /// Its result is on its way to the log.
    ended: bool,
}

impl Sent {
    fn new(fence: u64) -> Self {
        Self { fence, canceled: false, held: false, ended: false }
    }
}

/// How far a session is.
#[derive(Debug)]
enum Phase {
    New,
    /// The attach is proposed.
    Attaching,
    /// The agent knows another incarnation of this cluster, or this one is not sure to be the one that goes on.
    OtherIncarnation {
        why: String,
    },
    Attached,
    /// Attached, and ended by this side: its [`Input::Closed`] is awaited.
    Ending,
    /// The attachment is acquired for the end.
    Leaving,
    /// The end is proposed.
    Detaching,
    /// The attach was proposed and its outcome is not known: the log may have it, and the agent may never come back.
    Unknown {
        until: Timestamp,
    },
    Lost(LostReport),
    Over,
}

/// The session. See the documentation of the module.
#[derive(Debug)]
pub struct AgentSession {
    agent: AgentName,
    coordinator: CoordinatorName,
    incarnation: u64,
    known: KnownCluster,
    address: String,
    platforms: Vec<String>,
    phase: Phase,
    /// The number of this session's attach, by which its end is reported.
    attach: u64,
    /// The last proposal.
    number: u64,
    closed: Option<Closed>,
    /// The agent's last message.
    seen: WallTime,
    /// Assignments that the agent has, by their number.
    sent: BTreeMap<u64, Sent>,
    /// Pipelines and targets that had work in this session: a verdict on them may be older than the end of it.
    worked: BTreeSet<InstallationId>,
    /// The revision of the agent's last report that the log accepted.
    answered: u64,
    reports: ReportQueue,
    /// When reports that the log was too busy for are proposed again.
    retry_at: Option<Timestamp>,
    /// Verdicts that are compared with the state when its rows have what the agent was answered.
    verdicts: VerdictQueue,
    /// The agent knows the revoked keys that concern it up to this number.
    revoked_sent: u64,
    /// What is asked for when it knows all of them.
    next: Option<Next>,
    /// What the agent was sent of installations between their orders; `None`: not all of it yet.
    standing_sent: Option<StandingSent>,
    /// The targets that the agent was sent.
    targets_sent: Option<Vec<WireTarget>>,
    /// Everything is read when they may be others.
    targets_read: RestingRead,
    inventory: Inventory,
}

/// The end of the connection.
#[derive(Debug, Clone, Copy)]
struct Closed {
    goodbye: bool,
    /// Boot time of the agent's last sign.
    last_sign: Timestamp,
}

impl AgentSession {
    /// The session of an agent that greeted; it listens at `address`.
    pub fn new(agent: AgentName, coordinator: CoordinatorName, greeting: Greeting, address: String) -> Self {
        let held = greeting.held.into_iter();
        Self {
            agent,
            coordinator,
            incarnation: greeting.incarnation,
            known: greeting.known,
            address,
            platforms: greeting.platforms,
            phase: Phase::New,
            attach: 0,
            number: 0,
            closed: None,
            seen: WallTime(0),
            sent: held.map(|(id, fence)| (id, Sent { held: true, ..Sent::new(fence) })).collect(),
            worked: BTreeSet::new(),
            answered: 0,
            reports: ReportQueue::default(),
            retry_at: None,
            verdicts: VerdictQueue::default(),
            revoked_sent: 0,
            next: None,
            standing_sent: None,
            targets_sent: None,
            targets_read: RestingRead::new(TARGETS_REST_MIN),
            inventory: Inventory::default(),
        }
    }

    /// What is left of the session of an agent that no coordinator serves since this attach: the report that it is lost.
    pub fn of_lost(agent: AgentName, coordinator: CoordinatorName, attach: u64, now: Timestamp) -> Self {
        let greeting = Greeting {
            incarnation: 0,
            known: KnownCluster::default(),
            held: BTreeMap::new(),
            listen: None,
            platforms: Vec::new(),
        };
        let report = LostReport::new(agent.clone(), attach, now, 0);
        Self { phase: Phase::Lost(report), ..Self::new(agent, coordinator, greeting, String::new()) }
    }

    /// Nothing is left to be done for it.
    pub fn is_over(&self) -> bool {
        match &self.phase {
            Phase::Over => true,
            Phase::Lost(report) => report.is_over(),
            _ => false,
        }
    }

    /// Whether another message of the agent may be handed in, or what changed for it.
    pub fn takes_messages(&self) -> bool {
        self.is_attached() && self.reports.has_capacity() && self.verdicts.has_capacity()
    }

    /// Whether the session serves the agent.
    pub fn is_attached(&self) -> bool {
        matches!(self.phase, Phase::Attached)
    }

    /// The revision that views have to show for [`Input::RowsReached`], while it is wanted.
    pub fn awaits_rows(&self) -> Option<u64> {
        (self.is_attached() && self.verdicts.is_due()).then_some(self.answered)
    }

    /// When to call [`Self::step`] with [`Input::Due`], in boot time.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Attached => {
                let reads = [self.targets_read.next_deadline(), self.inventory.read.next_deadline()];
                reads.into_iter().chain([self.retry_at]).flatten().min()
            }
            Phase::Unknown { until } => Some(*until),
            Phase::Lost(report) => report.next_deadline(),
            _ => None,
        }
    }

    /// Handles one input.
    pub fn step(&mut self, moment: Moment<'_>, input: Input, out: &mut Vec<Output>) {
        if let Phase::Lost(report) = &mut self.phase {
            return report.step(moment, &input, out);
        }
        match input {
            Input::Begin => out.push(Output::Acquire),
            Input::Acquired(whose) => self.on_acquired(moment, whose, out),
            Input::Closed { goodbye, silent } => {
                let last_sign = Timestamp(moment.boot.0.saturating_sub(silent.0));
                self.closed.get_or_insert(Closed { goodbye, last_sign });
                self.leave_if_closed(out);
            }
            Input::Answered { number, answer } => match self.phase {
                Phase::Attaching => self.on_attach_answered(moment, answer, out),
                Phase::Detaching if number == self.number => self.on_detach_answered(out),
                _ => self.on_report_answered(moment, number, answer, out),
            },
            Input::Found(answer) => self.on_found(moment, answer, out),
            Input::Message(message) => {
                self.seen = moment.wall;
                self.verdicts.on_progress();
                self.on_message(moment, message, out);
            }
            Input::Changed(changes) => {
                self.verdicts.on_progress();
                self.on_changes(moment.boot, changes, out);
            }
            Input::Revoked { up_to, keys, issuers } => self.on_revoked(up_to, keys, issuers, out),
            Input::RowsReached => self.compare_verdicts(out),
            Input::Due => self.on_due(moment, out),
        }
        if self.is_attached() {
            self.propose_reports(out);
        }
    }

    fn on_due(&mut self, moment: Moment<'_>, out: &mut Vec<Output>) {
        if let Phase::Unknown { until } = self.phase
            && until <= moment.boot
        {
            return out.push(Output::Ask { revision: 0, question: Question::AttachedHere });
        }
        if self.retry_at.take_if(|at| *at <= moment.boot).is_some() {
            self.verdicts.on_progress();
            self.reports.resume();
        }
        if self.is_attached() {
            self.read_when_due(moment.boot, out);
        }
    }

    fn on_found(&mut self, moment: Moment<'_>, answer: Answer, out: &mut Vec<Output>) {
        match answer {
            Answer::Welcome(cluster) => self.welcome(cluster, out),
            Answer::Cluster(cluster) => self.refuse_other_incarnation(&cluster, out),
            Answer::AttachedHere(attach) => self.phase = self.lost_since(attach, moment.boot),
            Answer::Everything { revision, targets, runners, standing, assignments } => {
                self.send_targets(&targets, out);
                self.inventory.send(revision, runners, out);
                self.send_all_standing(standing, out);
                let known = self.sent.keys().copied().collect();
                self.send_assignments(assignments, known, out);
                self.targets_read.rest(moment.boot);
            }
            Answer::Inventory { revision, runners, standing } => {
                self.inventory.send(revision, runners, out);
                self.send_all_standing(standing, out);
                self.inventory.read.rest(moment.boot);
            }
            Answer::Changed { assignments, standing } => {
                let Some(Next::Changed { assignments: asked, .. }) = self.next.take() else { return };
                let asked = asked.into_iter().map(|id| id.0).collect();
                self.send_assignments(assignments, asked, out);
                self.send_changed_standing(standing, out);
            }
            Answer::Runners(states) => self.on_runners(states, out),
            Answer::Verdicts(verdicts) => self.on_compared(verdicts),
        }
    }

    fn command(&self, body: CommandBody) -> Command {
        Command { identity: WireIdentity::Agent(self.agent.to_string()), request: None, body }
    }

    /// Proposes a command; the answer has its number.
    fn propose(&mut self, body: CommandBody, out: &mut Vec<Output>) -> u64 {
        self.number += 1;
        out.push(Output::Propose { number: self.number, command: self.command(body) });
        self.number
    }

    /// Ends the session from this side.
    fn end(&mut self, code: Close, why: &str, out: &mut Vec<Output>) {
        self.phase = Phase::Ending;
        out.push(Output::Close { code, why: why.to_owned(), flush: false });
    }

    /// What waits when the connection is gone is of no use: the next session says it again.
    fn forget(&mut self) {
        (self.reports, self.verdicts) = (ReportQueue::default(), VerdictQueue::default());
        (self.sent, self.worked) = (BTreeMap::new(), BTreeSet::new());
        (self.standing_sent, self.targets_sent) = (None, None);
        (self.targets_read, self.inventory) = (RestingRead::new(TARGETS_REST_MIN), Inventory::default());
        self.retry_at = None;
    }
}
