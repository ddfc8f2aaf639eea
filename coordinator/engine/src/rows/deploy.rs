//! Stages as rows have them, with the states of each kind.

use trimaran_model::pipeline::Batches;
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::assignment::flink_restore;
use trimaran_wire::v1::common::spelled;
use trimaran_wire::v1::row;

use super::Frozen;
use super::convert::{frozen_enum, frozen_struct};
use crate::state::stage::{
    Approve, ApproveState, AttemptState, Decision, Deploy, DeployState, Direction, End, Goal, Held, Kind,
    Need, RollbackTarget, Stage, Wait,
};

frozen_struct!(Stage => row::Stage { run, index, name, needs, kind, reasons } {
    started: started_ms, finished: finished_ms
});
frozen_enum!(Need => row::Need { Environment { environment }, Stage { stage } });
frozen_enum!(Kind => row::StageKind { Deploy { deploy }, Approve { approve } });
frozen_enum!(Goal => row::Goal { Release, Restore { reason } });
frozen_enum!(Direction => row::Direction { Forward, Back { to, reason } });
frozen_enum!(RollbackTarget => row::RollbackTarget { Restore { release }, Stop { all } });
frozen_struct!(AttemptState => row::Attempt {
    number, fence, since, restore, waves, wave, done, total, failed, lost
});
frozen_enum!(DeployState => row::DeployState {
    Held { held },
    Running { assignment },
    RollingBack { assignment },
    Lost { assignment },
    Waiting { wait },
    Done { end },
});
frozen_enum!(Held => row::Held { Pending, Queued, Blocked });
frozen_enum!(Wait => row::Wait { Resume { why }, Pause { until } });
frozen_struct!(Approve => row::Approve { options, state } { timeout: timeout_ms });
frozen_enum!(ApproveState => row::ApproveState {
    Held { held },
    Open { expires },
    Decided { decision },
    Done { end, decision },
});
frozen_struct!(Decision => row::Decision { option, by, comment } { at: at_ms });

/// By the public spelling of its status.
impl Frozen for End {
    type Wire = String;
    fn freeze(&self) -> String {
        self.status().as_str().to_owned()
    }
    fn thaw(wire: String) -> Result<Self, CodecError> {
        spelled(Self::ALL.into_iter().find(|it| it.status().as_str() == wire), "end of a stage", &wire)
    }
}

impl Frozen for Deploy {
    type Wire = row::Deploy;
    fn freeze(&self) -> row::Deploy {
        row::Deploy {
            target: self.target.freeze(),
            release: self.release.freeze(),
            goal: self.goal.freeze(),
            bake_ms: self.bake.freeze(),
            sizes: self.batches.sizes.freeze(),
            max_unavailable: self.batches.max_unavailable.freeze(),
            max_failures: self.batches.max_failures.freeze(),
            max_lost: self.batches.max_lost.freeze(),
            pause_between_ms: self.batches.pause_between.freeze(),
            rollback_on_health: self.rollback_on_health,
            scope: self.scope.freeze(),
            direction: self.direction.freeze(),
            restore_from: self.restore_from.map(|from| from.as_str().to_owned()),
            attempt: self.attempt.freeze(),
            state: self.state.freeze(),
        }
    }

    fn thaw(wire: row::Deploy) -> Result<Self, CodecError> {
        Ok(Self {
            target: Frozen::thaw(wire.target)?,
            release: Frozen::thaw(wire.release)?,
            goal: Frozen::thaw(wire.goal)?,
            bake: Frozen::thaw(wire.bake_ms)?,
            batches: Batches {
                sizes: Frozen::thaw(wire.sizes)?,
                max_unavailable: Frozen::thaw(wire.max_unavailable)?,
                max_failures: Frozen::thaw(wire.max_failures)?,
                max_lost: Frozen::thaw(wire.max_lost)?,
                pause_between: Frozen::thaw(wire.pause_between_ms)?,
            },
            rollback_on_health: wire.rollback_on_health,
            scope: Frozen::thaw(wire.scope)?,
            direction: Frozen::thaw(wire.direction)?,
            restore_from: wire.restore_from.as_deref().map(flink_restore).transpose()?,
            attempt: Frozen::thaw(wire.attempt)?,
            state: Frozen::thaw(wire.state)?,
        })
    }
}
