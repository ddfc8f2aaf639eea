//! Files that a release ships to its job: how they are called at the JobManager, and how its run names them.
//!
//! The JobManager takes one kind of file, a jar, and does not look into what it is given. So a file is uploaded under the name
//! of one, and Flink's distributed cache gets the path at which the JobManager has put it. When the job is submitted,
//! the JobManager copies the file into its blob store, from which tasks get it: the upload is not needed any more then.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use trimaran_model::id::Digest;
use trimaran_model::release::{Content, FlinkFiles};

/// Flink's key for files of the distributed cache.
const CACHED_FILES: &str = "pipeline.cached-files";

/// The name of a jar at the JobManager, or of a file: the same bytes of one pipeline are uploaded once.
pub fn jar_name(pipeline: &str, sha256: Digest) -> String {
    format!("trimaran-{pipeline}-{}.jar", &sha256.to_string()[..16])
}

/// Where the files of a job are on the JobManager's disk, by the names that its program asks for.
pub type FilePaths = BTreeMap<String, String>;

/// Files of a release on their way to a JobManager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippedFiles {
    pub pipeline: String,
    /// Of which they are the content.
    pub release: Digest,
    pub files: FlinkFiles,
}

impl ShippedFiles {
    /// What is uploaded: by its name at the JobManager a file with these bytes. Two files of the same bytes are one upload.
    pub fn uploads(&self) -> BTreeMap<String, &str> {
        self.files.iter().map(|(file, content)| (self.upload_name(content), file)).collect()
    }

    /// The path of each file; `None`: one of the uploads is not among these.
    pub fn paths(&self, uploaded: &BTreeMap<String, String>) -> Option<FilePaths> {
        let path = |(file, content): (&str, Content)| {
            Some((file.to_owned(), uploaded.get(&self.upload_name(content))?.clone()))
        };
        self.files.iter().map(path).collect()
    }

    fn upload_name(&self, content: Content) -> String {
        jar_name(&self.pipeline, content.digest)
    }
}

/// One file in the bytes of all; `None`: those are not what the release names.
pub fn verified_part<'a>(files: &FlinkFiles, whole: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let part = files.part(whole, name)?;
    let wanted = files.iter().find(|(file, _)| *file == name).map(|(_, content)| content.digest);
    (wanted == Some(Digest(Sha256::digest(part).into()))).then_some(part)
}

/// Names files in the body of a run.
pub(crate) fn add_to(body: &mut Value, paths: &FilePaths) {
    if !paths.is_empty() {
        body["flinkConfiguration"][CACHED_FILES] = json!(cached_files(paths));
    }
}

/// The same run with files at other paths.
pub(crate) fn with_paths(body: &str, paths: &FilePaths) -> String {
    let mut body: Value = serde_json::from_str(body).expect("the body of a run is JSON of our own");
    add_to(&mut body, paths);
    body.to_string()
}

/// Entries of Flink's list. The path stands in quotes, since `file://` has the separator of keys in it; a quote is doubled.
fn cached_files(paths: &FilePaths) -> String {
    let entry =
        |(name, path): (&String, &String)| format!("name:{name},path:'file://{}'", path.replace('\'', "''"));
    paths.iter().map(entry).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped(files: &[(&str, &str)]) -> (ShippedFiles, Vec<u8>) {
        let digest = |bytes: &[u8]| Digest(Sha256::digest(bytes).into());
        let sorted: BTreeMap<_, _> = files.iter().copied().collect();
        let whole = sorted.values().copied().collect::<String>().into_bytes();
        let contents = sorted.iter().map(|(name, text)| {
            let content = Content { digest: digest(text.as_bytes()), bytes: text.len() as u64 };
            ((*name).to_owned(), content)
        });
        let files = FlinkFiles::new(digest(&whole), contents.collect()).expect("small files");
        (ShippedFiles { pipeline: "clicks".to_owned(), release: Digest([7; 32]), files }, whole)
    }

    #[test]
    fn the_same_bytes_are_uploaded_once_and_found_under_each_name() {
        let (shipped, whole) = shipped(&[("rules.json", "{}"), ("b", "words"), ("a", "{}")]);
        let uploads = shipped.uploads();
        assert_eq!(uploads.len(), 2);
        assert!(uploads.keys().all(|name| name.starts_with("trimaran-clicks-") && name.ends_with(".jar")));
        let paths: BTreeMap<String, String> =
            uploads.iter().map(|(name, file)| (name.clone(), format!("/up/{file}"))).collect();
        let found = shipped.paths(&paths).expect("all are there");
        assert_eq!(found["a"], found["rules.json"]);
        assert_eq!(found["b"], "/up/b");
        assert_eq!(shipped.paths(&BTreeMap::new()), None);
        assert_eq!(verified_part(&shipped.files, &whole, "b"), Some(&b"words"[..]));
        assert_eq!(verified_part(&shipped.files, b"{}wordz{}", "b"), None, "other bytes");
        assert_eq!(verified_part(&shipped.files, &whole, "c"), None);
    }

    #[test]
    fn a_run_names_its_files_and_other_paths_later() {
        let paths = |root: &str| -> FilePaths {
            ["a", "rules.json"].map(|name| (name.to_owned(), format!("{root}/x_{name}"))).into()
        };
        let mut body = json!({"jobId": "00", "flinkConfiguration": {"restart-strategy.type": "none"}});
        add_to(&mut body, &FilePaths::new());
        assert_eq!(body["flinkConfiguration"], json!({"restart-strategy.type": "none"}));
        add_to(&mut body, &paths("/it's"));
        let named = "name:a,path:'file:///it''s/x_a';name:rules.json,path:'file:///it''s/x_rules.json'";
        let configuration = json!({"restart-strategy.type": "none", "pipeline.cached-files": named});
        assert_eq!(body["flinkConfiguration"], configuration);
        let moved: Value = serde_json::from_str(&with_paths(&body.to_string(), &paths("/up"))).expect("JSON");
        let named = "name:a,path:'file:///up/x_a';name:rules.json,path:'file:///up/x_rules.json'";
        assert_eq!(
            (&moved["flinkConfiguration"][CACHED_FILES], &moved["jobId"]),
            (&json!(named), &json!("00"))
        );
        assert_eq!(with_paths(&body.to_string(), &FilePaths::new()), body.to_string());
    }
}
