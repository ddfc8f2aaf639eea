//! The runner is killed, or power fails, at every disk operation, persist and call.
//!
//! Whatever happened: in the end one of old and new runs, healthy, `current` names it, nothing temporary is
//! left, no launch was made twice; and without a power failure nothing was started more often than needed.

use trimaran_conformance::disk::Loss;
use trimaran_conformance::host::{Behaviour, ModelHost};
use trimaran_model::assignment::{HostGoal, HostReport, HostState};
use trimaran_model::id::Digest;
use trimaran_model::time::Millis;

use crate::goals::{apply, digest, goal, prepare, restore};

const LOSSES: [Loss; 5] =
    [Loss::Nothing, Loss::Unsynced(0), Loss::Unsynced(0xff), Loss::Unsynced(0x55), Loss::Unsynced(0xaa)];

/// A host where v1 runs.
fn before(v2: Behaviour) -> ModelHost {
    let mut host = ModelHost::new();
    host.behave(digest(1), Behaviour::Healthy { after: 100 });
    host.behave(digest(2), v2);
    host.open(&apply(1, 1)).expect("nothing kills it");
    host.settle().expect("nothing kills it");
    host
}

/// Plays `goal` with a crash at operation `n`; `None` when the goal ends before it.
fn play(mut host: ModelHost, goal: &HostGoal, n: u64, loss: Loss) -> Option<(ModelHost, HostReport)> {
    host.disk.crash_at(Some(n));
    let ended = match host.order(goal) {
        Ok(()) => host.settle(),
        Err(died) => Err(died),
    };
    if let Ok(report) = ended {
        host.disk.crash_at(None);
        check(&host, &report);
        return None;
    }
    host.crash(loss);
    // The runner comes back and is given what it was working on, as its journal or its agent would.
    host.open(goal).expect("nothing kills it again");
    host.settle().expect("nothing kills it again");
    if loss != Loss::Nothing {
        // What the power failure ended is started again.
        host.run_for(Millis::seconds(10)).expect("nothing kills it again");
    }
    let report = host.report();
    check(&host, &report);
    Some((host, report))
}

fn check(host: &ModelHost, report: &HostReport) {
    let running = host.running();
    assert_eq!(running.len(), 1, "exactly one runs: {report:?}");
    assert!(host.is_healthy(), "and it is healthy: {report:?}");
    assert_eq!(host.current(), Some(running[0]), "and it is current: {report:?}");
    assert_eq!(report.current, Some(running[0]));
    assert_eq!(host.leftovers(), Vec::<String>::new(), "nothing temporary is left");
    let mut launches: Vec<u64> = host.starts.iter().map(|(launch, _)| *launch).collect();
    launches.dedup();
    assert_eq!(launches.len(), host.starts.len(), "no launch is made twice");
}

fn starts(host: &ModelHost, digest: Digest) -> usize {
    host.starts.iter().filter(|(_, started)| *started == digest).count()
}

/// Every crash point of a goal, under every loss.
fn at_every_point(v2: Behaviour, goal: &HostGoal, judge: impl Fn(&ModelHost, &HostReport, Loss)) {
    for loss in LOSSES {
        let mut points = 0;
        while let Some((host, report)) = play(before(v2), goal, points + 1, loss) {
            points += 1;
            judge(&host, &report, loss);
        }
        assert!(points > 30, "only {points} points were tried");
    }
}

#[test]
fn a_good_release_arrives() {
    at_every_point(Behaviour::Healthy { after: 100 }, &apply(2, 2), |host, report, loss| {
        assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(2))), "{loss:?}");
        if loss == Loss::Nothing {
            assert_eq!((starts(host, digest(1)), starts(host, digest(2))), (1, 1), "started once each");
        }
    });
}

#[test]
fn a_bad_release_goes_back() {
    for bad in [Behaviour::Sick, Behaviour::Exits { after: 300, code: 1 }] {
        at_every_point(bad, &apply(2, 2), |host, report, loss| {
            assert_eq!((report.state, report.current), (HostState::Reverted, Some(digest(1))), "{loss:?}");
            assert!(report.code.is_some(), "the cause is kept");
            if loss == Loss::Nothing {
                assert_eq!((starts(host, digest(1)), starts(host, digest(2))), (2, 1));
            }
        });
    }
}

#[test]
fn a_preparation_disturbs_nothing() {
    at_every_point(Behaviour::Sick, &prepare(2, 2), |host, report, loss| {
        assert_eq!((report.prepared, report.current), (Some(digest(2)), Some(digest(1))));
        if loss == Loss::Nothing {
            assert_eq!((starts(host, digest(1)), starts(host, digest(2))), (1, 0));
        }
    });
}

#[test]
fn a_restored_release_needs_no_server() {
    for loss in LOSSES {
        let mut points = 0;
        loop {
            let mut host = before(Behaviour::Healthy { after: 100 });
            host.order(&apply(2, 2)).expect("nothing kills it");
            host.settle().expect("nothing kills it");
            host.served = false;
            let Some((host, report)) = play(host, &restore(3, 1), points + 1, loss) else { break };
            points += 1;
            assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(1))));
            if loss == Loss::Nothing {
                assert_eq!((starts(&host, digest(1)), starts(&host, digest(2))), (2, 1));
            }
        }
        assert!(points > 20, "only {points} points were tried");
    }
}

#[test]
fn a_stopped_service_stays_stopped() {
    let stop = goal(2, trimaran_model::assignment::HostAction::Stop { only: digest(1) });
    for loss in LOSSES {
        for n in 1.. {
            let mut host = before(Behaviour::Sick);
            host.disk.crash_at(Some(n));
            let ended = match host.order(&stop) {
                Ok(()) => host.settle(),
                Err(died) => Err(died),
            };
            let done = ended.is_ok();
            if !done {
                host.crash(loss);
                host.open(&stop).expect("nothing kills it again");
                host.settle().expect("nothing kills it again");
            }
            assert_eq!((host.report().state, host.running()), (HostState::Stopped, vec![]), "{loss:?} {n}");
            if done {
                break;
            }
        }
    }
}

#[test]
fn two_crashes_one_after_the_other() {
    for first in 1..200 {
        let mut host = before(Behaviour::Healthy { after: 100 });
        host.disk.crash_at(Some(first));
        let ended = match host.order(&apply(2, 2)) {
            Ok(()) => host.settle(),
            Err(died) => Err(died),
        };
        if ended.is_ok() {
            return;
        }
        host.crash(Loss::Nothing);
        host.disk.crash_at(Some(first % 23 + 1));
        let ended = match host.open(&apply(2, 2)) {
            Ok(()) => host.settle(),
            Err(died) => Err(died),
        };
        if ended.is_err() {
            host.crash(Loss::Unsynced(0xff));
            host.open(&apply(2, 2)).expect("nothing kills it again");
        }
        host.disk.crash_at(None);
        host.settle().expect("nothing kills it again");
        host.run_for(Millis::seconds(10)).expect("nothing kills it again");
        let report = host.report();
        check(&host, &report);
        assert_eq!(report.state, HostState::Healthy);
    }
    panic!("the goal has fewer than 200 points");
}
