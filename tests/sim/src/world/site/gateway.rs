//! The coordinator's end of sessions: the session that the server runs, with what the server does around it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use trimaran_member::agent_session::{
    AgentSession, Attachment, Changes, Close, Concerned, Greeting, Input, Moment, Note, Output, border,
    concerned,
};
use trimaran_member::{Applied, Proposed};
use trimaran_model::id::{AgentName, CoordinatorName};
use trimaran_model::limits::{AGENT_FRAME_BYTES_MAX, AGENT_MESSAGE_MEMORY_MAX};
use trimaran_model::time::Millis;
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::agent::{AgentDown, AgentUp};
use trimaran_wire::v1::command::CommandBody;

use super::network::End;
use super::{AGENT, SiteEvent};
use crate::world::{Asker, World};

/// The longest that a result waits for its answer in a session: a disk is full and a coordinator stands still for less.
const ANSWER_TIMEOUT: u64 = 10_000;

/// Sessions of the one agent, and which of them is its own.
#[derive(Default)]
pub(crate) struct Gateway {
    sessions: BTreeMap<u64, Session>,
    /// The session that is attached.
    attached: Option<u64>,
    /// Who comes or goes now, and who waits for that.
    acquired: Option<u64>,
    waiting: VecDeque<u64>,
    /// When its sessions are due.
    due: BTreeMap<u64, u64>,
}

/// Which incarnations of the agent the log has attached. No crash of the coordinator changes it.
#[derive(Default)]
pub(crate) struct Attaches {
    /// The last one, and when another one was attached before it.
    last: Option<(u64, u64)>,
    followed: BTreeSet<u64>,
}

struct Session {
    core: AgentSession,
    incarnation: u64,
    changes: Changes,
    /// What was read and waits for the session.
    inbox: VecDeque<AgentUp>,
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

fn coordinator() -> CoordinatorName {
    "c1".parse().expect("a name")
}

impl World {
    /// A frame of an agent arrives at the coordinator.
    pub(crate) fn gateway_receives(&mut self, link: u64, bytes: &[u8]) {
        let wall = self.wall();
        let (frame, rest) = Frame::decode(bytes, AGENT_FRAME_BYTES_MAX).expect("a frame of the agent");
        assert!(rest.is_empty(), "one frame at a time");
        let message = AgentUp::from_frame_within::<AGENT_MESSAGE_MEMORY_MAX>(&frame).expect("a message");
        let message = border::check(message, wall).expect("the agent sends nothing that the border refuses");
        let now = self.now;
        let gateway = &mut self.with_site().1.gateway;
        if let Some(session) = gateway.sessions.get_mut(&link) {
            session.last_sign = now;
            if let AgentUp::Result { assignment, .. } = &message {
                session.owed.entry(*assignment).or_insert(now);
            }
            session.inbox.push_back(message);
            return self.pump(link);
        }
        let greeting = Greeting::of(message).expect("a session begins with a hello");
        let incarnation = greeting.incarnation;
        let core = AgentSession::new(agent(), coordinator(), greeting, "127.0.0.1:7701".to_owned());
        let (changes, inbox) = (Changes::default(), VecDeque::new());
        let (results, logged, owed) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let session = Session { core, incarnation, changes, inbox, results, logged, owed, last_sign: now };
        gateway.sessions.insert(link, session);
        self.step_session(link, Input::Begin);
        self.pump(link);
    }

    /// The coordinator notices that a session's connection is gone.
    pub(crate) fn gateway_loses(&mut self, link: u64) {
        let now = self.now;
        let Some(session) = self.with_site().1.gateway.sessions.get_mut(&link) else { return };
        session.inbox.clear();
        let silent = Millis(now - session.last_sign);
        self.step_session(link, Input::Closed { goodbye: false, silent });
        self.pump(link);
    }

    /// The log has answered a proposal of a session.
    pub(crate) fn session_answered(&mut self, link: u64, number: u64, answer: Proposed) {
        if let Some(session) = self.with_site().1.gateway.sessions.get_mut(&link) {
            let assignment = session.results.remove(&number);
            if matches!(answer, Proposed::Done { .. }) {
                session.logged.extend(assignment);
            }
        }
        self.step_session(link, Input::Answered { number, answer });
        self.pump(link);
    }

    /// The log has attached a session: no incarnation that was followed by another one comes again.
    pub(crate) fn session_attaches(&mut self, link: u64) {
        let (now, site) = self.with_site();
        let Some(incarnation) = site.gateway.sessions.get(&link).map(|it| it.incarnation) else { return };
        let attaches = &mut site.attaches;
        assert!(!attaches.followed.contains(&incarnation), "an incarnation that was followed is attached");
        match attaches.last {
            Some((last, _)) if last == incarnation => {}
            last => {
                attaches.followed.extend(last.map(|(last, _)| last));
                attaches.last = Some((incarnation, now));
            }
        }
    }

    /// The lease of an incarnation is kept until another one is attached.
    fn check_pong(&mut self, link: u64) {
        let (now, site) = self.with_site();
        let incarnation = site.gateway.sessions.get(&link).map(|it| it.incarnation);
        let last = site.attaches.last;
        let kept = last.is_some_and(|(last, since)| Some(last) == incarnation || since == now);
        assert!(kept, "the lease of an incarnation is kept that another one followed");
    }

    /// A result is answered when the log has it.
    fn note_answer(&mut self, link: u64, assignment: u64) {
        if let Some(session) = self.with_site().1.gateway.sessions.get_mut(&link) {
            assert!(session.logged.contains(&assignment), "a result is answered that the log does not have");
            session.owed.remove(&assignment);
        }
    }

    /// While a session lasts, each result is answered as soon as the disk has space for it.
    fn check_owed(&mut self, link: u64) {
        let (now, site) = self.with_site();
        let Some(session) = site.gateway.sessions.get(&link).filter(|it| it.core.is_attached()) else {
            return;
        };
        let late = session.owed.iter().find(|(_, since)| now - **since > ANSWER_TIMEOUT);
        assert_eq!(late, None, "a result has no answer, which is owed since then");
    }

    /// The health of what an assignment left counts behind the end of the assignment.
    fn check_report(&mut self, link: u64, number: u64, body: &CommandBody) {
        let Some(session) = self.with_site().1.gateway.sessions.get_mut(&link) else { return };
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

    /// An entry was applied: the sessions that it concerns are woken.
    pub(crate) fn route(&mut self, applied: &Applied) {
        let Some(site) = &mut self.site else { return };
        let mut woken = BTreeSet::new();
        for event in &applied.events {
            match concerned(event) {
                Concerned::None => continue,
                Concerned::One(name) => assert_eq!(name.as_str(), AGENT, "there is no other agent"),
                Concerned::All => {}
            }
            for (link, session) in &mut site.gateway.sessions {
                session.changes.add(applied.revision, session.incarnation, event);
                woken.insert(*link);
            }
        }
        for link in woken {
            self.site_after(0, SiteEvent::SessionDue { link });
        }
    }

    /// The coordinator's process is gone, with everything that was only in its memory.
    pub(crate) fn gateway_crashes(&mut self) {
        let Some(site) = &mut self.site else { return };
        site.gateway = Gateway::default();
        site.deferred.clear();
        for link in site.network.open_at(End::Listener, |it| matches!(it, super::Between::Agent(_))) {
            self.vanish(link, End::Listener);
        }
    }

    /// Hands a session whatever it takes now, as the server's task does.
    pub(crate) fn pump(&mut self, link: u64) {
        loop {
            let boot = self.clock.at(self.now);
            let Some(session) = self.with_site().1.gateway.sessions.get_mut(&link) else { return };
            let core = &session.core;
            if core.is_over() {
                self.with_site().1.gateway.sessions.remove(&link);
                return;
            }
            let input = if core.takes_messages() && !session.inbox.is_empty() {
                session.inbox.pop_front().map(Input::Message)
            } else if core.awaits_rows().is_some() {
                // Rows of what was applied are there at once.
                Some(Input::RowsReached)
            } else if core.is_attached() && session.changes != Changes::default() {
                Some(Input::Changed(std::mem::take(&mut session.changes)))
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

    fn plan_session(&mut self, link: u64) {
        let clock = self.clock;
        let (now, site) = self.with_site();
        let Some(session) = site.gateway.sessions.get(&link) else { return };
        let Some(at) = session.core.next_deadline() else { return };
        let at = clock.true_time(at).max(now + 1);
        if site.gateway.due.get(&link).is_none_or(|due| *due <= now || at < *due) {
            site.gateway.due.insert(link, at);
            self.site_after(at - now, SiteEvent::SessionDue { link });
        }
    }

    fn step_session(&mut self, link: u64, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let (boot, wall) = (self.clock.at(self.now), self.wall());
            let Some(member) = &self.member else { return };
            let status = member.status(boot);
            let site = self.site.as_mut().expect("it has sessions");
            let Some(session) = site.gateway.sessions.get_mut(&link) else { return };
            let mut out = Vec::new();
            session.core.step(Moment { boot, wall, member: &status }, input, &mut out);
            for output in out {
                inputs.extend(self.perform(link, output));
            }
        }
    }

    fn perform(&mut self, link: u64, output: Output) -> Option<Input> {
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
                self.ask(command, Asker::Session { link, number });
            }
            Output::Acquire => {
                let gateway = &mut self.with_site().1.gateway;
                if gateway.acquired.is_some() {
                    gateway.waiting.push_back(link);
                    return None;
                }
                return Some(self.grant(link));
            }
            Output::Release => {
                let gateway = &mut self.with_site().1.gateway;
                assert_eq!(gateway.acquired.take(), Some(link), "it is released by who has it");
                if let Some(next) = gateway.waiting.pop_front() {
                    let granted = self.grant(next);
                    self.site_after(0, SiteEvent::Granted { link: next, granted });
                }
            }
            Output::Ask { revision, question } => {
                let member = self.member.as_ref().expect("a session is stepped while it runs");
                let (rows, shown) = (&member.state_machine().rows, member.state_machine().revision);
                assert!(
                    revision <= shown,
                    "rows of {revision} are asked for, and those of {shown} are there"
                );
                return Some(Input::Found(question.answer(rows, shown, &agent(), &coordinator())));
            }
            Output::AskRevoked { after } => {
                return Some(Input::Revoked { up_to: after, keys: Vec::new(), issuers: Vec::new() });
            }
            Output::Close { code, why, .. } => {
                self.note(format_args!("the coordinator closes session {link}: {code:?} {why}"));
                self.close_link(link, End::Listener, code == Close::Superseded);
                return Some(Input::Closed { goodbye: false, silent: Millis(0) });
            }
            Output::Note(Note::Attached) => self.with_site().1.gateway.attached = Some(link),
            Output::Note(Note::Detached) => self.with_site().1.gateway.attached = None,
            // What only viewers read.
            Output::Note(_) => {}
        }
        None
    }

    fn grant(&mut self, link: u64) -> Input {
        let gateway = &mut self.with_site().1.gateway;
        gateway.acquired = Some(link);
        Input::Acquired(match gateway.attached {
            Some(it) if it == link => Attachment::This,
            Some(_) => Attachment::Another,
            None => Attachment::Free,
        })
    }

    /// An attachment that was waited for is granted.
    pub(crate) fn granted(&mut self, link: u64, granted: Input) {
        if self.with_site().1.gateway.sessions.contains_key(&link) {
            self.step_session(link, granted);
            self.pump(link);
        }
    }
}
