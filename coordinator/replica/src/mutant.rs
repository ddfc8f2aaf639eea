//! Defects of a replica that can be switched on for the simulations, which must find them.

trimaran_model::mutants! {
    /// A group is synced only when its first job asks for it.
    SyncOfFirst = "sync_of_first",
    /// Votes and answers to appends leave before the write that they follow.
    AnswerBeforeSync = "answer_before_sync",
    /// The messages of a leader leave while its term is not durable.
    LeadBeforeTerm = "lead_before_term",
    /// New entries do not ask for a sync.
    NoSyncOfEntries = "no_sync_of_entries",
    /// A term or a vote does not ask for a sync.
    NoSyncOfVotes = "no_sync_of_votes",
    /// A read is answered at what is committed here, without asking a quorum.
    ReadAlone = "read_alone",
    /// A waiter at an entry's index is answered as applied, whatever term it proposed in.
    ReplyByIndex = "reply_by_index",
    /// An installed snapshot does not replace the state.
    KeepStateAtInstall = "keep_state_at_install",
    /// The store switches to a snapshot's rows before they are all synced.
    SwitchUnsynced = "switch_unsynced",
    /// Members are not written with the entry that changes them.
    ForgetMembers = "forget_members",
    /// A change of members is answered as soon as it is in force at the leader.
    AnswerUnconfirmed = "answer_unconfirmed",
    /// A single voter stands for election while entries are on their way to its disk.
    CampaignInFlight = "campaign_in_flight",
}
