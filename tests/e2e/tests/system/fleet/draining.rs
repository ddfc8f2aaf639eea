//! A balancer that sends requests to whoever is not drained, and nothing else: it checks no one's health and tries nothing twice.
//! The service ends at once when it is stopped. So a request fails whenever a host is stopped that was not drained, or
//! comes back before it serves.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use trimaran_e2e::http;
use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web};
use trimaran_fixtures::http as served;
use trimaran_test_support::seed;

/// Deploys of one day, and all of them.
const DEPLOYS: (usize, usize) = (6, 50);
/// Where each host reaches its balancer, on its own address.
const ADMIN_PORT: u16 = 9_100;
const CLIENTS: usize = 4;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);
/// What a bad version does, each in another way; none of them is healthy for its window.
const BAD: &[&str] = &["fail-health", "exit-after 0 3", "hang-health", "redirect-health", "exit-after 150 3"];

#[derive(Default)]
struct Backend {
    is_in: bool,
    requests: u32,
    drains: u32,
    undrains: u32,
}

#[derive(Default)]
struct Shared {
    backends: Mutex<BTreeMap<IpAddr, Backend>>,
    sent: AtomicU64,
    failures: Mutex<Vec<String>>,
    is_ended: AtomicBool,
}

/// Routes and sends until it is dropped.
struct DrainedBalancer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl DrainedBalancer {
    /// Listens for `POST /drain` and `POST /undrain` beside each host; no host is in before it was undrained.
    fn start(hosts: &[SocketAddr]) -> Self {
        let mut balancer = Self { shared: Arc::default(), threads: Vec::new() };
        for host in hosts {
            let shared = Arc::clone(&balancer.shared);
            let listener = TcpListener::bind((host.ip(), ADMIN_PORT)).expect("its port is free");
            listener.set_nonblocking(true).expect("a socket");
            let ip = host.ip();
            balancer.threads.push(std::thread::spawn(move || {
                while !shared.is_ended.load(Ordering::SeqCst) {
                    match listener.accept() {
                        Ok((stream, _)) => shared.command(ip, &stream),
                        Err(_) => std::thread::sleep(PAUSE),
                    }
                }
            }));
        }
        balancer
    }

    /// From now on clients send requests, each after the other, to this port of the hosts.
    fn send(&mut self, port: u16) {
        for client in 0..CLIENTS {
            let shared = Arc::clone(&self.shared);
            self.threads.push(std::thread::spawn(move || {
                let mut turn = client;
                while !shared.is_ended.load(Ordering::SeqCst) {
                    turn += 1;
                    shared.request(turn, port);
                    std::thread::sleep(PAUSE);
                }
            }));
        }
    }
}

impl Drop for DrainedBalancer {
    fn drop(&mut self) {
        self.shared.is_ended.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("no thread of the balancer panics");
        }
    }
}

impl Shared {
    fn with<T>(&self, ip: IpAddr, change: impl FnOnce(&mut Backend) -> T) -> T {
        let mut backends = self.backends.lock().expect("no thread panics with the lock");
        change(backends.entry(ip).or_default())
    }

    /// What a host asks for; a drain is answered when the last request to the host has its answer.
    fn command(&self, ip: IpAddr, stream: &TcpStream) {
        stream.set_nonblocking(false).expect("a socket");
        match served::path(stream).as_deref() {
            Ok("/drain") => {
                self.with(ip, |it| (it.is_in, it.drains) = (false, it.drains + 1));
                while self.with(ip, |it| it.requests > 0) {
                    std::thread::sleep(PAUSE);
                }
            }
            Ok("/undrain") => self.with(ip, |it| (it.is_in, it.undrains) = (true, it.undrains + 1)),
            other => panic!("a host asks its balancer for {other:?}"),
        }
        // A runner that was ended does not wait for it.
        let _ = served::answer(stream, "200 OK", "", "");
    }

    fn request(&self, turn: usize, port: u16) {
        let chosen = {
            let mut backends = self.backends.lock().expect("no thread panics with the lock");
            let mut all: Vec<_> = backends.iter_mut().filter(|(_, it)| it.is_in).collect();
            let count = all.len();
            all.get_mut(turn % count.max(1)).map(|(ip, it)| {
                it.requests += 1;
                **ip
            })
        };
        self.sent.fetch_add(1, Ordering::SeqCst);
        let outcome = match chosen {
            None => Err("no host is in".to_owned()),
            Some(ip) => {
                let got = http::get(SocketAddr::new(ip, port), "/", REQUEST_TIMEOUT);
                self.with(ip, |it| it.requests -= 1);
                match got {
                    Ok((200, _)) => Ok(()),
                    other => Err(format!("{ip}: {other:?}")),
                }
            }
        };
        if let Err(why) = outcome {
            self.failures.lock().expect("no thread panics with the lock").push(why);
        }
    }
}

/// Prod alone, one host after the other, with a balancer that each host reaches on its own address.
fn shape() -> Shape {
    let drain = format!("drain: {{ http: \":{ADMIN_PORT}/drain\", wait: 10s }}");
    let undrain = format!("undrain: {{ http: \":{ADMIN_PORT}/undrain\" }}");
    Shape {
        stop_signal: "INT",
        deadline: "2s",
        prod_sizes: "[1, 100%]",
        lifecycle: vec![drain, undrain],
        ..Shape::prod_alone()
    }
}

#[test]
fn no_request_through_a_balancer_fails_over_deploys_of_which_half_are_bad() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, shape(), &[("v0", "good")]);
    let hosts = [2, 3].map(|number| lab.host(number, web.port));
    let mut balancer = DrainedBalancer::start(&hosts);
    web.deploy_until(&lab, "v0", "succeeded");
    balancer.send(web.port);
    let deploys = if seed::is_full() { DEPLOYS.1 } else { DEPLOYS.0 };
    for number in 1..=deploys {
        let version = format!("v{number}");
        let (behaviour, end) = match number % 2 {
            0 => ("good", "succeeded"),
            _ => (BAD[(number / 2) % BAD.len()], "rolled_back"),
        };
        let archive = web.pack(&version, behaviour);
        web.deploy_until(&lab, &version, end);
        std::fs::remove_file(archive).expect("it was packed");
        let failures = balancer.shared.failures.lock().expect("no thread panics with the lock").clone();
        assert!(failures.is_empty(), "{version}, which is {behaviour}: {failures:?}");
    }
    let sent = balancer.shared.sent.load(Ordering::SeqCst);
    eprintln!("{sent} requests over {deploys} deploys, none failed");
    assert!(sent > 50 * deploys as u64, "clients sent all the time: {sent}");
    for (ip, it) in &*balancer.shared.backends.lock().expect("no thread panics with the lock") {
        assert!(it.is_in, "{ip} serves at the end");
        assert!(it.drains as usize >= deploys / 2, "{ip} was drained before each stop: {}", it.drains);
        assert_eq!(it.undrains, it.drains + 1, "{ip} came back each time");
    }
}
