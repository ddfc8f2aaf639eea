//! What an agent is sent: revoked keys, its targets, what stands, its assignments, and their ends.
//!
//! Not here: what is read from the rows for it (`questions`), and the `inventory`.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_model::hash::spread;
use trimaran_model::id::{AssignmentId, InstallationId};
use trimaran_model::limits::TARGETS_PER_MESSAGE_MAX;
use trimaran_model::target::Target;
use trimaran_model::time::Timestamp;
use trimaran_wire::codec::encode;
use trimaran_wire::v1::agent::{AgentDown, RevokedKey, WireStanding};
use trimaran_wire::v1::assignment::WireAssignment;
use trimaran_wire::v1::target::WireTarget;

use super::changes::Changes;
use super::io::{Close, Note, Output};
use super::pages::pages;
use super::questions::Question;
use super::{AgentSession, Sent};

/// What is asked for once the agent knows all revoked keys.
#[derive(Debug)]
pub(super) enum Next {
    Everything { revision: u64 },
    Changed { revision: u64, assignments: BTreeSet<AssignmentId>, installations: BTreeSet<InstallationId> },
}

/// A hash of what a session was sent of each installation.
pub(super) type StandingSent = BTreeMap<InstallationId, u64>;

impl AgentSession {
    /// What applied entries change for this session.
    pub(super) fn on_changes(&mut self, now: Timestamp, changes: Changes, out: &mut Vec<Output>) {
        let Changes {
            revision,
            assignments,
            installations,
            everything,
            targets,
            runners,
            superseded,
            revoked,
        } = changes;
        if superseded && !mutant!(KeepSuperseded) {
            // The close says the same to an agent that does not get this.
            out.push(Output::Send(AgentDown::Superseded));
            return self.end(Close::Superseded, "a later incarnation of this agent has attached", out);
        }
        if runners {
            self.inventory.read.on_change(revision);
        }
        if everything || targets {
            self.targets_read.on_change(revision);
        }
        let is_idle = assignments.is_empty() && installations.is_empty();
        // Orders and what stands come behind the settings they need.
        let all = match everything || !is_idle {
            true => self.targets_read.begin(now),
            false => self.targets_read.begin_when_due(now),
        };
        self.next = match all {
            Some(_) => Some(Next::Everything { revision }),
            None if is_idle => None,
            None => Some(Next::Changed { revision, assignments, installations }),
        };
        match revoked {
            true => out.push(Output::AskRevoked { after: self.revoked_sent }),
            false => self.ask_next(out),
        }
    }

    /// Sends revoked keys until there are no more, and asks for what comes behind them.
    pub(super) fn on_revoked(
        &mut self,
        up_to: u64,
        keys: Vec<RevokedKey>,
        issuers: Vec<[u8; 32]>,
        out: &mut Vec<Output>,
    ) {
        if keys.is_empty() {
            return self.ask_next(out);
        }
        self.revoked_sent = up_to;
        out.push(Output::Send(AgentDown::Revoked { up_to, keys, issuers }));
        out.push(Output::AskRevoked { after: up_to });
    }

    /// Asks for what may be other and has rested.
    pub(super) fn read_when_due(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if let Some(revision) = self.targets_read.begin_when_due(now) {
            self.next = Some(Next::Everything { revision });
            self.ask_next(out);
        }
        if let Some(revision) = self.inventory.read.begin_when_due(now) {
            out.push(Output::Ask { revision, question: Question::Inventory });
        }
    }

    fn ask_next(&mut self, out: &mut Vec<Output>) {
        let known = self.sent.keys().copied().collect();
        let (revision, question) = match &self.next {
            None => return,
            Some(Next::Everything { revision }) => (*revision, Question::Everything { known }),
            Some(Next::Changed { revision, assignments, installations }) => {
                let (assignments, installations) = (assignments.clone(), installations.clone());
                (*revision, Question::Changed { known, assignments, installations })
            }
        };
        out.push(Output::Ask { revision, question });
    }

    /// Sends the agent's targets when they are others than before: orders come behind the settings they need.
    pub(super) fn send_targets(&mut self, targets: &[Target], out: &mut Vec<Output>) {
        let targets: Vec<WireTarget> = targets.iter().map(WireTarget::from).collect();
        if self.targets_sent.as_ref() == Some(&targets) {
            return;
        }
        let mut pages = targets.chunks(TARGETS_PER_MESSAGE_MAX).map(<[_]>::to_vec).collect::<Vec<_>>();
        if pages.is_empty() {
            pages.push(Vec::new());
        }
        let last = pages.len() - 1;
        let page = |(number, targets)| AgentDown::Targets { targets, last: number == last };
        out.extend(pages.into_iter().enumerate().map(page).map(Output::Send));
        self.targets_sent = Some(targets);
    }

    /// Sends all that stands on the agent's targets, unless it has exactly that.
    pub(super) fn send_all_standing(&mut self, standing: Vec<WireStanding>, out: &mut Vec<Output>) {
        let now: StandingSent = standing.iter().map(standing_key).collect();
        if self.standing_sent.as_ref() == Some(&now) {
            return;
        }
        self.standing_sent = Some(now);
        send_standing(standing, true, out);
    }

    /// Sends what stands of these installations, where it is other than what the agent has.
    pub(super) fn send_changed_standing(&mut self, standing: Vec<WireStanding>, out: &mut Vec<Output>) {
        // Before the whole was sent it is among it.
        let Some(sent) = &mut self.standing_sent else { return };
        let new = |it: &WireStanding| {
            let (installation, what) = standing_key(it);
            sent.insert(installation, what) != Some(what)
        };
        let changed: Vec<WireStanding> = standing.into_iter().filter(new).collect();
        if !changed.is_empty() {
            send_standing(changed, false, out);
        }
    }

    /// Sends live assignments that the agent does not have, and the end of those of `checked` that it has
    /// and that are not live any more.
    pub(super) fn send_assignments(
        &mut self,
        assignments: Vec<LiveAssignment>,
        checked: BTreeSet<u64>,
        out: &mut Vec<Output>,
    ) {
        // What the agent has and the state has not any more was answered, or withdrawn while the agent was away.
        let live: BTreeSet<u64> = assignments.iter().map(|live| live.order.id.0).collect();
        for assignment in checked.difference(&live) {
            // The answer to its result covers it.
            if self.sent.get(assignment).is_none_or(|sent| sent.ended) {
                continue;
            }
            let Some(Sent { fence, .. }) = self.sent.remove(assignment) else { continue };
            out.push(Output::Note(Note::ForgetProgress(AssignmentId(*assignment))));
            out.push(Output::Send(AgentDown::Cancel { assignment: *assignment, fence }));
        }
        for LiveAssignment { order, cancel, .. } in assignments {
            let (id, fence) = (order.id.0, order.fence.0);
            if self.sent.get(&id).is_none_or(|sent| sent.held) {
                self.sent.insert(id, Sent::new(fence));
                self.worked.insert(order.installation.clone());
                send_assignment(WireAssignment::from(&order), out);
            }
            let asked = self.sent.get(&id).is_some_and(|sent| sent.canceled || sent.ended);
            if cancel && !asked {
                self.sent.insert(id, Sent { canceled: true, ..Sent::new(fence) });
                out.push(Output::Send(AgentDown::Cancel { assignment: id, fence }));
            }
        }
    }
}

/// Sends an assignment, with its hosts in pages ahead of it where they are too many for one message.
fn send_assignment(mut assignment: WireAssignment, out: &mut Vec<Output>) {
    for (hosts, last) in pages(std::mem::take(&mut assignment.hosts), String::len) {
        match last {
            true => assignment.hosts = hosts,
            false => out.push(Output::Send(AgentDown::AssignHosts { assignment: assignment.id, hosts })),
        }
    }
    out.push(Output::Send(AgentDown::Assign(assignment)));
}

fn send_standing(standing: Vec<WireStanding>, whole: bool, out: &mut Vec<Output>) {
    let page = |(installations, last)| AgentDown::Installations { installations, whole, last };
    out.extend(pages(standing, |it| encode(it).len()).map(page).map(Output::Send));
}

/// Of what stands on hosts everything counts. Observers of other platforms begin anew with what they are sent: there it is
/// the fence, with which a commit changes, and the release.
fn standing_key(it: &WireStanding) -> (InstallationId, u64) {
    let installation = InstallationId::try_from(it.installation.clone()).expect("it is of a row");
    let what = if it.hosts.is_some() { encode(it) } else { encode(&(it.fence, it.release)) };
    (installation, spread(&what))
}
