//! A fleet's agent as a script: a journal that survives its crashes, unless its disk is lost, and results that
//! are repeated until they are answered.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_engine::{Outcome, Refusal};
use trimaran_model::id::{AgentName, InstallationId};
use trimaran_query as query;
use trimaran_wire::v1::assignment::WireOutcome;
use trimaran_wire::v1::command::{Command, CommandBody};

use super::{Asker, Faults};
use crate::check::Rows;
use crate::lab::{agent, failure, progress};
use crate::random::Random;

const NAME: &str = "lab";

/// An assignment in the journal.
struct Held {
    row: LiveAssignment,
    result: Option<WireOutcome>,
}

#[derive(Default)]
pub(crate) struct Agent {
    incarnation: u64,
    attached: bool,
    asked: bool,
    journal: BTreeMap<u64, Held>,
    /// What the hosts know and no crash forgets: the largest fence of each installation, and whose it is.
    fences: BTreeMap<InstallationId, (u64, u64)>,
    /// The highest epoch that it has seen, and the incarnation of the cluster that had it.
    seen: (u16, u64),
    /// A cluster that only observes has refused it, and knows by that what it has seen.
    refused: bool,
    /// What it worked on when a backup was restored.
    earlier: BTreeSet<u64>,
}

impl Agent {
    pub(crate) fn session_lost(&mut self) {
        (self.attached, self.asked) = (false, false);
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.attached
    }

    pub(crate) fn crash(&mut self, disk_lost: bool) {
        self.session_lost();
        self.incarnation += 1;
        if disk_lost {
            self.journal.clear();
        }
    }

    pub(crate) fn attached(&mut self, incarnation: u64, outcome: &Outcome) {
        self.asked = false;
        self.refused |=
            matches!(outcome, Outcome::Refused(Refusal::Observes | Refusal::OtherIncarnation { .. }));
        // Before it is enrolled there is no agent of this name.
        self.attached = incarnation == self.incarnation && matches!(outcome, Outcome::Attached { .. });
    }

    pub(crate) fn answered(&mut self, assignment: u64, outcome: &Outcome) {
        match outcome {
            Outcome::ReportApplied | Outcome::ResultSuperseded { .. } => {
                self.journal.remove(&assignment);
            }
            // An order of an earlier incarnation, which this one does not know.
            Outcome::ReportUnknown if self.earlier.contains(&assignment) => {
                self.journal.remove(&assignment);
            }
            other => panic!("the result of {assignment} is {other:?}"),
        }
    }

    pub(crate) fn was_refused(&self) -> bool {
        self.refused
    }

    /// A backup is restored: this incarnation has not met it, and may not know what it works on.
    pub(crate) fn begin_incarnation(&mut self) {
        self.refused = false;
        self.earlier.extend(self.journal.keys());
    }

    /// Whether it knows a later incarnation of the cluster than this one.
    pub(crate) fn knows_later(&self, epoch: u16, incarnation: u64) -> bool {
        epoch < self.seen.0 || (epoch == self.seen.0 && incarnation != self.seen.1)
    }

    /// How it begins a session.
    pub(crate) fn greeting(&self) -> Command {
        let body = CommandBody::Attach {
            incarnation: self.incarnation + 1,
            coordinator: "c1".to_owned(),
            address: "127.0.0.1:7701".to_owned(),
            epoch_seen: self.seen.0,
            incarnation_seen: self.seen.1,
            platforms: vec!["hosts".to_owned()],
        };
        agent(NAME, body)
    }

    /// What it says now.
    pub(crate) fn moves(
        &mut self,
        rows: &Rows,
        random: &mut Random,
        faults: Faults,
    ) -> Vec<(Command, Asker)> {
        if !self.attached {
            if std::mem::replace(&mut self.asked, true) {
                return Vec::new();
            }
            return vec![(self.greeting(), Asker::Attach(self.incarnation))];
        }
        self.read(rows);
        let mut moves = Vec::new();
        for (id, held) in &mut self.journal {
            let asked_to_end = self.earlier.contains(id)
                || rows.assignments().iter().any(|row| row.order.id.0 == *id && row.cancel);
            if held.result.is_none() && (asked_to_end || random.below(3) == 0) {
                held.result = Some(outcome(&held.row, asked_to_end, random, faults));
            }
            let Some(outcome) = held.result.clone() else { continue };
            let body = CommandBody::Result {
                assignment: *id,
                fence: held.row.order.fence.0,
                progress: progress(&held.row, &outcome),
                outcome,
            };
            moves.push((agent(NAME, body), Asker::Result(*id)));
        }
        moves
    }

    /// Takes new assignments into the journal.
    fn read(&mut self, rows: &Rows) {
        let cluster = query::cluster(rows);
        let now = (cluster.epoch.0, cluster.incarnation);
        assert!(now == self.seen || now.0 > self.seen.0, "{now:?} after {:?}", self.seen);
        self.seen = now;
        assert!(!query::observes(rows), "a cluster that only observes has a session with an agent");
        let name: AgentName = NAME.parse().expect("a name");
        for row in query::assignments(rows, &name, &|id| self.journal.contains_key(&id.0)) {
            let it = &row.order;
            let (place, number, it_fence) = (it.installation.clone(), it.id.0, it.fence.0);
            let (fence, holder) = self.fences.get(&place).copied().unwrap_or_default();
            assert!(
                it_fence > fence || (it_fence, number) == (fence, holder),
                "{it_fence} after {fence} on {place}"
            );
            assert!(it.fence.epoch() >= cluster.epoch, "an agent obeys no fence of an earlier epoch");
            assert!(!query::is_undecided(rows, &place), "an order on what no one has decided");
            self.fences.insert(place.clone(), (it_fence, number));
            if self.journal.contains_key(&number) {
                continue;
            }
            // A larger fence aborts what an earlier one began.
            for held in self.journal.values_mut() {
                if held.row.order.installation == place {
                    held.result.get_or_insert(WireOutcome::Stopped);
                }
            }
            self.journal.insert(number, Held { row, result: None });
        }
    }
}

fn outcome(row: &LiveAssignment, asked_to_end: bool, random: &mut Random, faults: Faults) -> WireOutcome {
    let hosts: Vec<_> = row.order.hosts.iter().collect();
    let host = random.pick(&hosts).map(ToString::to_string);
    let of = |code| failure(code, "words of the host", host.as_deref());
    match random.below(100) {
        number if number < faults.failures => WireOutcome::Failed(of("probe_failed")),
        number if number < faults.failures + faults.faults => WireOutcome::Fault(of("host_lost")),
        number if asked_to_end && number % 2 == 0 => WireOutcome::Stopped,
        _ => WireOutcome::Done,
    }
}
