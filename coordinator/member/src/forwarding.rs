//! What a member passes on to the leader, and what it answers to members that passed something on to it.
//!
//! A command is passed on once: who gets it from a peer and does not lead says so. Its identity was verified by the
//! coordinator that the client or agent talks to, whose certificate vouches for it. What is lost on the way is
//! `Indeterminate` for commands, which their askers repeat under the same request id, and "no leader" for reads.
//!
//! The same reads say whether there is a quorum: a member that got an answer to a read which it sent at T knows that a
//! leader had a quorum after T. That is what keeps agents' leases, on the leader as on followers.

use bytes::Bytes;
use trimaran_engine::{Outcome, Refusal};
use trimaran_model::limits::{FORWARD_TIMEOUT, QUORUM_CHECK_INTERVAL};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_replica::Role;
use trimaran_wire::codec::{CodecError, encoded_len};
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::peer::{MembersRequest, PeerMessage};

use crate::answers;
use crate::border;
use crate::forwarded::{Asked, Size};
use crate::io::{Output, Proposed, ReadAnswer};
use crate::member::{Asker, Member, QUEUE_FULL, Waits};
use crate::state_machine::EngineMachine;

/// A member steps more often by far when it runs.
const PAUSE_MIN: Millis = Millis(1000);
/// How long what waited for a process that stood still is handled.
const BACKLOG_TIME: Millis = Millis(200);

type Outputs<P, R> = Vec<Output<P, R>>;

impl<M: EngineMachine, P, R> Member<M, P, R> {
    /// Another member that leads, as far as this one knows.
    fn other_leader(&self) -> Option<u64> {
        let role = self.replica.role();
        role.leader.filter(|leader| *leader != self.replica.id() && !matches!(role.role, Role::Leader { .. }))
    }

    /// Queues a command of a client here, or passes it on.
    pub(crate) fn propose(
        &mut self,
        now: Timestamp,
        requester: P,
        (command, bytes): (Command, usize),
        out: &mut Outputs<P, R>,
    ) {
        if let Some(why) = self.refuse_level(&command.body) {
            return self.answer_asker(Asker::Here(requester), why, out);
        }
        let leader =
            self.other_leader().filter(|_| !mutant!(OwnDiskDecides) || self.disk.accepts(&command.body));
        let Some(to) = leader else {
            return self.enqueue(Asker::Here(requester), (command, bytes), None, out);
        };
        let size = Size::Command { bytes, has_reserve: command.body.has_reserve() };
        let message = |number| PeerMessage::Command { number, wait_ms: wait_ms(), command };
        self.pass_on(now, to, (Asked::Command(requester), size), message, out);
    }

    /// Why a command is neither proposed nor passed on: a member that does not know it may be there.
    fn refuse_level(&self, body: &CommandBody) -> Option<Proposed> {
        let (needed, level) = (body.feature_level(), self.engine().level());
        let refused = || Proposed::Done {
            revision: self.replica.applied().index,
            outcome: Outcome::Refused(Refusal::LevelTooLow { needed, level }),
        };
        (needed > level && !mutant!(LevelUnseen)).then(refused)
    }

    /// Queues a command for the next entry, as far as the disk and the queue have space for it.
    fn enqueue(
        &mut self,
        asker: Asker<P>,
        (command, bytes): (Command, usize),
        until: Option<Timestamp>,
        out: &mut Outputs<P, R>,
    ) {
        if let Some(why) = self.refuse_level(&command.body) {
            self.answer_asker(asker, why, out);
        } else if !self.disk.accepts(&command.body) && !mutant!(DiskUnseen) {
            self.answer_asker(asker, Proposed::NoSpace, out);
        } else if let Err(asker) = self.queue.push(asker, (command, bytes), until) {
            self.answer_asker(asker, Proposed::Busy(QUEUE_FULL.to_owned()), out);
        }
    }

    /// Changes members here, or passes the request on.
    pub(crate) fn change_members(
        &mut self,
        now: Timestamp,
        requester: P,
        request: MembersRequest,
        context: Bytes,
        out: &mut Outputs<P, R>,
    ) {
        let Some(to) = self.other_leader() else {
            return self.step_members(now, Asker::Here(requester), (request, context), out);
        };
        let size = Size::Command { bytes: context.len(), has_reserve: false };
        let message =
            |number| PeerMessage::Members { number, wait_ms: wait_ms(), request, context: context.to_vec() };
        self.pass_on(now, to, (Asked::Command(requester), size), message, out);
    }

    pub(crate) fn read(&mut self, now: Timestamp, requester: R, out: &mut Outputs<P, R>) {
        let Some(to) = self.other_leader() else {
            return self.step_read(now, Waits::Read(requester), out);
        };
        let message = |number| PeerMessage::Read { number };
        self.pass_on(now, to, (Asked::Read(requester), Size::Read), message, out);
    }

    fn pass_on(
        &mut self,
        now: Timestamp,
        to: u64,
        (asked, size): (Asked<P, R>, Size),
        message: impl FnOnce(u64) -> PeerMessage,
        out: &mut Outputs<P, R>,
    ) {
        let number = match self.forwarded.add(now, to, asked, size) {
            Ok(number) => number,
            Err(Asked::Command(requester)) => {
                let answer = Proposed::Busy(QUEUE_FULL.to_owned());
                return out.push(Output::Proposed { requester, answer });
            }
            Err(Asked::Read(requester)) => {
                let answer = ReadAnswer::Busy(QUEUE_FULL.to_owned());
                return out.push(Output::Read { requester, answer });
            }
            Err(Asked::Quorum(_)) => return,
        };
        let message = message(number);
        if mutant!(ForwardTwice) {
            out.push(Output::SendPeer { to, message: message.clone() });
        }
        out.push(Output::SendPeer { to, message });
    }

    fn step_read(&mut self, now: Timestamp, waits: Waits<P, R>, out: &mut Outputs<P, R>) {
        let waiter = self.wait(waits);
        self.step_replica(now, trimaran_replica::Input::Read { waiter }, out);
    }

    /// What a peer passes on, answers or says.
    pub(crate) fn on_peer_message(
        &mut self,
        now: Timestamp,
        from: u64,
        message: PeerMessage,
        out: &mut Outputs<P, R>,
    ) {
        self.note_sign(now, from);
        match message {
            PeerMessage::Command { number, wait_ms, command } => {
                let asker = Asker::Peer { id: from, number };
                if !matches!(self.replica.role().role, Role::Leader { .. }) {
                    return self.answer_asker(asker, Proposed::NotLeader, out);
                }
                let (bytes, wall) = (encoded_len(&command), self.status(now).wall);
                let command = match border::passed_on(command, bytes, wall) {
                    Ok(command) => command,
                    Err(why) => return self.answer_asker(asker, refused(&why), out),
                };
                // What waits for longer its asker has answered: it must not be executed behind its back.
                let until = Some(now + Millis(wait_ms.into()));
                self.enqueue(asker, (command, bytes), until, out);
            }
            PeerMessage::Members { number, request, context, .. } => {
                let asker = Asker::Peer { id: from, number };
                if let Err(why) = border::with_members(&context) {
                    return self.answer_asker(asker, refused(&why), out);
                }
                self.step_members(now, asker, (request, Bytes::from(context)), out);
            }
            PeerMessage::Read { number } => self.step_read(now, Waits::PeerRead { id: from, number }, out),
            PeerMessage::Proposed { number, answer } => {
                if let Some(Asked::Command(requester)) = self.forwarded.answered(from, number) {
                    let answer = answers::proposed_from_wire(answer);
                    out.push(Output::Proposed { requester, answer });
                }
            }
            PeerMessage::ReadAnswer { number, answer } => {
                let answer = answers::read_from_wire(answer);
                match self.forwarded.answered(from, number) {
                    Some(Asked::Read(requester)) => out.push(Output::Read { requester, answer }),
                    Some(Asked::Quorum(at)) => self.quorum_answered(at, &answer),
                    Some(Asked::Command(_)) | None => {}
                }
            }
            // How it was before a pause of this process is not how it is.
            PeerMessage::Present { .. } if self.has_backlog(now) => {}
            PeerMessage::Present { wall_ms, disk } => {
                self.clocks.set(from, WallTime(wall_ms), now);
                self.disks.set(from, disk.into(), now);
            }
        }
    }

    /// Answers whoever asked for a command or a change of members.
    pub(crate) fn answer_asker(&self, asker: Asker<P>, answer: Proposed, out: &mut Outputs<P, R>) {
        out.push(match asker {
            Asker::Here(requester) => Output::Proposed { requester, answer },
            Asker::Peer { id, number } => {
                let answer = answers::proposed_to_wire(answer);
                Output::SendPeer { to: id, message: PeerMessage::Proposed { number, answer } }
            }
        });
    }

    /// A read of the replica is answered.
    pub(crate) fn answer_read(&mut self, waits: Waits<P, R>, answer: ReadAnswer, out: &mut Outputs<P, R>) {
        match waits {
            Waits::Read(requester) => out.push(Output::Read { requester, answer }),
            Waits::PeerRead { id, number } => {
                let answer = answers::read_to_wire(answer);
                out.push(Output::SendPeer { to: id, message: PeerMessage::ReadAnswer { number, answer } });
            }
            Waits::Quorum(at) => self.quorum_answered(at, &answer),
            Waits::Commands(_) | Waits::Members(_) | Waits::HandOver => {
                unreachable!("it waits for another answer")
            }
        }
    }

    fn quorum_answered(&mut self, at: Timestamp, answer: &ReadAnswer) {
        if matches!(answer, ReadAnswer::At(_)) {
            self.quorum_at = self.quorum_at.max(Some(at));
        }
    }

    /// A peer that is gone, or a leader that is one no more, answers no read; what a command came to is not known.
    pub(crate) fn give_up(&mut self, now: Timestamp, gone: impl Fn(u64) -> bool, out: &mut Outputs<P, R>) {
        for asked in self.forwarded.give_up(now, gone) {
            answer_lost(asked, out);
        }
    }

    pub(crate) fn give_up_all(&mut self, out: &mut Outputs<P, R>) {
        for asked in self.forwarded.take_all() {
            answer_lost(asked, out);
        }
    }

    pub(crate) fn note_sign(&mut self, now: Timestamp, from: u64) {
        if !self.has_backlog(now) {
            self.last_sign.insert(from, now);
        }
    }

    /// Whether what comes now may have waited while the process stood still.
    fn has_backlog(&self, now: Timestamp) -> bool {
        self.resumed.is_some_and(|at| now - at < BACKLOG_TIME)
    }

    /// A process that stood still finds everything that came meanwhile at once: it says nothing about who is there now.
    pub(crate) fn note_pause(&mut self, now: Timestamp) {
        if self.last_step.is_some_and(|at| now - at >= PAUSE_MIN) {
            self.resumed = Some(now);
            self.last_sign.clear();
        }
        self.last_step = Some(now);
    }

    /// What a member of several does from time to time: it makes sure of the quorum, and reports its clock
    /// and its disk to the leader, which may have to give leadership away.
    pub(crate) fn keep_in_touch(&mut self, now: Timestamp, wall: WallTime, out: &mut Outputs<P, R>) {
        self.give_up(now, |_| false, out);
        if now < self.touch_due || self.replica.is_only_voter() {
            return;
        }
        self.touch_due = now + QUORUM_CHECK_INTERVAL;
        match self.other_leader() {
            Some(to) => {
                let message = |number| PeerMessage::Read { number };
                self.pass_on(now, to, (Asked::Quorum(now), Size::Read), message, out);
                let message = PeerMessage::Present { wall_ms: wall.0, disk: self.disk.into() };
                out.push(Output::SendPeer { to, message });
            }
            None if self.leads() => {
                self.step_read(now, Waits::Quorum(now), out);
                self.leave_bad_disk(now, out);
            }
            None => {}
        }
    }
}

fn wait_ms() -> u32 {
    u32::try_from(FORWARD_TIMEOUT.0).unwrap_or(u32::MAX)
}

/// What a peer reads whose command does not pass the border.
fn refused(why: &CodecError) -> Proposed {
    Proposed::Refused(format!("the leader does not accept what was passed on to it: {why}"))
}

fn answer_lost<P, R>(asked: Asked<P, R>, out: &mut Outputs<P, R>) {
    match asked {
        Asked::Command(requester) => {
            out.push(Output::Proposed { requester, answer: Proposed::Indeterminate });
        }
        Asked::Read(requester) => out.push(Output::Read { requester, answer: ReadAnswer::NotLeader }),
        Asked::Quorum(_) => {}
    }
}
