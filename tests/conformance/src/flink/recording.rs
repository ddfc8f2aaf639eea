//! What a JobManager answers to one sequence of calls, as text: recorded from real ones, and the same of the model.
//!
//! Each line is a question and the answer, without what differs between two recordings (paths, times, texts of stack
//! traces). `tests/env/flink/recordings/VERSION.txt` has the lines of a version; a test of the real clusters rewrites it
//! with `UPDATE=1`.

use std::fmt::Write as _;

use trimaran_agent_core::platform::Answer;
use trimaran_flink_core::call::{Call, JobState, Measured, Refusal, Reply, TriggerState};
use trimaran_flink_core::files::{FilePaths, ShippedFiles};
use trimaran_flink_core::id::FlinkId;
use trimaran_flink_core::ledger::{RunRequest, Start, StateKind, StateRef};
use trimaran_flink_core::rest::run_request;
use trimaran_model::id::Digest;
use trimaran_model::release::{Artifact, FlinkRelease};
use trimaran_model::time::{Millis, WallTime};

use super::lab::Cluster;
use crate::driver::flink::{RULES, files_of, rules_of};

/// Something that is waited for takes no longer.
const WAIT_MAX: Millis = Millis::seconds(90);
const POLL: Millis = Millis(50);

/// The jars that are used, by the names of the demo job's variants.
pub const JARS: [&str; 7] = ["v1", "newuid", "mainthrows", "noexecute", "nomain", "notajar", "crash"];

struct Recorder<'a, C> {
    cluster: &'a mut C,
    jar: &'a dyn Fn(&str) -> Artifact,
    /// A number that no other recording on this cluster has.
    seed: u64,
    text: String,
}

/// Plays the sequence and writes it down.
pub fn record<C: Cluster>(cluster: &mut C, jar: &dyn Fn(&str) -> Artifact, seed: u64, root: &str) -> String {
    let mut recorder = Recorder { cluster, jar, seed, text: String::new() };
    recorder.unknown_job();
    recorder.bad_jars();
    let savepoint = recorder.one_job(root);
    recorder.burnt_ids(&savepoint);
    recorder.restarts(&savepoint);
    recorder.files();
    recorder.text
}

impl<C: Cluster> Recorder<'_, C> {
    fn id(&self, n: u8) -> FlinkId {
        let mut id = [n; 16];
        id[..8].copy_from_slice(&self.seed.to_be_bytes());
        FlinkId(id)
    }

    fn call(&mut self, call: Call) -> Reply {
        match self.cluster.call(call) {
            Answer::Reply(reply) => reply,
            other => panic!("no reply: {other:?}"),
        }
    }

    fn line(&mut self, question: &str, call: Call) -> Reply {
        let reply = self.call(call);
        let answer = answer(&reply);
        writeln!(self.text, "{question}: {answer}").expect("a string takes it");
        reply
    }

    fn upload(&mut self, name: &str) -> String {
        self.upload_with(name, None).0
    }

    /// The jar's id, and where the files are.
    fn upload_with(&mut self, name: &str, files: Option<ShippedFiles>) -> (String, FilePaths) {
        let jar = (self.jar)(name);
        let name = format!("recording-{}-{name}.jar", self.seed);
        match self.call(Call::Upload { name: name.clone(), jar, files, is_fresh: false }) {
            Reply::Uploaded { jar, files, .. } => (jar, files),
            other => panic!("{name}: {other:?}"),
        }
    }

    fn request(&mut self, name: &str, n: u8, from: &Start) -> RunRequest {
        let jar = self.upload(name);
        self.request_with(jar, name, n, &FilePaths::new(), from)
    }

    fn request_with(
        &mut self,
        jar: String,
        name: &str,
        n: u8,
        files: &FilePaths,
        from: &Start,
    ) -> RunRequest {
        let mut release = crate::driver::flink::release(1);
        release = FlinkRelease { jar: (self.jar)(name), ..release };
        if name == "nomain" {
            release.job.entry_class = "trimaran.demo.Missing".to_owned();
        }
        run_request(jar, self.id(n), &release, files, from)
    }

    /// A file that the JobManager does not have ends a run, and leaves its id free.
    fn files(&mut self) {
        let files = files_of(&[(RULES, rules_of("v1"))]);
        let pipeline = format!("recording-{}", self.seed);
        let shipped = ShippedFiles { pipeline, release: Digest([1; 32]), files };
        let (jar, there) = self.upload_with("v1", Some(shipped.clone()));
        let (_, again) = self.upload_with("v1", Some(shipped));
        writeln!(self.text, "the same file is uploaded once: {}", there == again).expect("a string takes it");
        let gone = there.iter().map(|(name, path)| (name.clone(), format!("{path}-gone"))).collect();
        let job = self.id(10);
        let request = self.request_with(jar.clone(), "v1", 10, &gone, &Start::Empty);
        self.line("a plan with a file that is not there", Call::Plan(request.clone()));
        self.line("a run with it", Call::Run { job, request, at: None });
        let request = self.request_with(jar, "v1", 10, &there, &Start::Empty);
        self.line("a run of the same id with the file", Call::Run { job, request, at: None });
        self.wait_until_it_works(10);
        self.line("its cancel", Call::Cancel { job });
        self.wait(10, JobState::Canceled);
    }

    /// Asks until the list shows the job so.
    fn wait(&mut self, n: u8, wanted: JobState) {
        let (id, end) = (self.id(n), self.cluster.now() + WAIT_MAX);
        loop {
            if let Reply::Jobs { jobs, .. } = self.call(Call::Jobs)
                && jobs.iter().any(|job| job.id == id && job.state == wanted)
            {
                return;
            }
            self.pause(end);
        }
    }

    /// Asks until all tasks run and a checkpoint has completed.
    fn wait_until_it_works(&mut self, n: u8) {
        let (job, end) = (self.id(n), self.cluster.now() + WAIT_MAX);
        loop {
            if let Reply::Sampled(sample) = self.call(Call::Sample { job }) {
                let runs = sample.tasks.is_some_and(|it| it.total > 0 && it.running_or_finished == it.total);
                if runs && sample.checkpoints.is_some_and(|counts| counts.completed > 0) {
                    return;
                }
            }
            self.pause(end);
        }
    }

    fn pause(&mut self, end: trimaran_model::time::Timestamp) {
        let now = self.cluster.now();
        assert!(now < end, "what is waited for does not come:\n{}", self.text);
        self.cluster.wait_until(now + POLL);
    }

    fn unknown_job(&mut self) {
        let (job, trigger) = (self.id(1), self.id(2));
        self.line("a sample of an unknown job", Call::Sample { job });
        self.line("what it has processed", Call::Measure { job });
        self.line("its last checkpoint", Call::Checkpoint { job });
        self.line("its exception", Call::Exception { job });
        self.line("its topology", Call::Topology { job });
        self.line("an unknown trigger of it", Call::StopStatus { job, trigger });
        self.line("a cancel of it", Call::Cancel { job });
        let directory = "file:/never-made".to_owned();
        self.line("a stop of it", Call::Stop { job, trigger, directory });
        self.wait_for_trigger(1, 2);
        self.line("what became of the stop", Call::StopStatus { job, trigger });
    }

    fn wait_for_trigger(&mut self, job: u8, trigger: u8) {
        let (job, trigger, end) = (self.id(job), self.id(trigger), self.cluster.now() + WAIT_MAX);
        while matches!(
            self.call(Call::StopStatus { job, trigger }),
            Reply::Stop { trigger: TriggerState::InProgress, .. }
        ) {
            self.pause(end);
        }
    }

    fn bad_jars(&mut self) {
        for name in ["notajar", "nomain", "mainthrows", "noexecute"] {
            let request = self.request(name, 3, &Start::Empty);
            self.line(&format!("a plan of {name}"), Call::Plan(request.clone()));
            self.line(&format!("a run of {name}"), Call::Run { job: self.id(3), request, at: None });
        }
        let gone = RunRequest { jar: "gone.jar".to_owned(), body: "{}".to_owned() };
        self.line("a run of a jar that is not there", Call::Run { job: self.id(3), request: gone, at: None });
        // None of them has used the id up.
        let request = self.request("v1", 3, &Start::Empty);
        self.line("a run with the id that they had", Call::Run { job: self.id(3), request, at: None });
        self.wait(3, JobState::Running);
        self.line("its cancel", Call::Cancel { job: self.id(3) });
        self.wait(3, JobState::Canceled);
        self.line("a cancel of the canceled job", Call::Cancel { job: self.id(3) });
    }

    /// A job that is run, planned, stopped, and asked about afterwards; its savepoint.
    fn one_job(&mut self, root: &str) -> StateRef {
        let request = self.request("v1", 4, &Start::Empty);
        self.line("a plan of v1", Call::Plan(request.clone()));
        self.line("a run of v1", Call::Run { job: self.id(4), request: request.clone(), at: None });
        self.line("the same run again", Call::Run { job: self.id(4), request: request.clone(), at: None });
        self.wait_until_it_works(4);
        self.line("a sample of it", Call::Sample { job: self.id(4) });
        self.line("what it has processed", Call::Measure { job: self.id(4) });
        self.line("its topology", Call::Topology { job: self.id(4) });
        let (job, trigger) = (self.id(4), self.id(5));
        let directory = format!("{root}/recording-{}", self.seed);
        self.line("a stop of it", Call::Stop { job, trigger, directory: directory.clone() });
        self.line("the same stop again", Call::Stop { job, trigger, directory: directory.clone() });
        self.wait(4, JobState::Finished);
        self.wait_for_trigger(4, 5);
        let reply = self.line("what became of the stop", Call::StopStatus { job, trigger });
        self.line("the savepoints in its directory", Call::List { directory });
        self.line("the run again when it has finished", Call::Run { job, request, at: None });
        let Reply::Stop { trigger: TriggerState::Saved { path }, .. } = reply else {
            panic!("it was not saved: {reply:?}")
        };
        StateRef { kind: StateKind::Savepoint, path, at: WallTime(0), of: Digest([1; 32]) }
    }

    /// Starts that fail, and what they leave behind.
    fn burnt_ids(&mut self, savepoint: &StateRef) {
        let missing = StateRef { path: format!("{}-missing", savepoint.path), ..savepoint.clone() };
        let request = self.request("v1", 6, &Start::From(missing));
        self.line(
            "a run from a savepoint that is not there",
            Call::Run { job: self.id(6), request: request.clone(), at: None },
        );
        self.wait(6, JobState::Failed);
        self.line("the same again", Call::Run { job: self.id(6), request, at: None });
        let request = self.request("newuid", 7, &Start::From(savepoint.clone()));
        self.line("a run with another uid", Call::Run { job: self.id(7), request, at: None });
        self.wait(7, JobState::Failed);
        let request = self.request("v1", 8, &Start::From(savepoint.clone()));
        self.line("a run from the savepoint", Call::Run { job: self.id(8), request, at: None });
        self.wait_until_it_works(8);
        self.line("its cancel", Call::Cancel { job: self.id(8) });
        self.wait(8, JobState::Canceled);
    }
}

impl<C: Cluster> Recorder<'_, C> {
    /// A job that fails over and over: what each attempt has processed is counted, also when it has ended.
    fn restarts(&mut self, savepoint: &StateRef) {
        let (job, end) = (self.id(9), self.cluster.now() + WAIT_MAX);
        let request = self.request("crash", 9, &Start::From(savepoint.clone()));
        self.line("a run that fails again and again", Call::Run { job, request, at: None });
        let has_failed_twice = |reply: &Reply| matches!(reply, Reply::Sampled(it) if it.exceptions.as_ref().is_some_and(|it| it.len() > 1));
        while !has_failed_twice(&self.call(Call::Sample { job })) {
            self.pause(end);
        }
        self.line("its cancel", Call::Cancel { job });
        self.wait(9, JobState::Canceled);
        // What is shown of it is older than the list of jobs.
        let measured = loop {
            match self.call(Call::Measure { job }) {
                Reply::Measured(measured) if measured.state == Some(JobState::Canceled) => break measured,
                _ => self.pause(end),
            }
        };
        let Measured { at_sinks, at_sources, is_least, restarts, .. } = measured;
        let counts = at_sinks.zip(at_sources).map(|(sinks, sources)| sources >= sinks && sinks >= 2 * 50);
        let line = format!("twice the records of an attempt {counts:?}, restarts {}", restarts >= 1);
        writeln!(self.text, "what it has processed: {line}, at least {is_least}").expect("a string takes it");
    }
}

/// A reply without what differs.
fn answer(reply: &Reply) -> String {
    match reply {
        Reply::Sampled(sample) => {
            let checkpoints = sample.checkpoints.as_ref().map(|counts| counts.completed > 0);
            format!(
                "{:?}, tasks {:?}, exceptions {:?}, a checkpoint {checkpoints:?}, checkpointing off {}",
                sample.state,
                sample.tasks.map(|tasks| (tasks.running_or_finished, tasks.total)),
                sample.exceptions.as_ref().map(Vec::len),
                sample.checkpointing_off,
            )
        }
        Reply::Measured(it) => {
            let known = (it.at_sinks.is_some(), it.at_sources.is_some());
            let restored = it.restored.map(|it| (it.count, it.is_savepoint));
            let has_checkpoint = it.last_checkpoint.is_some();
            format!(
                "{:?}, known at sinks and sources {known:?}, restarts {}, at least {}, a checkpoint {has_checkpoint}, \
                 restored {restored:?}",
                it.state, it.restarts, it.is_least
            )
        }
        Reply::Stop { trigger, job, .. } => {
            let trigger = match trigger {
                TriggerState::Saved { .. } => "saved".to_owned(),
                TriggerState::Failed { cause, path } => format!("failed by {}, {path:?}", class(cause)),
                other => format!("{other:?}"),
            };
            format!("{trigger}; the job is {job:?}")
        }
        Reply::Refused(Refusal { kind, failure }) => format!("refused: {kind:?} ({})", failure.code.as_str()),
        Reply::Planned(vertices) => {
            let operators: Vec<String> = vertices.iter().map(|it| it.operators.join(" -> ")).collect();
            sorted(operators)
        }
        Reply::Topology(topology) => {
            let operators = topology.vertices.iter().map(|it| it.operators.join(" -> ")).collect();
            let (stateful, retained) = (
                topology.stateful.as_ref().map(Vec::len),
                topology.checkpointing.as_ref().map(|it| it.retained),
            );
            format!("{}; stateful {stateful:?}; checkpoints are retained {retained:?}", sorted(operators))
        }
        Reply::Savepoints(savepoints) => {
            let complete: Vec<bool> = savepoints.iter().map(|it| it.is_complete).collect();
            format!("complete {complete:?}")
        }
        Reply::Exception(cause) => format!("exception {:?}", cause.as_deref().map(class)),
        Reply::Checkpoint(seen) => format!("checkpoint {}", seen.is_some()),
        Reply::Unavailable { message } => format!("unavailable: {}", class(message)),
        other => format!("{other:?}"),
    }
}

fn sorted(mut parts: Vec<String>) -> String {
    parts.sort();
    parts.join(", ")
}

/// The class of a Java exception.
fn class(cause: &str) -> &str {
    cause.split([':', ' ']).next().unwrap_or_default()
}
