//! The service of the tests with real processes: one address, one behaviour, and a line for each of its starts.
//!
//! `trimaran-test-service ADDRESS START_LOG VERSION BEHAVIOUR`, where a behaviour is `good`, `sick`, `exit`,
//! `hang` (a probe is accepted and not answered), `stream` (an answer without an end), `chunks` (the same in chunks),
//! `cut` (an answer that ends in the middle), `redirect`, `stubborn` (good, and ignores SIGTERM), `daemon` (good, and
//! leaves a process in a session of its own), `deaf` (runs and listens nowhere), `master` (ends with exit code 7, and
//! leaves a worker that answers and ignores SIGTERM), `detach` (the same with exit code 0 at once), `environment`
//! (good, and writes its environment beside START_LOG).
#![allow(clippy::disallowed_methods, reason = "a test service")]

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, log, version, behaviour] = arguments.as_slice() else {
        eprintln!("usage: trimaran-test-service ADDRESS START_LOG VERSION BEHAVIOUR");
        std::process::exit(2);
    };
    if behaviour == "stubborn" {
        ignore_term();
    }
    note(log, version);
    println!("{version} started");
    match behaviour.as_str() {
        "exit" => std::process::exit(3),
        "daemon" => leave_daemon(log),
        "deaf" => loop {
            std::thread::sleep(Duration::from_secs(60));
        },
        "master" => leave_worker(&arguments, Duration::from_millis(120), 7),
        "detach" => leave_worker(&arguments, Duration::ZERO, 0),
        "environment" => write_environment(log),
        _ => {}
    }
    let listener = match TcpListener::bind(address) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("can't listen on {address}: {error}");
            std::process::exit(4);
        }
    };
    for stream in listener.incoming().flatten() {
        // A probe that goes away is no concern of the service.
        let _ = answer(stream, version, behaviour);
    }
}

/// One line for each start: version and pid, in one write.
fn note(log: &str, version: &str) {
    let line = format!("{version} {}\n", std::process::id());
    let file = OpenOptions::new().create(true).append(true).open(log);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the log of starts can be written");
}

/// A shell that ignores SIGTERM becomes this program again, which inherits that.
fn ignore_term() {
    if std::env::var_os("TERM_IGNORED").is_some() {
        return;
    }
    use std::os::unix::process::CommandExt as _;
    let own = std::env::current_exe().expect("a process knows its binary");
    let error = std::process::Command::new("/bin/sh")
        .args(["-c", "trap '' TERM; exec \"$@\"", "sh"])
        .arg(own)
        .args(std::env::args().skip(1))
        .env("TERM_IGNORED", "1")
        .exec();
    panic!("/bin/sh can't be run: {error}");
}

/// Starts a worker and ends before it.
fn leave_worker(arguments: &[String], after: Duration, code: i32) -> ! {
    let own = std::env::current_exe().expect("a process knows its binary");
    let worker = std::process::Command::new(own).args(&arguments[..3]).arg("stubborn").spawn();
    worker.expect("the worker can be started");
    std::thread::sleep(after);
    std::process::exit(code)
}

/// As the process was started with it.
fn write_environment(log: &str) {
    let environment = std::fs::read("/proc/self/environ").expect("a process may read its own");
    std::fs::write(format!("{log}.environment"), environment).expect("the environment can be written");
}

fn leave_daemon(log: &str) {
    let script = "trap '' TERM; echo \"daemon $$\" >> \"$1\"; while :; do sleep 1; done";
    // With `-f` it is the grandchild that stays, so its parent is gone at once.
    let forked =
        std::process::Command::new("setsid").args(["-f", "/bin/sh", "-c", script, "sh", log]).status();
    forked.expect("setsid can be run");
}

fn answer(mut stream: TcpStream, version: &str, behaviour: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && line.trim() != "" {
        line.clear();
    }
    match behaviour {
        "sick" => write!(stream, "HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n"),
        "redirect" => write!(stream, "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"),
        "hang" => {
            // Ends when the probe has ended.
            reader.read_line(&mut line)?;
            Ok(())
        }
        "stream" => {
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
            let block = [b'x'; 16 * 1024];
            (0..65_536).try_for_each(|_| stream.write_all(&block))
        }
        "chunks" => {
            write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
            (0..65_536).try_for_each(|_| stream.write_all(chunk.as_bytes()))
        }
        "cut" => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{version}"),
        _ => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{version}", version.len()),
    }
}
