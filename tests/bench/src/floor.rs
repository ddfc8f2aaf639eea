//! The floor of a rollout: the same service stopped, started and watched in the same batches, and nothing else.
//! The archive is unpacked before the clock starts, as a rollout may do it ahead too.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use trimaran_e2e::http;
use trimaran_e2e::lab::signal;
use trimaran_test_support::wait::until;

const PORT: &str = "19099";

/// The time of `batches` batches of `size` hosts each.
pub(crate) fn of_batches(
    archive: &Path,
    folder: &Path,
    batches: u32,
    size: u32,
    min_healthy: Duration,
) -> Duration {
    let release = folder.join("floor");
    let file = std::fs::File::open(archive).expect("the archive");
    let unpacked = tar::Archive::new(zstd::Decoder::new(file).expect("zstd")).unpack(&release);
    unpacked.expect("unpacked");
    let hosts = u8::try_from(batches * size).expect("few hosts");
    let mut services: Vec<Child> = (1..=hosts).map(|host| start(&release, host)).collect();
    for host in 1..=hosts {
        healthy(host);
    }
    let begin = Instant::now();
    for batch in 0..batches {
        let of_batch = (batch * size..(batch + 1) * size).map(|index| index as usize);
        std::thread::scope(|scope| {
            for (index, service) in
                services.iter_mut().enumerate().filter(|(index, _)| of_batch.clone().any(|it| it == *index))
            {
                let (release, host) = (&release, u8::try_from(index + 1).expect("few hosts"));
                scope.spawn(move || {
                    signal(service.id(), "TERM");
                    service.wait().expect("a child");
                    *service = start(release, host);
                    healthy(host);
                    std::thread::sleep(min_healthy);
                });
            }
        });
    }
    let took = begin.elapsed();
    for service in &mut services {
        service.kill().expect("a child");
        service.wait().expect("a child");
    }
    took
}

fn start(release: &Path, host: u8) -> Child {
    let binary: PathBuf = release.join("bin/web");
    Command::new(binary)
        .args(["--port", PORT])
        .env("TRIMARAN_ADDRESS", format!("127.0.99.{host}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the service starts")
}

fn healthy(host: u8) {
    let address: SocketAddr = format!("127.0.99.{host}:{PORT}").parse().expect("an address");
    until("the service is healthy", Duration::from_secs(20), || {
        matches!(http::get(address, "/healthz", Duration::from_secs(1)), Ok((200, _))).then_some(())
    });
}
