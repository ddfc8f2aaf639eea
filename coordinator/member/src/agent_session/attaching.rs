//! How a session comes into the log and out of it: which answer to an attach means what, and the reports that the agent is
//! detached, and lost when it does not come back.
//!
//! Not here: which attach the state accepts (`trimaran-engine`).

use trimaran_engine::state::cluster::Cluster;
use trimaran_engine::{Outcome, Refusal};
use trimaran_model::limits::AGENT_LOST_AFTER;
use trimaran_model::time::Timestamp;
use trimaran_query::text;
use trimaran_wire::v1::agent::AgentDown;
use trimaran_wire::v1::command::CommandBody;

use super::io::{Attachment, Close, Moment, Note, Output};
use super::lost::LostReport;
use super::orders::Next;
use super::questions::Question;
use super::{AgentSession, Phase};
use crate::io::Proposed;

impl AgentSession {
    pub(super) fn on_acquired(&mut self, moment: Moment<'_>, whose: Attachment, out: &mut Vec<Output>) {
        match (&self.phase, whose) {
            (Phase::New, _) => {
                self.seen = moment.wall;
                self.phase = Phase::Attaching;
                let body = CommandBody::Attach {
                    incarnation: self.incarnation,
                    coordinator: self.coordinator.to_string(),
                    address: std::mem::take(&mut self.address),
                    epoch_seen: self.known.epoch,
                    incarnation_seen: self.known.incarnation,
                    platforms: std::mem::take(&mut self.platforms),
                };
                self.propose(body, out);
            }
            (Phase::Leaving, Attachment::This) => {
                out.push(Output::Note(Note::Detached));
                self.phase = Phase::Detaching;
                let goodbye = self.closed.is_some_and(|closed| closed.goodbye);
                let (attach, seen_ms) = (self.attach, self.seen.0);
                self.propose(CommandBody::Detach { attach, goodbye, seen_ms }, out);
            }
            // Another session of the agent began here: nothing is to be said of this one.
            (Phase::Leaving, Attachment::Another | Attachment::Free) => {
                out.push(Output::Release);
                self.phase = Phase::Over;
            }
            _ => out.push(Output::Release),
        }
    }

    pub(super) fn on_attach_answered(&mut self, moment: Moment<'_>, answer: Proposed, out: &mut Vec<Output>) {
        match answer {
            Proposed::Done { revision, outcome: Outcome::Attached { attach } } => {
                (self.attach, self.answered) = (attach, revision);
                self.phase = Phase::Attached;
                out.extend([Output::Note(Note::Attached), Output::Release]);
                match self.closed {
                    Some(_) => self.leave_if_closed(out),
                    None => out.push(Output::Ask { revision, question: Question::Welcome }),
                }
            }
            Proposed::Done {
                outcome: Outcome::Refused(why @ (Refusal::OtherIncarnation { .. } | Refusal::Observes)),
                ..
            } => {
                out.push(Output::Release);
                self.phase = Phase::OtherIncarnation { why: text::refusal(&why) };
                out.push(Output::Ask { revision: 0, question: Question::Cluster });
            }
            Proposed::Done { outcome: Outcome::Refused(why), .. } => self.never(&text::refusal(&why), out),
            Proposed::Done { .. } => self.never("this agent can't attach", out),
            Proposed::NotLeader | Proposed::Busy(_) | Proposed::NoSpace | Proposed::Refused(_) => {
                out.push(Output::Release);
                self.phase = Phase::Over;
                out.push(no_leader());
            }
            Proposed::Indeterminate => {
                out.push(Output::Release);
                self.phase = Phase::Unknown { until: moment.boot + AGENT_LOST_AFTER };
                out.push(no_leader());
            }
        }
    }

    /// The agent is not to come again.
    fn never(&mut self, why: &str, out: &mut Vec<Output>) {
        self.phase = Phase::Over;
        out.push(Output::Release);
        // The close says the same to an agent that does not get this.
        out.push(Output::Send(AgentDown::Superseded));
        out.push(Output::Close { code: Close::Superseded, why: why.to_owned(), flush: false });
    }

    /// Ends the session of an agent that knows another incarnation of this cluster, or may come to know one.
    pub(super) fn refuse_other_incarnation(&mut self, cluster: &Cluster, out: &mut Vec<Output>) {
        let Phase::OtherIncarnation { why } = std::mem::replace(&mut self.phase, Phase::Over) else { return };
        let (epoch, incarnation) = (cluster.epoch.0, cluster.incarnation);
        out.push(Output::Send(AgentDown::OtherIncarnation { epoch, incarnation }));
        // An agent that does not read it learns the same from the close. It dials again: a member of the other
        // incarnation may answer.
        out.push(Output::Close { code: Close::Busy, why, flush: true });
    }

    /// Sends what a new session starts with.
    pub(super) fn welcome(&mut self, cluster: Cluster, out: &mut Vec<Output>) {
        // What an earlier incarnation said of its runners this one says again.
        out.push(Output::Note(Note::ForgetRunners));
        let Cluster { name, epoch, incarnation, .. } = cluster;
        // Numbers of another incarnation of the cluster say nothing here.
        self.revoked_sent = if self.known.incarnation == incarnation { self.known.revoked } else { 0 };
        let revision = self.answered;
        out.push(Output::Send(AgentDown::Welcome { cluster: name, epoch: epoch.0, incarnation, revision }));
        self.next = Some(Next::Everything { revision });
        out.push(Output::AskRevoked { after: self.revoked_sent });
    }

    /// The connection is over: detached now, lost when the agent does not come back in time.
    pub(super) fn leave_if_closed(&mut self, out: &mut Vec<Output>) {
        if self.closed.is_some() && matches!(self.phase, Phase::Attached | Phase::Ending) {
            self.forget();
            self.phase = Phase::Leaving;
            out.push(Output::Acquire);
        }
    }

    pub(super) fn on_detach_answered(&mut self, out: &mut Vec<Output>) {
        out.push(Output::Release);
        // Without a leader the next one counts the agent as silent automatically.
        let last_sign = self.closed.map_or(Timestamp(0), |closed| closed.last_sign);
        let until = last_sign + AGENT_LOST_AFTER;
        self.phase = Phase::Lost(LostReport::new(self.agent.clone(), self.attach, until, self.number));
    }

    /// The agent is lost since this attach, if the log has one.
    pub(super) fn lost_since(&self, attach: Option<u64>, now: Timestamp) -> Phase {
        match attach {
            Some(attach) => Phase::Lost(LostReport::new(self.agent.clone(), attach, now, self.number)),
            None => Phase::Over,
        }
    }
}

fn no_leader() -> Output {
    Output::Close { code: Close::Busy, why: "there is no leader now".to_owned(), flush: false }
}
