//! How the health of a service on hosts is asked for.

use std::collections::BTreeMap;

use crate::time::Millis;

/// How the health of one process is judged. `startup` first: until all of these have succeeded once, nothing else is
/// asked. Then `readiness` says whether it serves and `liveness` whether it has to be started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    pub startup: Vec<Probe>,
    /// Never empty together with `liveness`.
    pub readiness: Vec<Probe>,
    pub liveness: Vec<Probe>,
    /// Healthy without a break for so long before the host counts.
    pub min_healthy: Millis,
    /// From the start of the process to the end of `min_healthy`.
    pub deadline: Millis,
}

/// What a probe is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    Startup,
    Readiness,
    Liveness,
}

impl Condition {
    pub const ALL: [Self; 3] = [Self::Startup, Self::Readiness, Self::Liveness];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        }
    }
}

impl HealthCheck {
    /// One probe, which says whether the service serves.
    pub fn ready(probe: Probe, min_healthy: Millis, deadline: Millis) -> Self {
        Self { startup: Vec::new(), readiness: vec![probe], liveness: Vec::new(), min_healthy, deadline }
    }

    /// The probes of one condition.
    pub fn of(&self, condition: Condition) -> &[Probe] {
        match condition {
            Condition::Startup => &self.startup,
            Condition::Readiness => &self.readiness,
            Condition::Liveness => &self.liveness,
        }
    }

    /// All probes with what they are asked for.
    pub fn probes(&self) -> impl Iterator<Item = (Condition, &Probe)> {
        Condition::ALL
            .into_iter()
            .flat_map(|condition| self.of(condition).iter().map(move |it| (condition, it)))
    }
}

/// One question that is asked again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub check: ProbeCheck,
    pub interval: Millis,
    pub timeout: Millis,
    /// In a row, from 1, before it counts as succeeding again after a failure.
    pub successes: u32,
    /// In a row, from 1, before it counts as failing. A verification counts each one.
    pub failures: u32,
}

impl Probe {
    pub const INTERVAL: Millis = Millis::seconds(1);
    pub const TIMEOUT: Millis = Millis::seconds(2);
    pub const SUCCESSES: u32 = 1;
    pub const FAILURES: u32 = 3;

    /// A plain GET at a port of the host's own address.
    pub fn get(port: u16, path: &str, interval: Millis, timeout: Millis) -> Self {
        let url = ProbeUrl { address: ProbeAddress { host: None, port }, path: path.to_owned() };
        let check = ProbeCheck::Http(HttpProbe::get(url));
        Self { check, interval, timeout, successes: Self::SUCCESSES, failures: Self::FAILURES }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeCheck {
    /// An answer with the expected status within the timeout; at most 64 KiB are read, no redirect is followed.
    Http(HttpProbe),
    /// A connection can be made.
    Tcp(ProbeAddress),
    /// A program ends with exit code 0. It runs as the service does, in its release.
    Command(Vec<String>),
}

impl std::fmt::Display for ProbeCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http(HttpProbe { url, tls: Some(_), .. }) => write!(f, "https {}{}", url.address, url.path),
            Self::Http(http) => write!(f, "{}", http.url),
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Command(command) => write!(f, "command {}", command.join(" ")),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    pub url: ProbeUrl,
    /// In capitals.
    pub method: String,
    /// The header `Host`; `None`: the URL's.
    pub host: Option<String>,
    pub headers: BTreeMap<String, String>,
    /// `None`: plain http.
    pub tls: Option<ProbeTls>,
    pub expect: HttpExpect,
}

impl HttpProbe {
    /// A plain GET that expects 2xx.
    pub fn get(url: ProbeUrl) -> Self {
        Self {
            url,
            method: "GET".to_owned(),
            host: None,
            headers: BTreeMap::new(),
            tls: None,
            expect: HttpExpect::default(),
        }
    }
}

/// Whose certificate is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTls {
    /// A file of the release, or an absolute one of the host, with certificates in PEM form.
    pub ca: String,
}

/// What an answer has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpExpect {
    /// From and to, both meant too: 100 to 599.
    pub status: (u16, u16),
    /// What has to be among the first 64 KiB of the body.
    pub contains: Option<String>,
}

impl Default for HttpExpect {
    fn default() -> Self {
        Self { status: (200, 299), contains: None }
    }
}

/// `HOST:PORT`; without a host the host's own address is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeAddress {
    pub host: Option<String>,
    pub port: u16,
}

impl std::fmt::Display for ProbeAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.as_deref() {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{}:{}", host.unwrap_or_default(), self.port),
        }
    }
}

/// `http://HOST:PORT/PATH`; without a host the host's own address is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeUrl {
    pub address: ProbeAddress,
    /// Starts with `/`.
    pub path: String,
}

impl std::fmt::Display for ProbeUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.address.host {
            Some(_) => write!(f, "http://{}{}", self.address, self.path),
            None => write!(f, "{}{}", self.address, self.path),
        }
    }
}
