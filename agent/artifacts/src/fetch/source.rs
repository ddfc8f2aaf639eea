//! Where an artifact comes from, as messages name it.

use trimaran_model::release::ArtifactLocation;

/// The location as people know it; a password in a URL is not shown.
pub(crate) fn source_name(location: &ArtifactLocation) -> String {
    match location {
        ArtifactLocation::Path(path) => format!("`{path}`"),
        ArtifactLocation::Url(url) => match reqwest::Url::parse(url) {
            Ok(mut parsed) => {
                if parsed.password().is_some() || !parsed.username().is_empty() {
                    // Both fail only for URLs without a host, which have neither.
                    let _ = parsed.set_password(None);
                    let _ = parsed.set_username("…");
                }
                if parsed.query().is_some() {
                    // A presigned URL has its signature here.
                    parsed.set_query(Some("…"));
                }
                format!("`{parsed}`")
            }
            Err(_) => format!("`{url}`"),
        },
    }
}
