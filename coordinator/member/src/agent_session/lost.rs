//! An agent that does not come back is reported as lost to the log, unless it has a session here again. While there is no
//! leader it is reported once more.
//!
//! Not here: agents of coordinators that are silent, which the leader finds (the server).

use trimaran_model::id::AgentName;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;

use super::io::{Attachment, Input, Moment, Output};
use crate::io::Proposed;

/// How often, and after which pause, an agent is reported as lost while there is no leader.
const ATTEMPTS_MAX: u32 = 200;
const PAUSE: Millis = Millis(300);

/// The report that an agent is lost since one of its attaches. It takes the same inputs as a session.
#[derive(Debug)]
pub(super) struct LostReport {
    agent: AgentName,
    attach: u64,
    attempts: u32,
    /// Of its proposals, from here on.
    number: u64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waits { until: Timestamp },
    Acquires,
    Proposed,
    Over,
}

impl LostReport {
    /// To be made at a boot time; proposals are numbered above `number`.
    pub(super) fn new(agent: AgentName, attach: u64, until: Timestamp, number: u64) -> Self {
        Self { agent, attach, attempts: 0, number, stage: Stage::Waits { until } }
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// When [`Input::Due`] is wanted.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Waits { until } => Some(until),
            Stage::Acquires | Stage::Proposed | Stage::Over => None,
        }
    }

    /// Handles an input; those that are of no use to it change nothing.
    pub(super) fn step(&mut self, moment: Moment<'_>, input: &Input, out: &mut Vec<Output>) {
        match (self.stage, input) {
            (Stage::Waits { until }, Input::Due) if until <= moment.boot => {
                self.stage = Stage::Acquires;
                out.push(Output::Acquire);
            }
            (Stage::Acquires, Input::Acquired(Attachment::Free)) => {
                self.number += 1;
                self.attempts += 1;
                self.stage = Stage::Proposed;
                let body = CommandBody::AgentLost { agent: self.agent.to_string(), attach: self.attach };
                let command = Command { identity: WireIdentity::System, request: None, body };
                out.push(Output::Propose { number: self.number, command });
            }
            // It came back.
            (Stage::Acquires, Input::Acquired(_)) => {
                self.stage = Stage::Over;
                out.push(Output::Release);
            }
            (Stage::Proposed, Input::Answered { number, answer }) if *number == self.number => {
                out.push(Output::Release);
                self.stage = match answer {
                    Proposed::Done { .. } => Stage::Over,
                    _ if self.attempts >= ATTEMPTS_MAX => Stage::Over,
                    _ => Stage::Waits { until: moment.boot + PAUSE },
                };
            }
            _ => {}
        }
    }
}
