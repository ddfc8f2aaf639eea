//! Why sessions end: codes on the wire and reasons for people.

use std::fmt;

/// The application's close codes. Numbers are the wire's and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseCode {
    /// 0: all is done.
    Done,
    /// 1: the process ends or gives its clients away; dial another one.
    Shutdown,
    /// 2: the certificate is missing, of another role, cluster or time.
    Certificate,
    /// 3: the certificate was revoked; do not dial again with it.
    Revoked,
    /// 4: a newer session or process of the same identity took over; do not dial again.
    Superseded,
    /// 5: a frame or message was not valid.
    Protocol,
    /// 6: over a limit; dial again later.
    Busy,
    /// 7: nothing was received for the timeout.
    Silent,
    /// Any other number, from a newer build.
    Other(u32),
}

impl CloseCode {
    pub fn number(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::Shutdown => 1,
            Self::Certificate => 2,
            Self::Revoked => 3,
            Self::Superseded => 4,
            Self::Protocol => 5,
            Self::Busy => 6,
            Self::Silent => 7,
            Self::Other(number) => number,
        }
    }

    pub fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Done,
            1 => Self::Shutdown,
            2 => Self::Certificate,
            3 => Self::Revoked,
            4 => Self::Superseded,
            5 => Self::Protocol,
            6 => Self::Busy,
            7 => Self::Silent,
            other => Self::Other(u32::try_from(other).unwrap_or(u32::MAX)),
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Certificate => f.write_str("certificate refused"),
            Self::Revoked => f.write_str("certificate revoked"),
            Self::Superseded => f.write_str("superseded"),
            Self::Protocol => f.write_str("protocol error"),
            Self::Busy => f.write_str("busy"),
            Self::Silent => f.write_str("nothing was received for too long"),
            Self::Other(number) => write!(f, "code {number}"),
        }
    }
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// This side closed it.
    Local { code: CloseCode, reason: String },
    /// The other side closed it, or refused the handshake.
    Peer { code: CloseCode, reason: String },
    /// This side refused the other's certificate or protocol in the handshake.
    Refused { why: String },
    /// Nothing was received for the idle timeout.
    TimedOut,
    /// The other side restarted and no longer knows the session.
    Reset,
    /// Anything else: a violation of QUIC or a failing socket.
    Failed { why: String },
}

impl CloseReason {
    /// The code when one side closed on purpose.
    pub fn code(&self) -> Option<CloseCode> {
        match self {
            Self::Local { code, .. } | Self::Peer { code, .. } => Some(*code),
            Self::Refused { .. } | Self::TimedOut | Self::Reset | Self::Failed { .. } => None,
        }
    }

    /// Whether this process must not dial again with its certificate: another one took its place.
    ///
    /// Every other end passes: a busy server recovers, a clock is set, a certificate is renewed.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Peer { code: CloseCode::Revoked | CloseCode::Superseded, .. })
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |f: &mut fmt::Formatter<'_>, who: &str, code: &CloseCode, reason: &str| {
            if reason.is_empty() {
                write!(f, "closed by {who}: {code}")
            } else {
                // The text comes from outside: control characters could drive a terminal.
                write!(f, "closed by {who}: {code}: {}", reason.escape_debug())
            }
        };
        match self {
            Self::Local { code, reason } => said(f, "this side", code, reason),
            Self::Peer { code, reason } => said(f, "the other side", code, reason),
            Self::Refused { why } => write!(f, "this side refused the handshake: {}", why.escape_debug()),
            Self::TimedOut => f.write_str("the other side is silent"),
            Self::Reset => f.write_str("the other side restarted"),
            Self::Failed { why } => write!(f, "the connection failed: {}", why.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back_their_numbers() {
        for number in 0..20u32 {
            assert_eq!(CloseCode::from_number(u64::from(number)).number(), number);
        }
        assert_eq!(CloseCode::from_number(u64::MAX), CloseCode::Other(u32::MAX));
    }

    #[test]
    fn a_hostile_reason_can_not_drive_a_terminal() {
        let reason = CloseReason::Peer { code: CloseCode::Busy, reason: "\u{1b}[2J".into() };
        assert!(!reason.to_string().contains('\u{1b}'));
    }
}
