//! The machine of a job, on the JobManager in memory: a first deploy, or an upgrade, a restart or a scale of a job that runs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};
use trimaran_agent_core::driver::Journaled as _;
use trimaran_flink_core::call::{Call, Reply};
use trimaran_flink_core::files::ShippedFiles;
use trimaran_flink_core::id::{AttemptKey, FlinkId, IdStep};
use trimaran_flink_core::journal::{ledger_from_bytes, ledger_to_bytes};
use trimaran_flink_core::ledger::{Ending, JarFrom, JobRecord, JobRules, Ledger, Standing, Start};
use trimaran_flink_core::machine::{Flink, Phase};
use trimaran_flink_core::rest::run_request;
use trimaran_model::action::{Action, Commit, Outcome, Wave};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, InstallationId};
use trimaran_model::pipeline::{FlinkHealth, FlinkRollback, FlinkUpgrade, FlinkWorkload};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{
    Artifact, ArtifactLocation, Content, FlinkFiles, FlinkRelease, Release, ReleaseWorkload,
};
use trimaran_model::target::PlatformKind;
use trimaran_model::time::{Millis, Timestamp};

use super::{Finished, Model, Which};
use crate::flink::{Behaviour, ModelJobManager, Setup, Version};

/// Releases by number.
pub const OLD: u8 = 1;
pub const NEW: u8 = 2;
pub const THIRD: u8 = 3;

/// What is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// Nothing runs; then the next version comes.
    Deploy,
    /// A job runs and is upgraded; then the upgrade is rolled back.
    Upgrade,
    /// A job runs and is restarted; then it gets another parallelism.
    Restart,
    /// A job runs and gets another parallelism; then it is restarted.
    Scale,
}

/// What the stories scale to; the job begins with 1.
pub const SCALED: u32 = 3;

/// When the JobManager dies: behind a call, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    pub call: u64,
    pub after: Millis,
}

pub struct FlinkModel {
    story: Story,
    jobmanager: ModelJobManager,
    kill: Option<Kill>,
    /// The JobManager was killed, and its jobs with it.
    may_be_lost: bool,
    kill_at: Option<Timestamp>,
    calls: u64,
    first: Option<Commit>,
    sent: BTreeSet<FlinkId>,
    /// What is in the log, as the last order had it.
    in_log: RefCell<Option<Commit>>,
}

pub fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

fn installation() -> InstallationId {
    InstallationId { pipeline: "clicks".parse().expect("a name"), target: "streams".parse().expect("a name") }
}

fn key(n: u64) -> AttemptKey {
    AttemptKey { run: format!("clicks#{n}").parse().expect("a run"), attempt: Attempt(1) }
}

/// The text of the file that a version of the demo job ships as [`RULES`].
pub fn rules_of(version: &str) -> String {
    format!("{{\"rules\":\"of-{version}\"}}\n")
}

/// The name of the file.
pub const RULES: &str = "rules.json";

/// Files of these texts, by name.
pub fn files_of(texts: &[(&str, String)]) -> FlinkFiles {
    let sha256 = |text: &str| Digest(Sha256::digest(text).into());
    let texts: BTreeMap<&str, &str> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let content = |text: &str| Content { digest: sha256(text), bytes: text.len() as u64 };
    let files = texts.iter().map(|(name, text)| ((*name).to_owned(), content(text)));
    let whole: String = texts.values().copied().collect();
    FlinkFiles::new(sha256(&whole), files.collect()).expect("small files")
}

/// The files that version `n` ships: one, two of which one has the bytes of that, and none.
fn files(n: u8) -> Option<FlinkFiles> {
    match n {
        OLD => Some(files_of(&[(RULES, rules_of("v1"))])),
        NEW => Some(files_of(&[(RULES, rules_of("v2")), ("words", rules_of("v1"))])),
        _ => None,
    }
}

/// Version `n`; its window is short, so that a run of the suite is.
pub fn release(n: u8) -> FlinkRelease {
    let jar = Artifact {
        name: "job".parse().expect("a name"),
        version: format!("v{n}"),
        sha256: digest(n),
        location: ArtifactLocation::Url(format!("http://127.0.0.1/v{n}.jar")),
    };
    let job = FlinkWorkload {
        jar: jar.name.clone(),
        entry_class: "trimaran.demo.Counter".to_owned(),
        args: Vec::new(),
        parallelism: None,
        config: BTreeMap::new(),
        bounded: false,
        upgrade: FlinkUpgrade::default(),
        health: FlinkHealth { window: Millis::seconds(2), min_checkpoints: 1, ..FlinkHealth::default() },
        rollback: FlinkRollback::default(),
    };
    FlinkRelease { jar, job, files: files(n) }
}

/// An order of the story.
pub fn order(number: u64, action: Action, committed: Option<Commit>) -> Assignment {
    let of = match &action {
        Action::Release(digest) | Action::Restore(digest) | Action::Restart(digest) => {
            Some(release(digest.0[0]))
        }
        Action::Scale { release: digest, .. } => Some(release(digest.0[0])),
        Action::Stop(_) | Action::Verify => None,
    };
    let AttemptKey { run, attempt } = key(number);
    let installation = installation();
    let whole = |flink: FlinkRelease| Release {
        pipeline: installation.pipeline.clone(),
        target: installation.target.clone(),
        version: flink.jar.version.clone(),
        workload: ReleaseWorkload::Flink(flink),
    };
    Assignment {
        id: AssignmentId(number),
        fence: Fence(number),
        platform: PlatformKind::Flink,
        run,
        stage: "prod/streams".parse().expect("a stage"),
        attempt,
        action,
        release: of.map(whole),
        wave: Wave { target_count: 1, ..Wave::default() },
        hosts: BTreeSet::new(),
        retained: BTreeSet::new(),
        committed,
        restore_from: None,
        installation,
    }
}

/// Starts version `OLD` as an earlier order would have, and what that order committed.
pub fn start_old(jobmanager: &mut ModelJobManager) -> Commit {
    let id = FlinkId::derive(&installation(), &key(0), IdStep::Run, 1);
    let name = "old.jar".to_owned();
    let now = Timestamp(0);
    let FlinkRelease { jar, files, .. } = release(OLD);
    let pipeline = installation().pipeline.to_string();
    let files = files.map(|files| ShippedFiles { pipeline, release: digest(OLD), files });
    let (reply, _) = jobmanager.call(now, Call::Upload { name, jar, files, is_fresh: false });
    let Reply::Uploaded { jar, files, .. } = reply else { panic!("{reply:?}") };
    let request = run_request(jar, id, &release(OLD), &files, &Start::Empty);
    let (reply, _) = jobmanager.call(now, Call::Run { job: id, request, at: None });
    assert_eq!(reply, Reply::Started);
    let (from, standing, rules) = (Start::Empty, Standing::Started, JobRules::from(&release(OLD).job));
    let jar_from = JarFrom::Store;
    let job = JobRecord { id, release: digest(OLD), from, standing, rules, jar_from };
    let ledger = Ledger { attempt: Some(key(0)), number: 1, job: Some(job), ..Ledger::default() };
    Commit { assignment: AssignmentId(0), n: 1, body: ledger_to_bytes(&ledger) }
}

impl FlinkModel {
    pub fn new(story: Story, kill: Option<Kill>, high_availability: bool) -> Self {
        Self::with_old(story, kill, high_availability, Behaviour::Good)
    }

    pub fn with_old(story: Story, kill: Option<Kill>, high_availability: bool, new: Behaviour) -> Self {
        let setup = Setup { version: Version::V2_3, high_availability, slots: 8 };
        let mut jobmanager = ModelJobManager::new(setup);
        jobmanager.behave(digest(NEW), new);
        let first = (story != Story::Deploy).then(|| start_old(&mut jobmanager));
        let (sent, in_log) = (BTreeSet::new(), RefCell::new(None));
        let may_be_lost = kill.is_some() && !high_availability;
        Self { story, jobmanager, kill, may_be_lost, kill_at: None, calls: 0, first, sent, in_log }
    }

    fn wanted(&self, which: Which) -> u8 {
        match (self.story, which) {
            (Story::Restart | Story::Scale, _) => OLD,
            (Story::Deploy, Which::First) | (Story::Upgrade, Which::Second) => OLD,
            (Story::Deploy, Which::Second) | (Story::Upgrade, Which::First) => NEW,
        }
    }

    /// Whether the job is one of this order, with the parallelism that is right for it.
    fn is_as_ordered(&self, which: Which, id: FlinkId) -> bool {
        let begun =
            (1..=9).any(|n| FlinkId::derive(&installation(), &key(which as u64 + 1), IdStep::Run, n) == id);
        let parallelism = self.jobmanager.job(id).map(|job| job.parallelism);
        let was_scaled = self.committed().is_some_and(|ledger| ledger.scaled.is_some());
        match (self.story, which) {
            (Story::Deploy | Story::Upgrade, _) => true,
            (Story::Restart, Which::First) => begun && parallelism == Some(1),
            (Story::Restart, Which::Second) | (Story::Scale, Which::First) => parallelism == Some(SCALED),
            (Story::Scale, Which::Second) => {
                begun && parallelism == Some(if was_scaled { SCALED } else { 1 })
            }
        }
    }

    /// Whether a job has the files of its release.
    fn has_files(&self, id: FlinkId, release: u8) -> bool {
        let wanted = files(release).map(|it| names_of(&it)).unwrap_or_default();
        self.jobmanager.job(id).is_some_and(|job| job.files == wanted)
    }

    fn committed(&self) -> Option<Ledger> {
        let in_log = self.in_log.borrow();
        in_log.as_ref().map(|commit| ledger_from_bytes(&commit.body).expect("its own bytes"))
    }
}

/// Digests of files by name.
pub fn names_of(files: &FlinkFiles) -> BTreeMap<String, Digest> {
    files.iter().map(|(name, content)| (name.to_owned(), content.digest)).collect()
}

/// Whether a ledger names what a call changes.
fn names(ledger: &Ledger, call: &Call) -> bool {
    let job = ledger.job.as_ref();
    match call {
        Call::Stop { job: id, trigger, directory } => {
            let ending = Ending::Stop { trigger: *trigger, directory: directory.clone() };
            job.is_some_and(|job| job.id == *id) && ledger.ending == Some(ending)
        }
        Call::Cancel { job: id } => {
            let is_ending =
                job.is_some_and(|job| job.id == *id) && matches!(ledger.ending, Some(Ending::Cancel { .. }));
            is_ending || ledger.before == Some(*id)
        }
        Call::Run { job: id, request, .. } => {
            job.is_some_and(|job| job.id == *id && job.standing == Standing::Submitting(request.clone()))
        }
        _ => true,
    }
}

fn is_change(call: &Call) -> bool {
    matches!(call, Call::Stop { .. } | Call::Cancel { .. } | Call::Run { .. })
}

impl Model for FlinkModel {
    type Driver = Flink;

    fn driver(&self) -> &Flink {
        &Flink
    }

    fn order(&self, which: Which, committed: Option<Commit>) -> Assignment {
        let committed = committed.or_else(|| self.first.clone());
        self.in_log.replace(committed.clone());
        let wanted = digest(self.wanted(which));
        let action = match (self.story, which) {
            (Story::Upgrade, Which::Second) => Action::Restore(wanted),
            (Story::Restart, Which::First) | (Story::Scale, Which::Second) => Action::Restart(wanted),
            (Story::Restart, Which::Second) | (Story::Scale, Which::First) => {
                Action::Scale { release: wanted, instances: SCALED }
            }
            (Story::Deploy, _) | (Story::Upgrade, Which::First) => Action::Release(wanted),
        };
        order(which as u64 + 1, action, committed)
    }

    fn save(&self, phase: &Phase) -> Vec<u8> {
        Flink.save(phase)
    }

    fn load(&self, order: &Assignment, bytes: &[u8]) -> Phase {
        Flink.load(order, bytes).expect("its own bytes")
    }

    fn call(&mut self, now: Timestamp, _: Which, call: Call) -> Result<(Reply, Millis), String> {
        if let Some(at) = self.kill_at.take_if(|at| *at <= now) {
            self.jobmanager.kill(at);
        }
        self.calls += 1;
        if let Some(kill) = self.kill.take_if(|kill| kill.call == self.calls) {
            self.kill_at = Some(now + kill.after);
        }
        if let Call::Stop { trigger, .. } = &call {
            self.sent.insert(*trigger);
        }
        if let Call::Run { job, .. } = &call
            && let Some(other) = self.jobmanager.jobs_beside_a_run().into_iter().find(|other| other != job)
        {
            return Err(format!("{job} is run while {other} may process records"));
        }
        Ok(self.jobmanager.call(now, call))
    }

    fn watch(&mut self, (): ()) {}

    fn observations(&mut self, _: Timestamp) -> Vec<()> {
        Vec::new()
    }

    fn next_change(&self, _: Timestamp) -> Option<Timestamp> {
        None
    }

    fn crashed(&mut self) {}

    /// In the journal, and in the log too: whoever replaces this agent has to know it.
    fn is_covered(&self, durable: Option<&Phase>, call: &Call) -> bool {
        if !is_change(call) {
            return true;
        }
        let in_log = self.committed().is_some_and(|ledger| names(&ledger, call));
        in_log && durable.is_some_and(|phase| names(phase.ledger(), call))
    }

    fn needs_lease(&self, call: &Call) -> bool {
        is_change(call)
    }

    /// A stop that was sent is brought to its end, with the start of the next job.
    fn starts(&self, call: &Call) -> bool {
        match call {
            Call::Stop { trigger, .. } => !self.sent.contains(trigger),
            _ => false,
        }
    }

    fn verify(&self, finished: &Finished, phase: &Phase) -> Result<(), String> {
        if let Some(missing) = self.jobmanager.missing() {
            return Err(format!("record {missing} was never processed"));
        }
        if let Some(overlap) = self.jobmanager.overlap() {
            return Err(overlap.to_owned());
        }
        let live = self.jobmanager.live_jobs();
        let job = phase.ledger().job.as_ref();
        match &finished.outcome {
            Some(Outcome::Done) => {
                let wanted = digest(self.wanted(finished.which));
                let job = job.ok_or("done without a job")?;
                let is_right = job.release == wanted
                    && live == [job.id]
                    && self.is_as_ordered(finished.which, job.id)
                    && self.has_files(job.id, self.wanted(finished.which));
                if is_right { Ok(()) } else { Err(format!("done with {job:?}, and {live:?} run")) }
            }
            Some(Outcome::Stopped) if finished.canceled => {
                let (one, most) = (usize::from(self.story != Story::Deploy), 1);
                let is_right = (one..=most).contains(&live.len());
                if is_right { Ok(()) } else { Err(format!("canceled, and {live:?} run")) }
            }
            // People are asked, with what there is to continue from.
            Some(Outcome::Fault(failure)) if self.may_be_lost && failure.code == ReasonCode::JobLost => {
                let names_a_state =
                    failure.message.contains("file:/") || failure.message.contains("no checkpoint");
                let is_right = live.is_empty() && names_a_state;
                if is_right { Ok(()) } else { Err(format!("lost, and {live:?} run: {failure:?}")) }
            }
            other => Err(format!("it ended with {other:?}, and {live:?} run")),
        }
    }
}
