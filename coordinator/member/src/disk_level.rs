//! What a member accepts for the log while its disk has little space.
//!
//! The decision is one a command, because an entry holds commands of all kinds: what would begin something waits for
//! space, what ends or undoes something does not, and time goes on in any case.

use trimaran_wire::v1::command::CommandBody;
use trimaran_wire::v1::peer::WireDiskLevel;

/// How much space the disk has, in growing order; which bytes are which level is the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskLevel {
    /// Hardly any is left.
    Full,
    /// Little is left.
    Low,
    Enough,
}

impl DiskLevel {
    pub const ALL: [Self; 3] = [Self::Full, Self::Low, Self::Enough];

    /// Whether a command may be proposed at this level.
    pub fn accepts(self, body: &CommandBody) -> bool {
        self >= lowest(body)
    }
}

impl From<WireDiskLevel> for DiskLevel {
    fn from(wire: WireDiskLevel) -> Self {
        match wire {
            WireDiskLevel::Full => Self::Full,
            WireDiskLevel::Low => Self::Low,
            WireDiskLevel::Enough => Self::Enough,
        }
    }
}

impl From<DiskLevel> for WireDiskLevel {
    fn from(level: DiskLevel) -> Self {
        match level {
            DiskLevel::Full => Self::Full,
            DiskLevel::Low => Self::Low,
            DiskLevel::Enough => Self::Enough,
        }
    }
}

/// The lowest level at which a command is accepted.
fn lowest(body: &CommandBody) -> DiskLevel {
    match body {
        // Time, and who is here: without them nothing that is in progress could ever end.
        CommandBody::Bootstrap { .. }
        | CommandBody::Recover { .. }
        | CommandBody::Restore { .. }
        | CommandBody::Member { .. }
        | CommandBody::Advance
        | CommandBody::Settle
        | CommandBody::WallOffset { .. }
        | CommandBody::Alarm { .. }
        | CommandBody::Attach { .. }
        | CommandBody::Detach { .. }
        | CommandBody::AgentLost { .. } => DiskLevel::Full,
        // What stops, undoes or decides, see `CommandBody::has_reserve`.
        CommandBody::Approve { .. }
        | CommandBody::Cancel { .. }
        | CommandBody::Resume { .. }
        | CommandBody::Rollback { .. }
        | CommandBody::ResumeCluster { .. }
        | CommandBody::Finalize
        | CommandBody::Adopt { .. }
        | CommandBody::Reapply { .. }
        | CommandBody::ChangeMember { .. } => DiskLevel::Low,
        // A host that fills a disk is cordoned or removed; the row of a runner gets no larger by more than its labels.
        CommandBody::Runners { .. } => DiskLevel::Low,
        // Who has a disk that fills needs a backup most; its record is small.
        CommandBody::BackUp { .. } => DiskLevel::Low,
        // What agents report: they keep it until it is answered.
        CommandBody::Commit { .. }
        | CommandBody::Result { .. }
        | CommandBody::Verdict(_)
        | CommandBody::RunnersSeen { .. }
        | CommandBody::Refusals { .. } => DiskLevel::Low,
        CommandBody::Apply { .. }
        | CommandBody::PutContent { .. }
        | CommandBody::StartRun { .. }
        | CommandBody::CreateToken { .. }
        | CommandBody::UseToken { .. } => DiskLevel::Enough,
    }
}

#[cfg(test)]
mod tests {
    use trimaran_wire::v1::common::WireRun;

    use super::*;

    #[test]
    fn what_begins_something_waits_for_space_and_time_never_does() {
        let run = WireRun { pipeline: "web".to_owned(), number: 1 };
        let grant = [1; 32];
        for (body, accepted) in [
            (CommandBody::Advance, [true, true, true]),
            (CommandBody::Settle, [true, true, true]),
            (CommandBody::AgentLost { agent: "lab".to_owned(), attach: 1 }, [true, true, true]),
            (CommandBody::RunnersSeen { runners: Default::default() }, [false, true, true]),
            (CommandBody::Cancel { run: run.clone() }, [false, true, true]),
            (CommandBody::Resume { run, stage: None }, [false, true, true]),
            (CommandBody::BackUp { coordinator: "c1".to_owned() }, [false, true, true]),
            (
                CommandBody::UseToken { token_sha256: grant, spki_sha256: grant, name: None },
                [false, false, true],
            ),
            (CommandBody::Apply { pipelines: Vec::new(), targets: Vec::new() }, [false, false, true]),
        ] {
            assert_eq!(DiskLevel::ALL.map(|level| level.accepts(&body)), accepted, "{body:?}");
            assert!(!body.has_reserve() || accepted[1], "{body:?}: what undoes is accepted on a low disk");
        }
    }
}
