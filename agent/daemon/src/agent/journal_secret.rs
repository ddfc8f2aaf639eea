//! The journal in Secrets.

use std::io;
use std::sync::mpsc::channel;

use tokio::runtime::Handle;
use trimaran_agent_core::journal;
use trimaran_model::error_code;
use trimaran_model::report::Report;
use trimaran_wire::v1::agent_journal::JournalRecord;

use super::journal::{Journal, Medium, unwritable};
use crate::state::SecretState;

pub(crate) struct JournalSecret {
    state: SecretState,
    runtime: Handle,
}

impl JournalSecret {
    /// Reads what the state held when it was opened, and starts the thread that writes.
    pub(crate) fn open(state: &SecretState) -> Result<(Journal, Vec<JournalRecord>), Report> {
        let unusable = |error: &dyn std::error::Error| {
            Report::because(error_code::STORE_DAMAGED, format!("the journal in {state} can't be used"), error)
        };
        let bytes = state.take_journal();
        let found = journal::decode(&bytes).map_err(|error| unusable(&error))?;
        if found.good_bytes < bytes.len() {
            // A write of Secrets counts whole or not at all.
            let why = format!("its last {} bytes are no record", bytes.len() - found.good_bytes);
            return Err(unusable(&io::Error::other(why)));
        }
        let started = Journal::start(Self { state: state.clone(), runtime: Handle::current() });
        Ok((started.map_err(|error| unusable(&error))?, found.records))
    }
}

impl JournalSecret {
    /// Waits for a write on the process's own runtime, where the connections are.
    fn wait<F>(&self, write: F) -> Result<(), Report>
    where
        F: Future<Output = Result<(), Report>> + Send + 'static,
    {
        let (done, outcome) = channel();
        // No one waits for it when the process is ending anyway.
        self.runtime.spawn(async move { drop(done.send(write.await)) });
        outcome.recv().unwrap_or_else(|error| Err(unwritable(&error)))
    }
}

impl Medium for JournalSecret {
    fn append(&mut self, frame: &[u8]) -> Result<(), Report> {
        let (state, frame) = (self.state.clone(), frame.to_vec());
        self.wait(async move { state.append(&frame).await })
    }

    fn replace(&mut self, frames: &[u8]) -> Result<(), Report> {
        let (state, frames) = (self.state.clone(), frames.to_vec());
        self.wait(async move { state.replace(&frames).await })
    }
}
