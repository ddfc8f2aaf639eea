//! The runners of this agent: sessions, what each reported last, and the orders that wait for an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, mpsc, oneshot};
use trimaran_agent_core::Permit;
use trimaran_agent_core::platform::Answer;
use trimaran_host_core::fleet::{GoalAck, HostObservation, SendGoal};
use trimaran_model::action::Failure;
use trimaran_model::assignment::{HostGoal, HostReport};
use trimaran_model::id::{HostName, InstallationId};
use trimaran_model::limits::{HOST_INSTALLATIONS_MAX, RUNNER_FRAME_BYTES_MAX, SUPERSEDED_KEPT};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Timestamp, WallTime};
use trimaran_process::clock::boot_time;
use trimaran_transport::{CloseCode, Session};
use trimaran_wire::v1::agent::RunnerState;
use trimaran_wire::v1::runner::{EncodedGoal, RunnerDown};

/// The sessions of connected runners, for questions that are answered beside the loop.
#[derive(Clone, Default)]
pub(crate) struct LiveRunners {
    sessions: Arc<Mutex<BTreeMap<HostName, Session>>>,
    /// Notified at each change.
    changed: Arc<Notify>,
}

impl LiveRunners {
    /// The session of a host, once it has one.
    pub(crate) async fn connected(&self, host: &HostName) -> Session {
        loop {
            // Made before the check, so that no change between the two is missed.
            let changed = self.changed.notified();
            let session = self.lock().get(host).cloned();
            match session {
                // One that has just ended is listed a moment longer.
                Some(session) if session.close_reason().is_none() => return session,
                _ => changed.await,
            }
        }
    }

    fn set(&self, host: &HostName, session: Option<Session>) {
        match session {
            Some(session) => self.lock().insert(host.clone(), session),
            None => self.lock().remove(host),
        };
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HostName, Session>> {
        self.sessions.lock()
    }
}

/// A message for a runner: small, as most places of a queue stay empty.
pub(crate) enum ToRunner {
    Message(Box<RunnerDown>),
    Goal(Box<NumberedGoal>),
}

/// A goal with its number in the session.
pub(crate) struct NumberedGoal {
    pub(crate) sequence: u64,
    pub(crate) goal: EncodedGoal,
    pub(crate) permit: Permit,
}

/// The host that asks for a session.
pub(crate) struct Arrival {
    pub(crate) session: Session,
    pub(crate) incarnation: u64,
    pub(crate) address: String,
    pub(crate) reports: Vec<HostReport>,
    pub(crate) facts: BTreeMap<String, String>,
    pub(crate) out: mpsc::Sender<ToRunner>,
}

/// A goal that a runner has not answered. Dropped, its call is lost.
pub(crate) struct Asked {
    pub(crate) answer: oneshot::Sender<Answer<GoalAck>>,
    until: Timestamp,
}

/// All hosts that were ever connected.
#[derive(Default)]
pub(crate) struct Hosts {
    known: BTreeMap<HostName, Host>,
    live: LiveRunners,
    /// When goals without an answer are late.
    deadlines: Deadlines,
    encoded: EncodedGoals,
}

/// Goals by when their answer is late; the earliest first.
type Deadlines = BTreeSet<(Timestamp, HostName, u64)>;

#[derive(Default)]
struct Host {
    link: Option<Link>,
    incarnation: u64,
    superseded: Vec<u64>,
    address: String,
    facts: BTreeMap<String, String>,
    last_seen: WallTime,
    /// Since when it is connected or away, on the clock of the executor.
    since: Timestamp,
    /// The number of its last session.
    session: u64,
    reports: BTreeMap<InstallationId, HostReport>,
}

struct Link {
    session: Session,
    out: mpsc::Sender<ToRunner>,
    sequence: u64,
    asked: BTreeMap<u64, Asked>,
}

impl Link {
    /// Nothing is waited for any more.
    fn forget_deadlines(&self, name: &HostName, deadlines: &mut Deadlines) {
        for (sequence, asked) in &self.asked {
            deadlines.remove(&(asked.until, name.clone(), *sequence));
        }
    }
}

impl Hosts {
    pub(crate) fn live(&self) -> LiveRunners {
        self.live.clone()
    }

    /// Whether an incarnation of a host was followed by another one.
    pub(crate) fn is_superseded(&self, name: &HostName, incarnation: u64) -> bool {
        self.known.get(name).is_some_and(|host| host.superseded.contains(&incarnation))
    }

    /// Ends the session that a host has, because a new one comes, and says whether there was one. Calls whose answers
    /// can't come any more are lost.
    pub(crate) fn close_earlier(&mut self, name: &HostName, incarnation: u64) -> bool {
        let Some(host) = self.known.get_mut(name) else { return false };
        let Some(old) = host.link.take() else { return false };
        old.forget_deadlines(name, &mut self.deadlines);
        if host.incarnation == incarnation {
            old.session.close(CloseCode::Done, "a new session of the same runner");
        } else {
            old.session.close(CloseCode::Superseded, "a later incarnation of this runner has attached");
        }
        true
    }

    /// Takes a session of a host that has none.
    pub(crate) fn attach(&mut self, name: &HostName, new: Arrival, now: WallTime) {
        let host = self.known.entry(name.clone()).or_default();
        if host.incarnation != new.incarnation && host.incarnation != 0 {
            host.superseded.push(host.incarnation);
            if host.superseded.len() > SUPERSEDED_KEPT {
                host.superseded.remove(0);
            }
        }
        (host.incarnation, host.address, host.last_seen) = (new.incarnation, new.address, now);
        host.reports = new.reports.into_iter().map(|report| (report.installation.clone(), report)).collect();
        host.facts = new.facts;
        (host.session, host.since) = (new.session.id(), boot_time());
        self.live.set(name, Some(new.session.clone()));
        host.link = Some(Link { session: new.session, out: new.out, sequence: 0, asked: BTreeMap::new() });
    }

    /// A session is over; says whether it was the host's current one, whose calls are lost then.
    pub(crate) fn leave(&mut self, name: &HostName, session: u64, now: WallTime) -> bool {
        let Some(host) = self.current(name, session) else { return false };
        (host.last_seen, host.since) = (now, boot_time());
        let old = host.link.take().expect("it is the current one");
        old.forget_deadlines(name, &mut self.deadlines);
        self.live.set(name, None);
        true
    }

    /// The host of a message, when it comes from its current session.
    fn current(&mut self, name: &HostName, session: u64) -> Option<&mut Host> {
        let host = self.known.get_mut(name)?;
        host.link.as_ref().is_some_and(|link| link.session.id() == session).then_some(host)
    }

    /// Takes a report of the host's current session.
    pub(crate) fn on_report(
        &mut self,
        name: &HostName,
        session: u64,
        report: HostReport,
        now: WallTime,
    ) -> bool {
        let Some(host) = self.current(name, session) else { return false };
        host.last_seen = now;
        if host.reports.len() >= HOST_INSTALLATIONS_MAX && !host.reports.contains_key(&report.installation) {
            if let Some(link) = &host.link {
                link.session.refuse_frame("more installations than a host has");
            }
            return false;
        }
        host.reports.insert(report.installation.clone(), report);
        true
    }

    /// The call that an answer of the host's current session belongs to.
    pub(crate) fn answered(&mut self, name: &HostName, session: u64, sequence: u64) -> Option<Asked> {
        let asked = self.current(name, session)?.link.as_mut()?.asked.remove(&sequence)?;
        self.deadlines.remove(&(asked.until, name.clone(), sequence));
        Some(asked)
    }

    /// Sends an order. A host without a session loses it.
    pub(crate) fn send_goal(
        &mut self,
        give: SendGoal,
        permit: Permit,
        answer: oneshot::Sender<Answer<GoalAck>>,
    ) {
        let Some(link) = self.known.get_mut(&give.host).and_then(|host| host.link.as_mut()) else { return };
        let sequence = link.sequence + 1;
        let goal = self.encoded.of(&give.goal);
        let size = goal.to_frame(sequence).body.len();
        if size > RUNNER_FRAME_BYTES_MAX {
            let message = format!("an order of {size} bytes is over the limit of {RUNNER_FRAME_BYTES_MAX}");
            let code = ReasonCode::HostInternal;
            let refused = GoalAck::Refused(Failure { code, message, instance: Some(give.host.into()) });
            // Who asked may have given up meanwhile.
            return drop(answer.send(Answer::Reply(refused)));
        }
        let until = permit.until();
        let goal = Box::new(NumberedGoal { sequence, goal, permit });
        if link.out.try_send(ToRunner::Goal(goal)).is_err() {
            // It takes nothing: the end of the session follows, and with it the end of the call.
            link.session.close(CloseCode::Busy, "the runner does not read");
        }
        link.sequence = sequence;
        link.asked.insert(sequence, Asked { answer, until });
        self.deadlines.insert((until, give.host, sequence));
    }

    /// Passes a message on to a host, if it is connected.
    pub(crate) fn send(&mut self, name: &HostName, message: RunnerDown) {
        if let Some(link) = self.known.get(name).and_then(|host| host.link.as_ref())
            && link.out.try_send(ToRunner::Message(Box::new(message))).is_err()
        {
            link.session.close(CloseCode::Busy, "the runner does not read");
        }
    }

    /// A host that does not answer an order in time loses its session: the next one shows the truth.
    pub(crate) fn close_overdue(&mut self, now: Timestamp) {
        while self.next_deadline().is_some_and(|at| at <= now) {
            let Some((_, name, _)) = self.deadlines.pop_first() else { return };
            if let Some(link) = self.known.get(&name).and_then(|host| host.link.as_ref()) {
                link.session.close(CloseCode::Busy, "an order was not answered in time");
            }
        }
    }

    /// The current session of a host sent what it may not.
    pub(crate) fn refuse(&mut self, name: &HostName, session: u64, why: &str) {
        if let Some(link) = self.current(name, session).and_then(|host| host.link.as_ref()) {
            link.session.refuse_frame(why);
        }
    }

    /// When [`Hosts::close_overdue`] is wanted.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, ..)| *at)
    }

    /// What a watch of an installation sees of one host.
    pub(crate) fn observation(
        &self,
        name: &HostName,
        installation: &InstallationId,
    ) -> Option<HostObservation> {
        let host = self.known.get(name)?;
        let report = host.reports.get(installation).cloned();
        let (connected, since, session) = (host.link.is_some(), host.since, host.session);
        Some(HostObservation { host: name.clone(), connected, since, session, report })
    }

    pub(crate) fn knows(&self, name: &HostName) -> bool {
        self.known.contains_key(name)
    }

    /// What is said of a host that was not seen since this agent began.
    pub(crate) fn never_seen(name: &HostName) -> RunnerState {
        RunnerState {
            name: name.to_string(),
            connected: false,
            incarnation: 0,
            address: String::new(),
            last_seen_ms: 0,
            facts: BTreeMap::new(),
        }
    }

    pub(crate) fn connected(&self) -> Vec<HostName> {
        self.known.iter().filter(|(_, host)| host.link.is_some()).map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn names(&self) -> Vec<HostName> {
        self.known.keys().cloned().collect()
    }

    /// Hosts that are not this agent's any more: their sessions end, and nothing is kept of them.
    pub(crate) fn keep(&mut self, wanted: impl Fn(&HostName) -> bool) {
        let (live, deadlines) = (self.live.clone(), &mut self.deadlines);
        self.known.retain(|name, host| {
            let keep = wanted(name);
            if !keep {
                live.set(name, None);
                if let Some(link) = &host.link {
                    link.forget_deadlines(name, deadlines);
                    link.session.close(CloseCode::Certificate, "this runner is not of this agent");
                }
            }
            keep
        });
    }

    /// Who is connected, for the coordinators.
    pub(crate) fn state(&self, name: &HostName, now: WallTime) -> Option<RunnerState> {
        let host = self.known.get(name)?;
        let connected = host.link.is_some();
        let last_seen = match &host.link {
            Some(link) => WallTime(
                now.0.saturating_sub(i64::try_from(link.session.silent_for().as_millis()).unwrap_or(0)),
            ),
            None => host.last_seen,
        };
        Some(RunnerState {
            name: name.to_string(),
            connected,
            incarnation: host.incarnation,
            address: host.address.clone(),
            last_seen_ms: last_seen.0,
            facts: host.facts.clone(),
        })
    }
}

/// Goals that were encoded, while anyone has them: all hosts of an assignment get the same.
#[derive(Default)]
struct EncodedGoals(Vec<(Weak<HostGoal>, EncodedGoal)>);

impl EncodedGoals {
    fn of(&mut self, goal: &Arc<HostGoal>) -> EncodedGoal {
        // A goal that is gone keeps its address while it is named here, so no other one passes for it.
        let same = |(known, _): &&(Weak<HostGoal>, EncodedGoal)| known.as_ptr() == Arc::as_ptr(goal);
        if let Some((_, encoded)) = self.0.iter().find(same) {
            return encoded.clone();
        }
        self.0.retain(|(known, _)| known.strong_count() > 0);
        let encoded = EncodedGoal::new(goal);
        self.0.push((Arc::downgrade(goal), encoded.clone()));
        encoded
    }
}
