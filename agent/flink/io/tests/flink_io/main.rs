//! A target against servers of the test's own: several JobManagers, TLS and secrets, and a store of objects.
#![allow(clippy::disallowed_methods, reason = "tests with files and sockets")]

mod bucket;
mod jobmanagers;
mod server;

use std::path::PathBuf;
use std::sync::Arc;

use trimaran_agent_core::platform::Answer;
use trimaran_flink::{Access, FlinkTarget, Jar, JarSource, S3Settings, Savepoints};
use trimaran_flink_core::call::{Call, Reply};
use trimaran_model::action::Failure;
use trimaran_model::release::Artifact;

/// No call of these tests has a jar.
struct NoJars;

impl JarSource for NoJars {
    async fn jar(&self, _: &Artifact) -> Result<Jar, Failure> {
        Ok(Jar { file: PathBuf::new(), fetched_from: None })
    }
}

fn target(urls: &[String], access: Access, savepoints: Savepoints) -> FlinkTarget<NoJars> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    FlinkTarget::new(urls, access, savepoints, Arc::new(NoJars))
}

fn no_savepoints() -> Savepoints {
    Savepoints::new("file:///savepoints".to_owned(), S3Settings::from_variables(|_| None))
}

async fn ask(target: &FlinkTarget<NoJars>, call: Call) -> Answer<Reply> {
    target.perform(call, || true).await
}

/// Whether the list of jobs came.
fn is_list(answer: &Answer<Reply>) -> bool {
    matches!(answer, Answer::Reply(Reply::Jobs { .. }))
}
