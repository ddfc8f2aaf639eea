//! Releases: the immutable unit that is applied and rolled back.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::id::{ArtifactName, Digest, PipelineName, TargetName};
use crate::limits::{CONTENT_PART_BYTES, FLINK_FILE_BYTES_MAX, FLINK_FILE_NAME_BYTES_MAX, FLINK_FILES_MAX};
use crate::pipeline::{FlinkWorkload, HealthCheck, Lifecycle, OnConflict, Process};
use crate::target::PlatformKind;
use crate::time::Millis;

/// What runs on one target: everything that is needed to apply it again, addressed by its digest.
///
/// The digest is SHA-256 over the frozen wire form of this struct (`trimaran_wire::v1::release`), so it
/// depends on nothing that is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub pipeline: PipelineName,
    pub target: TargetName,
    /// The version of the artifact that the workload runs, for people.
    pub version: String,
    pub workload: ReleaseWorkload,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseWorkload {
    Host(HostRelease),
    Kubernetes(KubernetesRelease),
    Flink(FlinkRelease),
}

impl ReleaseWorkload {
    /// The platform that it runs on.
    pub fn platform(&self) -> PlatformKind {
        match self {
            Self::Host(_) => PlatformKind::Hosts,
            Self::Kubernetes(_) => PlatformKind::Kubernetes,
            Self::Flink(_) => PlatformKind::Flink,
        }
    }

    /// What is too large to stand in the release.
    pub fn content(&self) -> Option<Content> {
        match self {
            Self::Kubernetes(kubernetes) => Some(kubernetes.objects),
            Self::Flink(flink) => flink.files.as_ref().map(FlinkFiles::whole),
            Self::Host(_) => None,
        }
    }

    /// The artifacts that run, the one that gives the release its version first.
    pub fn artifacts(&self) -> Vec<&Artifact> {
        match self {
            Self::Host(host) => vec![&host.bundle],
            Self::Kubernetes(kubernetes) => kubernetes.images.values().chain(&kubernetes.manifests).collect(),
            Self::Flink(flink) => vec![&flink.jar],
        }
    }
}

/// Objects of one namespace, as they are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesRelease {
    /// A JSON array of the objects as they were rendered, ConfigMaps and Secrets named by content, without a namespace and
    /// with the images of their files.
    pub objects: Content,
    /// The archive that they were read from; `None`: files beside the pipeline's.
    pub manifests: Option<Artifact>,
    /// The image that takes the place of the one that a container of this name has.
    pub images: BTreeMap<String, Artifact>,
    /// Healthy for so long before the stage is finished.
    pub stability: Millis,
    pub on_conflict: OnConflict,
}

/// Bytes that a release needs and that are too many to stand in it. Coordinators keep them as long as a release in memory
/// names them; agents fetch them by their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// SHA-256 over all of them.
    pub digest: Digest,
    /// At most `limits::CONTENT_BYTES_MAX`.
    pub bytes: u64,
}

impl Content {
    /// In how many parts of `limits::CONTENT_PART_BYTES` they travel; the last one may be shorter. Never none.
    pub fn parts(&self) -> u32 {
        let parts = self.bytes.div_ceil(CONTENT_PART_BYTES as u64).max(1);
        u32::try_from(parts).unwrap_or(u32::MAX)
    }

    /// The length of a part; `None`: there is no such part.
    pub fn part_bytes(&self, part: u32) -> Option<usize> {
        let begin = u64::from(part) * CONTENT_PART_BYTES as u64;
        let rest = usize::try_from(self.bytes.checked_sub(begin)?).unwrap_or(usize::MAX);
        (part < self.parts()).then_some(rest.min(CONTENT_PART_BYTES))
    }
}

/// A job with its artifact pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlinkRelease {
    pub jar: Artifact,
    pub job: FlinkWorkload,
    pub files: Option<FlinkFiles>,
}

/// Files that a job reads from Flink's distributed cache. Their bytes travel as one content, each behind the one before it
/// in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlinkFiles {
    whole: Content,
    /// By the name that the program asks the cache for; never empty.
    files: BTreeMap<String, Content>,
}

impl FlinkFiles {
    /// Files of which `digest` is that of all their bytes.
    ///
    /// # Errors
    /// None, too many, one that is too large, or a name that is none.
    pub fn new(digest: Digest, files: BTreeMap<String, Content>) -> Result<Self, FlinkFilesError> {
        if files.is_empty() || files.len() > FLINK_FILES_MAX {
            return Err(FlinkFilesError::Count(files.len()));
        }
        for (name, content) in &files {
            if let Some(why) = flink_file_name_error(name) {
                return Err(FlinkFilesError::Name { name: name.clone(), why });
            }
            if content.bytes > FLINK_FILE_BYTES_MAX as u64 {
                return Err(FlinkFilesError::TooLarge { name: name.clone(), bytes: content.bytes });
            }
        }
        let bytes = files.values().map(|content| content.bytes).sum();
        Ok(Self { whole: Content { digest, bytes }, files })
    }

    /// All of their bytes.
    pub fn whole(&self) -> Content {
        self.whole
    }

    /// Names and contents, in the order of the bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Content)> {
        self.files.iter().map(|(name, content)| (name.as_str(), *content))
    }

    /// The bytes of one file in the bytes of all; `None`: there is none of this name, or those are not all.
    pub fn part<'a>(&self, whole: &'a [u8], name: &str) -> Option<&'a [u8]> {
        let length = usize::try_from(self.files.get(name)?.bytes).ok()?;
        let before = self
            .files
            .range::<str, _>((Bound::Unbounded, Bound::Excluded(name)))
            .map(|(_, content)| content.bytes)
            .sum::<u64>();
        let begin = usize::try_from(before).ok()?;
        whole.get(begin..begin.checked_add(length)?)
    }
}

/// Why files can't be shipped with a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlinkFilesError {
    #[error("{0} files of a job, and there may be 1 to {FLINK_FILES_MAX}")]
    Count(usize),
    #[error("`{name}` is not the name of a file of a job: {why}")]
    Name { name: String, why: &'static str },
    #[error("file `{name}` of a job has {bytes} bytes, and may have {FLINK_FILE_BYTES_MAX}")]
    TooLarge { name: String, bytes: u64 },
}

/// Why a text is no name of a file in the cache. Flink's own syntax separates entries and keys by other characters.
pub fn flink_file_name_error(name: &str) -> Option<&'static str> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > FLINK_FILE_NAME_BYTES_MAX {
        return Some("it has more than 63 characters");
    }
    (!name.chars().all(is_allowed)).then_some("it has something else than letters, digits, `.`, `_` and `-`")
}

/// A service on hosts with its artifact pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRelease {
    pub bundle: Artifact,
    pub process: Process,
    pub health: HealthCheck,
    pub lifecycle: Lifecycle,
}

impl HostRelease {
    /// Whether a process of `earlier` becomes one of this by a reload: it knows how, and nothing differs but what its
    /// environment is made of.
    pub fn is_reload_of(&self, earlier: &Self) -> bool {
        let process = Process {
            environment: self.process.environment.clone(),
            environment_files: self.process.environment_files.clone(),
            secrets: self.process.secrets.clone(),
            ..earlier.process.clone()
        };
        self.process.reload.is_some() && *self == (Self { process, ..earlier.clone() })
    }
}

/// An artifact with version and digest bound.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Artifact {
    pub name: ArtifactName,
    pub version: String,
    pub sha256: Digest,
    pub location: ArtifactLocation,
}

/// Where the bytes of one version are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ArtifactLocation {
    Url(String),
    /// On the runner's own host.
    Path(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(n: u8, bytes: u64) -> Content {
        Content { digest: Digest([n; 32]), bytes }
    }

    #[test]
    fn files_of_a_job_lie_one_behind_the_other() {
        let files = [("b", 2), ("a.json", 3), ("empty", 0)];
        let files = files.map(|(name, bytes)| (name.to_owned(), content(1, bytes)));
        let files = FlinkFiles::new(Digest([9; 32]), files.into()).expect("three small files");
        assert_eq!(files.whole(), content(9, 5));
        assert_eq!(files.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a.json", "b", "empty"]);
        let parts = ["a.json", "b", "empty", "c"].map(|name| files.part(b"12345", name));
        assert_eq!(parts, [Some(&b"123"[..]), Some(b"45"), Some(b""), None]);
        assert_eq!(files.part(b"1234", "b"), None);
    }

    #[test]
    fn what_is_no_set_of_files_says_why() {
        let of = |files: &[(&str, u64)]| {
            let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), content(1, *bytes)));
            FlinkFiles::new(Digest([9; 32]), files.collect()).map_err(|error| error.to_string())
        };
        let names: Vec<String> = (0..=FLINK_FILES_MAX).map(|n| n.to_string()).collect();
        let many: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        assert!(of(&many[1..]).is_ok() && of(&[("a", FLINK_FILE_BYTES_MAX as u64)]).is_ok());
        assert_eq!(of(&[]), Err("0 files of a job, and there may be 1 to 16".to_owned()));
        assert_eq!(of(&many), Err("17 files of a job, and there may be 1 to 16".to_owned()));
        let large = of(&[("a", FLINK_FILE_BYTES_MAX as u64 + 1)]).expect_err("too large");
        assert_eq!(large, "file `a` of a job has 1048577 bytes, and may have 1048576");
        for name in ["", "a b", "a:b", "a,b", "a;b", "a/b", "ä", &"a".repeat(64)] {
            let error = of(&[(name, 1)]).expect_err(name);
            assert!(error.contains("is not the name of a file of a job"), "{error}");
        }
    }
}
