//! The coordinator's end of sessions: the session that the server runs, with what the server does around it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use trimaran_engine::{Event, Outcome};
use trimaran_member::agent_session::{
    AgentSession, Changes, Close, Greeting, Input, Moment, Note, Output, Question, border,
};
use trimaran_member::attachments::{self, Attachments, Granted};
use trimaran_member::expected_agents::{self, ExpectedAgents};
use trimaran_member::{Proposed, StateChange, Wakeups};
use trimaran_model::id::AgentName;
use trimaran_model::limits::{AGENT_FRAME_BYTES_MAX, AGENT_MESSAGE_MEMORY_MAX};
use trimaran_model::time::Millis;
use trimaran_query as query;
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::agent::{AgentDown, AgentUp};
use trimaran_wire::v1::command::CommandBody;

use super::network::{Between, End};
use super::{AGENT, AtSite, SiteEvent, View};
use crate::world::Asker;

/// The longest that a result waits for its answer in a session: a disk is full and a coordinator stands still for less.
const ANSWER_TIMEOUT: u64 = 10_000;
/// As [`ANSWER_TIMEOUT`], where a coordinator may also be cut off from the others and wait for a leader.
const ANSWER_TIMEOUT_OF_SEVERAL: u64 = 25_000;

/// What a process of a coordinator has of sessions of the one agent.
#[derive(Default)]
pub(crate) struct Gateway {
    sessions: BTreeMap<u64, Session>,
    attachments: Attachments<u64>,
    wakeups: Wakeups<u64>,
    /// The session whose attach, or the end of it, the log has not answered, and the number of the proposal.
    comes_or_goes: Option<(u64, u64)>,
    /// When its sessions are due.
    due: BTreeMap<u64, u64>,
    expected: ExpectedAgents,
    /// The incarnations that entries which were applied here have superseded, and when.
    superseded: BTreeMap<u64, u64>,
}

/// Which incarnations of the agent the log has attached, by the revisions. No crash of a coordinator changes it.
#[derive(Default)]
pub(crate) struct Attaches(BTreeMap<u64, u64>);

impl Attaches {
    /// The log has attached an incarnation: none that was followed by another one comes again.
    fn add(&mut self, revision: u64, incarnation: u64) {
        self.0.insert(revision, incarnation);
        let (mut last, mut followed) = (None, BTreeSet::new());
        for it in self.0.values() {
            if last != Some(*it) {
                followed.extend(last.replace(*it));
            }
            assert!(!followed.contains(it), "an incarnation that was followed is attached");
        }
    }
}

/// A session that waits takes no input but what it waits for.
enum Awaited {
    /// Views that show a revision.
    Rows {
        revision: u64,
        question: Question,
    },
    Turn,
}

struct Session {
    core: AgentSession,
    /// Outputs that are not performed yet, and what the next one of them waits for.
    outputs: VecDeque<Output>,
    awaited: Option<Awaited>,
    /// The connection is gone, which shows where the next message would be read.
    is_gone: bool,
    /// The connection has ended, and the session is to be notified of it.
    closed: Option<Input>,
    /// The number of its last proposal, and of the last one whose answer no one waits for.
    proposed: u64,
    forgotten: u64,
    incarnation: u64,
    /// Something changed for it.
    is_woken: bool,
    /// What was read and waits for the session.
    inbox: VecDeque<AgentUp>,
    /// Answers of the log that wait for the session.
    answers: VecDeque<(u64, Proposed)>,
    /// Results that the log has not answered, by the numbers of their proposals, with their assignments.
    results: BTreeMap<u64, u64>,
    /// Assignments whose result the log has.
    logged: BTreeSet<u64>,
    /// Results that came and were not answered, by their assignments, and since when.
    owed: BTreeMap<u64, u64>,
    /// True time of the last frame.
    last_sign: u64,
}

fn agent() -> AgentName {
    AGENT.parse().expect("a name")
}

impl Session {
    fn new(core: AgentSession, incarnation: u64, now: u64) -> Self {
        Self {
            core,
            outputs: VecDeque::new(),
            awaited: None,
            is_gone: false,
            closed: None,
            proposed: 0,
            forgotten: 0,
            incarnation,
            is_woken: false,
            inbox: VecDeque::new(),
            answers: VecDeque::new(),
            results: BTreeMap::new(),
            logged: BTreeSet::new(),
            owed: BTreeMap::new(),
            last_sign: now,
        }
    }
}

impl AtSite<'_> {
    /// The coordinator's end of a session, and the session.
    fn session(&mut self, link: u64) -> Option<&mut Session> {
        let node = self.site.node_of(link)?;
        self.site.gateways[node].sessions.get_mut(&link)
    }

    fn gateway(&mut self, link: u64) -> &mut Gateway {
        let node = self.site.node_of(link).expect("a session is of a coordinator");
        &mut self.site.gateways[node]
    }

    /// What the coordinator of a session knows now.
    fn view(&self, link: u64) -> Option<View<'_>> {
        self.around.view(self.site.node_of(link)?)
    }

    /// A frame of an agent arrives at the coordinator.
    pub(crate) fn gateway_receives(&mut self, link: u64, bytes: &[u8]) {
        let now = self.now;
        let Some(View { wall, name, .. }) = self.view(link) else { return };
        let (frame, rest) = Frame::decode(bytes, AGENT_FRAME_BYTES_MAX).expect("a frame of the agent");
        assert!(rest.is_empty(), "one frame at a time");
        let message = AgentUp::from_frame_within::<AGENT_MESSAGE_MEMORY_MAX>(&frame).expect("a message");
        let message = border::check(message, wall).expect("the agent sends nothing that the border refuses");
        if let Some(session) = self.session(link) {
            session.last_sign = now;
            if let AgentUp::Result { assignment, .. } = &message {
                session.owed.entry(*assignment).or_insert(now);
            }
            let is_result = matches!(message, AgentUp::Result { .. });
            session.inbox.push_back(message);
            if is_result {
                self.fault_beside_result();
            }
            return self.pump(link);
        }
        let greeting = Greeting::of(message).expect("a session begins with a hello");
        let incarnation = greeting.incarnation;
        let core = AgentSession::new(agent(), name, greeting, "127.0.0.1:7701".to_owned());
        let gateway = self.gateway(link);
        // Before the attach, so that nothing that is applied behind it is missed.
        gateway.wakeups.register(agent(), incarnation, link);
        gateway.sessions.insert(link, Session::new(core, incarnation, now));
        self.step_session(link, Input::Begin);
        self.pump(link);
    }

    /// The coordinator notices that a session's connection is gone.
    pub(crate) fn gateway_loses(&mut self, link: u64) {
        let Some(session) = self.session(link) else { return };
        session.inbox.clear();
        session.is_gone = true;
        self.pump(link);
    }

    /// The connection is over, and with it what was asked for in it.
    fn hang_up(&mut self, link: u64) {
        let now = self.now;
        let Some(session) = self.session(link) else { return };
        session.is_gone = false;
        session.forgotten = session.proposed;
        session.answers.clear();
        session.results.clear();
        session.inbox.clear();
        let silent = Millis(now - session.last_sign);
        session.closed = Some(Input::Closed { goodbye: false, silent });
    }

    /// The log has answered a proposal of a session.
    pub(crate) fn session_answered(&mut self, link: u64, number: u64, answer: Proposed) {
        self.gateway(link).comes_or_goes.take_if(|it| *it == (link, number));
        let Some(incarnation) = self.session(link).map(|it| it.incarnation) else { return };
        if let Proposed::Done { revision, outcome } = &answer {
            match outcome {
                Outcome::Attached { .. } => self.site.attaches.add(*revision, incarnation),
                Outcome::ReportApplied | Outcome::ResultSuperseded { .. } => self.site.seen.results += 1,
                _ => {}
            }
        }
        let Some(session) = self.session(link).filter(|it| number > it.forgotten) else { return };
        session.answers.push_back((number, answer));
        self.pump(link);
    }

    /// The session is handed the log's answer.
    fn take_answer(&mut self, link: u64) -> Option<Input> {
        let session = self.session(link)?;
        let (number, answer) = session.answers.pop_front()?;
        let assignment = session.results.remove(&number);
        if matches!(answer, Proposed::Done { .. }) {
            session.logged.extend(assignment);
        }
        Some(Input::Answered { number, answer })
    }

    /// The lease of an incarnation is kept until this coordinator has seen that another one is attached.
    fn check_pong(&mut self, link: u64) {
        let now = self.now;
        let incarnation = self.session(link).map_or(0, |it| it.incarnation);
        let since = self.gateway(link).superseded.get(&incarnation).copied();
        let kept = since.is_none_or(|since| since == now);
        assert!(kept, "the lease of an incarnation is kept that another one followed");
    }

    /// A result is answered when the log has it.
    fn note_answer(&mut self, link: u64, assignment: u64) {
        if let Some(session) = self.session(link) {
            assert!(session.logged.contains(&assignment), "a result is answered that the log does not have");
            session.owed.remove(&assignment);
        }
    }

    /// While a session lasts, each result is answered as soon as the disk has space for it.
    fn check_owed(&mut self, link: u64) {
        let now = self.now;
        let timeout = match self.site.gateways.len() {
            1 => ANSWER_TIMEOUT,
            _ => ANSWER_TIMEOUT_OF_SEVERAL,
        };
        let Some(session) = self.session(link).filter(|it| it.core.is_attached()) else { return };
        let late = session.owed.iter().find(|(_, since)| now - **since > timeout);
        assert_eq!(late, None, "a result has no answer, which is owed since then");
    }

    /// The health of what an assignment left counts behind the end of the assignment.
    fn check_report(&mut self, link: u64, number: u64, body: &CommandBody) {
        let Some(session) = self.session(link) else { return };
        session.proposed = number;
        match body {
            CommandBody::Result { assignment, .. } => {
                session.results.insert(number, *assignment);
            }
            CommandBody::Verdict(_) => {
                assert!(session.results.is_empty(), "a verdict is proposed ahead of the answer to a result");
            }
            _ => {}
        }
    }

    /// The state of a coordinator has changed: the sessions that it concerns are woken.
    pub(crate) fn route(&mut self, node: usize, change: StateChange<'_>) {
        let now = self.now;
        let gateway = &mut self.site.gateways[node];
        if let StateChange::Applied(applied) = change {
            let superseded = applied.events.iter().filter_map(|event| match event {
                Event::Superseded { incarnation, .. } => Some((incarnation.0, now)),
                _ => None,
            });
            gateway.superseded.extend(superseded);
        }
        let mut woken = Vec::new();
        gateway.wakeups.step(change, &mut woken);
        for link in woken {
            if let Some(session) = gateway.sessions.get_mut(&link) {
                session.is_woken = true;
            }
        }
        // Whoever waits for rows may go on, too.
        let sessions: Vec<u64> = gateway.sessions.keys().copied().collect();
        for link in sessions {
            self.site_after(0, SiteEvent::SessionDue { link });
        }
    }

    /// The coordinator's process is gone, with everything that was only in its memory.
    pub(crate) fn gateway_crashes(&mut self, node: usize) {
        self.site.gateways[node] = Gateway::default();
        self.site.deferred[node].clear();
        let its = |it| matches!(it, Between::Agent { node: its, .. } if its == node);
        for link in self.site.network.open_at(End::Listener, its) {
            self.vanish(link, End::Listener);
        }
    }

    /// Looks for agents that no coordinator serves any more, as the server's task does.
    pub(crate) fn find_lost(&mut self, node: usize) {
        self.site_after(expected_agents::INTERVAL.0, SiteEvent::FindLost { node });
        let Some(view) = self.around.view(node).filter(|_| !self.around.is_paused(node)) else { return };
        let gateway = &mut self.site.gateways[node];
        let boot = view.boot;
        let moment = expected_agents::Moment { boot, wall: view.wall, member: &view.status };
        // One report is made behind the other.
        let reports = gateway.sessions.values().any(|it| it.incarnation == 0);
        if reports || !gateway.expected.is_due(moment) {
            return;
        }
        let (agents, members) = (query::agents_to_expect(view.rows), query::members_ever(view.rows));
        let lost = gateway.expected.lost(moment, &view.name, agents, &members);
        let name = view.name.clone();
        for it in lost {
            let link = self.site.network.number();
            self.site.nodes.insert(link, node);
            let core = AgentSession::of_lost(it.name, name.clone(), it.attach, boot);
            self.site.gateways[node].sessions.insert(link, Session::new(core, 0, self.now));
            self.note(format_args!("{node} reports the agent as lost since {}", it.attach));
            self.pump(link);
        }
    }

    /// Hands a session whatever it takes now, as the server's task does.
    pub(crate) fn pump(&mut self, link: u64) {
        loop {
            let Some(View { boot, revision, .. }) = self.view(link) else { return };
            let Some(session) = self.session(link) else { return };
            if session.core.is_over() {
                return self.end_session(link);
            }
            match &session.awaited {
                Some(Awaited::Rows { revision: wanted, .. }) if *wanted <= revision => {
                    self.answer_question(link);
                    continue;
                }
                Some(_) => break,
                None => {}
            }
            let core = &session.core;
            let input = if let Some(closed) = session.closed.take() {
                Some(closed)
            } else if !session.answers.is_empty() {
                self.take_answer(link)
            } else if core.takes_messages() && !session.inbox.is_empty() {
                session.inbox.pop_front().map(Input::Message)
            } else if core.takes_messages() && session.is_gone {
                self.hang_up(link);
                continue;
            } else if core.awaits_rows().is_some_and(|wanted| wanted <= revision) {
                Some(Input::RowsReached)
            } else if core.is_attached() && session.is_woken {
                session.is_woken = false;
                let changes = self.gateway(link).wakeups.take(&agent(), &link);
                if changes == Changes::default() {
                    continue;
                }
                Some(Input::Changed(changes))
            } else if core.next_deadline().is_some_and(|at| at <= boot) {
                Some(Input::Due)
            } else {
                None
            };
            let Some(input) = input else { break };
            self.step_session(link, input);
        }
        self.check_owed(link);
        self.plan_session(link);
    }

    /// Nothing is left to be done for it.
    fn end_session(&mut self, link: u64) {
        let gateway = self.gateway(link);
        gateway.sessions.remove(&link);
        gateway.wakeups.remove(&agent(), &link);
        self.turn(link, attachments::Input::Gone(link));
    }

    fn plan_session(&mut self, link: u64) {
        let now = self.now;
        let Some(clock) = self.view(link).map(|it| it.clock) else { return };
        let gateway = self.gateway(link);
        let Some(session) = gateway.sessions.get(&link) else { return };
        let Some(at) = session.core.next_deadline() else { return };
        let at = clock.true_time(at).max(now + 1);
        if gateway.due.get(&link).is_none_or(|due| *due <= now || at < *due) {
            gateway.due.insert(link, at);
            self.site_after(at - now, SiteEvent::SessionDue { link });
        }
    }

    fn step_session(&mut self, link: u64, input: Input) {
        let Some(View { boot, wall, status, .. }) = self.view(link) else { return };
        let Some(session) = self.session(link) else { return };
        let mut out = Vec::new();
        session.core.step(Moment { boot, wall, member: &status }, input, &mut out);
        session.outputs.extend(out);
        self.perform_outputs(link);
    }

    /// Performs the outputs of a session up to one that waits.
    fn perform_outputs(&mut self, link: u64) {
        while let Some(session) = self.session(link).filter(|it| it.awaited.is_none()) {
            let Some(output) = session.outputs.pop_front() else { return };
            self.perform(link, output);
        }
    }

    fn perform(&mut self, link: u64, output: Output) {
        match output {
            Output::Send(message) => {
                match &message {
                    AgentDown::Pong { .. } => self.check_pong(link),
                    AgentDown::Answer { assignment, .. } => self.note_answer(link, *assignment),
                    _ => {}
                }
                self.send_frame(link, End::Listener, &message.to_frame());
            }
            Output::Propose { number, command } => {
                self.check_report(link, number, &command.body);
                self.check_turn(link, number, &command.body);
                let node = self.site.node_of(link).expect("a session is of a coordinator");
                self.around.propose(node, command, Asker::Session { node, link, number });
            }
            Output::Acquire => {
                if let Some(session) = self.session(link) {
                    session.awaited = Some(Awaited::Turn);
                }
                self.turn(link, attachments::Input::Acquire(link));
            }
            Output::Release => self.turn(link, attachments::Input::Release(link)),
            Output::Ask { revision, question } => {
                if let Some(session) = self.session(link) {
                    session.awaited = Some(Awaited::Rows { revision, question });
                }
                if self.view(link).is_some_and(|view| view.revision >= revision) {
                    self.answer_question(link);
                }
            }
            Output::AskRevoked { after } => {
                let answer = Input::Revoked { up_to: after, keys: Vec::new(), issuers: Vec::new() };
                self.step_session(link, answer);
            }
            Output::Close { code, why, .. } => {
                self.note(format_args!("the coordinator closes session {link}: {code:?} {why}"));
                self.close_link(link, End::Listener, code == Close::Superseded);
                self.hang_up(link);
            }
            Output::Note(Note::Attached) => self.turn(link, attachments::Input::Attached(link)),
            Output::Note(Note::Detached) => self.turn(link, attachments::Input::Detached(link)),
            // What only viewers read.
            Output::Note(_) => {}
        }
    }

    /// The rows that a session waits for are there.
    fn answer_question(&mut self, link: u64) {
        let awaited = self.session(link).and_then(|session| session.awaited.take());
        let Some(Awaited::Rows { question, .. }) = awaited else { return };
        let Some(view) = self.view(link) else { return };
        let answer = question.answer(view.rows, view.revision, &agent(), &view.name);
        self.step_session(link, Input::Found(answer));
    }

    /// A session comes or goes.
    fn turn(&mut self, link: u64, input: attachments::Input<u64>) {
        let granted = self.gateway(link).attachments.step(&agent(), input);
        if let Some(Granted { session: link, whose }) = granted {
            self.site_after(0, SiteEvent::Granted { link, granted: Input::Acquired(whose) });
        }
    }

    /// What is written of an agent that comes and goes is written one behind the other.
    fn check_turn(&mut self, link: u64, number: u64, body: &CommandBody) {
        let comes_or_goes = matches!(
            body,
            CommandBody::Attach { .. } | CommandBody::Detach { .. } | CommandBody::AgentLost { .. }
        );
        if comes_or_goes {
            let other = self.gateway(link).comes_or_goes.replace((link, number));
            assert!(other.is_none(), "session {link} comes or goes while another one does: {other:?}");
        }
    }

    /// An attachment that was waited for is granted.
    pub(crate) fn granted(&mut self, link: u64, granted: Input) {
        if let Some(session) = self.session(link) {
            session.awaited = None;
            self.step_session(link, granted);
            self.pump(link);
        }
    }
}
