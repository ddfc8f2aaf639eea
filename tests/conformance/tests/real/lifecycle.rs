//! Hooks, drain and `may_stop` with real programs, as a user sees them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::lab::{Lab, words_of};

/// A hook by shell, quoted for a YAML flow.
fn hook(event: &str, script: &str, timeout: &str) -> String {
    format!("hooks: {{ {event}: [{{ command: [/bin/sh, -c, '{script}'], timeout: {timeout} }}] }}")
}

fn drain(script: &str, wait: &str) -> String {
    format!("drain: {{ command: [/bin/sh, -c, '{script}'], wait: {wait} }}")
}

fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn a_change_runs_everything_in_its_order_beside_the_right_release() {
    let lab = Lab::new();
    let log = lab.folder.path().join("order");
    let note = |what: &str, version: &str| {
        format!("[/bin/sh, -c, 'echo {what} {version} $(cat VERSION) >> {}']", log.display())
    };
    let more = |version: &str| {
        let hook = |event| format!("{event}: [{{ command: {} }}]", note(event, version));
        let events = ["before_stop", "after_stop", "before_start", "after_start", "after_healthy"];
        format!(
            "hooks: {{ {} }}\ndrain: {{ command: {} }}\nundrain: {{ command: {} }}",
            events.map(hook).join(", "),
            note("drain", version),
            note("undrain", version),
        )
    };
    lab.apply(&lab.spec_with("v1", "good", &more("v1")), 0);
    let start = |version: &str| {
        ["before_start", "after_start", "after_healthy", "undrain"]
            .map(|what| format!("{what} {version} {version}"))
            .to_vec()
    };
    assert_eq!(lines(&log), start("v1"));
    lab.apply(&lab.spec_with("v2", "good", &more("v2")), 0);
    let stop = ["before_stop", "drain", "after_stop"].map(|what| format!("{what} v1 v1")).to_vec();
    assert_eq!(lines(&log)[4..], [stop, start("v2")].concat());
    lab.check("v2", "after the change");
}

#[test]
fn a_hook_that_is_not_right_fails_the_host_in_its_own_words() {
    for (script, words) in [
        ("echo no balancer here; exit 3", "ended with exit code 3: no balancer here"),
        ("kill -KILL $$", "was ended by signal 9"),
        ("sleep 1000", "it did not end within 300ms"),
        ("while :; do echo again; done", "it did not end within 300ms: again"),
    ] {
        for (event, is_stopped) in [("before_stop", false), ("after_stop", true)] {
            let lab = Lab::new();
            lab.apply(&lab.spec_with("v1", "good", &hook(event, script, "300ms")), 0);
            let began = Instant::now();
            let out = lab.apply(&lab.spec("v2", "good"), 12);
            assert!(out.contains(words) && out.contains(event), "{event} {script}: {out}");
            assert!(began.elapsed() < Duration::from_secs(20), "{script} took {:?}", began.elapsed());
            lab.check("v1", script);
            let starts = if is_stopped { 2 } else { 1 };
            assert_eq!(lab.starts().get("v1"), Some(&starts), "{event} {script}");
        }
    }
    let lab = Lab::new();
    lab.apply(&lab.spec("v1", "good"), 0);
    for event in ["before_start", "after_start", "after_healthy"] {
        let out = lab.apply(&lab.spec_with("v2", "good", &hook(event, "echo not ready; false", "5s")), 12);
        assert!(out.contains("not ready") && out.contains(event), "{event}: {out}");
        lab.check("v1", event);
    }
    let spec = lab.spec_with("v2", "good", "hooks: { before_start: [{ command: [bin/migrate] }] }");
    let out = lab.apply(&spec, 3);
    assert!(out.contains("the command's program `bin/migrate` is not in the archive"), "{out}");
}

#[test]
fn a_drain_is_waited_for_within_its_bound() {
    // Slow within its bound, and hanging beyond it.
    for (script, wait, took_ms, is_late) in
        [("sleep 1", "10s", 1000, false), ("sleep 1000", "700ms", 700, true)]
    {
        let lab = Lab::new();
        lab.apply(&lab.spec_with("v1", "good", &drain(script, wait)), 0);
        let began = Instant::now();
        let output = lab.run(&["apply", &lab.spec("v2", "good").display().to_string()]);
        let (out, err) = words_of(&output);
        assert_eq!(output.status.code(), Some(0), "{out}{err}");
        assert!(began.elapsed() >= Duration::from_millis(took_ms), "{script} took {:?}", began.elapsed());
        assert_eq!(err.contains("warning[drain_timeout]: the drain by command"), is_late, "{err}");
        lab.check("v2", script);
    }
    let lab = Lab::new();
    let back = lab.folder.path().join("back");
    let undrain = format!("undrain: {{ command: [/bin/sh, -c, 'echo back >> {}'] }}", back.display());
    let more = format!("{}\n{undrain}", drain("echo the balancer says no; exit 1", "5s"));
    lab.apply(&lab.spec_with("v1", "good", &more), 0);
    assert_eq!(lines(&back), ["back"], "a first start takes part too");
    let out = lab.apply(&lab.spec("v2", "good"), 12);
    assert!(out.contains("nothing was stopped") && out.contains("the balancer says no"), "{out}");
    lab.check("v1", "nothing was stopped");
    assert_eq!((lab.starts().get("v1"), lines(&back).len()), (Some(&1), 2), "and it takes part again");
}

#[test]
fn a_drain_by_file_ends_when_the_file_is_removed_and_is_undone() {
    let lab = Lab::new();
    let file = lab.folder.path().join("drained");
    let more = format!("drain: {{ file: {}, wait: 30s }}", file.display());
    lab.apply(&lab.spec_with("v1", "good", &more), 0);
    let began = Instant::now();
    let mut child = lab.spawn(&["apply", &lab.spec("v2", "good").display().to_string()]);
    while !file.exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "the file is made");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(lab.alive(), ["v1"], "it serves while it is drained");
    std::fs::remove_file(&file).expect("the service has drained");
    assert!(child.wait().expect("it ends").success());
    assert!(began.elapsed() < Duration::from_secs(25), "it did not wait any longer");
    let more = format!("drain: {{ file: {}, wait: 300ms }}", file.display());
    lab.apply(&lab.spec_with("v3", "good", &more), 0);
    lab.apply(&lab.spec_with("v4", "good", &more), 0);
    assert!(!file.exists(), "the new release takes part");
}

#[test]
fn a_service_says_when_it_may_be_stopped() {
    let service = Http::answer(|head, times| match (head.starts_with("GET /idle"), times) {
        (true, 0 | 1) => 503,
        (true, _) => 204,
        _ => 404,
    });
    let lab = Lab::new();
    let ask = |url: &str, deadline: &str| {
        format!("may_stop: {{ http: \"http://{url}\", every: 200ms, deadline: {deadline} }}")
    };
    let idle = ask(&format!("{}/idle", service.address), "20s");
    lab.apply(&lab.spec_with("v1", "good", &idle), 0);
    assert_eq!(service.heads().len(), 0, "nothing ran that could be asked");
    lab.apply(&lab.spec_with("v2", "good", &ask("127.0.0.1:1/", "1s")), 0);
    assert_eq!(service.heads().len(), 3);
    let out = lab.apply(&lab.spec("v3", "good"), 3);
    assert!(out.contains("did not allow its stop within 1s") && out.contains("connection refused"), "{out}");
    lab.check("v2", "it was not stopped");
    let rollback = lab.run(&["rollback", "web"]);
    assert_eq!(rollback.status.code(), Some(0), "a rollback does not ask: {:?}", words_of(&rollback));
    lab.check("v1", "after the rollback");
}

#[test]
fn a_drain_by_http_is_a_post_and_a_get_where_there_is_no_post() {
    for (post, methods) in [(200, vec!["POST"]), (405, vec!["POST", "GET"]), (501, vec!["POST", "GET"])] {
        let balancer = Http::answer(move |head, _| if head.starts_with("POST") { post } else { 200 });
        let lab = Lab::new();
        let more = format!("drain: {{ http: \"http://{}/leave\", wait: 5s }}", balancer.address);
        lab.apply(&lab.spec_with("v1", "good", &more), 0);
        lab.apply(&lab.spec("v2", "good"), 0);
        let asked: Vec<String> =
            balancer.heads().iter().filter_map(|head| head.split(' ').next()).map(str::to_owned).collect();
        assert_eq!(asked, methods);
    }
}

/// A service that is notified by a signal or by a program of its own, and one that dies of the signal.
#[test]
fn another_environment_alone_reaches_the_process_that_runs() {
    let script = "trap \"cat $TRIMARAN_RUN_DIR/environ >> FILE\" HUP; while :; do sleep 0.05; done";
    let by_command = "{ command: [/bin/sh, -c, 'env >> FILE'] }";
    for (reload, script, exit) in [
        ("{ signal: HUP }", script, 0),
        (by_command, "while :; do sleep 1; done", 0),
        ("{ signal: USR1 }", "while :; do sleep 1; done", 12),
    ] {
        let lab = Lab::new();
        let file = lab.folder.path().join("reloaded");
        let fill = |text: &str| text.replace("FILE", &file.display().to_string());
        let (archive, digest) = lab.pack("v1");
        let spec = |color: &str| {
            let path = lab.folder.path().join(format!("{color}.yaml"));
            let text = format!(
                "trimaran: v1\nservice: web\nversion: v1\n\
                 artifact: {{ path: {}, sha256: {digest} }}\n\
                 host:\n  process:\n    command: [/bin/sh, -c, '{}']\n    reload: {}\n    \
                 environment: {{ COLOR: {color} }}\n  \
                 health: {{ command: [/bin/true], interval: 100ms, min_healthy: 500ms, deadline: 10s }}\n",
                archive.display(),
                fill(script),
                fill(reload),
            );
            std::fs::write(&path, text).expect("a file");
            path
        };
        let pid = || words_of(&lab.run(&["status", "-o", "json"])).0;
        lab.apply(&spec("blue"), 0);
        let before = launches(&lab);
        lab.apply(&spec("red"), exit);
        let known = std::fs::read_to_string(&file).unwrap_or_default();
        let lines: Vec<&str> = known.split(['\0', '\n']).collect();
        assert_eq!(lines.contains(&"COLOR=red"), exit == 0, "{reload}: {known}");
        assert_eq!(launches(&lab) == before, exit == 0, "{reload}: started again only to go back: {}", pid());
    }
}

/// Names of the directories of launches, one for each start.
fn launches(lab: &Lab) -> Vec<String> {
    let entries = std::fs::read_dir(lab.installation().join("run")).expect("something was started").flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Two hosts behind a balancer that is asked to leave each of them out while it changes; half of the releases are bad.
#[test]
fn a_client_through_a_balancer_sees_no_failed_request() {
    let deploys = if std::env::var_os("TRIMARAN_FULL").is_some() { 25 } else { 4 };
    let labs = [Lab::new(), Lab::new()];
    let balancer = Balancer::start([0, 1].map(|n| format!("{}:{}", labs[n].address, labs[n].port)));
    let more = [0, 1].map(|n| {
        let url = |what: &str| format!("\"http://{}/{what}/{n}\"", balancer.address);
        format!("drain: {{ http: {}, wait: 10s }}\nundrain: {{ http: {} }}", url("drain"), url("join"))
    });
    for (lab, more) in labs.iter().zip(&more) {
        lab.apply(&lab.spec_with("v0", "good", more), 0);
    }
    let client = Client::start(balancer.address.clone());
    for n in 0..deploys {
        for (lab, more) in labs.iter().zip(&more) {
            lab.apply(&lab.spec_with(&format!("v{n}-good"), "good", more), 0);
        }
        let behaviour = ["sick", "exit", "deaf", "cut"][n % 4];
        for (lab, more) in labs.iter().zip(&more) {
            lab.apply(&lab.spec_with(&format!("v{n}-bad"), behaviour, more), 12);
        }
    }
    let (requests, failed) = client.stop();
    assert!(requests > 100 * deploys, "only {requests} requests");
    assert_eq!(failed, Vec::<String>::new(), "of {requests} requests");
}

/// An HTTP server of one answer a connection.
struct Http {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Http {
    fn answer(status: impl Fn(&str, usize) -> u16 + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.21.2:0").expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let head = head_of(&stream);
                let mut noted = noted.lock().expect("no test panics with it");
                let status = status(&head, noted.len());
                noted.push(head);
                reply(stream, status, "");
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no test panics with it").clone()
    }
}

fn head_of(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn reply(mut stream: TcpStream, status: u16, body: &str) {
    let length = body.len();
    // Who has gone needs no answer.
    let _ =
        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
}

/// Sends each request to a host that takes part. `/drain/N` answers when host N has no request in flight any more.
struct Balancer {
    address: String,
}

#[derive(Default)]
struct Backend {
    address: String,
    is_out: AtomicBool,
    in_flight: AtomicUsize,
}

impl Balancer {
    fn start(hosts: [String; 2]) -> Self {
        let listener = TcpListener::bind("127.0.21.3:0").expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        // A host takes part once it has joined.
        let backends =
            Arc::new(hosts.map(|address| Backend { address, is_out: true.into(), ..Backend::default() }));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let backends = Arc::clone(&backends);
                std::thread::spawn(move || serve(stream, &backends));
            }
        });
        Self { address }
    }
}

fn serve(stream: TcpStream, backends: &[Backend; 2]) {
    let head = head_of(&stream);
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let named = |prefix: &str| path.strip_prefix(prefix).and_then(|n| n.parse::<usize>().ok());
    if let Some(n) = named("/join/") {
        backends[n].is_out.store(false, Ordering::SeqCst);
        return reply(stream, 200, "");
    }
    if let Some(n) = named("/drain/") {
        backends[n].is_out.store(true, Ordering::SeqCst);
        while backends[n].in_flight.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        return reply(stream, 200, "");
    }
    for backend in backends {
        backend.in_flight.fetch_add(1, Ordering::SeqCst);
        let answer = if backend.is_out.load(Ordering::SeqCst) { None } else { Some(ask(&backend.address)) };
        backend.in_flight.fetch_sub(1, Ordering::SeqCst);
        match answer {
            Some(Ok(())) => return reply(stream, 200, "ok"),
            Some(Err(why)) => return reply(stream, 502, &format!("{}: {why}", backend.address)),
            None => {}
        }
    }
    reply(stream, 503, "no host takes part");
}

fn ask(address: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).map_err(|error| error.to_string())?;
    write!(stream, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    let first = answer.lines().next().unwrap_or_default().to_owned();
    if first.contains(" 200 ") { Ok(()) } else { Err(format!("`{first}`")) }
}

/// One request after the other, until it is stopped.
struct Client {
    stopped: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(usize, Vec<String>)>,
}

impl Client {
    fn start(balancer: String) -> Self {
        let stopped = Arc::<AtomicBool>::default();
        let seen = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            let (mut requests, mut failed) = (0, Vec::new());
            while !seen.load(Ordering::SeqCst) {
                requests += 1;
                if let Err(why) = ask(&balancer) {
                    failed.push(why);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            (requests, failed)
        });
        Self { stopped, thread }
    }

    fn stop(self) -> (usize, Vec<String>) {
        self.stopped.store(true, Ordering::SeqCst);
        self.thread.join().expect("the client does not panic")
    }
}
