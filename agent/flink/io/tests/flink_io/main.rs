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
use trimaran_model::id::Digest;
use trimaran_model::release::{Artifact, Content, Release};

/// The file of this test, whatever jar is asked for, and some bytes for all files.
struct AnyJars;

impl JarSource for AnyJars {
    async fn jar(&self, _: &Artifact) -> Result<Jar, Failure> {
        Ok(Jar { file: PathBuf::from(file!()).file_name().map(here).expect("a name"), fetched_from: None })
    }

    async fn files(&self, _: Digest, _: Content) -> Result<Vec<u8>, Failure> {
        Ok(FILE.to_vec())
    }

    async fn release(&self, _: Digest) -> Option<Arc<Release>> {
        None
    }
}

/// All bytes of the files of these tests.
const FILE: &[u8] = b"{}";

fn here(name: &std::ffi::OsStr) -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flink_io").join(name)
}

fn target(urls: &[String], access: Access, savepoints: Savepoints) -> FlinkTarget<AnyJars> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    FlinkTarget::new(urls, access, savepoints, Arc::new(AnyJars))
}

fn no_savepoints() -> Savepoints {
    Savepoints::new("file:///savepoints".to_owned(), S3Settings::from_variables(|_| None))
}

async fn ask(target: &FlinkTarget<AnyJars>, call: Call) -> Answer<Reply> {
    target.perform(call, || true).await
}

/// Whether the list of jobs came.
fn is_list(answer: &Answer<Reply>) -> bool {
    matches!(answer, Answer::Reply(Reply::Jobs { .. }))
}
