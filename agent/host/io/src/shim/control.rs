//! What a runner and a shim say to each other on the socket: one line each, in words.

use trimaran_model::limits::MESSAGE_BYTES_MAX;

use trimaran_host_core::host::Exit;

use super::state::{format_exit, parse_exit};

/// From the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// `stop SIGNAL GRACE`: the signal's number to everything, SIGKILL after so many milliseconds.
    Stop { signal: i32, grace_ms: u64 },
}

/// From the shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// `ended HOW`: the first process has ended; what it left is being ended.
    Ended(Exit),
    /// `exit HOW`: nothing of the service is left. The last line of a connection.
    Exit(Exit),
    /// `stuck PID…`: even SIGKILL does not end these; it is tried on.
    Stuck(Vec<u32>),
}

/// Bytes of a request.
pub(super) const REQUEST_BYTES_MAX: usize = 64;
/// Processes that an answer names.
const STUCK_NAMED_MAX: usize = 64;
/// Bytes of an answer.
pub(super) const ANSWER_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

impl Request {
    pub(super) fn line(self) -> String {
        let Self::Stop { signal, grace_ms } = self;
        format!("stop {signal} {grace_ms}\n")
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        let (signal, grace) = line.strip_prefix("stop ")?.split_once(' ')?;
        Some(Self::Stop { signal: signal.parse().ok()?, grace_ms: grace.parse().ok()? })
    }
}

impl Answer {
    pub(super) fn line(&self) -> String {
        match self {
            Self::Ended(exit) => format!("ended {}\n", format_exit(exit)),
            Self::Exit(exit) => format!("exit {}\n", format_exit(exit)),
            Self::Stuck(pids) => {
                let pids: Vec<String> = pids.iter().take(STUCK_NAMED_MAX).map(u32::to_string).collect();
                format!("stuck {}\n", pids.join(" "))
            }
        }
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        if let Some(exit) = line.strip_prefix("ended ") {
            return parse_exit(exit).map(Self::Ended);
        }
        if let Some(exit) = line.strip_prefix("exit ") {
            return parse_exit(exit).map(Self::Exit);
        }
        let pids = line.strip_prefix("stuck ")?.split(' ').map(|pid| pid.parse().ok());
        pids.collect::<Option<_>>().map(Self::Stuck)
    }
}

/// The first line that the shim writes to the runner that started it, over a pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Started {
    Yes,
    /// The service's program can't be run: what the system said.
    NotExecuted(i32),
    Failed(String),
}

impl Started {
    pub(super) fn line(&self) -> String {
        match self {
            Self::Yes => "started\n".to_owned(),
            Self::NotExecuted(errno) => format!("errno {errno}\n"),
            Self::Failed(detail) => format!("failed {}\n", detail.replace('\n', " ")),
        }
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        let line = line.strip_suffix('\n')?;
        if line == "started" {
            return Some(Self::Yes);
        }
        if let Some(errno) = line.strip_prefix("errno ") {
            return errno.parse().ok().map(Self::NotExecuted);
        }
        line.strip_prefix("failed ").map(|detail| Self::Failed(detail.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_read_as_it_was_written() {
        let stop = Request::Stop { signal: 15, grace_ms: 5000 };
        assert!(stop.line().len() <= REQUEST_BYTES_MAX);
        assert_eq!(Request::parse(stop.line().trim_end()), Some(stop));
        for answer in [
            Answer::Exit(Exit::code(3)),
            Answer::Exit(Exit::signal(9)),
            Answer::Exit(Exit::LOST),
            Answer::Ended(Exit::signal(11)),
            Answer::Stuck(vec![1, 22]),
        ] {
            assert_eq!(Answer::parse(answer.line().trim_end()), Some(answer));
        }
        for started in [Started::Yes, Started::NotExecuted(2), Started::Failed("why".to_owned())] {
            assert_eq!(Started::parse(&started.line()), Some(started));
        }
        for foreign in ["", "stop", "stop x 1", "exit", "exit code", "stuck", "stuck x"] {
            assert_eq!((Request::parse(foreign), Answer::parse(foreign)), (None, None), "{foreign}");
        }
    }

    /// A runner is upgraded while shims of earlier builds run: these bytes stay for ever, and further ones may be added.
    #[test]
    fn what_shims_and_runners_of_other_builds_say_is_understood() {
        let stop = Request::Stop { signal: 15, grace_ms: 5000 };
        assert_eq!((stop.line().as_str(), Request::parse("stop 15 5000")), ("stop 15 5000\n", Some(stop)));
        let out_of_memory = Exit { out_of_memory: true, ..Exit::signal(9) };
        for (line, answer) in [
            ("exit code 3", Answer::Exit(Exit::code(3))),
            ("exit signal 9", Answer::Exit(Exit::signal(9))),
            ("exit memory 9", Answer::Exit(out_of_memory)),
            ("exit lost", Answer::Exit(Exit::LOST)),
            ("ended code 0", Answer::Ended(Exit::code(0))),
            ("stuck 1 22", Answer::Stuck(vec![1, 22])),
        ] {
            assert_eq!((answer.line(), Answer::parse(line)), (format!("{line}\n"), Some(answer)));
        }
    }

    #[test]
    fn an_answer_is_bounded() {
        let answer = Answer::Stuck(vec![u32::MAX; 1000]);
        assert!(answer.line().len() <= ANSWER_BYTES_MAX);
    }
}
