//! A driver that asks for very many calls at once: none of them costs a level of the stack.

use trimaran_agent_core::driver::{
    CallId, Driver, Effect, EffectOf, FoundOf, Guard, Input as Step, Journaled,
};
use trimaran_agent_core::{Executor, Input, Output};
use trimaran_model::action::{Outcome, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::Epoch;
use trimaran_model::limits::LEASE;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_wire::codec::CodecError;

use crate::toy;

const CALLS: u64 = 50_000;
/// A hundred bytes for each call would not fit.
const STACK_BYTES: usize = 2 << 20;

struct Burst;

impl Driver for Burst {
    type Order = Assignment;
    /// Calls that were not made.
    type Phase = u64;
    type Call = ();
    type Reply = ();
    type Snapshot = ();
    type Query = ();
    type Progress = Progress;

    fn begin(
        &self,
        _: Timestamp,
        _: &Assignment,
        _: Option<FoundOf<Self>>,
        out: &mut Vec<EffectOf<Self>>,
    ) -> u64 {
        out.push(Effect::Persist);
        out.extend((1..=CALLS).map(|id| Effect::Call {
            id: CallId(id),
            call: (),
            deadline: Millis::seconds(10),
            guard: Guard::Unguarded,
        }));
        0
    }

    fn step(&self, unmade: &mut u64, _: Timestamp, input: Step<(), ()>, out: &mut Vec<EffectOf<Self>>) {
        if let Step::Unmade(_) = input {
            *unmade += 1;
            out.push(Effect::Persist);
            if *unmade == CALLS {
                out.push(Effect::Done(Outcome::Stopped));
            }
        }
    }
}

impl Journaled for Burst {
    fn save(&self, unmade: &u64) -> Vec<u8> {
        unmade.to_le_bytes().to_vec()
    }

    fn load(&self, _: &Assignment, _: &[u8]) -> Result<u64, CodecError> {
        Ok(0)
    }
}

/// The results that are sent once every write is on the disk.
fn play() -> usize {
    let mut executor = Executor::new(Burst);
    let now = Timestamp(1000);
    let order = toy::assignment(1, 1 << 48);
    let attached = Input::Attached { cluster: "lab".into(), epoch: Epoch(1), incarnation: 1 };
    let mut inputs = vec![
        (now, attached),
        (now, Input::Targets(vec![toy::target(order.installation.target.as_str())])),
        (now, Input::PongReceived { sent: now }),
        (now, Input::Assign(order)),
    ];
    inputs.reverse();
    // The lease is over before the first write is known to be durable.
    let later = now + LEASE;
    while let Some((now, input)) = inputs.pop() {
        let mut out = Vec::new();
        executor.step(now, input, &mut out);
        for output in out {
            match output {
                Output::Write { sequence, .. } | Output::Replace { sequence, .. } => {
                    inputs.insert(0, (later, Input::Written(sequence)));
                }
                Output::Call { .. } => panic!("there is no lease"),
                _ => {}
            }
        }
    }
    std::iter::from_fn(|| executor.next_message(later)).count()
}

#[test]
fn calls_that_are_not_made_are_answered_without_a_level_of_the_stack_for_each() {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(play).expect("a thread");
    let sent = thread.join().expect("it has room");
    assert!(sent >= 1, "it ended, and says so");
}
