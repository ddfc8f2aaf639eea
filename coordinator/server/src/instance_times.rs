//! Since when the instances of live assignments are as they are, as this member saw it. Agents report what changed and no
//! times, because their clocks may be wrong.

use std::collections::BTreeMap;

use trimaran_model::time::WallTime;
use trimaran_wire::v1::agent::Progress;

/// By assignment and name; as many as live progress has.
#[derive(Debug, Default)]
pub(crate) struct InstanceTimes(BTreeMap<u64, BTreeMap<String, Seen>>);

#[derive(Debug)]
struct Seen {
    status: String,
    message: String,
    since: WallTime,
}

impl InstanceTimes {
    /// What came of an assignment: the time of each instance that is another than before is `now`.
    pub(crate) fn note(&mut self, progress: &Progress, now: WallTime) {
        let mut before = self.0.remove(&progress.assignment).unwrap_or_default();
        let mut seen = BTreeMap::new();
        for it in &progress.instances {
            let same =
                before.remove(&it.name).filter(|seen| seen.status == it.status && seen.message == it.message);
            let new = || Seen { status: it.status.clone(), message: it.message.clone(), since: now };
            seen.insert(it.name.clone(), same.unwrap_or_else(new));
        }
        self.0.insert(progress.assignment, seen);
    }

    /// Since when an instance of an assignment is as it was reported last.
    pub(crate) fn since(&self, assignment: u64, instance: &str) -> Option<WallTime> {
        self.0.get(&assignment)?.get(instance).map(|seen| seen.since)
    }

    pub(crate) fn forget(&mut self, assignment: u64) {
        self.0.remove(&assignment);
    }

    /// Forgets all other assignments.
    pub(crate) fn retain(&mut self, is_live: impl Fn(u64) -> bool) {
        self.0.retain(|assignment, _| is_live(*assignment));
    }
}

#[cfg(test)]
mod tests {
    use trimaran_wire::v1::assignment::WireInstance;

    use super::*;

    fn progress(status: &str, message: &str) -> Progress {
        let instance = WireInstance {
            name: "host-3".to_owned(),
            status: status.to_owned(),
            release: None,
            code: None,
            message: message.to_owned(),
            began_from: None,
            steps: Vec::new(),
        };
        Progress {
            assignment: 7,
            fence: 1,
            done: 0,
            total: 1,
            failed: Vec::new(),
            lost: Vec::new(),
            failure: None,
            instances: vec![instance],
        }
    }

    #[test]
    fn a_time_is_that_of_the_last_change() {
        let mut times = InstanceTimes::default();
        times.note(&progress("updating", "stopping"), WallTime(1000));
        times.note(&progress("updating", "stopping"), WallTime(2000));
        assert_eq!(times.since(7, "host-3"), Some(WallTime(1000)));
        times.note(&progress("updating", "verifying"), WallTime(3000));
        assert_eq!(times.since(7, "host-3"), Some(WallTime(3000)));
        times.note(&progress("healthy", "verifying"), WallTime(4000));
        assert_eq!(times.since(7, "host-3"), Some(WallTime(4000)));
        assert_eq!((times.since(7, "host-4"), times.since(8, "host-3")), (None, None));
        times.retain(|assignment| assignment != 7);
        assert_eq!(times.since(7, "host-3"), None);
    }
}
