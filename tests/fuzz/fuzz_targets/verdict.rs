//! Verdicts: no documents make the judge panic, and only a healthy verdict has no reason.
//!
//! The bytes are JSON values one after the other. A document without a known kind gets one, so that mutations of
//! status fields are worth something.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Deserializer, Value, json};
use trimaran_kubernetes_core::custom::RuleSet;
use trimaran_kubernetes_core::object::Object;
use trimaran_kubernetes_core::snapshot::Snapshot;
use trimaran_kubernetes_core::verdict::judge;
use trimaran_model::time::WallTime;
use trimaran_model::verdict::Verdict;

const KINDS: &[(&str, &str)] = &[
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "Pod"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("corp.example/v1", "Widget"),
    ("v1", "Event"),
];

fuzz_target!(|bytes: &[u8]| {
    let (now, bytes) = match bytes.split_first_chunk::<8>() {
        Some((now, rest)) => (i64::from_le_bytes(*now), rest),
        None => (0, bytes),
    };
    let read = Deserializer::from_slice(bytes).into_iter::<Value>().map_while(Result::ok);
    let mut documents: Vec<Value> = read.take(16).collect();
    for (index, document) in documents.iter_mut().enumerate() {
        if let Value::Object(map) = document {
            let (version, kind) = KINDS[index % KINDS.len()];
            map.entry("apiVersion").or_insert_with(|| json!(version));
            map.entry("kind").or_insert_with(|| json!(kind));
        }
    }
    let snapshot = Snapshot::new(&documents);
    let rules = RuleSet::builtin();
    let subjects: Vec<Object<'_>> = snapshot.objects().chain(snapshot.roots()).collect();
    for subject in subjects {
        let judgment = judge(&snapshot, subject, &rules, WallTime(now), None);
        assert_eq!(judgment.verdict == Verdict::Healthy, judgment.reason.is_none(), "{judgment:?}");
    }
});
