//! Artifacts: what a release is made of, by digest and place.

use bincode::{Decode, Encode};
use trimaran_model::id::Digest;
use trimaran_model::release::{Artifact, ArtifactLocation};

use super::common::name;
use crate::codec::CodecError;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireArtifact {
    pub name: String,
    pub version: String,
    pub sha256: [u8; 32],
    pub location: WireLocation,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireLocation {
    Url(String),
    Path(String),
}

impl From<&Artifact> for WireArtifact {
    fn from(artifact: &Artifact) -> Self {
        let location = match artifact.location.clone() {
            ArtifactLocation::Url(url) => WireLocation::Url(url),
            ArtifactLocation::Path(path) => WireLocation::Path(path),
        };
        Self {
            name: artifact.name.to_string(),
            version: artifact.version.clone(),
            sha256: artifact.sha256.0,
            location,
        }
    }
}

impl TryFrom<WireArtifact> for Artifact {
    type Error = CodecError;
    fn try_from(wire: WireArtifact) -> Result<Self, CodecError> {
        let location = match wire.location {
            WireLocation::Url(url) => ArtifactLocation::Url(url),
            WireLocation::Path(path) => ArtifactLocation::Path(path),
        };
        Ok(Self { name: name(&wire.name)?, version: wire.version, sha256: Digest(wire.sha256), location })
    }
}
