//! An API server that holds Secrets and Leases and nothing else: versions, merge patches, and preconditions as Kubernetes has
//! them. It may stand still, as one behind a network that drops packets.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

#[derive(Default)]
struct Objects {
    by_path: BTreeMap<String, Value>,
    version: u64,
}

#[derive(Default)]
struct Shared {
    objects: Mutex<Objects>,
    stands_still: AtomicBool,
}

pub(crate) struct Server {
    shared: Arc<Shared>,
    port: u16,
}

/// Method, path and body.
type Request = (String, String, Value);

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = serving.clone();
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { shared, port }
    }

    /// Writes a kubeconfig that leads here.
    pub(crate) fn write_kubeconfig(&self, folder: &Path) -> PathBuf {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": format!("http://127.0.0.1:{}", self.port)}}],
            "users": [{"name": "test", "user": {"token": "test"}}],
        });
        let file = folder.join("kubeconfig");
        std::fs::write(&file, config.to_string()).expect("a file");
        file
    }

    /// While it stands still, requests are taken and neither performed nor answered; then all of them are.
    pub(crate) fn stand_still(&self, stands_still: bool) {
        self.shared.stands_still.store(stands_still, Ordering::SeqCst);
    }

    /// The object at the end of this path; null without one.
    pub(crate) fn object(&self, path: &str) -> Value {
        let objects = self.shared.objects.lock().expect("no thread panics with it");
        objects.by_path.get(path).cloned().unwrap_or_default()
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut stream = stream;
    while let Some(request) = read(&mut reader) {
        while shared.stands_still.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let (code, body) = shared.objects.lock().expect("no thread panics with it").answer(request);
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {code} Any\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = path.split('?').next().unwrap_or_default().to_owned();
    Some((method, path, serde_json::from_slice(&body).unwrap_or_default()))
}

impl Objects {
    fn answer(&mut self, (method, path, body): Request) -> (u16, Value) {
        match method.as_str() {
            "GET" => self.by_path.get(&path).map_or_else(|| failure(404), |found| (200, found.clone())),
            "POST" => {
                let name = body["metadata"]["name"].as_str().expect("an object has a name");
                let path = format!("{path}/{name}");
                if self.by_path.contains_key(&path) {
                    return failure(409);
                }
                self.write(path, body)
            }
            "PATCH" => {
                let Some(mut object) = self.by_path.get(&path).cloned() else { return failure(404) };
                if body["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                    return failure(409);
                }
                merge(&mut object, &body);
                self.write(path, object)
            }
            "DELETE" => {
                let Some(object) = self.by_path.get(&path) else { return failure(404) };
                if body["preconditions"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                    return failure(409);
                }
                let object = self.by_path.remove(&path).unwrap_or_default();
                (200, object)
            }
            _ => failure(405),
        }
    }

    fn write(&mut self, path: String, mut object: Value) -> (u16, Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.by_path.insert(path, object.clone());
        (200, object)
    }
}

/// RFC 7396.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else { return *object = patch.clone() };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, change) in changes {
        match change {
            Value::Null => drop(object.as_object_mut().map(|it| it.remove(key))),
            _ => merge(&mut object[key], change),
        }
    }
}

fn failure(code: u16) -> (u16, Value) {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
        "reason": if code == 404 { "NotFound" } else { "Conflict" }, "message": format!("refused with {code}"),
    });
    (code, status)
}
