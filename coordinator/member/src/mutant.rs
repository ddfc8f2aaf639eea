//! Defects of the member that can be switched on for the simulator, which must find them.

trimaran_model::mutants! {
    /// Cluster time begins anew with each process.
    TimeFromZero = "time_from_zero",
    /// Cluster time is measured since the start of the process, whatever entries of other leaders say.
    TimeFromStart = "time_from_start",
    /// A leader counts as sure of its quorum as long as it believes that it leads.
    LeaseWithoutQuorum = "lease_without_quorum",
    /// What was passed on is passed on again when the leader does not answer.
    ForwardTwice = "forward_twice",
    /// The leader goes by its own wall clock alone.
    OwnWallAlone = "own_wall_alone",
    /// A voter is removed though too few of the others are there.
    RemoveBlindly = "remove_blindly",
    /// What travels with a change of the members is lost.
    ForgetContext = "forget_context",
    /// The leader adds no entry for timers that are due.
    NoAdvance = "no_advance",
    /// Nothing is refused for want of space.
    DiskUnseen = "disk_unseen",
    /// Who does not lead refuses by its own disk what the leader would accept.
    OwnDiskDecides = "own_disk_decides",
    /// A command is proposed and passed on whatever feature level the cluster has.
    LevelUnseen = "level_unseen",
    /// The outcomes of an entry go to each other's requesters.
    SwapAnswers = "swap_answers",
    /// A session goes on though a later incarnation of its agent has attached.
    KeepSuperseded = "keep_superseded",
    /// A result is answered before the log has it.
    AnswerEarly = "answer_early",
    /// A verdict does not wait for the result that it may contradict.
    VerdictOvertakes = "verdict_overtakes",
    /// A second session of an agent comes or goes while the first one does.
    TwoTurns = "two_turns",
    /// A watcher that resumes gets the last event that it saw again.
    ResumeAtSeen = "resume_at_seen",
    /// A watcher that has seen more than its coordinator gets the rest again.
    RepeatEvents = "repeat_events",
    /// Events that a snapshot took the place of do not count as compacted.
    KeepPositions = "keep_positions",
}
