//! When a rollout is finished, and what is said of one that is not.

use trimaran_model::id::{AssignmentId, Digest};

use super::*;
use crate::platform::StuckPod;
use crate::stamp::Marks;

const FENCE: Fence = Fence(10);

fn key(kind: &str) -> ObjectKey {
    ObjectKey {
        api_version: "apps/v1".to_owned(),
        kind: kind.to_owned(),
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    }
}

fn object(verdict: Verdict, reason: Option<ReasonCode>) -> ObservedObject {
    let marks = Marks {
        installation: Some("web/tokyo".to_owned()),
        release: Some(Digest([2; 32])),
        fence: Some(FENCE),
        assignment: Some(AssignmentId(1)),
    };
    ObservedObject {
        key: key("Deployment"),
        uid: Some("u1".to_owned()),
        generation: 1,
        marks,
        verdict,
        reason,
        message: reason.map(|reason| format!("Deployment/web: {}", reason.as_str())).unwrap_or_default(),
        fault: reason.and_then(ReasonCode::fault),
        pods: Pods { desired: 2, updated: 2, available: 2, restarts: 0 },
        stuck: None,
        fields: Some(1),
        edits: Vec::new(),
    }
}

fn seen(object: ObservedObject) -> Observation {
    Observation { blind_since: None, objects: vec![object], instances: Vec::new(), next_check: None }
}

fn healthy() -> Observation {
    seen(object(Verdict::Healthy, None))
}

/// A rollout of one Deployment and what is remembered of it.
struct Watch {
    finish: Finish,
    expected: BTreeMap<ObjectKey, Expected>,
    frees: bool,
}

impl Watch {
    fn new() -> Self {
        let applied = Expected { uid: "u1".to_owned(), fields: Some(1) };
        let expected = [(key("Deployment"), applied)].into();
        Self { finish: Finish::default(), expected, frees: true }
    }

    fn at(&mut self, seconds: u64, seen: &Observation) -> Assessment {
        let rollout = Rollout {
            fence: Some(FENCE),
            expected: &self.expected,
            stability: Millis::seconds(20),
            progress_deadline: Millis::seconds(600),
            frees: self.frees,
        };
        self.finish.assess(&rollout, seen, Timestamp(seconds * 1000))
    }
}

fn until(assessment: &Assessment) -> u64 {
    match assessment {
        Assessment::Wait { until, .. } => until.0 / 1000,
        other => panic!("it waits and does not say {other:?}"),
    }
}

fn code(assessment: &Assessment) -> ReasonCode {
    match assessment {
        Assessment::Failed(why) | Assessment::Fault(why) => why.code,
        Assessment::Wait { why, .. } => why.as_ref().expect("it says why").code,
        Assessment::Finished => panic!("it is not finished"),
    }
}

#[test]
fn it_is_finished_after_the_stability_window_and_a_restart_begins_it_again() {
    let mut watch = Watch::new();
    assert_eq!(until(&watch.at(100, &healthy())), 120);
    let mut restarted = object(Verdict::Healthy, None);
    restarted.pods.restarts = 1;
    let restarted = seen(restarted);
    assert_eq!(until(&watch.at(115, &restarted)), 135);
    assert_eq!(until(&watch.at(134, &restarted)), 135);
    assert_eq!(watch.at(135, &restarted), Assessment::Finished);
}

#[test]
fn a_version_that_was_ready_and_fails_is_no_success() {
    let mut watch = Watch::new();
    watch.at(100, &healthy());
    let failed = watch.at(115, &seen(object(Verdict::Degraded, Some(ReasonCode::CrashLoop))));
    assert!(matches!(failed, Assessment::Failed(_)), "{failed:?}");
    assert_eq!(code(&failed), ReasonCode::CrashLoop);
}

#[test]
fn a_fault_of_the_platform_waits_until_the_deadline_and_is_no_failure_of_the_release() {
    let mut watch = Watch::new();
    let quota = seen(object(Verdict::Degraded, Some(ReasonCode::Quota)));
    assert_eq!(until(&watch.at(100, &quota)), 700);
    let end = watch.at(700, &quota);
    assert!(matches!(end, Assessment::Fault(_)), "{end:?}");
}

#[test]
fn each_further_instance_moves_the_deadline() {
    let mut watch = Watch::new();
    let progressing = |available| {
        let mut object = object(Verdict::Progressing, Some(ReasonCode::NotReady));
        object.pods.available = available;
        seen(object)
    };
    assert_eq!(until(&watch.at(100, &progressing(0))), 700);
    assert_eq!(until(&watch.at(500, &progressing(1))), 1100);
    assert_eq!(until(&watch.at(600, &progressing(1))), 1100);
    let end = watch.at(1100, &progressing(1));
    assert!(matches!(end, Assessment::Failed(_)), "{end:?}");
    assert_eq!(code(&end), ReasonCode::ProgressDeadline);
}

#[test]
fn silence_is_neither_success_nor_failure() {
    let mut watch = Watch::new();
    watch.at(100, &healthy());
    let blind = Observation { blind_since: Some(Timestamp(105_000)), ..healthy() };
    let silent = watch.at(125, &blind);
    assert_eq!((until(&silent), code(&silent)), (705, ReasonCode::ApiUnavailable));
    // It speaks again: the window begins again, because no one knows what was in between.
    assert_eq!(until(&watch.at(200, &healthy())), 220);
    let end = watch.at(705, &blind);
    assert!(matches!(end, Assessment::Fault(_)), "{end:?}");
}

#[test]
fn what_others_did_is_named_as_that() {
    let absent = || ObservedObject { uid: None, ..object(Verdict::Missing, Some(ReasonCode::Missing)) };
    let mut watch = Watch::new();
    assert_eq!(until(&watch.at(100, &seen(absent()))), 105);
    let gone = watch.at(105, &seen(absent()));
    assert!(matches!(&gone, Assessment::Fault(why) if why.message.contains("was deleted by someone else")));
    let replaced = ObservedObject { uid: Some("u2".to_owned()), ..object(Verdict::Healthy, None) };
    let end = Watch::new().at(100, &seen(replaced));
    assert!(matches!(&end, Assessment::Fault(why) if why.message.contains("made again by someone else")));
    let mut later = object(Verdict::Healthy, None);
    later.marks.fence = Some(Fence(11));
    assert_eq!(code(&Watch::new().at(100, &seen(later))), ReasonCode::Fenced);
    let mut unmarked = object(Verdict::Healthy, None);
    unmarked.marks = Marks::default();
    assert_eq!(code(&Watch::new().at(100, &seen(unmarked))), ReasonCode::Superseded);
}

#[test]
fn a_kind_without_a_rule_claims_nothing_and_others_that_are_unknown_wait() {
    assert_eq!(until(&Watch::new().at(100, &seen(object(Verdict::Unknown, Some(ReasonCode::NoRule))))), 120);
    let unknown = Watch::new().at(100, &seen(object(Verdict::Unknown, Some(ReasonCode::NodeNotReady))));
    assert_eq!(until(&unknown), 700);
    let paused = Watch::new().at(100, &seen(object(Verdict::Suspended, Some(ReasonCode::Paused))));
    assert!(matches!(paused, Assessment::Fault(_)), "{paused:?}");
}

#[test]
fn a_pod_of_an_earlier_revision_that_is_deleted_for_it_holds_it_and_fails_nothing() {
    let pod = StuckPod { name: "web-1".to_owned(), uid: "p1".to_owned() };
    let stuck = object(Verdict::Degraded, Some(ReasonCode::StsStuckPod));
    let stuck = seen(ObservedObject { stuck: Some(pod), ..stuck });
    let mut watch = Watch::new();
    let waits = watch.at(100, &stuck);
    assert_eq!((until(&waits), code(&waits)), (700, ReasonCode::StsStuckPod));
    let end = watch.at(700, &stuck);
    assert_eq!((matches!(end, Assessment::Failed(_)), code(&end)), (true, ReasonCode::ProgressDeadline));
    // Who only judges deletes nothing, so nothing will change.
    let mut judge = Watch { frees: false, ..Watch::new() };
    assert!(matches!(judge.at(100, &stuck), Assessment::Failed(_)));
}

#[test]
fn objects_that_were_not_seen_yet_hold_it() {
    let mut watch = Watch::new();
    watch.expected.insert(key("StatefulSet"), Expected { uid: "u9".to_owned(), fields: None });
    assert_eq!(code(&watch.at(100, &healthy())), ReasonCode::NotReady);
}

#[test]
fn an_edit_by_someone_else_pauses_and_is_no_failure_of_the_release() {
    let mut watch = Watch::new();
    let crash = object(Verdict::Degraded, Some(ReasonCode::CrashLoop));
    let Assessment::Fault(why) = watch.at(0, &seen(ObservedObject { fields: Some(2), ..crash })) else {
        panic!("it is not the release that fails")
    };
    assert_eq!((why.code, why.code.fault()), (ReasonCode::Diverged, Some(Fault::Platform)));
}
