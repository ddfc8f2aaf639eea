//! The session of an agent, input by input.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_engine::{Outcome, Refusal};
use trimaran_member::agent_session::{
    AgentSession, Answer, Attachment, Changes, Close, Greeting, Input, Moment, Note, Output, Question,
};
use trimaran_member::{MemberStatus, Proposed};
use trimaran_model::id::AssignmentId;
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_replica::{Role, RoleChange};
use trimaran_wire::v1::agent::{AgentDown, AgentUp, KnownCluster, Progress, RefusedCounts, ResultAnswer};
use trimaran_wire::v1::assignment::WireOutcome;
use trimaran_wire::v1::command::CommandBody;

/// A session with the clock of its coordinator, which was sure of a quorum at the beginning.
struct Lab {
    session: AgentSession,
    boot: u64,
    voters: Vec<u64>,
}

impl Lab {
    fn new(held: &[(u64, u64)]) -> Self {
        let greeting = Greeting {
            incarnation: 7,
            known: KnownCluster::default(),
            held: held.iter().copied().collect::<BTreeMap<_, _>>(),
            listen: None,
            platforms: vec!["hosts".to_owned()],
        };
        let (agent, coordinator) = ("lab".parse().expect("a name"), "c1".parse().expect("a name"));
        let session = AgentSession::new(agent, coordinator, greeting, "10.0.0.1:7701".to_owned());
        Self { session, boot: 100_000, voters: vec![1] }
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        let member = MemberStatus {
            id: 1,
            role: RoleChange { role: Role::Follower, term: 1, leader: Some(2) },
            quorum_at: Some(Timestamp(100_000)),
            voters: self.voters.clone(),
            last_sign: BTreeMap::new(),
            now: Timestamp(0),
            wall: WallTime(5_000_000),
            at: Timestamp(100_000),
        };
        let boot = Timestamp(self.boot);
        let mut out = Vec::new();
        self.session.step(Moment { boot, wall: member.wall_at(boot), member: &member }, input, &mut out);
        out
    }

    /// Up to the answer of the log to the attach.
    fn attach(&mut self, answer: Proposed) -> Vec<Output> {
        assert!(matches!(self.step(Input::Begin).as_slice(), [Output::Acquire]));
        let proposed = self.step(Input::Acquired(Attachment::Free));
        let [Output::Propose { number, command }] = proposed.as_slice() else { panic!("{proposed:?}") };
        assert!(matches!(&command.body, CommandBody::Attach { incarnation: 7, .. }));
        self.step(Input::Answered { number: *number, answer })
    }

    fn attached(held: &[(u64, u64)]) -> Self {
        let mut lab = Self::new(held);
        let out = lab.attach(Proposed::Done { revision: 9, outcome: Outcome::Attached { attach: 3 } });
        let [Output::Note(Note::Attached), Output::Release, Output::Ask { revision: 9, question }] =
            out.as_slice()
        else {
            panic!("{out:?}")
        };
        assert_eq!(*question, Question::Welcome);
        lab
    }

    fn result(&mut self) -> (u64, CommandBody) {
        let progress = Progress {
            assignment: 4,
            fence: 5,
            done: 1,
            total: 1,
            failed: vec![],
            lost: vec![],
            failure: None,
            instances: vec![],
        };
        let outcome = WireOutcome::Done;
        let out = self.step(Input::Message(AgentUp::Result { assignment: 4, fence: 5, outcome, progress }));
        match <[Output; 1]>::try_from(out) {
            Ok([Output::Propose { number, command }]) => (number, command.body),
            other => panic!("{other:?}"),
        }
    }

    fn ping(&mut self) -> Vec<Output> {
        let ping = AgentUp::Ping { sent_ms: 1, refused: RefusedCounts::default() };
        let out = self.step(Input::Message(ping)).into_iter();
        out.filter(|it| !matches!(it, Output::Note(_))).collect()
    }
}

#[test]
fn a_refused_attach_ends_the_session_and_one_that_is_unknown_is_reported_as_lost_later() {
    let mut lab = Lab::new(&[]);
    let refused = Outcome::Refused(Refusal::Superseded);
    let out = lab.attach(Proposed::Done { revision: 9, outcome: refused });
    assert!(
        matches!(
            out.as_slice(),
            [
                Output::Release,
                Output::Send(AgentDown::Superseded),
                Output::Close { code: Close::Superseded, .. }
            ]
        ),
        "{out:?}"
    );
    assert!(lab.session.is_over());

    let mut lab = Lab::new(&[]);
    let out = lab.attach(Proposed::NotLeader);
    assert!(matches!(out.as_slice(), [Output::Release, Output::Close { code: Close::Busy, .. }]), "{out:?}");
    assert!(lab.session.is_over(), "nothing was written");

    let mut lab = Lab::new(&[]);
    lab.attach(Proposed::Indeterminate);
    assert!(!lab.session.is_over());
    lab.boot = lab.session.next_deadline().expect("it waits").0;
    assert_eq!(lab.boot, 112_000, "as long as an agent may be silent");
    let out = lab.step(Input::Due);
    assert!(matches!(out.as_slice(), [Output::Ask { question: Question::AttachedHere, .. }]), "{out:?}");
    lab.step(Input::Found(Answer::AttachedHere(Some(3))));
    assert!(matches!(lab.step(Input::Due).as_slice(), [Output::Acquire]));
    let out = lab.step(Input::Acquired(Attachment::Free));
    let [Output::Propose { number, command }] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(command.body, CommandBody::AgentLost { agent: "lab".to_owned(), attach: 3 });
    let answer = Proposed::NotLeader;
    lab.step(Input::Answered { number: *number, answer });
    assert_eq!(lab.session.next_deadline(), Some(Timestamp(112_300)), "once more a moment later");
}

#[test]
fn the_end_of_a_session_is_written_and_an_agent_that_came_back_is_not_lost() {
    let mut lab = Lab::attached(&[]);
    let out = lab.step(Input::Closed { goodbye: false, silent: Millis(2000) });
    assert!(matches!(out.as_slice(), [Output::Acquire]), "{out:?}");
    let out = lab.step(Input::Acquired(Attachment::This));
    let [Output::Note(Note::Detached), Output::Propose { number, command }] = out.as_slice() else {
        panic!("{out:?}")
    };
    assert!(matches!(command.body, CommandBody::Detach { attach: 3, goodbye: false, .. }));
    let answer = Proposed::Done { revision: 10, outcome: Outcome::Nothing };
    assert!(matches!(lab.step(Input::Answered { number: *number, answer }).as_slice(), [Output::Release]));
    assert_eq!(lab.session.next_deadline(), Some(Timestamp(110_000)), "12 s after its last sign");
    lab.boot = 110_000;
    assert!(matches!(lab.step(Input::Due).as_slice(), [Output::Acquire]));
    let out = lab.step(Input::Acquired(Attachment::Another));
    assert!(matches!(out.as_slice(), [Output::Release]) && lab.session.is_over(), "{out:?}");

    let mut lab = Lab::attached(&[]);
    lab.step(Input::Closed { goodbye: false, silent: Millis(0) });
    let out = lab.step(Input::Acquired(Attachment::Another));
    assert!(matches!(out.as_slice(), [Output::Release]), "another session is the agent's: {out:?}");
    assert!(lab.session.is_over());
}

#[test]
fn a_ping_is_answered_only_while_this_coordinator_is_sure_of_a_quorum() {
    let mut lab = Lab::attached(&[]);
    lab.voters = vec![1, 2, 3];
    assert!(matches!(lab.ping().as_slice(), [Output::Send(AgentDown::Pong { sent_ms: 1, .. })]));
    lab.boot += 3001;
    assert!(lab.ping().is_empty(), "it says nothing");
    lab.boot = 105_001;
    let out = lab.ping();
    assert!(matches!(out.as_slice(), [Output::Close { code: Close::Busy, .. }]), "{out:?}");
    assert!(!lab.session.is_attached());

    let mut alone = Lab::attached(&[]);
    alone.boot = 105_001;
    assert!(alone.ping().is_empty() && alone.session.is_attached(), "there is no other one to go to");
}

#[test]
fn a_result_is_answered_when_the_log_has_it_and_proposed_again_when_that_is_busy() {
    let mut lab = Lab::attached(&[]);
    let (number, body) = lab.result();
    assert!(lab.step(Input::Answered { number, answer: Proposed::Busy("full".to_owned()) }).is_empty());
    assert_eq!(lab.session.next_deadline(), Some(Timestamp(100_200)));
    lab.boot += 200;
    let out = lab.step(Input::Due);
    let [Output::Propose { number: again, command }] = out.as_slice() else { panic!("{out:?}") };
    assert!(*again > number && command.body == body);
    let outcome = Outcome::ReportApplied;
    let out = lab.step(Input::Answered { number: *again, answer: Proposed::Done { revision: 12, outcome } });
    let [Output::Note(Note::ForgetProgress(_)), Output::Send(AgentDown::Answer { answer, .. })] =
        out.as_slice()
    else {
        panic!("{out:?}")
    };
    assert_eq!(*answer, ResultAnswer::Applied);
    let outcome = Outcome::ReportApplied;
    let twice = lab.step(Input::Answered { number, answer: Proposed::Done { revision: 12, outcome } });
    assert!(twice.is_empty(), "an answer that no one waits for");
}

#[test]
fn what_the_agent_holds_and_the_state_has_not_is_canceled_and_a_later_incarnation_ends_the_session() {
    let mut lab = Lab::attached(&[(4, 5), (6, 7)]);
    let everything = Changes { revision: 10, everything: true, ..Changes::default() };
    let out = lab.step(Input::Changed(everything));
    let [Output::Ask { revision: 10, question: Question::Everything { known } }] = out.as_slice() else {
        panic!("{out:?}")
    };
    assert_eq!(known.iter().copied().collect::<Vec<_>>(), [4, 6]);
    let out = lab.step(Input::Found(Answer::Everything {
        revision: 10,
        targets: vec![],
        runners: vec![],
        standing: vec![],
        assignments: vec![],
    }));
    let sent = |it: Output| match it {
        Output::Send(AgentDown::Cancel { assignment, fence }) => Some((assignment, fence)),
        _ => None,
    };
    assert_eq!(out.into_iter().filter_map(sent).collect::<Vec<_>>(), [(4, 5), (6, 7)]);

    let out = lab.step(Input::Changed(Changes { superseded: true, ..Changes::default() }));
    assert!(
        matches!(
            out.as_slice(),
            [Output::Send(AgentDown::Superseded), Output::Close { code: Close::Superseded, .. }]
        ),
        "{out:?}"
    );
    assert!(!lab.session.takes_messages());
}

#[test]
fn an_inventory_that_changed_is_read_again_after_a_rest_and_sent_when_it_is_another_one() {
    let mut lab = Lab::attached(&[]);
    let runners = |revision| Input::Changed(Changes { revision, runners: true, ..Changes::default() });
    let answer = || Answer::Inventory { revision: 12, runners: Vec::new(), standing: Vec::new() };
    lab.step(runners(10));
    assert!(lab.session.next_deadline().is_some_and(|at| at.0 <= lab.boot), "nothing was read yet");
    let asked = |out: &[Output], at| matches!(out, [Output::Ask { revision, question: Question::Inventory }] if *revision == at);
    let out = lab.step(Input::Due);
    assert!(asked(&out, 10), "{out:?}");
    lab.boot += 100;
    let out = lab.step(Input::Found(answer()));
    assert!(out.iter().any(|it| matches!(it, Output::Send(AgentDown::Inventory { .. }))), "{out:?}");
    lab.step(runners(11));
    lab.step(runners(14));
    assert_eq!(lab.session.next_deadline(), Some(Timestamp(lab.boot + 900)));
    lab.boot += 899;
    assert!(lab.step(Input::Due).is_empty(), "it rests");
    lab.boot += 1;
    let out = lab.step(Input::Due);
    assert!(asked(&out, 14), "both changes in one: {out:?}");
    let out = lab.step(Input::Found(answer()));
    assert!(!out.iter().any(|it| matches!(it, Output::Send(AgentDown::Inventory { .. }))), "{out:?}");
}

#[test]
fn settings_that_change_rest_until_an_order_needs_them() {
    let mut lab = Lab::attached(&[]);
    let targets = |revision| Changes { revision, targets: true, ..Changes::default() };
    let asked = |out: &[Output], at| matches!(out, [Output::Ask { revision, question: Question::Everything { .. } }] if *revision == at);
    let answer = || Answer::Everything {
        revision: 12,
        targets: vec![],
        runners: vec![],
        standing: vec![],
        assignments: vec![],
    };
    let out = lab.step(Input::Changed(targets(10)));
    assert!(asked(&out, 10), "nothing was read yet: {out:?}");
    lab.boot += 100;
    lab.step(Input::Found(answer()));
    assert!(lab.step(Input::Changed(targets(11))).is_empty(), "it rests");
    assert!(lab.step(Input::Changed(targets(13))).is_empty(), "it rests");
    assert_eq!(lab.session.next_deadline(), Some(Timestamp(lab.boot + 900)));
    lab.boot += 900;
    let out = lab.step(Input::Due);
    assert!(asked(&out, 13), "both changes in one: {out:?}");
    lab.boot += 100;
    lab.step(Input::Found(answer()));

    let order = BTreeSet::from([AssignmentId(7)]);
    assert!(lab.step(Input::Changed(targets(14))).is_empty(), "it rests");
    let changes = Changes { revision: 15, assignments: order, ..Changes::default() };
    let out = lab.step(Input::Changed(changes));
    assert!(asked(&out, 15), "the order comes behind the settings: {out:?}");
    assert_eq!(lab.session.next_deadline(), None);
}
