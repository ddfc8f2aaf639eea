//! What the machine of a job on Flink keeps: its phase in the agent's journal, and the ledger of an installation, which is
//! the body of its commits.
//!
//! The core converts these structs from and to its own; nothing here decides.

use bincode::{Decode, Encode};

use super::common::WireRun;
use crate::codec::{Message, kind};

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireFlinkPhase {
    /// The reason, when it was asked to end.
    pub abort: Option<String>,
    /// The number of the last commit that was made for the order.
    pub commits: u32,
    pub ledger: WireFlinkLedger,
}

impl Message for WireFlinkPhase {
    const KIND: u16 = kind::FLINK_JOURNAL;
    const VERSION: u16 = 1;
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireFlinkLedger {
    pub attempt: Option<WireFlinkAttempt>,
    pub number: u32,
    pub job: Option<WireFlinkJob>,
    pub before: Option<[u8; 16]>,
    pub ending: Option<WireFlinkEnding>,
    pub next: Option<WireFlinkStart>,
    pub checkpoint: Option<WireFlinkState>,
    pub states: Vec<WireFlinkState>,
    pub scaled: Option<WireFlinkScaled>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct WireFlinkScaled {
    pub release: [u8; 32],
    pub parallelism: u32,
}

impl Message for WireFlinkLedger {
    const KIND: u16 = kind::FLINK_LEDGER;
    const VERSION: u16 = 1;
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireFlinkAttempt {
    pub run: WireRun,
    pub attempt: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireFlinkJob {
    pub id: [u8; 16],
    pub release: [u8; 32],
    pub from: WireFlinkStart,
    pub standing: WireFlinkStanding,
    pub bounded: bool,
    pub max_restarts: u32,
    pub max_failed_checkpoints: u32,
    /// Where its jar came from.
    pub jar_from: WireFlinkJarFrom,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireFlinkJarFrom {
    JobManager,
    Store,
    Place(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireFlinkStanding {
    Submitting { jar: String, body: String },
    Started,
    Lost,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireFlinkStart {
    Empty,
    From(WireFlinkState),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireFlinkEnding {
    Stop { trigger: [u8; 16], directory: String },
    Cancel { then: Option<WireFlinkStart> },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireFlinkState {
    /// A savepoint; otherwise a retained checkpoint.
    pub is_savepoint: bool,
    pub path: String,
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    pub of: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;

    fn state(is_savepoint: bool) -> WireFlinkState {
        WireFlinkState { is_savepoint, path: "p".to_owned(), at_ms: 2, of: [9; 32] }
    }

    fn phase() -> WireFlinkPhase {
        let run = WireRun { pipeline: "w".to_owned(), number: 4 };
        WireFlinkPhase {
            abort: Some("a".to_owned()),
            commits: 3,
            ledger: WireFlinkLedger {
                attempt: Some(WireFlinkAttempt { run, attempt: 1 }),
                number: 7,
                job: Some(WireFlinkJob {
                    id: [5; 16],
                    release: [6; 32],
                    from: WireFlinkStart::From(state(true)),
                    standing: WireFlinkStanding::Submitting { jar: "j".to_owned(), body: "{}".to_owned() },
                    bounded: true,
                    max_restarts: 2,
                    max_failed_checkpoints: 3,
                    jar_from: WireFlinkJarFrom::Place("u".to_owned()),
                }),
                before: Some([4; 16]),
                ending: Some(WireFlinkEnding::Stop { trigger: [8; 16], directory: "d".to_owned() }),
                next: Some(WireFlinkStart::Empty),
                checkpoint: Some(state(false)),
                states: vec![state(true)],
                scaled: Some(WireFlinkScaled { release: [6; 32], parallelism: 5 }),
            },
        }
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let state = |savepoint: u8| {
            // `at_ms` is signed: 2 is written as 4.
            let mut bytes = vec![savepoint, 1, b'p', 4];
            bytes.extend([9; 32]);
            bytes
        };
        let mut expected = vec![1, 1, b'a', 3, 1, 1, b'w', 4, 1, 7, 1];
        expected.extend([5; 16]);
        expected.extend([6; 32]);
        expected.push(1);
        expected.extend(state(1));
        expected.extend([0, 1, b'j', 2, b'{', b'}', 1, 2, 3, 2, 1, b'u', 1]);
        expected.extend([4; 16]);
        expected.extend([1, 0]);
        expected.extend([8; 16]);
        expected.extend([1, b'd', 1, 0, 1]);
        expected.extend(state(0));
        expected.push(1);
        expected.extend(state(1));
        expected.push(1);
        expected.extend([6; 32]);
        expected.push(5);
        assert_eq!(encode(&phase()), expected);
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = phase().to_bytes();
        assert_eq!(WireFlinkPhase::from_bytes(&bytes).expect("whole"), phase());
        for cut in 0..bytes.len() {
            assert!(WireFlinkPhase::from_bytes(&bytes[..cut]).is_err(), "{cut} bytes");
        }
    }
}
