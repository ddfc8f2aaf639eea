//! Whoever cares for the members: disks are lost, members are removed, and a new one takes the place of each. It goes by the
//! newest configuration that it has seen, asks any coordinator, and asks again without an answer: what it was not answered
//! for certain may be known to a leader alone, and until then no disk is lost.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use trimaran_member::{EngineMachine as _, Input, Proposed};
use trimaran_model::feature_level::{Levels, SUPPORTED};
use trimaran_replica::Status;
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::ConfState;
use trimaran_wire::v1::command::{CommandBody, Entry, WireMemberChange};
use trimaran_wire::v1::peer::MembersRequest;

use super::{Cluster, NODES};
use crate::lab::system;
use crate::world::Asker;
use crate::world::machine::CheckedMachine;

/// After so long a member that is gone does not count as there any more.
const GONE_AFTER: u64 = 2500;
/// An answer that did not come by then does not come.
const ANSWER_TIMEOUT: u64 = 8000;

#[derive(Default)]
pub(super) struct Care {
    /// The newest configuration that was seen, and the revision of the member that showed it.
    known: (u64, ConfState),
    /// Nodes whose disk is lost while they are still members, since when.
    lost: BTreeMap<usize, u64>,
    /// Nodes with an empty disk and a new raft id that is no member yet.
    joining: BTreeSet<usize>,
    asked: Option<Asked>,
    /// The last change that was asked for, until it is done or refused: it may come yet, and until then no one knows how many
    /// losses the cluster bears, so no disk is lost.
    uncertain: Option<MembersRequest>,
    last_number: u64,
    last_id: u64,
    /// The removal of another member is asked for first, which has to be refused: no one was asked yet to remove the one
    /// whose disk is lost.
    tries_another: bool,
    voted: BTreeSet<u64>,
}

struct Asked {
    number: u64,
    request: MembersRequest,
    since: u64,
    /// It has to be refused: a quorum would not be there any more.
    refusable: bool,
}

impl Care {
    /// Whether the process of this node may not start yet.
    pub(super) fn keeps_down(&self, node: usize) -> bool {
        self.lost.contains_key(&node) || self.joining.contains(&node)
    }
}

/// The row of a member.
pub(super) fn row(id: u64, levels: Levels) -> CommandBody {
    CommandBody::Member {
        name: format!("c{id}"),
        raft_id: id,
        disk: u128::from(id).to_be_bytes(),
        address: format!("10.0.0.{id}:7700"),
        certificate_sha256: [u8::try_from(id % 200).expect("small"); 32],
        issuer_sha256: [u8::try_from(id % 200).expect("small"); 32],
        levels: (levels.min, levels.max),
    }
}

fn ids(members: &ConfState) -> BTreeSet<u64> {
    let voters = members.voters.iter().chain(&members.voters_outgoing);
    voters.chain(&members.learners).chain(&members.learners_next).copied().collect()
}

/// The rows of the members are the members that replication goes by.
pub(super) fn check(status: &Status, machine: &CheckedMachine) {
    if status.applied.index == 0 {
        return;
    }
    let rows = machine.engine().members().filter(|it| !it.removed).map(|it| it.raft_id);
    let rows: BTreeSet<u64> = rows.collect();
    assert_eq!(rows, ids(&status.members), "rows and members at revision {}", status.applied.index);
}

impl Care {
    /// A raft id that no one had.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        NODES as u64 + self.last_id
    }

    /// The coordinator in this place has a disk and is a member.
    pub(super) fn is_there(&mut self, node: usize) {
        self.lost.remove(&node);
        self.joining.remove(&node);
    }

    /// No request of an earlier incarnation of the cluster comes to anything.
    fn forget_requests(&mut self) {
        (self.asked, self.uncertain) = (None, None);
    }
}

impl Cluster {
    pub(super) fn node_of(&self, id: u64) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }

    /// The first members count as no replacement.
    pub(super) fn care_begins(&mut self) {
        self.care.voted = (1..=NODES as u64).collect();
    }

    /// Whether the members are not just the three that are here, each with a vote.
    pub(super) fn members_change(&self) -> bool {
        let (_, conf) = &self.care.known;
        let here: BTreeSet<u64> = self.nodes.iter().map(|node| node.id).collect();
        let voters: BTreeSet<u64> = conf.voters.iter().copied().collect();
        let care = &self.care;
        let is_uncertain = !care.lost.is_empty() || !care.joining.is_empty() || care.uncertain.is_some();
        is_uncertain || voters != here || ids(conf) != here
    }

    /// All members but one are gone for good; new ones take their places.
    pub(super) fn members_lost(&mut self, survivor: usize, revision: u64) {
        let alone = ConfState { voters: vec![self.nodes[survivor].id], ..ConfState::default() };
        self.care.forget_requests();
        self.care.known = (revision, alone.clone());
        (0..NODES).filter(|node| *node != survivor).for_each(|node| self.begin_anew(node, &alone));
    }

    pub(super) fn care(&mut self) {
        self.observe_members();
        if self.care.asked.as_ref().is_some_and(|asked| self.now - asked.since < ANSWER_TIMEOUT) {
            return;
        }
        let node = self.any_node();
        if self.nodes[node].member.is_none() {
            return;
        }
        let uncertain = self.care.uncertain.map(|request| (request, false));
        let Some((request, refusable)) = uncertain.or_else(|| self.wish()) else { return };
        let transfers = matches!(request, MembersRequest::Transfer { .. });
        self.care.uncertain = (!refusable && !transfers).then_some(request);
        // An operator finds who leads and asks there; the others would refuse it.
        let node = if transfers { self.leader().unwrap_or(node) } else { node };
        self.care.last_number += 1;
        let (number, since) = (self.care.last_number, self.now);
        self.note(format_args!("{node} is asked for {request:?}"));
        self.care.asked = Some(Asked { number, request, since, refusable });
        let command = match request {
            MembersRequest::AddLearner { id } => {
                let node = self.node_of(id).expect("it is here");
                Some(row(id, self.nodes[node].levels))
            }
            MembersRequest::AddVoter { id } => {
                Some(CommandBody::ChangeMember { change: WireMemberChange::Promote, raft_id: id })
            }
            MembersRequest::Remove { id } => {
                Some(CommandBody::ChangeMember { change: WireMemberChange::Remove, raft_id: id })
            }
            MembersRequest::Replace { .. } | MembersRequest::Transfer { .. } => None,
        };
        let entry = command.map(|body| Entry { now_ms: 0, commands: vec![system(body)] });
        let context = entry.map_or_else(Bytes::new, |entry| Bytes::from(entry.to_bytes()));
        self.input(node, Input::Members { requester: Asker::Members(number), request, context });
    }

    /// Follows the newest configuration: who was removed begins anew, and who was added starts.
    pub(super) fn observe_members(&mut self) {
        for node in &self.nodes {
            let Some(member) = &node.member else { continue };
            let status = member.replica_status();
            if status.applied.index > self.care.known.0 {
                self.care.known = (status.applied.index, status.members);
            }
        }
        let (index, conf) = self.care.known.clone();
        if index == 0 {
            return;
        }
        self.seen.replaced += conf.voters.iter().filter(|id| self.care.voted.insert(**id)).count();
        let members = ids(&conf);
        for node in 0..NODES {
            let is_member = members.contains(&self.nodes[node].id);
            if is_member && self.care.joining.remove(&node) {
                self.start(node);
            } else if !is_member && !self.care.joining.contains(&node) {
                self.begin_anew(node, &conf);
            }
        }
    }

    /// The process of a member that was removed ends, and a new one with an empty disk takes its place.
    fn begin_anew(&mut self, node: usize, conf: &ConfState) {
        self.crash(node);
        self.care.lost.remove(&node);
        self.care.joining.insert(node);
        let id = self.care.next_id();
        let learners = conf.learners.iter().copied().chain([id]).collect();
        self.nodes[node].replace_disk(id, ConfState { learners, ..conf.clone() });
        self.nodes[node].levels = self.build_of_new();
        self.note(format_args!("{node} is {id} from now on"));
    }

    /// What to ask for now, and whether it has to be refused.
    fn wish(&mut self) -> Option<(MembersRequest, bool)> {
        let conf = self.care.known.1.clone();
        if let Some((node, since)) = self.care.lost.first_key_value().map(|(node, since)| (*node, *since)) {
            if self.care.tries_another {
                let other = MembersRequest::Remove { id: self.nodes[(node + 1) % NODES].id };
                return (self.now - since > GONE_AFTER).then_some((other, true));
            }
            return Some((MembersRequest::Remove { id: self.nodes[node].id }, false));
        }
        if let Some(node) = self.care.joining.first() {
            let node = *node;
            if self.build_of_new() == SUPPORTED {
                // It is refused with a build that is too old.
                self.nodes[node].levels = SUPPORTED;
            }
            return Some((MembersRequest::AddLearner { id: self.nodes[node].id }, false));
        }
        if let Some(id) = conf.learners.first() {
            return Some((MembersRequest::AddVoter { id: *id }, false));
        }
        // Where nothing goes wrong the members stay as they are.
        if self.healing || conf.voters.len() < NODES || self.faults.crash_every == 0 {
            return None;
        }
        let node = self.any_node();
        Some(match self.random.below(8) {
            0 | 1 => {
                self.note(format_args!("{node} loses its disk"));
                self.crash(node);
                self.care.lost.insert(node, self.now);
                self.care.tries_another = self.random.below(2) == 0;
                return None;
            }
            2 => (MembersRequest::Remove { id: self.nodes[node].id }, false),
            3 => (MembersRequest::Transfer { to: 0 }, false),
            4 => (MembersRequest::Transfer { to: self.nodes[node].id }, false),
            _ => return None,
        })
    }

    pub(super) fn members_answered(&mut self, number: u64, answer: Proposed) {
        let Some(asked) = self.care.asked.take_if(|asked| asked.number == number) else { return };
        if matches!(answer, Proposed::Done { .. } | Proposed::Refused(_)) {
            self.care.uncertain = None;
        }
        match (asked.request, answer) {
            (request, Proposed::Done { .. }) if asked.refusable => {
                panic!("{request:?} ends the quorum, and is done")
            }
            (MembersRequest::Remove { .. }, Proposed::Refused(_)) if asked.refusable => {
                self.seen.removals_refused += 1;
                self.care.tries_another = false;
            }
            (MembersRequest::Transfer { .. }, Proposed::Done { .. }) => self.seen.transfers += 1,
            _ => {}
        }
    }

    /// At the end everyone has its place and a vote.
    pub(super) fn check_members(&self) {
        let here: BTreeSet<u64> = self.nodes.iter().map(|node| node.id).collect();
        for node in &self.nodes {
            let member = node.member.as_ref().expect("a healed coordinator runs");
            let members = member.replica_status().members;
            let voters: BTreeSet<u64> = members.voters.iter().copied().collect();
            assert_eq!((voters, ids(&members)), (here.clone(), here.clone()), "the members of {}", node.id);
        }
    }
}
