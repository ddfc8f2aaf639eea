//! What a dev cluster consists of: names, directories, addresses and argvs, fixed at its first start.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use trimaran_model::error_code;

use super::io_error::io_error;
use crate::error::CliError;

/// One process.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) role: &'static str,
    pub(crate) data_dir: PathBuf,
    /// Where it listens; a runner's is the host's own address.
    pub(crate) address: String,
    /// The whole command line; holds no token.
    pub(crate) argv: Vec<String>,
    /// Labels of a runner.
    pub(crate) labels: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) data: PathBuf,
    pub(crate) coordinators: Vec<Part>,
    pub(crate) agent: Part,
    pub(crate) runners: Vec<Part>,
}

/// `dev.json`: what must be the same at the next start.
#[derive(Debug, Serialize, Deserialize)]
struct Fixed {
    coordinator_ports: Vec<u16>,
    agent_port: u16,
    hosts: u8,
    subnet: String,
}

impl Layout {
    /// Reads the layout of a directory, or makes one.
    pub(crate) fn open(data: &Path, coordinators: u8, hosts: u8, subnet: &str) -> Result<Self, CliError> {
        let third = subnet.strip_prefix("127.0.").and_then(|k| k.parse::<u8>().ok());
        if third.is_none() {
            return Err(CliError::new(
                error_code::USAGE,
                format!("`--subnet {subnet}` is not of the form 127.0.K"),
            ));
        }
        let file = data.join("dev.json");
        let fixed = match std::fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| {
                CliError::new(error_code::DATA_DIR, format!("{} can't be read", file.display()))
                    .cause(error.to_string())
            })?,
            Err(_) => {
                let fixed = Fixed {
                    coordinator_ports: (0..coordinators).map(|_| free_port()).collect::<Result<_, _>>()?,
                    agent_port: free_port()?,
                    hosts,
                    subnet: subnet.to_owned(),
                };
                let text = serde_json::to_string_pretty(&fixed).expect("plain data");
                std::fs::write(&file, text).map_err(|error| io_error("dev.json", &error))?;
                fixed
            }
        };
        Self::build(data, &fixed)
    }

    fn build(data: &Path, fixed: &Fixed) -> Result<Self, CliError> {
        let (coordinator, agent) = (binary("trimaran-coordinator")?, binary("trimaran-agent")?);
        let ports = (1..).zip(&fixed.coordinator_ports);
        let coordinators: Vec<Part> =
            ports.map(|(number, port)| member(data, &coordinator, number, *port)).collect();
        let lab = lab(data, &agent, fixed.agent_port, &coordinators);
        let runners = (1..=fixed.hosts).map(|number| runner(data, &agent, number, fixed, &lab)).collect();
        Ok(Self { data: data.to_owned(), coordinators, agent: lab, runners })
    }

    /// All parts in the order in which they start.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.coordinators.iter().chain(std::iter::once(&self.agent)).chain(&self.runners)
    }
}

/// The command line of a part, up to what it alone has.
fn argv(binary: &str, role: Option<&str>, name: &str, data_dir: &Path) -> Vec<String> {
    let role = role.map_or(Vec::new(), |role| vec!["--role", role]);
    let data_dir = text(data_dir);
    let words = [binary, "run"].into_iter().chain(role).chain(["--name", name, "--data-dir", &data_dir]);
    words.map(str::to_owned).collect()
}

fn flag(argv: &mut Vec<String>, name: &str, value: &str) {
    argv.extend([name.to_owned(), value.to_owned()]);
}

fn member(data: &Path, binary: &str, number: usize, port: u16) -> Part {
    let name = format!("c{number}");
    let data_dir = data.join(&name);
    let address = loopback(port);
    let mut argv = argv(binary, None, &name, &data_dir);
    flag(&mut argv, "--listen", &address);
    // One person is everybody here, and measures what a machine can do.
    flag(&mut argv, "--changes-per-second", "100000");
    Part { name, role: "coordinator", data_dir, address, argv, labels: Vec::new() }
}

/// The one agent.
fn lab(data: &Path, binary: &str, port: u16, coordinators: &[Part]) -> Part {
    let name = "lab".to_owned();
    let data_dir = data.join(&name);
    let address = loopback(port);
    let mut argv = argv(binary, Some("agent"), &name, &data_dir);
    for coordinator in coordinators {
        flag(&mut argv, "--endpoint", &coordinator.address);
    }
    flag(&mut argv, "--listen", &address);
    Part { name, role: "agent", data_dir, address, argv, labels: Vec::new() }
}

/// The runner of a host; the first third of them is staging.
fn runner(data: &Path, binary: &str, number: u8, fixed: &Fixed, agent: &Part) -> Part {
    let name = format!("host-{number}");
    let data_dir = data.join(&name);
    let address = format!("{}.{number}", fixed.subnet);
    let mut argv = argv(binary, Some("runner"), &name, &data_dir);
    flag(&mut argv, "--endpoint", &agent.address);
    flag(&mut argv, "--address", &address);
    let group = if number <= (fixed.hosts / 3).max(1) { "staging" } else { "prod" };
    let labels = vec![("group".to_owned(), group.to_owned())];
    Part { name, role: "runner", data_dir, address, argv, labels }
}

fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The other binaries stand beside this one.
fn binary(name: &str) -> Result<String, CliError> {
    let own = std::env::current_exe().map_err(|error| io_error("the own binary", &error))?;
    let path = own.parent().unwrap_or(Path::new(".")).join(name);
    if path.is_file() {
        return Ok(text(&path));
    }
    Err(CliError::new(error_code::DATA_DIR, format!("`{name}` is not beside `{}`", own.display()))
        .cause("`trimaran dev` starts the two other programs from its own directory.")
        .help("install the three programs together, or run `make build`"))
}

/// A UDP port that is free now; it is written down at once, so a later start finds it again.
fn free_port() -> Result<u16, CliError> {
    let any = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 0);
    let socket = UdpSocket::bind(any).map_err(|error| io_error("a free port", &error))?;
    Ok(socket.local_addr().map_err(|error| io_error("a free port", &error))?.port())
}
