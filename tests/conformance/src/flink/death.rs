//! Deaths of agents and JobManagers, one at each phase in which a ledger can be: the list is that of the ledger, so that a
//! phase that is added can't be left out.

use trimaran_flink_core::ledger::Persisted;

/// What dies once, the first time that a ledger of this phase is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    pub at: Persisted,
    pub of: Mortal,
    pub moment: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mortal {
    /// It continues from its journal.
    Agent,
    /// Its directory is gone too: whoever replaces it continues from the log.
    AgentAndDisk,
    JobManager,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the ledger was written down.
    Unwritten,
    /// Before the call that follows it.
    BeforeCall,
    /// When that call was answered.
    BehindCall,
}

impl Death {
    /// Everything that can die anywhere.
    pub fn all() -> Vec<Self> {
        let ways = [
            (Mortal::Agent, Moment::Unwritten),
            (Mortal::Agent, Moment::BeforeCall),
            (Mortal::Agent, Moment::BehindCall),
            (Mortal::AgentAndDisk, Moment::BeforeCall),
            (Mortal::AgentAndDisk, Moment::BehindCall),
            (Mortal::JobManager, Moment::BeforeCall),
            (Mortal::JobManager, Moment::BehindCall),
        ];
        let at = |at| ways.map(move |(of, moment)| Self { at, of, moment });
        Persisted::ALL.into_iter().flat_map(at).collect()
    }
}
