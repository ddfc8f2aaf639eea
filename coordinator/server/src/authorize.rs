//! The one question in front of every request: may this identity do this?
//!
//! Default deny: a pair that is not named here is refused. Three fixed roles for now; the replicated policy
//! (verb x scope) takes this function's place later and not its callers'.

use trimaran_model::id::{Identity, OperatorRole};
use trimaran_wire::v1::operator::OperatorBody;

/// Everything that can be asked for, as the audit log spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Read,
    Logs,
    Apply,
    Deploy,
    Approve,
    Cancel,
    Resume,
    Rollback,
    /// Tokens for agents, runners, operators and coordinators.
    Enroll,
    /// Promotion, removal and leadership of coordinators, and the feature level of their builds.
    Members,
    /// Runners that are there: their labels, and whether they are hosts of their targets.
    Runners,
    /// All that the cluster has stored, as a file.
    Backup,
    /// That a cluster which was restored goes on.
    ResumeCluster,
    /// What should run of an installation after a restore.
    Decide,
    /// The control stream of an agent.
    Serve,
}

impl Verb {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 15] = [
        Self::Read,
        Self::Logs,
        Self::Apply,
        Self::Deploy,
        Self::Approve,
        Self::Cancel,
        Self::Resume,
        Self::Rollback,
        Self::Enroll,
        Self::Members,
        Self::Runners,
        Self::Backup,
        Self::ResumeCluster,
        Self::Decide,
        Self::Serve,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Logs => "logs",
            Self::Apply => "apply",
            Self::Deploy => "deploy",
            Self::Approve => "approve",
            Self::Cancel => "cancel",
            Self::Resume => "resume",
            Self::Rollback => "rollback",
            Self::Enroll => "enroll",
            Self::Members => "change members",
            Self::Runners => "runners",
            Self::Backup => "back up the cluster",
            Self::ResumeCluster => "resume the cluster",
            Self::Decide => "adopt or reapply",
            Self::Serve => "serve",
        }
    }

    /// Whether such changes have a reserve in each quota; see `CommandBody::has_reserve`.
    pub(crate) fn has_reserve(self) -> bool {
        match self {
            Self::Approve | Self::Cancel | Self::Resume | Self::Rollback => true,
            Self::ResumeCluster | Self::Decide => true,
            Self::Read | Self::Logs | Self::Apply | Self::Deploy => false,
            Self::Enroll | Self::Runners | Self::Members | Self::Backup | Self::Serve => false,
        }
    }

    /// The verb of a request. A change that is forgotten here is refused to everyone.
    pub(crate) fn of(body: &OperatorBody) -> Self {
        match body {
            OperatorBody::Apply { .. } => Self::Apply,
            OperatorBody::Deploy(_) | OperatorBody::PutContent { .. } => Self::Deploy,
            OperatorBody::Approve { .. } => Self::Approve,
            OperatorBody::Cancel { .. } => Self::Cancel,
            OperatorBody::Resume { .. } => Self::Resume,
            OperatorBody::Rollback { .. } => Self::Rollback,
            OperatorBody::Enroll { .. } => Self::Enroll,
            OperatorBody::ChangeMember { .. } | OperatorBody::Finalize => Self::Members,
            OperatorBody::Runners { .. } => Self::Runners,
            OperatorBody::Logs { .. } => Self::Logs,
            OperatorBody::Backup => Self::Backup,
            OperatorBody::ResumeCluster { .. } => Self::ResumeCluster,
            OperatorBody::Adopt { .. } | OperatorBody::Reapply { .. } => Self::Decide,
            read if read.is_read() => Self::Read,
            // Default deny: no operator serves.
            _ => Self::Serve,
        }
    }
}

/// Whether `identity` may do `verb`.
pub(crate) fn authorize(identity: &Identity, verb: Verb) -> bool {
    match identity {
        Identity::Operator(_, role) => {
            *role >= needed(verb).unwrap_or(OperatorRole::Admin) && needed(verb).is_some()
        }
        Identity::Agent(_) => verb == Verb::Serve,
        Identity::System | Identity::Coordinator(_) | Identity::Runner(_) => false,
    }
}

/// The lowest role that may do it; `None` when no operator may.
fn needed(verb: Verb) -> Option<OperatorRole> {
    match verb {
        Verb::Read | Verb::Logs => Some(OperatorRole::Viewer),
        Verb::Deploy | Verb::Approve | Verb::Cancel | Verb::Resume | Verb::Rollback | Verb::Decide => {
            Some(OperatorRole::Operator)
        }
        Verb::Apply | Verb::Enroll | Verb::Runners | Verb::Members | Verb::Backup | Verb::ResumeCluster => {
            Some(OperatorRole::Admin)
        }
        Verb::Serve => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_its_lowest_role_and_everyone_else_is_refused() {
        let operator = |role| Identity::Operator("kana".parse().expect("a name"), role);
        let agent = Identity::Agent("lab".parse().expect("a name"));
        let runner = Identity::Runner("host-1".parse().expect("a name"));
        let expected = |verb: Verb| match verb {
            Verb::Read | Verb::Logs => [true, true, true],
            Verb::Deploy | Verb::Approve | Verb::Cancel | Verb::Resume | Verb::Rollback | Verb::Decide => {
                [false, true, true]
            }
            Verb::Apply
            | Verb::Enroll
            | Verb::Runners
            | Verb::Members
            | Verb::Backup
            | Verb::ResumeCluster => [false, false, true],
            Verb::Serve => [false, false, false],
        };
        for verb in Verb::ALL {
            let roles = OperatorRole::ALL.map(|role| authorize(&operator(role), verb));
            assert_eq!(roles, expected(verb), "{}", verb.as_str());
            assert_eq!(authorize(&agent, verb), verb == Verb::Serve, "{}", verb.as_str());
            for other in [&runner, &Identity::System, &Identity::Coordinator("c1".parse().expect("a name"))] {
                assert!(!authorize(other, verb), "{other} {}", verb.as_str());
            }
        }
    }
}
