//! Journals: whatever stands in the file of an agent or of a host, reading it and going on with it never panics,
//! and what is written back is read as the same.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use trimaran_agent_core::driver::{Found, CallId, Driver as _, Effect, Input};
use trimaran_agent_core::{Executor, Input as Outside, journal};
use trimaran_host_core::fleet::Fleet;
use trimaran_host_core::host::{Call, Observation, HostMachine, Journal, Reply, StoredRelease};
use trimaran_model::id::Epoch;
use trimaran_model::limits::FRAME_BYTES_MAX;
use trimaran_model::time::Timestamp;
use trimaran_wire::codec::{Message, decode};
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::agent_journal::{JournalRecord, JournalRecords};
use trimaran_wire::v1::journal::{WireHostJournal, WireStoredRelease};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = journal::decode(bytes) {
        assert!(read.good_bytes <= bytes.len());
        agent(&read.records);
    }
    // A checksum is hard to guess: what is inside of a frame is tried without one too.
    if let Ok(records) = decode::<JournalRecords>(bytes) {
        agent(&records.0);
        let again = journal::decode(&journal::encode(records.0.clone())).expect("what was written is read");
        assert_eq!(again.records, records.0);
    }
    if let Some(wire) = inside::<WireHostJournal>(bytes) {
        host(wire);
    }
    if let Some(wire) = inside::<WireStoredRelease>(bytes)
        && let Ok(stored) = StoredRelease::try_from(wire)
    {
        let again = WireStoredRelease::from_bytes(&WireStoredRelease::from(&stored).to_bytes());
        assert_eq!(StoredRelease::try_from(again.expect("what was written is read")), Ok(stored));
    }
});

/// The message of a frame, or of bytes without one.
fn inside<M: Message>(bytes: &[u8]) -> Option<M> {
    let framed = Frame::decode(bytes, FRAME_BYTES_MAX).ok().and_then(|_| M::from_bytes(bytes).ok());
    framed.or_else(|| decode::<M>(bytes).ok())
}

/// An agent starts with these records, is attached and works on.
fn agent(records: &[JournalRecord]) {
    let Ok(mut executor) = Executor::restore(Fleet, records) else { return };
    let mut out = Vec::new();
    executor.resume(Timestamp(1), &mut out);
    executor.step(Timestamp(2), Outside::Attached { cluster: "lab".into(), epoch: Epoch(1), incarnation: 1 }, &mut out);
    executor.step(Timestamp(3), Outside::PongReceived { sent: Timestamp(2) }, &mut out);
    executor.step(Timestamp(4), Outside::Written(u64::MAX), &mut out);
    executor.step(Timestamp(90_000), Outside::Due, &mut out);
    while executor.next_message(Timestamp(90_001)).is_some() {}
    executor.held();
}

/// A runner starts with this journal on a host where nothing is.
fn host(wire: WireHostJournal) {
    let Ok((journal, next)) = Journal::from_wire(wire) else { return };
    let again = Journal::from_wire(journal.to_wire(next.as_ref())).expect("what was written is read");
    assert_eq!(again, (journal.clone(), next.clone()));
    let goal = next.unwrap_or_else(|| journal.goal.clone());
    let mut out = Vec::new();
    let mut phase = HostMachine.begin(Timestamp(1), &goal, Some(Found::Resumed(journal.into())), &mut out);
    for round in 2..10 {
        let calls: Vec<(CallId, Call)> = out
            .drain(..)
            .filter_map(|effect| match effect {
                Effect::Call { id, call, .. } => Some((id, call)),
                _ => None,
            })
            .collect();
        for (id, call) in calls {
            HostMachine.step(&mut phase, Timestamp(round), Input::Reply(id, answer(&call)), &mut out);
        }
        phase.report();
    }
    phase.journal.rollback_target();
}

fn answer(call: &Call) -> Reply {
    match call {
        Call::Inspect => Reply::Observation(Observation {
            boot: "this one".to_owned(),
            current: None,
            releases: BTreeMap::new(),
            processes: BTreeMap::new(),
        }),
        Call::Unpack(_) => Reply::Stored,
        Call::Start { .. } => Reply::Started(Timestamp(1)),
        _ => Reply::Done,
    }
}
