//! From which state a job goes back, and what that costs.
//!
//! There are two candidates. **The savepoint** is from before the version that is left: its state is exact, and everything
//! that version processed is processed again, so sinks that do not deduplicate see that output twice, those with
//! transactions see again what was committed. **The latest state** was written by the version that is left: next to
//! nothing is repeated, and whatever it did wrong stays in the state.
//!
//! Nothing is ever lost as long as the sources can be read again from the time of the state. Where they can't, or where the
//! replay is longer than allowed, a human chooses, and gets both costs as numbers.
//!
//! Deliberately not here: how the chosen state is come by (the machine).

use trimaran_model::pipeline::{FlinkRestore, FlinkRollback};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, WallTime};

use crate::ledger::StateRef;

/// What is known when a job goes back.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    pub now: WallTime,
    pub rules: &'a FlinkRollback,
    /// What a human asked for.
    pub from: Option<FlinkRestore>,
    /// The newest savepoint that the release to restore has written.
    pub savepoint: Option<&'a StateRef>,
    /// The last completed checkpoint of the job that is left; `None`: it completed none.
    pub checkpoint: Option<&'a StateRef>,
    /// What the job that is left has processed.
    pub processed: Processed,
}

/// What a job has processed since it began, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Processed {
    pub records: Records,
    /// For how long.
    pub time: Millis,
}

/// Numbers of records, restarts included: one that was read again counts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Records {
    /// That came to the last tasks, in which the sinks are; `None`: not known.
    pub at_sinks: Option<u64>,
    /// That the first tasks, in which the sources are, have passed on; `None`: not known.
    pub at_sources: Option<u64>,
    pub precision: Precision,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// The job was at work, and what Flink shows of it is some seconds old.
    #[default]
    About,
    /// There were more: what Flink counted before is not kept any more.
    AtLeast,
    /// Of a job that has ended.
    Exact,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// From this savepoint, whatever the job that is left has done.
    Savepoint { state: StateRef, cost: Cost },
    /// Stop the job with a savepoint when it can be stopped, otherwise from its last checkpoint.
    Latest { cost: Cost },
    /// Nothing may be done: why, and the costs of what a human can choose.
    Held { code: ReasonCode, message: String },
}

/// What a state costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// How much time the sources go back.
    pub replay: Millis,
    /// Records that are processed again.
    pub repeated: Records,
    /// Output that sinks with transactions have committed comes again.
    pub repeats_committed: bool,
    /// State that the version that is left has written is discarded.
    pub discards_state: bool,
    /// What the sources no longer have is lost.
    pub loses: Option<Loss>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    NotReplayable,
    /// They keep records for less than the replay.
    Retention(Millis),
}

/// Chooses. Total: every situation has an answer, and the answer is never silent about a loss.
pub fn choose(situation: &Situation<'_>) -> Choice {
    let Situation { rules, savepoint, checkpoint, .. } = *situation;
    let of_savepoint = savepoint.map(|state| (state, cost_of_savepoint(situation, state)));
    let of_latest = cost_of_latest(situation);
    let by_human = situation.from.filter(|from| *from != FlinkRestore::Ask);
    let prefer = by_human.unwrap_or(rules.prefer);
    match (of_savepoint, checkpoint) {
        (None, None) => Choice::Held {
            code: ReasonCode::StateMissing,
            message:
                "there is no savepoint of the release to restore, and the job that is left completed no \
                      checkpoint"
                    .to_owned(),
        },
        // The version that is left wrote nothing that could be preferred.
        (Some((state, cost)), None) => savepoint_or_held(situation, state, cost, by_human.is_some()),
        (None, Some(_)) => match (by_human, of_latest.loses) {
            (Some(FlinkRestore::Savepoint), _) => Choice::Held {
                code: ReasonCode::StateMissing,
                message: "there is no savepoint of the release to restore".to_owned(),
            },
            (None, Some(_)) => held(situation, None, of_latest),
            _ => Choice::Latest { cost: of_latest },
        },
        (Some((state, cost)), Some(_)) => match prefer {
            FlinkRestore::Ask => held(situation, Some(cost), of_latest),
            FlinkRestore::Savepoint => savepoint_or_held(situation, state, cost, by_human.is_some()),
            FlinkRestore::LastCheckpoint if by_human.is_none() && of_latest.loses.is_some() => {
                held(situation, Some(cost), of_latest)
            }
            FlinkRestore::LastCheckpoint => Choice::Latest { cost: of_latest },
        },
    }
}

fn savepoint_or_held(situation: &Situation<'_>, state: &StateRef, cost: Cost, by_human: bool) -> Choice {
    let is_too_long = cost.replay > situation.rules.max_replay;
    if by_human || (!is_too_long && cost.loses.is_none()) {
        return Choice::Savepoint { state: state.clone(), cost };
    }
    held(situation, Some(cost), cost_of_latest(situation))
}

/// A human chooses between what there is.
fn held(situation: &Situation<'_>, of_savepoint: Option<Cost>, of_latest: Cost) -> Choice {
    let mut parts = Vec::new();
    if let (Some(state), Some(cost)) = (situation.savepoint, of_savepoint) {
        parts.push(format!("from the savepoint {}: {}", state.path, cost.describe()));
    }
    if situation.checkpoint.is_some() {
        parts.push(format!("from the last checkpoint: {}", of_latest.describe()));
    }
    Choice::Held { code: ReasonCode::StateChoice, message: parts.join("; ") }
}

fn cost_of_savepoint(situation: &Situation<'_>, state: &StateRef) -> Cost {
    let replay = situation.now - state.at;
    Cost {
        replay,
        repeated: situation.processed.records,
        repeats_committed: situation.checkpoint.is_some(),
        discards_state: situation.checkpoint.is_some(),
        loses: loss(situation.rules, replay),
    }
}

fn cost_of_latest(situation: &Situation<'_>) -> Cost {
    let replay = situation.checkpoint.map_or(Millis::ZERO, |state| situation.now - state.at);
    let Processed { records, time } = situation.processed;
    let share = |records: u64| match time.0 {
        0 => records,
        time => u64::try_from(u128::from(records) * u128::from(replay.0.min(time)) / u128::from(time))
            .expect("a share is at most the whole"),
    };
    Cost {
        replay,
        repeated: Records {
            at_sinks: records.at_sinks.map(share),
            at_sources: records.at_sources.map(share),
            precision: records.precision,
        },
        repeats_committed: false,
        discards_state: false,
        loses: loss(situation.rules, replay),
    }
}

fn loss(rules: &FlinkRollback, replay: Millis) -> Option<Loss> {
    if !rules.sources.replayable {
        return Some(Loss::NotReplayable);
    }
    let kept = rules.sources.retention.filter(|kept| *kept < replay);
    kept.map(Loss::Retention)
}

impl Cost {
    /// One sentence without its end.
    pub fn describe(&self) -> String {
        let mut text = format!("replays {} ({})", rounded(self.replay), self.repeated.describe());
        if self.repeats_committed {
            text.push_str(", output that was committed comes again, also from sinks with transactions");
        }
        if self.discards_state {
            text.push_str(", state changes of the version that is left are discarded");
        }
        match self.loses {
            None => {}
            Some(Loss::NotReplayable) => {
                text.push_str(", LOSES what was read since, because the sources can't be read again");
            }
            Some(Loss::Retention(kept)) => {
                text.push_str(&format!(
                    ", LOSES what is older than {kept}, which the sources no longer keep"
                ));
            }
        }
        text
    }
}

impl Records {
    fn describe(&self) -> String {
        let how = match self.precision {
            Precision::About => "about ",
            Precision::AtLeast => "at least ",
            Precision::Exact => "",
        };
        match (self.at_sinks, self.at_sources) {
            (None, None) => "an unknown number of records are processed again".to_owned(),
            (Some(sinks), Some(sources)) if sinks != sources => {
                format!("{how}{sinks} records are processed again at the sinks, {sources} at the sources")
            }
            (Some(records), _) | (None, Some(records)) => {
                format!("{how}{records} records are processed again")
            }
        }
    }
}

/// Whole seconds, for people.
fn rounded(time: Millis) -> Millis {
    Millis::seconds(time.0.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::StateKind;
    use trimaran_model::id::Digest;
    use trimaran_model::pipeline::FlinkSources;

    const NOW: WallTime = WallTime(10_000_000);

    fn state(kind: StateKind, age: Millis, of: u8) -> StateRef {
        let path = format!("file:/{}-{age}", kind.as_str());
        StateRef {
            kind,
            path,
            at: WallTime(NOW.0 - i64::try_from(age.0).expect("small")),
            of: Digest([of; 32]),
        }
    }

    fn savepoint(age: Millis) -> StateRef {
        state(StateKind::Savepoint, age, 1)
    }

    fn checkpoint(age: Millis) -> StateRef {
        state(StateKind::Checkpoint, age, 2)
    }

    fn records(precision: Precision) -> Records {
        Records { at_sinks: Some(840), at_sources: Some(840), precision }
    }

    fn decide(
        rules: &FlinkRollback,
        from: Option<FlinkRestore>,
        savepoint: Option<&StateRef>,
        checkpoint: Option<&StateRef>,
    ) -> Choice {
        let processed = Processed { records: records(Precision::About), time: Millis(4200) };
        choose(&Situation { now: NOW, rules, from, savepoint, checkpoint, processed })
    }

    #[test]
    fn a_young_savepoint_is_preferred_and_its_cost_is_in_numbers() {
        let (s, c) = (savepoint(Millis::seconds(5)), checkpoint(Millis(300)));
        let Choice::Savepoint { state, cost } = decide(&FlinkRollback::default(), None, Some(&s), Some(&c))
        else {
            panic!("the savepoint is young");
        };
        assert_eq!((state, cost.replay, cost.repeated.at_sinks), (s, Millis::seconds(5), Some(840)));
        assert!(cost.repeats_committed && cost.discards_state && cost.loses.is_none());
        assert!(cost.describe().contains("replays 5s (about 840 records"), "{}", cost.describe());
    }

    /// What Flink no longer shows is not passed over in silence, and the two ends of a job may differ.
    #[test]
    fn a_number_is_as_exact_as_it_is_said_to_be() {
        let (s, rules) = (savepoint(Millis::seconds(5)), FlinkRollback::default());
        let least = records(Precision::AtLeast);
        let exact = Records { at_sources: Some(1200), ..records(Precision::Exact) };
        let unknown = Records { at_sinks: None, at_sources: None, ..least };
        for (records, says) in [
            (least, "(at least 840 records are processed again)"),
            (exact, "(840 records are processed again at the sinks, 1200 at the sources)"),
            (Records { at_sinks: None, ..exact }, "(1200 records are processed again)"),
            (unknown, "(an unknown number of records are processed again)"),
        ] {
            let processed = Processed { records, time: Millis(4200) };
            let (from, savepoint) = (None, Some(&s));
            let choice =
                choose(&Situation { now: NOW, rules: &rules, from, savepoint, checkpoint: None, processed });
            let Choice::Savepoint { cost, .. } = choice else { panic!("{choice:?}") };
            assert!(cost.describe().contains(says), "{}", cost.describe());
        }
    }

    #[test]
    fn without_a_checkpoint_nothing_was_committed_that_could_come_again() {
        let s = savepoint(Millis::seconds(5));
        let prefer = FlinkRestore::LastCheckpoint;
        let rules = FlinkRollback { prefer, ..FlinkRollback::default() };
        let Choice::Savepoint { cost, .. } = decide(&rules, None, Some(&s), None) else {
            panic!("there is nothing else");
        };
        assert!(!cost.repeats_committed && !cost.discards_state);
    }

    #[test]
    fn the_latest_state_repeats_what_came_after_it_alone() {
        let (s, c) = (savepoint(Millis::hours(2)), checkpoint(Millis(300)));
        let rules = FlinkRollback { prefer: FlinkRestore::LastCheckpoint, ..FlinkRollback::default() };
        let Choice::Latest { cost } = decide(&rules, None, Some(&s), Some(&c)) else {
            panic!("it is preferred")
        };
        // 840 records in 4.2 s are 60 in 0.3 s.
        assert_eq!((cost.replay, cost.repeated.at_sources), (Millis(300), Some(60)));
    }

    #[test]
    fn an_old_savepoint_is_a_humans_choice_between_two_costs() {
        let (s, c) = (savepoint(Millis::minutes(31)), checkpoint(Millis(300)));
        let rules = FlinkRollback::default();
        let Choice::Held { code, message } = decide(&rules, None, Some(&s), Some(&c)) else {
            panic!("31 minutes are replayed")
        };
        assert_eq!(code, ReasonCode::StateChoice);
        assert!(
            message.contains(&s.path) && message.contains("replays 31m") && message.contains("60 records")
        );
        let chosen = |from| decide(&rules, Some(from), Some(&s), Some(&c));
        assert!(matches!(chosen(FlinkRestore::Savepoint), Choice::Savepoint { .. }));
        assert!(matches!(chosen(FlinkRestore::LastCheckpoint), Choice::Latest { .. }));
    }

    #[test]
    fn whatever_would_lose_records_is_held_and_says_so() {
        let (s, c) = (savepoint(Millis::minutes(20)), checkpoint(Millis(300)));
        let sources = |replayable, retention| FlinkSources { replayable, retention };
        let young =
            FlinkRollback { sources: sources(true, Some(Millis::minutes(10))), ..FlinkRollback::default() };
        let none = FlinkRollback { sources: sources(false, None), ..FlinkRollback::default() };
        for rules in [&young, &none] {
            for (s, c) in [(Some(&s), Some(&c)), (Some(&s), None)] {
                let choice = decide(rules, None, s, c);
                let Choice::Held { message, .. } = choice else { panic!("{rules:?}: {choice:?}") };
                assert!(message.contains("LOSES"), "{message}");
            }
        }
        // The retention covers the checkpoint.
        let latest = FlinkRollback { prefer: FlinkRestore::LastCheckpoint, ..young };
        assert!(matches!(decide(&latest, None, Some(&s), Some(&c)), Choice::Latest { .. }));
        assert!(matches!(decide(&none, None, None, Some(&c)), Choice::Held { .. }));
    }

    #[test]
    fn without_any_state_nothing_is_begun() {
        let Choice::Held { code, .. } = decide(&FlinkRollback::default(), None, None, None) else {
            panic!("there is nothing to begin from")
        };
        assert_eq!(code, ReasonCode::StateMissing);
    }

    /// Every situation of a grid: a choice that loses records, or that replays more than allowed, is a human's.
    #[test]
    fn no_choice_without_a_human_loses_or_replays_too_much() {
        let ages = [Millis(300), Millis::minutes(29), Millis::minutes(31), Millis::hours(200)];
        let states = |make: fn(Millis) -> StateRef| -> Vec<Option<StateRef>> {
            ages.into_iter().map(|age| Some(make(age))).chain([None]).collect()
        };
        let mut tried = 0;
        for prefer in [FlinkRestore::Savepoint, FlinkRestore::LastCheckpoint, FlinkRestore::Ask] {
            for replayable in [true, false] {
                let sources = FlinkSources { replayable, retention: Some(Millis::hours(168)) };
                let rules = FlinkRollback { prefer, sources, ..FlinkRollback::default() };
                for s in &states(savepoint) {
                    for c in &states(checkpoint) {
                        tried += 1;
                        match decide(&rules, None, s.as_ref(), c.as_ref()) {
                            Choice::Savepoint { cost, .. } => {
                                assert!(cost.loses.is_none() && cost.replay <= rules.max_replay);
                            }
                            Choice::Latest { cost } => assert!(cost.loses.is_none()),
                            Choice::Held { message, .. } => assert!(!message.is_empty()),
                        }
                    }
                }
            }
        }
        assert_eq!(tried, 3 * 2 * 5 * 5);
    }
}
