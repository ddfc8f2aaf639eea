//! Typed ids. A `RunId` can not be passed where a `StageName` belongs.
//!
//! Names come from users and follow one rule ([`name_error`]); numbers and digests come from Trimaran.

use std::fmt;
use std::str::FromStr;

/// Why `text` is not a name, or `None` when it is one.
///
/// A name has 1 to 63 characters of `a-z 0-9 -` (and `_` and `.` for hosts and installations made by
/// other tools), starts with a letter or digit and ends with one: RFC 1123 labels plus `_` and `.`.
pub fn name_error(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("a name can't be empty");
    }
    if text.len() > crate::limits::NAME_BYTES_MAX {
        return Some("a name has at most 63 characters");
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.chars().all(inner) {
        return Some("a name has only lower-case letters, digits, `-`, `_` and `.`");
    }
    if !text.starts_with(edge) || !text.ends_with(edge) {
        return Some("a name starts and ends with a letter or digit");
    }
    None
}

/// Why `text` is not a version of an artifact, or `None` when it is one.
///
/// A version is used in paths, URLs, tables and logs, so it has 1 to 128 characters of letters, digits and
/// `._+~:-` and starts with a letter, a digit or `_`: what tags of images and versions of packages have.
pub fn version_error(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("a version can't be empty");
    }
    if text.len() > crate::limits::VERSION_BYTES_MAX {
        return Some("a version has at most 128 characters");
    }
    let inner = |c: char| c.is_ascii_alphanumeric() || "._+~:-".contains(c);
    if !text.chars().all(inner) {
        return Some("a version has only letters, digits and the characters `._+~:-`");
    }
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!text.starts_with(first)).then_some("a version starts with a letter, a digit or `_`")
}

/// Why `key` and `value` are no label of a runner, or `None` when they are one.
pub fn label_error(key: &str, value: &str) -> Option<&'static str> {
    let long = |text: &str| text.len() > crate::limits::LABEL_BYTES_MAX;
    if key.is_empty() || key.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control()) {
        Some("the key of a label is not empty and has no white space and no `=`")
    } else if value.contains(char::is_control) {
        Some("the value of a label has no control characters")
    } else if long(key) || long(value) {
        Some("key and value of a label have at most 128 bytes each")
    } else {
        None
    }
}

/// Why `text` is not the name of an instance, or `None` when it is one.
///
/// Platforms name their instances: hosts by the names of runners, pods by DNS subdomains (RFC 1123), job managers and jobs of
/// Flink by addresses and ids. So a name has 1 to 253 characters of letters, digits and `.-_:` and starts with a letter
/// or digit.
pub fn instance_name_error(text: &str) -> Option<&'static str> {
    let inner = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    if text.is_empty() {
        Some("a name can't be empty")
    } else if text.len() > crate::limits::INSTANCE_NAME_BYTES_MAX {
        Some("the name of an instance has at most 253 characters")
    } else if !text.chars().all(inner) {
        Some("the name of an instance has only letters, digits and the characters `.-_:`")
    } else {
        let first = |c: char| c.is_ascii_alphanumeric();
        (!text.starts_with(first)).then_some("a name starts with a letter or digit")
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        name_type!($(#[$doc])* $name by name_error);
    };
    ($(#[$doc:meta])* $name:ident by $error:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);
        impl $name {
            #[doc = concat!("Takes `text` when [`", stringify!($error), "`] finds nothing wrong with it.")]
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                match $error(&text) {
                    None => Ok(Self(text)),
                    Some(why) => Err(InvalidName { text, why }),
                }
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }
    };
}

/// A text that is not a name, and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a name: {why}")]
pub struct InvalidName {
    pub text: String,
    pub why: &'static str,
}

name_type!(
    /// A pipeline, and on hosts the service that it deploys.
    PipelineName
);
name_type!(
    /// An environment of a pipeline: `staging`.
    EnvironmentName
);
name_type!(
    /// An admin-defined place: `lab-staging`.
    TargetName
);
name_type!(
    /// An agent, one per cell.
    AgentName
);
name_type!(
    /// A runner and the host it represents.
    HostName
);
name_type!(
    /// A member of the coordinator cluster.
    CoordinatorName
);
name_type!(
    /// A person or program that uses the operator protocol.
    OperatorName
);
name_type!(
    /// An artifact of a pipeline: `bundle`.
    ArtifactName
);
name_type!(
    /// A service on a host. A pipeline with `workload.host` deploys the service of its own name.
    ServiceName
);

name_type!(
    /// An instance of an installation, as its platform names it: a host, a pod, a job.
    InstanceName by instance_name_error
);

impl From<HostName> for InstanceName {
    fn from(host: HostName) -> Self {
        Self(host.0)
    }
}

impl From<&HostName> for InstanceName {
    fn from(host: &HostName) -> Self {
        Self(host.0.clone())
    }
}

impl PartialEq<HostName> for InstanceName {
    fn eq(&self, host: &HostName) -> bool {
        self.0 == host.0
    }
}

impl InstanceName {
    /// The host of this name; `None`: no host can have it.
    pub fn host(&self) -> Option<HostName> {
        HostName::new(self.0.as_str()).ok()
    }
}

impl From<&PipelineName> for ServiceName {
    fn from(name: &PipelineName) -> Self {
        Self(name.as_str().to_owned())
    }
}

/// One execution of a pipeline: `web#12`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    pub pipeline: PipelineName,
    /// Starts at 1 and grows by one per run of the pipeline.
    pub number: u64,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.pipeline, self.number)
    }
}

impl FromStr for RunId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let bad = |why| InvalidName { text: text.to_owned(), why };
        let (name, number) = text.split_once('#').ok_or_else(|| bad("a run is written PIPELINE#N"))?;
        let number = number.parse().map_err(|_| bad("a run is written PIPELINE#N"))?;
        Ok(Self { pipeline: PipelineName::new(name)?, number })
    }
}

/// A node of a run's graph: `ENV/TARGET` for a deploy, `ENV/approve` for a gate of an environment.
///
/// Kept as two parts because reports group by environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageName {
    pub environment: EnvironmentName,
    pub part: StagePart,
}

/// What of an environment a stage is. Approval sorts before the deploys that it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StagePart {
    Approve,
    Deploy(TargetName),
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            StagePart::Approve => write!(f, "{}/approve", self.environment),
            StagePart::Deploy(target) => write!(f, "{}/{}", self.environment, target),
        }
    }
}

impl FromStr for StageName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let bad = |why| InvalidName { text: text.to_owned(), why };
        let (environment, part) = text.split_once('/').ok_or_else(|| bad("a stage is written ENV/TARGET"))?;
        let part = match part {
            "approve" => StagePart::Approve,
            target => StagePart::Deploy(TargetName::new(target)?),
        };
        Ok(Self { environment: EnvironmentName::new(environment)?, part })
    }
}

/// One workload on one target: the unit of exclusivity, fence, current release and history.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstallationId {
    pub pipeline: PipelineName,
    pub target: TargetName,
}

impl fmt::Display for InstallationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.pipeline, self.target)
    }
}

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_type!(
    /// The replicated order "agent A performs job J of attempt T on installation I".
    AssignmentId(u64)
);
number_type!(
    /// The index of the log entry that made a change; the public revision of the state.
    Revision(u64)
);
number_type!(
    /// The n-th try of a stage, from 1.
    Attempt(u32)
);
number_type!(
    /// Grows with every restore or recovery of a cluster; the high 16 bits of each fence.
    Epoch(u16)
);

/// `epoch << 48 | n`: a larger fence always wins, an equal one is the same assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fence(pub u64);

impl Fence {
    /// `n` is the state's counter, below 2^48.
    pub fn new(epoch: Epoch, n: u64) -> Self {
        assert!(n < 1 << 48, "the fence counter overflowed");
        Self(u64::from(epoch.0) << 48 | n)
    }
    pub fn epoch(self) -> Epoch {
        Epoch(u16::try_from(self.0 >> 48).expect("16 bits remain"))
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Random id of one incarnation of an agent's or runner's data directory and process, in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How people and programs see the id of a cluster: `c` and its 32 lower-case hexadecimal digits.
pub fn cluster_name(id: &[u8; 16]) -> String {
    id.iter().fold("c".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// A SHA-256 digest: 64 lower-case hexadecimal digits in public.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The first 12 digits, for names of directories and tables.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;
    /// Reads 64 hexadecimal digits, with or without `sha256:` before them.
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        if hex.len() != 64 {
            return Err(InvalidDigest);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |c: u8| (c as char).to_digit(16).ok_or(InvalidDigest);
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).expect("two hexadecimal digits");
        }
        Ok(Self(bytes))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sha256 digest has 64 hexadecimal digits")]
pub struct InvalidDigest;

/// The id of a mutating request: a UUIDv7, scoped to the identity that sent it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// Milliseconds since the Unix epoch at which the sender made it (RFC 9562, 5.7).
    pub fn made_at_ms(&self) -> u64 {
        self.0[..6].iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Who speaks, as verified by the certificate of its session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// Trimaran itself: automatic rollback, timers.
    System,
    Coordinator(CoordinatorName),
    Agent(AgentName),
    Runner(HostName),
    Operator(OperatorName, OperatorRole),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => write!(f, "trimaran"),
            Self::Coordinator(name) => write!(f, "coordinator/{name}"),
            Self::Agent(name) => write!(f, "agent/{name}"),
            Self::Runner(name) => write!(f, "runner/{name}"),
            Self::Operator(name, _) => write!(f, "operator/{name}"),
        }
    }
}

/// What an operator may do: each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperatorRole {
    Viewer,
    Operator,
    Admin,
}

impl OperatorRole {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_and_a_stage_read_back_what_they_print() {
        for text in ["web#1", "a-b.c#18446744073709551615"] {
            assert_eq!(text.parse::<RunId>().expect("a run").to_string(), text);
        }
        for text in ["prod/approve", "prod/lab-prod"] {
            assert_eq!(text.parse::<StageName>().expect("a stage").to_string(), text);
        }
        for text in ["web", "web#", "web#x", "#1", "Web#1"] {
            assert!(text.parse::<RunId>().is_err(), "{text} is not a run");
        }
    }

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "0", "web-1", "ip-10.0.0.1", "a_b"] {
            assert_eq!(name_error(good), None, "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a b", "ü", "a/b", &"a".repeat(64)] {
            assert!(name_error(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn versions_are_safe_to_show_and_to_put_into_paths() {
        for good in ["v1", "1.2.3-rc.1+build_5", "1:2.0~beta", "_x", "V", &"a".repeat(128)] {
            assert_eq!(version_error(good), None, "{good}");
        }
        for bad in ["", "..", "../x", "a/b", "a b", "a\nb", "\u{1b}[31m", "ü", "-x", &"a".repeat(129)] {
            assert!(version_error(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn labels_have_a_key_and_are_short() {
        for (key, value) in [("group", "staging"), ("rack", ""), ("k8s.io/zone", "a b=c")] {
            assert_eq!(label_error(key, value), None, "{key}={value}");
        }
        let long = "a".repeat(129);
        for (key, value) in [("", "a"), ("a b", "c"), ("a\n", "b"), ("a", "b\n"), (&long, "a"), ("a", &long)]
        {
            assert!(label_error(key, value).is_some(), "{key}={value}");
        }
    }

    #[test]
    fn a_fence_orders_by_epoch_first() {
        assert!(Fence::new(Epoch(2), 0) > Fence::new(Epoch(1), (1 << 48) - 1));
        assert_eq!(Fence::new(Epoch(7), 9).epoch(), Epoch(7));
    }

    #[test]
    fn a_digest_reads_both_spellings_and_refuses_others() {
        let text = "ab".repeat(32);
        assert_eq!(text.parse::<Digest>().expect("hex").to_string(), text);
        assert_eq!(format!("sha256:{text}").parse::<Digest>().expect("hex").to_string(), text);
        assert!("abc".parse::<Digest>().is_err());
        assert!("zz".repeat(32).parse::<Digest>().is_err());
    }
}
