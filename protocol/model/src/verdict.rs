//! The judgment of an installation or object, made at the edge.

/// Six answers. `Unknown` means that the judge speaks and has no evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    Healthy,
    Progressing,
    Degraded,
    Suspended,
    Missing,
    Unknown,
}

impl Verdict {
    pub const ALL: [Self; 6] =
        [Self::Healthy, Self::Progressing, Self::Degraded, Self::Suspended, Self::Missing, Self::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Progressing => "progressing",
            Self::Degraded => "degraded",
            Self::Suspended => "suspended",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }

    /// Reads what [`Verdict::as_str`] writes.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.as_str() == name)
    }
}

/// Whose fault a bad verdict is. Platform faults pause; a bad release goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    Release,
    Platform,
}

impl Fault {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Platform => "platform",
        }
    }
}
