//! The REST API of the model: the paths and fields that Trimaran uses, with the errors of the real one.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trimaran_flink_core::id::FlinkId;
use trimaran_flink_core::rest::{Body, Method, Request, Response};
use trimaran_model::id::Digest;
use trimaran_model::time::{Millis, Timestamp};

use super::job::{Behaviour, Job, Start, State};
use super::{ModelJobManager, REFRESH, Savepoint, Trigger, Version};
use trimaran_flink_core::call::Call;

/// Ids of the two tasks of every job, as Flink derives them from the uids of the demo job.
const SOURCE: &str = "ca88eee0095684d687a1b6495617f957";
const COUNTER: &str = "0da08f51eaa85fc298e176a139b3649a";
const COUNTER_2: &str = "c8ba5fa3f4d3a7c9a4f0e4c1e8a07f10";
/// Attempts that are kept beside the present one (`jobmanager.execution.attempts-history-size`).
const ATTEMPTS_KEPT: usize = 16;

/// Where uploads lie.
const UPLOADS: &str = "/tmp/flink-web-upload";

type Answer = Result<(u16, Value), (u16, Vec<String>)>;

/// What a request asks for.
fn parallelism(body: &Value) -> u32 {
    u32::try_from(body["parallelism"].as_u64().unwrap_or(1)).expect("a small number")
}

/// An error as a handler of the API throws it.
fn error(status: u16, class: &str, message: &str) -> (u16, Vec<String>) {
    (status, vec![format!("{class}: {message}\n\tat org.apache.flink.Handler.handle(Handler.java:1)\n")])
}

/// An error that comes from behind a handler.
fn internal(class: &str, message: &str) -> (u16, Vec<String>) {
    let text = format!(
        "<Exception on server side:\n{class}: {message}\n\tat org.apache.flink.Dispatcher.run(Dispatcher.java:1)\n\nEnd of exception on server side>"
    );
    (500, vec!["Internal server error.".to_owned(), text])
}

const NOT_FOUND: &str = "org.apache.flink.runtime.rest.NotFoundException";
const REST: &str = "org.apache.flink.runtime.rest.handler.RestHandlerException";

impl ModelJobManager {
    pub fn handle(&mut self, request: &Request) -> Response {
        let (path, _) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let body: Value = match &request.body {
            Body::Json(text) => serde_json::from_str(text).expect("Trimaran sends JSON"),
            Body::None | Body::Jar { .. } | Body::File { .. } => Value::Null,
        };
        let answer = match (request.method, parts.as_slice()) {
            (Method::Get, ["config"]) => Ok((200, self.config())),
            (Method::Get, ["overview"]) => Ok((200, self.overview())),
            (Method::Get, ["jobmanager", "config"]) => Ok((200, Self::jobmanager_config())),
            (Method::Get, ["jars"]) => Ok((200, self.jars())),
            (Method::Post, ["jars", "upload"]) => Ok((200, self.upload(&request.body))),
            (Method::Post, ["jars", jar, "plan"]) => self.plan(jar, &body),
            (Method::Post, ["jars", jar, "run"]) => self.run(jar, &body),
            (Method::Get, ["jobs", "overview"]) => Ok((200, self.jobs_overview())),
            (Method::Get, ["jobs", job]) => self.details(job),
            (Method::Get, ["jobs", job, "status"]) => self.status(job),
            (Method::Get, ["jobs", job, "exceptions"]) => self.exceptions(job),
            (Method::Get, ["jobs", job, "checkpoints"]) => self.checkpoints(job),
            (Method::Get, ["jobs", job, "checkpoints", "config"]) => self.checkpoint_config(job),
            (Method::Get, ["jobs", job, "checkpoints", "details", id]) => self.checkpoint_details(job, id),
            (Method::Get, ["jobs", job, "vertices", vertex]) => self.vertex(job, vertex),
            (Method::Get, ["jobs", job, "vertices", vertex, "subtasks", "0", "attempts", attempt]) => {
                self.attempt(job, vertex, attempt)
            }
            (Method::Post, ["jobs", job, "stop"]) => self.stop(job, &body),
            (Method::Get, ["jobs", job, "savepoints", trigger]) => self.poll(job, trigger),
            (Method::Patch, ["jobs", job]) => self.cancel(job),
            (method, _) => panic!("the model has no {} {path}", method.as_str()),
        };
        let (status, body) = answer.unwrap_or_else(|(status, errors)| (status, json!({ "errors": errors })));
        Response { at: self.wall(self.now), by: "the model".to_owned(), status, body: body.to_string() }
    }

    fn config(&self) -> Value {
        let version = match self.setup.version {
            Version::V1_20 => "1.20.5",
            Version::V2_3 => "2.3.0",
        };
        json!({
            "refresh-interval": REFRESH.0,
            "flink-version": version,
            "features": { "web-submit": true, "web-cancel": true },
        })
    }

    fn overview(&self) -> Value {
        let widths = self.jobs.values().filter(|job| !job.is_terminal()).map(|job| job.parallelism);
        let slots = if self.now < self.alone_until { 0 } else { self.setup.slots };
        let available = slots.saturating_sub(widths.sum());
        json!({ "taskmanagers": 2, "slots-total": slots, "slots-available": available })
    }

    fn jars(&self) -> Value {
        let files: Vec<Value> =
            self.jars.iter().map(|(id, (name, _))| json!({ "id": id, "name": name })).collect();
        json!({ "files": files })
    }

    fn upload(&mut self, body: &Body) -> Value {
        let (name, digest) = match body {
            Body::Jar { name, jar } => (name, jar.sha256),
            Body::File { name, file, shipped } => {
                let (_, content) =
                    shipped.files.iter().find(|(it, _)| it == file).expect("a file of its release");
                (name, content.digest)
            }
            Body::None | Body::Json(_) => panic!("an upload has a file"),
        };
        self.uploads += 1;
        let id = format!("{:08x}_{name}", self.uploads);
        self.jars.insert(id.clone(), (name.clone(), digest));
        json!({ "filename": format!("{UPLOADS}/{id}"), "status": "success" })
    }

    fn jobmanager_config() -> Value {
        json!([{ "key": "web.tmpdir", "value": "/tmp/flink-web-1" }, { "key": "web.upload.dir", "value": "/tmp" }])
    }

    /// The files that a run names, each with its bytes' digest. One that is not there ends the run when its job is
    /// submitted: `main` has run, and the id is free.
    fn cached_files(&self, body: &Value) -> Result<BTreeMap<String, Digest>, (u16, Vec<String>)> {
        let entries = body["flinkConfiguration"]["pipeline.cached-files"].as_str().unwrap_or_default();
        let mut files = BTreeMap::new();
        for entry in entries.split(';').filter(|entry| !entry.is_empty()) {
            let (name, path) = entry.split_once(",path:'file://").expect("an entry has a name and a path");
            let (name, path) = (name.trim_start_matches("name:"), path.trim_end_matches('\''));
            let id = path.rsplit('/').next().unwrap_or_default();
            let found = self.jars.get(id).filter(|_| path == format!("{UPLOADS}/{id}"));
            let Some((_, digest)) = found else {
                let cause = format!(
                    "Could not execute application.\nCaused by: org.apache.flink.util.FlinkException: Could not upload job \
                     files.\nCaused by: java.io.FileNotFoundException: {path} (No such file or directory)"
                );
                return Err(error(400, REST, &cause));
            };
            files.insert(name.to_owned(), *digest);
        }
        Ok(files)
    }

    /// What the jar does, after everything that is wrong with a jar itself.
    fn program(&self, jar: &str) -> Result<Behaviour, (u16, Vec<String>)> {
        let Some((_, digest)) = self.jars.get(jar) else {
            return Err(internal(REST, &format!("Jar file {UPLOADS}/{jar} does not exist")));
        };
        let invocation = "org.apache.flink.client.program.ProgramInvocationException";
        match self.behaviours.get(digest).copied().unwrap_or(Behaviour::Good) {
            Behaviour::NotAJar => Err(internal(
                invocation,
                "Error while opening jar file\nCaused by: java.util.zip.ZipException: zip END header not found",
            )),
            Behaviour::NoMain => Err(internal(
                invocation,
                "Neither a 'Main-Class', nor a 'program-class' entry was found in the jar file.",
            )),
            Behaviour::MainThrows => Err(error(
                400,
                REST,
                "Could not execute application.\nCaused by: java.lang.IllegalStateException: main-throws is set",
            )),
            Behaviour::NoExecute => Err(error(400, REST, "No jobs included in application.")),
            behaviour => Ok(behaviour),
        }
    }

    /// How long a call that runs a program's `main` takes.
    pub(super) fn main_takes(&self, call: &Call) -> Millis {
        let (Call::Run { request, .. } | Call::Plan(request)) = call else { return Millis(5) };
        match self.program(&request.jar) {
            Ok(Behaviour::SlowMain { takes }) => takes,
            _ => Millis(80),
        }
    }

    fn plan(&self, jar: &str, body: &Value) -> Answer {
        let behaviour = self.program(jar)?;
        let nodes: Vec<Value> = vertices(behaviour, parallelism(body))
            .into_iter()
            .map(|(id, operators, parallelism)| {
                let description = operators.replace(" -> ", "<br/>+- ") + "<br/>";
                json!({ "id": id, "parallelism": parallelism, "description": description })
            })
            .collect();
        Ok((200, json!({ "plan": { "name": "demo", "nodes": nodes } })))
    }

    fn run(&mut self, jar: &str, body: &Value) -> Answer {
        let behaviour = self.program(jar)?;
        let Some(id) = body["jobId"].as_str().and_then(FlinkId::parse) else {
            return Err(error(400, REST, "Request did not match expected format JarRunRequestBody."));
        };
        // A second one waits in `main` like the first, and finds it when it comes out.
        if self.jobs.contains_key(&id) || self.mains.iter().any(|(_, known, _)| *known == id) {
            let class = match self.setup.version {
                Version::V1_20 => "org.apache.flink.runtime.client.DuplicateJobSubmissionException",
                Version::V2_3 => "org.apache.flink.runtime.client.DuplicateApplicationSubmissionException",
            };
            return Err(error(
                400,
                REST,
                &format!("Could not execute application.\nCaused by: {class}: {id} was already submitted"),
            ));
        }
        let files = self.cached_files(body)?;
        let start = self.start_of(id, behaviour, body)?;
        let takes = match behaviour {
            Behaviour::SlowMain { takes } => takes,
            _ => Millis(4),
        };
        let mut job = Job::new("demo".to_owned(), behaviour, parallelism(body), start, self.now);
        job.files = files;
        self.mains.push((self.now + takes, id, job));
        Ok((200, json!({ "jobid": id.to_string() })))
    }

    /// What the job begins from. A start that fails keeps its id for a job that is `FAILED`.
    fn start_of(
        &mut self,
        id: FlinkId,
        behaviour: Behaviour,
        body: &Value,
    ) -> Result<Start, (u16, Vec<String>)> {
        let empty = State { position: 0, is_new_uid: behaviour == Behaviour::NewUid };
        let Some(path) = body["savepointPath"].as_str() else {
            return Ok(Start { path: None, state: empty });
        };
        assert_eq!(body["claimMode"], "NO_CLAIM", "a claimed savepoint is deleted");
        let known = self.savepoints.get(path).filter(|it| it.is_complete).map(|it| it.state);
        let state = known.or_else(|| self.checkpoints.get(path).map(|(state, _)| *state));
        let mapped = |state: &State| state.is_new_uid == (behaviour == Behaviour::NewUid);
        let allows = body["allowNonRestoredState"] == true;
        let cause = match state {
            None => {
                "java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory".to_owned()
            }
            Some(state) if !mapped(&state) && !allows => {
                format!(
                    "java.lang.IllegalStateException: Failed to rollback to checkpoint/savepoint. Cannot map checkpoint/savepoint state for operator {COUNTER} to the new program"
                )
            }
            Some(state) => return Ok(Start { path: Some(path.to_owned()), state }),
        };
        let start = Start { path: Some(path.to_owned()), state: empty };
        let job = Job::new("demo".to_owned(), behaviour, 1, start, self.now).failed(self.now, &cause);
        self.jobs.insert(id, job);
        Err(error(400, REST, &format!("Could not execute application.\nCaused by: {cause}")))
    }

    fn find(&self, job: &str) -> Option<&Job> {
        self.jobs.get(&FlinkId::parse(job)?)
    }

    fn unknown(job: &str) -> (u16, Vec<String>) {
        error(404, NOT_FOUND, &format!("Job {job} not found"))
    }

    fn jobs_overview(&self) -> Value {
        let one = |(id, job): (&FlinkId, &Job)| {
            let (total, state) = (1 + job.parallelism, job.state_name());
            let running = if job.is_running() { total } else { 0 };
            let tasks = json!({ "total": total, "running": running, "finished": 0 });
            json!({ "jid": id.to_string(), "name": job.name, "state": state, "tasks": tasks, "last-modification": 0 })
        };
        json!({ "jobs": self.jobs.iter().map(one).collect::<Vec<_>>() })
    }

    fn status(&self, job: &str) -> Answer {
        match self.find(job) {
            Some(found) => Ok((200, json!({ "status": found.state_name() }))),
            None => Err(internal(
                "org.apache.flink.runtime.messages.FlinkJobNotFoundException",
                &format!("Could not find Flink job ({job})"),
            )),
        }
    }

    /// As old as the refresh interval allows.
    fn details(&mut self, job: &str) -> Answer {
        let Some(found) = self.find(job) else { return Err(Self::unknown(job)) };
        let id = FlinkId::parse(job).expect("it was found by it");
        if let Some((_, body)) = self.details.get(&id).filter(|(at, _)| self.now - *at < REFRESH) {
            return Ok((200, serde_json::from_str(body).expect("it was JSON")));
        }
        let running = u32::from(found.is_running());
        let vertices: Vec<Value> = vertices(found.behaviour, found.parallelism)
            .into_iter()
            .map(|(id, name, parallelism)| {
                let tasks = json!({ "RUNNING": running * parallelism, "FINISHED": 0 });
                json!({ "id": id, "name": name, "parallelism": parallelism, "tasks": tasks })
            })
            .collect();
        let counter = counter(found.behaviour);
        let nodes = json!([{ "id": counter, "inputs": [{ "num": 0, "id": SOURCE }] }, { "id": SOURCE }]);
        let body = json!({
            "jid": job, "name": found.name, "state": found.state_name(), "vertices": vertices,
            "plan": { "nodes": nodes },
        });
        self.details.insert(id, (self.now, body.to_string()));
        Ok((200, body))
    }

    /// The first instance of a task does all the work.
    fn vertex(&self, job: &str, vertex: &str) -> Answer {
        let Some(found) = self.find(job) else { return Err(Self::unknown(job)) };
        let attempts = found.attempts();
        let present = attempts.len() - 1;
        Ok((200, json!({ "id": vertex, "subtasks": [attempt(vertex, present, attempts[present])] })))
    }

    fn attempt(&self, job: &str, vertex: &str, number: &str) -> Answer {
        let Some(found) = self.find(job) else { return Err(Self::unknown(job)) };
        let (attempts, number) = (found.attempts(), number.parse::<usize>().expect("a number"));
        let kept = attempts.len().saturating_sub(1 + ATTEMPTS_KEPT)..;
        match attempts.get(number).filter(|_| kept.contains(&number)) {
            Some(records) => Ok((200, attempt(vertex, number, *records))),
            None => Err(error(404, REST, &format!("Attempt {number} not found"))),
        }
    }

    fn exceptions(&self, job: &str) -> Answer {
        let Some(found) = self.find(job) else { return Err(Self::unknown(job)) };
        let one = |(at, cause): &(Timestamp, String)| {
            let class = cause.split(':').next().unwrap_or_default();
            json!({ "exceptionName": class, "stacktrace": format!("java.lang.Exception: outer\n\tat A.b(A.java:1)\nCaused by: {cause}\n"), "timestamp": self.wall(*at).0 })
        };
        let entries: Vec<Value> = found.exceptions.iter().map(one).collect();
        Ok((200, json!({ "exceptionHistory": { "entries": entries, "truncated": false } })))
    }

    fn checkpoints(&self, job: &str) -> Answer {
        let Some(found) = self.find(job) else { return Err(Self::unknown(job)) };
        let wall = |at: Timestamp| self.wall(at).0;
        let completed = found.last_checkpoint().map(|(path, at)| {
            json!({ "id": found.completed, "external_path": path, "trigger_timestamp": wall(at) })
        });
        let savepoint = found.savepoint.as_ref().map(|(path, at)| {
            json!({ "id": found.completed + 1, "external_path": path, "trigger_timestamp": wall(*at) })
        });
        let failed =
            (found.failed > 0).then(|| json!({ "failure_message": "Asynchronous task checkpoint failed." }));
        let counts = json!({ "restored": found.restored, "total": found.completed + found.failed, "in_progress": 0, "completed": found.completed, "failed": found.failed });
        let restored =
            (found.restored > 0).then(|| json!({ "is_savepoint": found.has_restored_savepoint() }));
        let latest =
            json!({ "completed": completed, "savepoint": savepoint, "failed": failed, "restored": restored });
        Ok((200, json!({ "counts": counts, "latest": latest })))
    }

    fn checkpoint_config(&self, job: &str) -> Answer {
        if self.find(job).is_none() {
            return Err(Self::unknown(job));
        }
        let externalization = json!({ "enabled": true, "delete_on_cancellation": false });
        Ok((200, json!({ "interval": 1000, "timeout": 60_000, "externalization": externalization })))
    }

    fn checkpoint_details(&self, job: &str, id: &str) -> Answer {
        let Some(found) = self.find(job) else { return Err(Self::unknown(job)) };
        let tasks: serde_json::Map<String, Value> = vertices(found.behaviour, 1)
            .into_iter()
            .map(|(vertex, _, _)| (vertex.to_owned(), json!({ "state_size": 265 })))
            .collect();
        Ok((200, json!({ "id": id.parse::<u64>().expect("a number"), "tasks": tasks })))
    }

    /// Accepted whatever it is asked of; what came of it is in the trigger.
    fn stop(&mut self, job: &str, body: &Value) -> Answer {
        let id = FlinkId::parse(job).expect("Trimaran's ids are ids");
        let trigger =
            body["triggerId"].as_str().and_then(FlinkId::parse).expect("Trimaran names its triggers");
        assert_eq!(body["drain"], false, "drained windows can't be gone back from");
        let accepted = Ok((202, json!({ "request-id": trigger.to_string() })));
        if self.triggers.contains_key(&(id, trigger)) {
            return accepted;
        }
        let directory = body["targetDirectory"].as_str().expect("Trimaran names its directories");
        let path = format!("{directory}/savepoint-{}-{:012x}", &job[..6], self.savepoints.len() + 1);
        let (now, broken) = (self.now, self.disk_is_broken);
        let result = match self.jobs.get_mut(&id) {
            Some(found) if !found.is_terminal() => found.stop(now, trigger, path.clone(), broken),
            _ => Trigger::Failed {
                cause: format!(
                    "org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job ({job})"
                ),
            },
        };
        if result == Trigger::InProgress {
            let state = self.jobs[&id].state();
            self.savepoints
                .insert(path.clone(), Savepoint { path, is_complete: false, modified: now, state });
        }
        self.triggers.insert((id, trigger), result);
        accepted
    }

    fn poll(&self, job: &str, trigger: &str) -> Answer {
        let key = FlinkId::parse(job).zip(FlinkId::parse(trigger));
        let Some(found) = key.and_then(|key| self.triggers.get(&key)) else {
            let message = format!("There is no savepoint operation with triggerId={trigger} for job {job}.");
            return Err(error(404, REST, &message));
        };
        let (status, operation) = match found {
            Trigger::InProgress => ("IN_PROGRESS", Value::Null),
            Trigger::Saved { path } => ("COMPLETED", json!({ "location": path })),
            Trigger::Failed { cause } => {
                let trace = format!("java.util.concurrent.CompletionException: outer\nCaused by: {cause}\n");
                (
                    "COMPLETED",
                    json!({ "failure-cause": { "class": "java.util.concurrent.CompletionException", "stack-trace": trace } }),
                )
            }
        };
        Ok((200, json!({ "status": { "id": status }, "operation": operation })))
    }

    fn cancel(&mut self, job: &str) -> Answer {
        let id = FlinkId::parse(job).expect("Trimaran's ids are ids");
        let Some(found) = self.jobs.get_mut(&id) else { return Err(Self::unknown(job)) };
        found.cancel();
        let written = found.take_written();
        self.written.extend(written.into_iter().map(|(from, to)| super::Written { job: id, from, to }));
        Ok((202, json!({})))
    }
}

/// One attempt of an instance of a task: what the source passes on comes to the counter at once.
fn attempt(vertex: &str, number: usize, records: u64) -> Value {
    let (read, written) = if vertex == SOURCE { (0, records) } else { (records, 0) };
    let metrics = json!({ "read-records": read, "write-records": written });
    json!({ "subtask": 0, "attempt": number, "metrics": metrics })
}

fn counter(behaviour: Behaviour) -> &'static str {
    if behaviour == Behaviour::NewUid { COUNTER_2 } else { COUNTER }
}

/// Id, operators and parallelism of the tasks of a program.
fn vertices(behaviour: Behaviour, parallelism: u32) -> [(&'static str, &'static str, u32); 2] {
    let parallelism = if behaviour == Behaviour::OwnParallelism { 2 } else { parallelism };
    [(SOURCE, "Source: numbers", 1), (counter(behaviour), "counter -> out: Writer", parallelism)]
}
