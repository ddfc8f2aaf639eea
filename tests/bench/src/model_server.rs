//! The model JobManager of the conformance suite behind a socket: it has the habits of the real ones, and room for more jobs
//! than a small machine has slots for.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use trimaran_conformance::flink::{ModelJobManager, Setup, Version};
use trimaran_flink_core::rest::{Body, Method, Request, Response};
use trimaran_model::id::Digest;
use trimaran_model::release::{Artifact, ArtifactLocation};
use trimaran_model::time::Timestamp;

/// A server that runs until the process ends.
pub(crate) struct ModelServer {
    address: String,
    state: Arc<Mutex<State>>,
}

struct State {
    jobmanager: ModelJobManager,
    began: Instant,
    /// Requests by the last part of their paths.
    counts: BTreeMap<String, u64>,
}

impl ModelServer {
    /// A cluster of so many slots.
    pub(crate) fn start(slots: u32) -> Self {
        let setup = Setup { version: Version::V2_3, high_availability: true, slots };
        let (jobmanager, began) = (ModelJobManager::new(setup), Instant::now());
        let state = Arc::new(Mutex::new(State { jobmanager, began, counts: BTreeMap::new() }));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            while let Ok((connection, _)) = listener.accept() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&connection, &shared));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked since the last look, by the last part of the path.
    pub(crate) fn take_counts(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut lock(&self.state).counts)
    }

    /// Sends a request of the bench's own, which is not counted.
    pub(crate) fn ask(&self, method: Method, path: &str) -> Response {
        let mut state = lock(&self.state);
        state.handle(&Request { method, path: path.to_owned(), body: Body::None })
    }
}

impl State {
    fn handle(&mut self, request: &Request) -> Response {
        let now = Timestamp(u64::try_from(self.began.elapsed().as_millis()).expect("a bench ends"));
        self.jobmanager.advance(now);
        self.jobmanager.handle(request)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the requests of one connection until it is closed.
fn serve(mut connection: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(connection);
    while let Some((request, place)) = read(&mut reader) {
        let response = {
            let mut state = lock(state);
            *state.counts.entry(place).or_default() += 1;
            state.handle(&request)
        };
        let Response { status, body, .. } = response;
        let text = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if connection.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// The next request and the last part of its path; `None`: there is none any more.
fn read(reader: &mut BufReader<&TcpStream>) -> Option<(Request, String)> {
    let mut line = String::new();
    let (mut first, mut length) = (None, 0);
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            text if first.is_none() => first = Some(text.to_owned()),
            text => {
                if let Some(value) = text.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().ok()?;
                }
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let first = first?;
    let mut words = first.split(' ');
    let method = match words.next()? {
        "POST" => Method::Post,
        "PATCH" => Method::Patch,
        _ => Method::Get,
    };
    let path = words.next()?.to_owned();
    let plain = path.split('?').next().unwrap_or_default();
    // The last part that is no id.
    let is_id = |part: &&str| part.len() == 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let place = plain.rsplit('/').find(|part| !is_id(part)).unwrap_or_default().to_owned();
    let place =
        if plain.rsplit('/').next().is_some_and(|last| is_id(&last)) { "details".to_owned() } else { place };
    let body = if place == "upload" { uploaded(&body) } else { json(body) };
    Some((Request { method, path, body }, place))
}

fn json(body: Vec<u8>) -> Body {
    if body.is_empty() { Body::None } else { Body::Json(String::from_utf8_lossy(&body).into_owned()) }
}

/// The form of an upload: what its bytes are is of no matter to jobs that are good.
fn uploaded(form: &[u8]) -> Body {
    let text = String::from_utf8_lossy(form);
    let name = text.split("filename=\"").nth(1).and_then(|it| it.split('"').next()).unwrap_or_default();
    let jar = Artifact {
        name: "job".parse().expect("a name"),
        version: "v1".to_owned(),
        sha256: Digest([1; 32]),
        location: ArtifactLocation::Path("/job.jar".to_owned()),
    };
    Body::Jar { name: name.to_owned(), jar }
}
