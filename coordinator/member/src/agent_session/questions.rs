//! What a session reads from the rows, and how that is found in a view of them.
//!
//! Not here: when it is asked, and what follows (`orders`, `reports`, `attaching`).

use std::collections::BTreeSet;

use trimaran_engine::state::agent::Runner;
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_engine::state::cluster::Cluster;
use trimaran_model::id::{AgentName, AssignmentId, CoordinatorName, HostName, InstallationId};
use trimaran_model::target::Target;
use trimaran_query::{self as query, RowSource};
use trimaran_wire::v1::agent::{AgentVerdict, RunnerState, WireStanding};

/// What a session wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// What a session begins with.
    Welcome,
    /// Which incarnation of the cluster this is.
    Cluster,
    /// Everything that the state has for the agent, which holds these assignments.
    Everything { known: BTreeSet<u64> },
    /// The agent's runners, and what stands on its hosts.
    Inventory,
    /// What the state has of these.
    Changed {
        known: BTreeSet<u64>,
        assignments: BTreeSet<AssignmentId>,
        installations: BTreeSet<InstallationId>,
    },
    /// What the log knows of runners that are in these states.
    Runners(Vec<RunnerState>),
    /// Which of these verdicts the state has already, and whether something worked on it in this session.
    Verdicts(Vec<(AgentVerdict, bool)>),
    /// Whether the agent counts as attached to this coordinator.
    AttachedHere,
}

/// What the rows say.
#[derive(Debug)]
pub enum Answer {
    Welcome(Cluster),
    Cluster(Cluster),
    Everything {
        revision: u64,
        targets: Vec<Target>,
        runners: Vec<Runner>,
        standing: Vec<WireStanding>,
        assignments: Vec<LiveAssignment>,
    },
    Inventory {
        revision: u64,
        runners: Vec<Runner>,
        standing: Vec<WireStanding>,
    },
    Changed {
        assignments: Vec<LiveAssignment>,
        standing: Vec<WireStanding>,
    },
    /// Of those that are the agent's.
    Runners(Vec<(RunnerState, Runner)>),
    /// Each under the fence that counts, and whether the state has it.
    Verdicts(Vec<(AgentVerdict, bool)>),
    /// The number of the attach.
    AttachedHere(Option<u64>),
}

/// Rows that are read where they are needed: to hand them to another thread would take longer. What they name counts
/// beside them, so they are very few.
const FEW_ROWS: usize = 4;

impl Question {
    /// Whether the answer is read within a moment.
    pub fn is_short(&self) -> bool {
        match self {
            Self::Changed { assignments, installations, .. } => {
                assignments.len() + installations.len() <= FEW_ROWS
            }
            Self::Welcome
            | Self::Cluster
            | Self::Everything { .. }
            | Self::Inventory
            | Self::Runners(_)
            | Self::Verdicts(_)
            | Self::AttachedHere => false,
        }
    }

    /// The answer in a view of the rows at a revision, for an agent that a coordinator serves.
    pub fn answer(
        self,
        rows: &dyn RowSource,
        revision: u64,
        agent: &AgentName,
        coordinator: &CoordinatorName,
    ) -> Answer {
        match self {
            Self::Welcome => Answer::Welcome(query::cluster(rows)),
            Self::Cluster => Answer::Cluster(query::cluster(rows)),
            Self::Everything { known } => Answer::Everything {
                revision,
                targets: query::targets_served(rows, agent),
                runners: query::runners_of(rows, agent),
                standing: query::standing_of(rows, agent),
                assignments: query::assignments(rows, agent, &|id| known.contains(&id.0)),
            },
            Self::Inventory => Answer::Inventory {
                revision,
                runners: query::runners_of(rows, agent),
                standing: query::standing_of(rows, agent),
            },
            Self::Changed { known, assignments, installations } => Answer::Changed {
                assignments: query::assignments_among(rows, agent, &|id| known.contains(&id.0), &assignments),
                standing: query::standing_among(rows, agent, &installations),
            },
            Self::Runners(states) => {
                let names: Vec<HostName> = states.iter().filter_map(|it| it.name.parse().ok()).collect();
                let noted = query::runners_among(rows, agent, &names);
                let mine = |state: RunnerState| {
                    let noted = noted.iter().find(|it| it.name.as_str() == state.name)?;
                    Some((state, noted.clone()))
                };
                Answer::Runners(states.into_iter().filter_map(mine).collect())
            }
            Self::Verdicts(verdicts) => {
                let compared = |(verdict, worked): (AgentVerdict, bool)| {
                    let verdict = if worked { verdict } else { of_last_assignment(rows, verdict) };
                    let known = query::is_known(rows, &verdict);
                    (verdict, known)
                };
                Answer::Verdicts(verdicts.into_iter().map(compared).collect())
            }
            Self::AttachedHere => {
                let expected = query::agents_to_expect(rows).into_iter();
                let here = |it: &query::ExpectedAgent| {
                    it.name == *agent && it.attached.as_ref() == Some(coordinator)
                };
                Answer::AttachedHere(expected.into_iter().find(here).map(|it| it.attach))
            }
        }
    }
}

/// The verdict under the fence of the installation's last assignment, when that ended before the session began. An agent
/// that lost its directory knows fences from its hosts alone, and an assignment that changed no host left its fence on
/// none.
fn of_last_assignment(rows: &dyn RowSource, verdict: AgentVerdict) -> AgentVerdict {
    let Ok(id) = InstallationId::try_from(verdict.installation.clone()) else { return verdict };
    let here = query::installation(rows, &id);
    match here.filter(|it| it.assignment.is_none() && verdict.fence < it.fence.0) {
        Some(it) => AgentVerdict { fence: it.fence.0, ..verdict },
        None => verdict,
    }
}
