//! Commands that wait for an entry, bounded in number and bytes.
//!
//! Commands wait while enough entries are in flight, and then travel together in the next one: the slower the disk,
//! the larger the groups.

use trimaran_model::limits::{
    ENTRY_BYTES_MAX, ENTRY_COMMANDS_MAX, PROPOSALS_BYTES_MAX, PROPOSALS_BYTES_RESERVED, PROPOSALS_MAX,
    PROPOSALS_RESERVED,
};
use trimaran_model::time::Timestamp;
use trimaran_wire::v1::command::Command;

/// Bytes of an entry beside its commands, generously.
const ENTRY_OVERHEAD: usize = 1024;

/// How much of requesters waits for an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queued {
    pub commands: usize,
    /// Of the encoded commands.
    pub bytes: usize,
}

impl Queued {
    /// Counts a command of `bytes`; false when it does not fit. With `has_reserve` the reserve counts too.
    #[must_use]
    pub fn add(&mut self, bytes: usize, has_reserve: bool) -> bool {
        let (commands_max, bytes_max) = match has_reserve {
            true => (PROPOSALS_MAX + PROPOSALS_RESERVED, PROPOSALS_BYTES_MAX + PROPOSALS_BYTES_RESERVED),
            false => (PROPOSALS_MAX, PROPOSALS_BYTES_MAX),
        };
        let fits = self.commands < commands_max && bytes <= bytes_max.saturating_sub(self.bytes);
        if fits {
            self.commands += 1;
            self.bytes += bytes;
        }
        fits
    }

    /// Counts less: what is not there was counted before.
    pub fn remove(&mut self, left: Self) {
        self.commands -= left.commands;
        self.bytes -= left.bytes;
    }

    /// How much of this is not in `now` any more. Where `now` has commands of others too, this is what surely left; the
    /// rest of it is found when they leave.
    #[must_use]
    pub fn since(self, now: Self) -> Self {
        let commands = self.commands.saturating_sub(now.commands);
        Self { commands, bytes: self.bytes.saturating_sub(now.bytes) }
    }
}

/// The queue.
#[derive(Debug)]
pub(crate) struct CommandQueue<P> {
    waiting: Vec<Waiting<P>>,
    queued: Queued,
}

#[derive(Debug)]
struct Waiting<P> {
    command: Command,
    bytes: usize,
    /// None for what the leader adds itself.
    requester: Option<P>,
    /// Boot time after which no one waits for it any more.
    until: Option<Timestamp>,
}

impl<P> CommandQueue<P> {
    pub(crate) fn new() -> Self {
        Self { waiting: Vec::new(), queued: Queued::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How much of requesters waits.
    pub(crate) fn queued(&self) -> Queued {
        self.queued
    }

    /// Adds a command of a requester, who comes back when there is no capacity.
    pub(crate) fn push(
        &mut self,
        requester: P,
        (command, bytes): (Command, usize),
        until: Option<Timestamp>,
    ) -> Result<(), P> {
        if !self.queued.add(bytes, command.body.has_reserve()) {
            return Err(requester);
        }
        self.waiting.push(Waiting { command, bytes, requester: Some(requester), until });
        Ok(())
    }

    /// Adds a command of the leader itself.
    pub(crate) fn push_own(&mut self, command: Command) {
        self.waiting.push(Waiting { command, bytes: 0, requester: None, until: None });
    }

    /// Drops the commands that no one waits for any more; their requesters.
    pub(crate) fn drop_expired(&mut self, now: Timestamp) -> Vec<P> {
        let expired = |waiting: &mut Waiting<P>| waiting.until.is_some_and(|until| until < now);
        let dropped: Vec<_> = self.waiting.extract_if(.., expired).collect();
        for waiting in &dropped {
            let commands = usize::from(waiting.requester.is_some());
            self.queued.remove(Queued { commands, bytes: waiting.bytes });
        }
        dropped.into_iter().filter_map(|waiting| waiting.requester).collect()
    }

    /// Takes the commands of the next entry with their requesters: at least one, whose size the limit of requests
    /// bounds.
    pub(crate) fn next_entry(&mut self) -> (Vec<Command>, Vec<Option<P>>) {
        let mut bytes = 0;
        let fits = |waiting: &&Waiting<P>| {
            bytes += waiting.bytes;
            bytes < ENTRY_BYTES_MAX - ENTRY_OVERHEAD
        };
        let count = self.waiting.iter().take(ENTRY_COMMANDS_MAX).take_while(fits).count().max(1);
        let taken = self.waiting.drain(..count.min(self.waiting.len()));
        taken
            .map(|waiting| {
                let commands = usize::from(waiting.requester.is_some());
                self.queued.remove(Queued { commands, bytes: waiting.bytes });
                (waiting.command, waiting.requester)
            })
            .unzip()
    }

    /// Everyone who waits; the queue is empty then.
    pub(crate) fn drain_requesters(&mut self) -> Vec<P> {
        self.queued = Queued::default();
        self.waiting.drain(..).filter_map(|waiting| waiting.requester).collect()
    }
}

#[cfg(test)]
mod tests {
    use trimaran_wire::v1::command::CommandBody;
    use trimaran_wire::v1::common::{WireIdentity, WireRun};

    use super::*;

    fn command() -> Command {
        Command { identity: WireIdentity::System, request: None, body: CommandBody::Settle }
    }

    fn cancel() -> Command {
        let run = WireRun { pipeline: "web".to_owned(), number: 1 };
        Command { body: CommandBody::Cancel { run }, ..command() }
    }

    #[test]
    fn an_entry_is_bounded_in_commands_and_bytes_and_keeps_the_order() {
        let mut queue = CommandQueue::new();
        for number in 0..ENTRY_COMMANDS_MAX + 3 {
            queue.push(number, (command(), 10), None).expect("it fits");
        }
        let (commands, requesters) = queue.next_entry();
        assert_eq!(commands.len(), ENTRY_COMMANDS_MAX);
        assert_eq!(requesters, (0..ENTRY_COMMANDS_MAX).map(Some).collect::<Vec<_>>());
        assert_eq!(queue.next_entry().0.len(), 3);
        assert!(queue.is_empty() && queue.queued() == Queued::default());

        let third = ENTRY_BYTES_MAX / 3;
        (0..4).for_each(|number| queue.push(number, (command(), third), None).expect("it fits"));
        assert_eq!(queue.next_entry().1, [Some(0), Some(1)], "a third one would be too long");
        queue.push_own(command());
        assert_eq!(
            queue.queued(),
            Queued { commands: 2, bytes: 2 * third },
            "the leader's own count nothing"
        );
        assert_eq!(queue.next_entry().1, [Some(2), Some(3), None]);
        queue.push(9, (command(), ENTRY_BYTES_MAX), None).expect("it fits");
        assert_eq!(queue.next_entry().1, [Some(9)], "one alone always goes");
    }

    #[test]
    fn what_exceeds_the_bounds_comes_back() {
        let mut queue = CommandQueue::new();
        queue.push(1, (command(), PROPOSALS_BYTES_MAX - 1), None).expect("it fits");
        assert_eq!(queue.push(2, (command(), 2), None), Err(2));
        queue.push(3, (command(), 1), None).expect("it fits");
        assert_eq!(queue.drain_requesters(), [1, 3]);
        for number in 0..PROPOSALS_MAX {
            queue.push(number, (command(), 0), None).expect("it fits");
        }
        assert_eq!(queue.push(7, (command(), 0), None), Err(7));
    }

    #[test]
    fn what_no_one_waits_for_any_more_is_dropped() {
        let mut queue = CommandQueue::new();
        queue.push(1, (command(), 10), Some(Timestamp(100))).expect("it fits");
        queue.push(2, (command(), 20), None).expect("it fits");
        queue.push(3, (command(), 30), Some(Timestamp(200))).expect("it fits");
        assert!(queue.drop_expired(Timestamp(100)).is_empty());
        assert_eq!((queue.drop_expired(Timestamp(101)), queue.queued().bytes), (vec![1], 50));
        assert_eq!(queue.next_entry().1, [Some(2), Some(3)]);
    }

    #[test]
    fn what_stops_undoes_or_decides_has_a_reserve_in_number_and_bytes() {
        let mut queue = CommandQueue::new();
        for number in 0..PROPOSALS_MAX {
            queue.push(number, (command(), 0), None).expect("it fits");
        }
        queue.push_own(command());
        for number in 0..PROPOSALS_RESERVED {
            assert_eq!(queue.push(7, (command(), 0), None), Err(7));
            queue.push(number, (cancel(), 0), None).expect("it has a reserve");
        }
        assert_eq!(queue.push(7, (cancel(), 0), None), Err(7), "which is bounded too");
        queue.drain_requesters();
        queue.push(1, (command(), PROPOSALS_BYTES_MAX), None).expect("it fits");
        assert_eq!(queue.push(2, (command(), 1), None), Err(2));
        queue.push(3, (cancel(), PROPOSALS_BYTES_RESERVED), None).expect("it has a reserve");
        assert_eq!(queue.push(4, (cancel(), 1), None), Err(4));
    }
}
