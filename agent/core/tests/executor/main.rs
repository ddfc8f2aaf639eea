//! The executor with a toy driver: what it emits, in which order, and what it refuses.

mod burst;
mod toy;

use std::collections::{BTreeMap, BTreeSet};

use toy::{Toy, Written, assignment};
use trimaran_agent_core::driver::{CallId, Guard};
use trimaran_agent_core::{Executor, Input, Output, Permit, Refused};
use trimaran_model::id::{AssignmentId, Epoch, Fence};
use trimaran_model::limits::{
    JOURNAL_COMPACT_BYTES, LEASE, PROGRESS_INTERVAL, SUPERSEDE_TIMEOUT, TARGET_CALLS_MAX, UNGUARDED_CALL,
};
use trimaran_model::target::Target;
use trimaran_model::time::Timestamp;
use trimaran_wire::codec::encode;
use trimaran_wire::v1::agent::{AgentUp, ResultAnswer};
use trimaran_wire::v1::assignment::WireOutcome;

/// An executor with a disk that writes when it is asked to.
struct World {
    executor: Executor<Toy>,
    disk: Written,
    now: Timestamp,
    calls: Vec<(AssignmentId, CallId, Permit)>,
    /// The session takes messages.
    reads: bool,
    sent: Vec<AgentUp>,
    refused: Vec<Refused>,
    quiet: Vec<Fence>,
    watches: usize,
    connected: Vec<Target>,
}

impl World {
    fn new() -> Self {
        Self {
            executor: Executor::new(Toy),
            disk: Written::default(),
            now: Timestamp(1000),
            calls: Vec::new(),
            reads: true,
            sent: Vec::new(),
            refused: Vec::new(),
            quiet: Vec::new(),
            watches: 0,
            connected: Vec::new(),
        }
    }

    /// Attached, with a live lease and the target of `toy::assignment`.
    fn attached() -> Self {
        let mut world = Self::new();
        world.attach();
        world.serve([toy::assignment(1, 1).installation.target.to_string()]);
        world
    }

    /// The coordinators send all targets of the agent.
    fn serve(&mut self, names: impl IntoIterator<Item = String>) {
        self.step(Input::Targets(names.into_iter().map(|name| toy::target(&name)).collect()));
        self.sync();
    }

    fn attach(&mut self) {
        self.step(Input::Attached { cluster: "lab".into(), epoch: Epoch(1), incarnation: 1 });
        self.step(Input::PongReceived { sent: self.now });
    }

    fn step(&mut self, input: Input<Toy>) {
        let mut out = Vec::new();
        self.executor.step(self.now, input, &mut out);
        self.perform(out);
        self.pump();
    }

    fn perform(&mut self, out: Vec<Output<Toy>>) {
        for output in out {
            match output {
                Output::Write { sequence, records } => self.disk.append(sequence, records),
                Output::Replace { sequence, records } => self.disk.replace(sequence, records),
                Output::Call { assignment, id, permit, .. } => self.calls.push((assignment, id, permit)),
                Output::Targets(targets) => self.connected = targets,
                Output::Watch { .. } => self.watches += 1,
                Output::Quiet { fence, .. } => self.quiet.push(fence),
                Output::Refused(refused) => self.refused.push(refused),
                Output::Unwatch { .. } | Output::Busy { .. } => {}
            }
        }
    }

    fn pump(&mut self) {
        while self.reads
            && let Some(message) = self.executor.next_message(self.now)
        {
            self.sent.push(message);
        }
    }

    /// Makes everything durable, and what follows from it, until nothing is written any more.
    fn sync(&mut self) {
        while let Some(sequence) = self.disk.sync() {
            self.step(Input::Written(sequence));
        }
    }

    fn assign(&mut self, id: u64, fence: u64) {
        self.step(Input::Assign(assignment(id, fence)));
    }

    fn answer_call(&mut self) {
        let (assignment, call, _) = self.calls.remove(0);
        self.step(Input::Reply { assignment, call, reply: () });
    }

    /// The process ends; what was not synced is lost. A new one begins with the journal.
    fn crash(&mut self) {
        self.disk.crash();
        self.executor = Executor::restore(Toy, &self.disk.records).expect("its own records");
        self.calls.clear();
        let mut out = Vec::new();
        self.executor.resume(self.now, &mut out);
        self.perform(out);
    }

    fn results(&self) -> Vec<(u64, WireOutcome)> {
        let results = self.sent.iter().filter_map(|message| match message {
            AgentUp::Result { assignment, outcome, .. } => Some((*assignment, outcome.clone())),
            _ => None,
        });
        results.collect()
    }
}

fn fence(n: u64) -> u64 {
    Fence::new(Epoch(1), n).0
}

#[test]
fn nothing_acts_before_the_assignment_and_its_phase_are_durable() {
    let mut world = World::attached();
    world.assign(1, fence(5));
    assert_eq!((world.calls.len(), world.watches), (0, 0));
    let taken = world.disk.sync().expect("the assignment is written");
    world.step(Input::Written(taken));
    assert_eq!(world.calls.len(), 0, "the driver's first phase is not durable yet");
    world.sync();
    assert_eq!((world.calls.len(), world.watches), (1, 1));
}

#[test]
fn a_result_is_sent_until_it_is_answered_and_then_forgotten() {
    let mut world = World::attached();
    world.assign(1, fence(5));
    world.sync();
    for _ in 0..toy::CALLS {
        world.answer_call();
        world.sync();
    }
    assert_eq!(world.results(), [(1, WireOutcome::Done)]);
    world.step(Input::Detached);
    world.attach();
    assert_eq!(world.results().len(), 2, "sent again to the next session");
    world.crash();
    world.attach();
    assert_eq!(world.results().len(), 3, "and by the next process");
    let (assignment, fence_5) = (AssignmentId(1), Fence(fence(5)));
    world.step(Input::Answer { assignment, fence: fence_5, answer: ResultAnswer::Applied });
    world.sync();
    assert_eq!(world.quiet, [fence_5]);
    assert!(world.executor.held().is_empty());
    world.crash();
    world.attach();
    assert_eq!(world.results().len(), 3);
    world.assign(1, fence(5));
    assert!(
        matches!(world.refused[..], [Refused::Forgotten { .. }]),
        "an answered assignment does not begin again"
    );
}

#[test]
fn lower_fences_and_epochs_are_refused_also_after_everything_else_is_forgotten() {
    let mut world = World::attached();
    world.assign(1, fence(5));
    world.sync();
    world.step(Input::Cancel { assignment: AssignmentId(1), fence: Fence(fence(5)) });
    world.answer_call();
    world.sync();
    let (assignment, fence_5) = (AssignmentId(1), Fence(fence(5)));
    world.step(Input::Answer { assignment, fence: fence_5, answer: ResultAnswer::Applied });
    world.sync();
    world.crash();
    world.attach();
    world.assign(9, fence(4));
    world.assign(9, fence(5));
    world.assign(9, Fence::new(Epoch(0), 99).0);
    assert!(matches!(
        world.refused[..],
        [Refused::LowerFence { .. }, Refused::OtherAssignment { .. }, Refused::LowerEpoch { .. }]
    ));
    world.sync();
    assert!(world.calls.is_empty());
    world.assign(9, fence(6));
    world.sync();
    assert_eq!(world.calls.len(), 1);
}

#[test]
fn an_unguarded_call_needs_an_answered_ping() {
    let mut world = World::new();
    world.step(Input::Attached { cluster: "lab".into(), epoch: Epoch(1), incarnation: 1 });
    world.serve(["prod".to_owned()]);
    world.assign(1, fence(5));
    world.sync();
    assert!(world.calls.is_empty(), "the toy waits for the lease");
    world.step(Input::PongReceived { sent: world.now });
    assert_eq!(world.calls.len(), 1);
    world.answer_call();
    // The lease ends while the next phase is being written.
    world.now = world.now + LEASE;
    world.sync();
    assert!(world.calls.is_empty());
    // An answer that waited in a socket for longer than the lease.
    world.step(Input::PongReceived { sent: Timestamp(world.now.0 - LEASE.0) });
    assert!(world.calls.is_empty());
    world.step(Input::PongReceived { sent: world.now });
    world.sync();
    assert_eq!(world.calls.len(), 1);
    assert_eq!(world.executor.next_deadline(), Some(world.now + LEASE));
}

#[test]
fn a_larger_fence_waits_for_the_call_in_flight_and_then_takes_over() {
    let mut world = World::attached();
    world.assign(1, fence(5));
    world.sync();
    world.assign(2, fence(7));
    world.assign(3, fence(6));
    assert!(matches!(world.refused[..], [Refused::LowerFence { .. }]), "the waiting one counts");
    world.sync();
    assert_eq!(world.calls.len(), 1, "the first one's call is in flight");
    world.answer_call();
    world.sync();
    assert_eq!(world.calls[0].0, AssignmentId(2));
    assert_eq!(world.results(), [(1, WireOutcome::Stopped)]);
    let (assignment, first) = (AssignmentId(1), Fence(fence(5)));
    let answer = ResultAnswer::Superseded { by: fence(7) };
    world.step(Input::Answer { assignment, fence: first, answer });
    assert!(world.quiet.is_empty(), "the second one works");
    assert_eq!(world.executor.held().len(), 1);
}

#[test]
fn a_lost_call_ends_the_wait_of_a_larger_fence_too() {
    let mut world = World::attached();
    world.assign(1, fence(5));
    world.sync();
    world.assign(2, fence(7));
    let (assignment, call, _) = world.calls.remove(0);
    world.step(Input::Lost { assignment, call });
    world.sync();
    assert_eq!(world.calls[0].0, AssignmentId(2));
}

#[test]
fn a_canceled_assignment_that_never_began_is_answered_too() {
    let mut world = World::attached();
    world.assign(1, fence(5));
    world.sync();
    world.assign(2, fence(7));
    world.step(Input::Cancel { assignment: AssignmentId(2), fence: Fence(fence(7)) });
    world.answer_call();
    world.sync();
    assert_eq!(world.results(), [(2, WireOutcome::Stopped), (1, WireOutcome::Stopped)]);
    assert!(world.calls.is_empty());
}

#[test]
fn an_unknown_assignment_is_held_until_a_larger_fence_comes() {
    let mut world = World::attached();
    world.assign(1, fence(5));
    world.step(Input::Cancel { assignment: AssignmentId(1), fence: Fence(fence(5)) });
    world.sync();
    assert_eq!(world.results(), [(1, WireOutcome::Stopped)]);
    let (assignment, first) = (AssignmentId(1), Fence(fence(5)));
    world.step(Input::Answer { assignment, fence: first, answer: ResultAnswer::Unknown });
    world.sync();
    world.crash();
    world.attach();
    assert_eq!(world.executor.held().len(), 1);
    assert_eq!(world.results().len(), 1, "it is not sent again");
    world.assign(2, fence(6));
    world.sync();
    assert_eq!((world.executor.held().len(), world.calls.len()), (1, 1));
    // The coordinators are notified: at once, on the next session, and when it is gone.
    let sent_of = world.sent.iter().filter_map(|message| match message {
        AgentUp::Unknown(held) => Some(held.iter().map(|held| held.assignment).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(sent_of.collect::<Vec<_>>(), [vec![1], vec![1], vec![]]);
}

#[test]
fn what_is_committed_goes_out_again_until_it_is_in_the_log() {
    let mut world = World::attached();
    world.assign(toy::COMMITS, fence(5));
    world.sync();
    let failures =
        |world: &World| world.sent.iter().filter(|message| matches!(message, AgentUp::Commit { .. })).count();
    assert_eq!((failures(&world), world.calls.len()), (1, 0), "the toy waits for the log");
    world.step(Input::Detached);
    world.attach();
    assert_eq!(failures(&world), 2);
    world.step(Input::Committed { assignment: AssignmentId(toy::COMMITS), n: 0 });
    assert!(world.calls.is_empty(), "an earlier commit");
    world.step(Input::Committed { assignment: AssignmentId(toy::COMMITS), n: 1 });
    assert_eq!(world.calls.len(), 1);
}

#[test]
fn progress_is_sent_at_most_once_an_interval() {
    let mut world = World::attached();
    world.assign(1, fence(5));
    world.sync();
    let sent_of = |world: &World| {
        let progress = |it: &&AgentUp| matches!(it, AgentUp::Progress(_) | AgentUp::ProgressChanges(_));
        world.sent.iter().filter(progress).count()
    };
    for _ in 0..2 {
        world.answer_call();
        world.sync();
        assert_eq!(sent_of(&world), 1, "the second time is too soon");
    }
    assert_eq!(world.executor.next_deadline(), Some(world.now + PROGRESS_INTERVAL));
    world.now = world.now + PROGRESS_INTERVAL;
    world.step(Input::Due);
    assert_eq!(sent_of(&world), 2);
}

#[test]
fn a_crash_at_every_write_loses_nothing_and_repeats_no_answered_call() {
    for crash_at in 0..20 {
        let mut world = World::attached();
        world.assign(1, fence(5));
        let mut crashed = false;
        let mut steps = 0;
        while world.results().is_empty() {
            steps += 1;
            assert!(steps < 200, "it ends");
            if steps == crash_at {
                crashed = true;
                world.crash();
                world.attach();
                if world.executor.held().is_empty() {
                    world.assign(1, fence(5));
                }
            }
            if let Some(sequence) = world.disk.sync() {
                world.step(Input::Written(sequence));
            } else {
                world.answer_call();
            }
        }
        assert_eq!(world.results(), [(1, WireOutcome::Done)], "crash at {crash_at} ({crashed})");
    }
}

#[test]
fn the_journal_is_compacted_and_says_the_same() {
    let mut world = World::attached();
    let mut n = 0;
    while world.disk.replaced < 2 {
        n += 1;
        assert!(n < 100_000, "it is compacted");
        world.assign(n, fence(n));
        world.step(Input::Cancel { assignment: AssignmentId(n), fence: Fence(fence(n)) });
        world.sync();
        let (assignment, fence) = (AssignmentId(n), Fence(fence(n)));
        world.step(Input::Answer { assignment, fence, answer: ResultAnswer::Applied });
        world.sync();
    }
    let bytes: usize = world.disk.records.iter().map(|record| encode(record).len()).sum();
    assert!(bytes < JOURNAL_COMPACT_BYTES / 4, "{bytes}");
    world.crash();
    world.attach();
    world.assign(1, fence(n - 1));
    assert!(matches!(world.refused[..], [Refused::LowerFence { .. }]), "{:?}", world.refused);
}

#[test]
fn a_journal_that_speaks_of_what_it_never_took_is_refused() {
    let record = trimaran_wire::v1::agent_journal::JournalRecord::Held { assignment: 3 };
    assert!(Executor::restore(Toy, &[record]).is_err());
}

#[test]
fn an_earlier_incarnation_of_the_cluster_or_another_of_the_same_epoch_gets_no_session() {
    let mut world = World::new();
    let may = |world: &World, cluster: &str, epoch, incarnation| {
        world.executor.is_attachable(cluster, Epoch(epoch), incarnation)
    };
    assert!(may(&world, "lab", 1, 77), "nothing was seen yet");
    world.step(Input::Attached { cluster: "lab".into(), epoch: Epoch(2), incarnation: 77 });
    world.sync();
    world.crash();
    assert_eq!(world.executor.epoch(), (Epoch(2), 77), "the journal has both");
    assert!(may(&world, "lab", 2, 77));
    assert!(!may(&world, "lab", 1, 77), "an earlier state, as after a restore");
    assert!(!may(&world, "lab", 2, 78), "a copy of the cluster");
    assert!(may(&world, "lab", 3, 78), "a recovery fixes a higher epoch");
    assert!(may(&world, "other", 1, 5), "the agent was enrolled elsewhere");
}

#[test]
fn a_cancel_of_another_fence_changes_nothing_and_a_repeated_one_nothing_more() {
    let mut world = World::attached();
    world.assign(1, fence(5));
    world.sync();
    world.step(Input::Cancel { assignment: AssignmentId(1), fence: Fence(fence(4)) });
    world.answer_call();
    world.sync();
    assert_eq!(world.calls.len(), 1, "it goes on");
    for _ in 0..2 {
        world.step(Input::Cancel { assignment: AssignmentId(1), fence: Fence(fence(5)) });
    }
    world.answer_call();
    world.sync();
    assert_eq!(world.results(), [(1, WireOutcome::Stopped)]);
}

#[test]
fn a_superseded_phase_is_found_by_the_next_order_whatever_write_a_crash_loses() {
    for crash_at in 0..12 {
        let mut world = World::attached();
        world.assign(1, fence(5));
        world.sync();
        world.answer_call();
        world.sync();
        world.assign(2, fence(7));
        let mut steps = 0;
        while !world.results().iter().any(|(id, _)| *id == 2) {
            steps += 1;
            assert!(steps < 200, "it ends");
            if steps == crash_at {
                world.crash();
                world.attach();
                world.assign(2, fence(7));
            }
            match world.disk.sync() {
                Some(sequence) => world.step(Input::Written(sequence)),
                None => world.answer_call(),
            }
        }
        let inherited = world.sent.iter().find_map(|message| match message {
            AgentUp::Result { assignment: 2, progress, .. } => Some(progress.total),
            _ => None,
        });
        assert!(inherited.expect("its result") >= 1, "crash at {crash_at}: the first call was forgotten");
    }
}

#[test]
fn a_superseded_driver_that_finds_no_safe_point_is_stopped_where_it_is() {
    let mut world = World::attached();
    world.assign(1, fence(5));
    world.sync();
    // Its next phase is on its way to a disk that hangs, and everything that follows waits behind it.
    world.answer_call();
    world.assign(2, fence(7));
    assert_eq!(world.executor.held().len(), 1, "the first one has time to come to a safe point");
    world.now = world.now + SUPERSEDE_TIMEOUT;
    world.attach();
    world.step(Input::Due);
    assert_eq!(world.executor.held().len(), 2, "the second one is accepted");
    assert!(world.results().is_empty() && world.calls.is_empty(), "nothing of it is durable");
    world.sync();
    assert_eq!(world.results(), [(1, WireOutcome::Stopped)]);
    assert_eq!(world.calls[0].0, AssignmentId(2));
}

#[test]
fn a_superseded_driver_whose_call_is_never_answered_makes_way_at_its_deadline() {
    let mut world = World::attached();
    world.assign(1, fence(5));
    world.sync();
    world.assign(2, fence(7));
    assert!(UNGUARDED_CALL < SUPERSEDE_TIMEOUT);
    world.now = world.now + UNGUARDED_CALL;
    world.attach();
    world.step(Input::Due);
    world.sync();
    assert_eq!(world.results(), [(1, WireOutcome::Stopped)]);
    assert_eq!(world.calls.last().map(|call| call.0), Some(AssignmentId(2)));
}

#[test]
fn a_refused_order_is_reported_on_each_session_and_says_why() {
    let mut world = World::attached();
    world.assign(9, fence(9));
    for _ in 0..2 {
        world.assign(1, fence(5));
        world.step(Input::Detached);
        world.attach();
    }
    let refused = world.sent.iter().filter_map(|message| match message {
        AgentUp::Refused(refused) => Some((refused.assignment, refused.code.as_str(), &refused.message)),
        _ => None,
    });
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused.len(), 2);
    assert_eq!((refused[0].0, refused[0].1), (1, "order_refused"));
    assert!(refused[0].2.contains("is lower than"), "{}", refused[0].2);
}

#[test]
fn a_refused_order_that_is_canceled_is_answered_as_stopped() {
    let mut world = World::attached();
    world.assign(9, fence(9));
    world.assign(1, fence(5));
    assert!(world.results().is_empty());
    world.step(Input::Cancel { assignment: AssignmentId(1), fence: Fence(fence(5)) });
    assert_eq!(world.results(), [(1, WireOutcome::Stopped)]);
    let answer = ResultAnswer::Applied;
    world.step(Input::Answer { assignment: AssignmentId(1), fence: Fence(fence(5)), answer });
    assert!(!world.executor.has_messages() && world.executor.held().len() == 1, "the later one goes on");
}

#[test]
fn a_call_that_the_platform_did_not_send_is_made_again_under_a_new_lease() {
    let mut world = World::attached();
    world.assign(1, fence(5));
    world.sync();
    let (assignment, call, permit) = world.calls.remove(0);
    assert_eq!(*permit.guard(), Guard::Unguarded);
    assert!(permit.allows(world.now));
    // It waited in a queue for longer than the lease.
    world.now = world.now + LEASE;
    assert!(!permit.allows(world.now));
    world.step(Input::Unmade { assignment, call });
    assert!(world.calls.is_empty(), "there is no lease");
    world.step(Input::PongReceived { sent: world.now });
    assert_eq!(world.calls.len(), 1);
    assert!(world.calls[0].2.allows(world.now));
}

#[test]
fn a_session_that_reads_slowly_gets_everything_and_nothing_twice() {
    const LIVE: u64 = 4000;
    // Above the one that commits.
    const FIRST: u64 = 100;
    let mut world = World::attached();
    world.reads = false;
    world.serve((FIRST..FIRST + LIVE).map(|n| format!("target-{n}")));
    for n in FIRST..FIRST + LIVE {
        world.step(Input::Assign(toy::on_target(n, fence(n))));
        if n % 2 == 0 {
            world.step(Input::Cancel { assignment: AssignmentId(n), fence: Fence(fence(n)) });
        }
    }
    world.sync();
    assert_eq!(world.calls.len() as u64, LIVE / 2, "the others ended at once");
    world.step(Input::Detached);
    world.attach();
    let mut seen = BTreeMap::new();
    while let Some(message) = world.executor.next_message(world.now) {
        let id = match &message {
            AgentUp::Result { assignment, .. } => *assignment,
            AgentUp::Progress(progress) => progress.assignment,
            other => panic!("{other:?}"),
        };
        assert!(seen.insert(id, message).is_none(), "assignment {id} twice");
    }
    assert_eq!(seen.len() as u64, LIVE);
    assert!(!world.executor.has_messages());
    // The coordinators send all of them again: none is lost, none begins a second time.
    for n in FIRST..FIRST + LIVE {
        world.step(Input::Assign(toy::on_target(n, fence(n))));
    }
    world.sync();
    assert_eq!(world.calls.len() as u64, LIVE / 2, "{:?}", world.refused);
    assert!(world.refused.is_empty() && world.executor.held().len() as u64 == LIVE);
}

#[test]
fn a_target_that_hangs_delays_no_call_of_another_and_its_own_queue_moves_at_deadlines() {
    let mut world = World::attached();
    world.serve(["prod".to_owned(), "target-9000".to_owned()]);
    let many = u64::try_from(TARGET_CALLS_MAX).expect("few") + 10;
    // One target with more installations than it may have calls in flight, whose platform never answers.
    for n in 1000..1000 + many {
        world.step(Input::Assign(toy::of_pipeline(n, fence(n))));
    }
    world.sync();
    assert_eq!(world.calls.len(), TARGET_CALLS_MAX, "the rest waits in the target's queue");
    let hung: Vec<_> = std::mem::take(&mut world.calls);
    // Another target works through its calls meanwhile, each made as soon as it is asked for.
    world.step(Input::Assign(toy::on_target(9000, fence(9000))));
    world.sync();
    for _ in 0..toy::CALLS {
        assert_eq!(world.calls.len(), 1);
        world.answer_call();
        world.sync();
    }
    assert_eq!(world.results(), [(9000, WireOutcome::Done)]);
    // The lease is kept; at their deadline the calls that hang are lost, and those that waited are made.
    world.now = world.now + UNGUARDED_CALL;
    world.step(Input::PongReceived { sent: world.now });
    world.step(Input::Due);
    let made: BTreeSet<AssignmentId> = world.calls.iter().map(|(assignment, ..)| *assignment).collect();
    assert_eq!(world.calls.len(), TARGET_CALLS_MAX);
    let waited = (1000..1000 + many).map(AssignmentId).filter(|id| !hung.iter().any(|(it, ..)| it == id));
    assert!(waited.clone().count() == 10 && waited.clone().all(|id| made.contains(&id)));
    // An answer behind its deadline changes nothing.
    let (assignment, call, _) = hung[0].clone();
    let before = world.calls.len();
    world.step(Input::Reply { assignment, call, reply: () });
    assert_eq!(world.calls.len(), before);
}

#[test]
fn calls_wait_for_the_settings_of_their_target_which_outlive_the_process() {
    let mut world = World::new();
    world.attach();
    world.assign(1, fence(5));
    world.sync();
    assert_eq!((world.calls.len(), world.watches), (0, 1), "the target is not known");
    world.serve(["prod".to_owned(), "edge".to_owned()]);
    assert_eq!((world.calls.len(), world.connected.len()), (1, 2));
    world.answer_call();
    world.sync();
    // The process ends, and no coordinator is there: the next one knows where it works.
    world.crash();
    assert_eq!(world.connected, ["edge", "prod"].map(toy::target));
    world.step(Input::Attached { cluster: "lab".into(), epoch: Epoch(1), incarnation: 1 });
    world.step(Input::PongReceived { sent: world.now });
    world.sync();
    assert_eq!(world.calls.len(), 1);
    // A target that went is not connected to any more, after the next start either.
    world.serve(["prod".to_owned()]);
    assert_eq!(world.connected, [toy::target("prod")]);
    world.crash();
    assert_eq!(world.connected, [toy::target("prod")]);
    world.sync();
    let before = world.disk.records.len();
    world.serve(["prod".to_owned()]);
    assert_eq!(world.disk.records.len(), before, "nothing new is written");
}

#[test]
fn calls_that_waited_for_longer_than_the_lease_are_not_made() {
    let mut world = World::attached();
    let many = u64::try_from(TARGET_CALLS_MAX).expect("few") + 5;
    for n in 1000..1000 + many {
        world.step(Input::Assign(toy::of_pipeline(n, fence(n))));
    }
    world.sync();
    world.step(Input::Detached);
    let made = std::mem::take(&mut world.calls);
    for (assignment, call, _) in made {
        world.step(Input::Lost { assignment, call });
    }
    assert!(world.calls.is_empty(), "there is no lease");
    world.attach();
    assert_eq!(world.calls.len(), TARGET_CALLS_MAX, "all ask again");
}
