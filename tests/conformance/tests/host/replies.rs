//! Answers of calls are lost, late or repeated.

use trimaran_conformance::host::{Behaviour, Fate, ModelHost};
use trimaran_model::assignment::{HostReport, HostState};

use crate::goals::{apply, digest};

/// v1 runs, then v2 is applied with this fate of its call number `n`; `None` when it has fewer calls.
fn play(v2: Behaviour, n: u64, fate: Fate) -> Option<(ModelHost, HostReport)> {
    let mut host = ModelHost::new();
    host.behave(digest(1), Behaviour::Healthy { after: 100 });
    host.behave(digest(2), v2);
    host.open(&apply(1, 1)).expect("nothing kills it");
    host.settle().expect("nothing kills it");
    let number = host.calls + n;
    host.fates.insert(number, fate);
    host.order(&apply(2, 2)).expect("nothing kills it");
    let report = host.settle().expect("nothing kills it");
    (host.calls >= number).then_some((host, report))
}

fn every_call(v2: Behaviour, fate: Fate, judge: impl Fn(u64, &ModelHost, &HostReport)) {
    let mut calls = 0;
    while let Some((host, report)) = play(v2, calls + 1, fate) {
        calls += 1;
        let running = host.running();
        assert_eq!(running.len(), 1, "call {calls} {fate:?}: {report:?}");
        assert_eq!(host.current(), Some(running[0]), "call {calls} {fate:?}");
        assert!(host.is_healthy(), "call {calls} {fate:?}: {report:?}");
        judge(calls, &host, &report);
    }
    assert!(calls > 10, "only {calls} calls");
}

const FATES: [Fate; 4] = [Fate::Dropped, Fate::Delayed(4000), Fate::Repeated(1), Fate::Repeated(5000)];

#[test]
fn a_good_release_arrives_or_was_refused() {
    for fate in FATES {
        every_call(Behaviour::Healthy { after: 100 }, fate, |call, host, report| {
            let arrived = report.state == HostState::Healthy && report.current == Some(digest(2));
            let refused = report.state == HostState::Refused && fate == Fate::Dropped;
            assert!(arrived || refused, "call {call} {fate:?}: {report:?}");
            assert!(host.starts.len() <= 2, "call {call} {fate:?}: started once each");
        });
    }
}

#[test]
fn a_bad_release_is_never_healthy() {
    for fate in FATES {
        every_call(Behaviour::HealthyUntil(2000), fate, |call, host, report| {
            assert_eq!(report.current, Some(digest(1)), "call {call} {fate:?}");
            let stable_releases =
                host.reports.iter().any(|it| it.state == HostState::Healthy && it.current == Some(digest(2)));
            assert!(!stable_releases, "call {call} {fate:?}");
            assert!(host.starts.len() <= 3, "call {call} {fate:?}");
        });
    }
}
