//! Frames: no bytes make the decoder panic or read beyond a frame, and a frame that was read is written as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trimaran_model::limits::FRAME_BYTES_MAX;
use trimaran_wire::codec::{Message, decode, encode};
use trimaran_wire::frame::{Frame, HEADER_BYTES};
use trimaran_wire::v1;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok((frame, after)) = Frame::decode(rest, FRAME_BYTES_MAX) {
        let length = HEADER_BYTES + frame.body.len();
        assert_eq!(after.len(), rest.len() - length);
        assert_eq!(frame.encode(), rest[..length]);
        bodies(&frame.body);
        rest = after;
    }
    // A checksum is hard to guess: what is inside of a frame is tried without one too.
    bodies(bytes);
    backup(bytes);
});

/// A file of someone, read as a backup.
fn backup(bytes: &[u8]) {
    let mut reader = trimaran_wire::backup::BackupReader::new(bytes);
    while let Ok(Some(_)) = reader.next_part() {}
    assert!(reader.read_so_far().0 <= bytes.len() as u64);
}

/// Every kind that a socket may bring.
fn bodies(bytes: &[u8]) {
    body::<trimaran_wire::raft::Message>(bytes);
    body::<v1::agent::AgentUp>(bytes);
    body::<v1::agent::AgentDown>(bytes);
    body::<v1::agent::AgentQuery>(bytes);
    body::<v1::agent::AgentAnswer>(bytes);
    body::<v1::runner::RunnerUp>(bytes);
    body::<v1::runner::RunnerDown>(bytes);
    body::<v1::runner::RunnerQuery>(bytes);
    body::<v1::runner::LogLines>(bytes);
    body::<v1::operator::OperatorRequest>(bytes);
    body::<v1::operator::OperatorReply>(bytes);
    body::<v1::enroll::EnrollRequest>(bytes);
    body::<v1::enroll::EnrollReply>(bytes);
    body::<v1::command::Entry>(bytes);
    body::<trimaran_wire::backup::BackupHeader>(bytes);
    body::<trimaran_wire::backup::BackupEnd>(bytes);
}

/// What is read is written in bytes that mean the same.
fn body<M: Message>(bytes: &[u8]) {
    if let Ok(message) = decode::<M>(bytes) {
        let written = encode(&message);
        let again = decode::<M>(&written).expect("what was written is read");
        assert_eq!(encode(&again), written);
    }
}
