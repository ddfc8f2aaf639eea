//! What a session says of its agent beside the log, for the soft state and for those who watch.

use tracing::info;
use trimaran_member::agent_session::Note;
use trimaran_model::limits::INSTANCES_REPORTED_MAX;
use trimaran_wire::v1::agent::{Progress, RefusedCounts};

use super::{Link, contents};
use crate::soft_state::AttachedAgent;

impl Link {
    pub(super) fn note(&mut self, note: Note) {
        let (server, name) = (&self.server, self.agent.as_str());
        match note {
            Note::Attached => self.attached(),
            Note::Detached => {
                info!(agent = name, "detached");
                server.soft_state.lock().agents.remove(name);
                self.turn.detached();
            }
            Note::Progress(progress) => {
                server.publish_progress(&progress);
                server.soft_state.lock().note_progress(progress, server.node.wall());
            }
            Note::ProgressChanges(changes) => self.progress_changes(changes),
            Note::ForgetProgress(assignment) => server.soft_state.lock().forget_progress(assignment.0),
            Note::Held(held) => server.hold(name, held),
            Note::Refused(refused) => server.note_refused(name, refused),
            Note::RefusedCounts(refused) => {
                if let Some(agent) = server.soft_state.lock().agents.get_mut(name) {
                    agent.refused = refused;
                }
            }
            Note::ForgetRunners => drop(server.soft_state.lock().runners.remove(name)),
            Note::Runners(states) => {
                let named = states.into_iter().map(|state| (state.name.clone(), state));
                server.soft_state.lock().runners.entry(name.to_owned()).or_default().extend(named);
            }
        }
    }

    fn attached(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        info!(agent = self.agent.as_str(), connection.incarnation, "attached");
        let attached = AttachedAgent {
            session: connection.session.clone(),
            incarnation: connection.incarnation,
            address: connection.address.clone(),
            last_seen: self.server.node.wall(),
            refused: RefusedCounts::default(),
        };
        {
            let mut all = self.server.soft_state.lock();
            all.agents.insert(self.agent.to_string(), attached);
            // Reported again when there is still something.
            all.held.remove(self.agent.as_str());
        }
        self.turn.attached();
        let contents = contents::serve(self.server.clone(), connection.session.clone(), self.agent.clone());
        connection.contents = Some(tokio::spawn(contents).abort_handle());
    }

    /// A message of the agent came.
    pub(super) fn touch(&self) {
        let wall = self.server.node.wall();
        if let Some(agent) = self.server.soft_state.lock().agents.get_mut(self.agent.as_str()) {
            agent.last_seen = wall;
        }
    }

    /// Changes of progress, taken over into what this session's last whole one said.
    fn progress_changes(&self, changes: Progress) {
        let now = {
            let mut soft = self.server.soft_state.lock();
            let Some(mut progress) = soft.progress.get(&changes.assignment).cloned() else { return };
            progress.apply_changes(changes);
            progress.instances.truncate(INSTANCES_REPORTED_MAX);
            progress.failed.truncate(INSTANCES_REPORTED_MAX);
            progress.lost.truncate(INSTANCES_REPORTED_MAX);
            soft.note_progress(progress.clone(), self.server.node.wall());
            progress
        };
        self.server.publish_progress(&now);
    }
}
