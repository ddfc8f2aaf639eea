//! The machine of one host, on the host in memory: version 1 is deployed, or version 2 over it.

use trimaran_host_core::host::{Call, HostMachine, Journal, Phase, Query, Reply, Snapshot};
use trimaran_model::action::Commit;
use trimaran_model::assignment::{HostGoal, HostState};
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::journal::WireHostJournal;
use trimaran_wire::v1::release::WireRelease;

use super::{Finished, Model, Which, samples};
use crate::host::{Behaviour, ModelHost};

pub struct HostModel {
    host: ModelHost,
    /// The calls so far: of which order, and as what it is refused when the answer never comes.
    made: Vec<(Which, Option<ReasonCode>)>,
}

fn digest(which: Which) -> Digest {
    WireRelease::from(&samples::numbered(which as u8 + 1)).digest()
}

impl HostModel {
    pub fn new() -> Self {
        let mut host = ModelHost::new();
        host.behave(digest(Which::First), Behaviour::Healthy { after: 100 });
        host.behave(digest(Which::Second), Behaviour::Healthy { after: 100 });
        host.create();
        Self { host, made: Vec::new() }
    }
}

impl Default for HostModel {
    fn default() -> Self {
        Self::new()
    }
}

impl Model for HostModel {
    type Driver = HostMachine;

    fn driver(&self) -> &HostMachine {
        &HostMachine
    }

    fn order(&self, which: Which, _: Option<Commit>) -> HostGoal {
        samples::apply(which as u8 + 1, digest(which))
    }

    fn save(&self, phase: &Phase) -> Vec<u8> {
        phase.journal.to_wire(None).to_bytes()
    }

    fn load(&self, _: &HostGoal, bytes: &[u8]) -> Phase {
        let wire = WireHostJournal::from_bytes(bytes).expect("its own bytes");
        Journal::from_wire(wire).expect("its own journal").0.into()
    }

    fn persisted(&mut self, phase: &Phase) {
        self.host.persist(&phase.journal);
    }

    fn call(&mut self, now: Timestamp, which: Which, call: Call) -> Result<(Reply, Millis), String> {
        // Everything else is looked for again, or done again.
        let refusal = match &call {
            Call::Inspect => Some(ReasonCode::HostInternal),
            Call::Fetch { .. } => Some(ReasonCode::FetchTimeout),
            _ => None,
        };
        self.made.push((which, refusal));
        self.host.now = now;
        Ok(self.host.perform(call))
    }

    fn watch(&mut self, query: Query) {
        self.host.watch(&query);
    }

    fn observations(&mut self, now: Timestamp) -> Vec<Snapshot> {
        self.host.now = now;
        std::iter::from_fn(|| self.host.take_exit()).collect()
    }

    fn next_change(&self, _: Timestamp) -> Option<Timestamp> {
        self.host.next_exit_at()
    }

    fn crashed(&mut self) {
        self.host.forget_watches();
    }

    fn found_without_journal(&mut self) -> Option<Phase> {
        let installation = samples::apply(1, digest(Which::First)).installation;
        let observation = self.host.inspect().expect("the model can be read");
        Journal::from_observation(&installation, &observation).map(Into::into)
    }

    fn is_covered(&self, durable: Option<&Phase>, call: &Call) -> bool {
        let Call::Start { launch, .. } = call else { return true };
        let known = durable.and_then(|phase| phase.journal.launch.as_ref());
        known.is_some_and(|known| known.number == launch.number)
    }

    /// A host decides its own steps under its fence file: it needs no lease.
    fn needs_lease(&self, _: &Call) -> bool {
        false
    }

    /// What was begun is finished or reverted; bytes of an order that makes way are of no use.
    fn starts(&self, call: &Call) -> bool {
        matches!(call, Call::Fetch { .. } | Call::Unpack(_))
    }

    fn is_settled(&self, phase: &Phase) -> bool {
        phase.is_settled()
    }

    fn can_cancel(&self) -> bool {
        false
    }

    fn verify(&self, finished: &Finished, phase: &Phase) -> Result<(), String> {
        let (running, wanted) = (self.host.running(), digest(finished.which));
        let report = phase.report();
        let lost = finished.lost_call.map(|number| self.made[usize::try_from(number).expect("few") - 1]);
        let refusal = lost.filter(|(which, _)| *which == finished.which).and_then(|(_, refusal)| refusal);
        if refusal.is_some() {
            if report.state != HostState::Refused || report.code != refusal {
                return Err(format!("it can't go on without the answer, and reports {report:?}"));
            }
            if running.contains(&wanted) {
                return Err(format!("{wanted} was refused and runs"));
            }
        } else {
            if report.state != HostState::Healthy || report.current != Some(wanted) {
                return Err(format!("it reports {report:?}"));
            }
            if running != [wanted] || self.host.current() != Some(wanted) || !self.host.is_healthy() {
                return Err(format!("{running:?} runs where {wanted} should"));
            }
        }
        let mut launches: Vec<u64> = self.host.starts.iter().map(|(launch, _)| *launch).collect();
        launches.dedup();
        if launches.len() != self.host.starts.len() {
            return Err(format!("a launch was made twice: {:?}", self.host.starts));
        }
        match self.host.leftovers() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("left behind: {left:?}")),
        }
    }
}
