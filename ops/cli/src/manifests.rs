//! Kubernetes manifests and objects as commands take them: files and folders of YAML or JSON, read within bounds.
//!
//! Deliberately not here: what makes an object good. A document that is no object, or has no kind or name, is
//! kept, so that the command can say so with its place.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;
use trimaran_kubernetes_core::list;
use trimaran_language::manifest::{self, DocumentPlace, Places};
use trimaran_language::tree::Span;
use trimaran_language::{Diagnostic, SourceFile};
use trimaran_model::limits;

use crate::error::CliError;
use crate::input::{self, Input, STDIN};

/// One object of a file; those of a `kind: List` are objects of their own.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) value: Value,
    source: Rc<Source>,
    document: DocumentPlace,
    /// JSON pointer of the object in its document, such as `/items/3`; empty for a whole document.
    in_list: String,
}

/// A file whose objects may have to be found again.
#[derive(Debug)]
struct Source {
    name: String,
    bytes: Rc<[u8]>,
    places: Places,
    /// What the reader says about the file.
    warnings: Vec<Diagnostic>,
}

impl Manifest {
    /// The name of the file, as it was found.
    pub(crate) fn file(&self) -> &str {
        &self.source.name
    }

    /// The text of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.source.bytes
    }

    /// Where a JSON pointer into the object is written: line and column from 1. A pointer to what is missing
    /// has the place of what should hold it. The first lookup in a YAML file reads it again.
    pub(crate) fn place(&self, pointer: &str) -> Span {
        let pointer = format!("{}{pointer}", self.in_list);
        self.source.places.of(&self.source.bytes, self.document, &pointer)
    }
}

/// The objects of files and folders, in the order of the arguments; within a folder by path. `-` is stdin.
///
/// A folder is read with the folders below it: `*.yaml`, `*.yml` and `*.json`, no hidden ones. An unreadable
/// file, and a path with nothing to read, is an error with its position; the command ends with code 11.
pub(crate) fn load(paths: &[String]) -> Result<Vec<Manifest>, CliError> {
    let found = read_files(paths, &|_, _| false);
    if let Some(error) = found.unreadable.into_iter().next() {
        return Err(error);
    }
    let mut manifests = Vec::new();
    for file in found.files {
        let (name, bytes) = (file.name.clone(), file.bytes.clone());
        open(file, &mut manifests).map_err(|problem| {
            crate::lint_report::lint_error(&[SourceFile { name: &name, bytes: &bytes }], &[*problem])
        })?;
    }
    Ok(manifests)
}

/// A file as it is on disk or in an archive.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: Rc<[u8]>,
    /// It was found in a folder or an archive and not named itself.
    pub(crate) in_folder: bool,
}

/// What paths name.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) files: Vec<File>,
    /// One error for each path or file that can't be read, with its position.
    pub(crate) unreadable: Vec<CliError>,
}

/// Reads the files of [`load`], each once.
///
/// `is_language` decides from the beginning of a file and from whether it was found in a folder that it is one of the
/// pipeline language. Of such a file that is larger than those may be, no more than the beginning is read.
pub(crate) fn read_files(paths: &[String], is_language: &dyn Fn(&[u8], bool) -> bool) -> Found {
    let (mut result, mut found) = (Found::default(), Vec::new());
    for path in paths {
        if let Err(error) = find(path, &mut found) {
            result.unreadable.push(error);
        }
    }
    let mut seen = BTreeSet::new();
    let mut left = limits::MANIFEST_TOTAL_BYTES_MAX;
    for (path, in_folder) in found {
        // Overlapping paths name the same file more than once.
        if !seen.insert(std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone())) {
            continue;
        }
        match read(&path, left, &|head| is_language(head, in_folder)) {
            Ok(bytes) => {
                left -= bytes.len();
                result.files.push(File { name: name_of(&path), bytes: bytes.into(), in_folder });
            }
            Err(error) => result.unreadable.push(error),
        }
    }
    result
}

/// What the reader says about the files of a set, each once.
pub(crate) fn reader_warnings(set: &[Manifest]) -> Vec<Diagnostic> {
    let files = set.chunk_by(|one, other| Rc::ptr_eq(&one.source, &other.source));
    files.flat_map(|objects| objects[0].source.warnings.iter().cloned()).collect()
}

/// Adds the objects of a file.
pub(crate) fn open(file: File, manifests: &mut Vec<Manifest>) -> Result<(), Box<Diagnostic>> {
    let documents = manifest::read(&file.name, &file.bytes)?;
    let warnings = documents.iter().flat_map(|it| it.warnings.clone()).collect();
    let source = Rc::new(Source { name: file.name, bytes: file.bytes, places: Places::default(), warnings });
    for document in documents {
        let mut add = |value, in_list| {
            let source = Rc::clone(&source);
            manifests.push(Manifest { value, source, document: document.place, in_list });
        };
        list::open(document.value, &mut add);
    }
    Ok(())
}

fn name_of(file: &Path) -> String {
    if file == Path::new(STDIN) { "<stdin>".to_owned() } else { file.display().to_string() }
}

fn unreadable(file: &Path, error: &io::Error) -> CliError {
    input::unreadable(&name_of(file), error)
}

fn refused(file: &Path, cause: String) -> CliError {
    unreadable(file, &io::Error::other(cause))
}

/// Reads a file of which all before it left `left` bytes.
fn read(file: &Path, left: usize, is_language: &dyn Fn(&[u8]) -> bool) -> Result<Vec<u8>, CliError> {
    let failed = |error: io::Error| unreadable(file, &error);
    let mut input = Input::open(file).map_err(failed)?;
    let head = input.read_to(limits::SPEC_FILE_BYTES_MAX).map_err(failed)?;
    if head.len() > limits::SPEC_FILE_BYTES_MAX && !is_language(head) {
        let limit = limits::MANIFEST_FILE_BYTES_MAX;
        // The length of a file is known, so it is refused without being read.
        if !input.is_over(limit) {
            input.read_to(limit).map_err(failed)?;
        }
        if input.is_over(limit) {
            let cause = format!("the file is larger than {} MiB", limit >> 20);
            return Err(refused(file, cause).help("split it"));
        }
    }
    let bytes = input.into_bytes();
    if bytes.len() > left {
        let limit = limits::MANIFEST_TOTAL_BYTES_MAX >> 20;
        let cause = format!("all files together are larger than {limit} MiB");
        return Err(refused(file, cause).help("pass fewer files"));
    }
    Ok(bytes)
}

/// Adds the files of a path, and whether they were found in a folder.
fn find(path: &str, files: &mut Vec<(PathBuf, bool)>) -> Result<(), CliError> {
    let root = PathBuf::from(path);
    if path == STDIN || !root.is_dir() {
        files.push((root, false));
        return Ok(());
    }
    let before = files.len();
    walk(&root, 0, files)?;
    if files.len() == before {
        let cause = "The folder holds no file that ends with .yaml, .yml or .json.";
        return Err(refused(&root, cause.to_owned()).help("name a folder with manifests"));
    }
    Ok(())
}

/// Whether a file of a folder is read.
pub(crate) fn is_file_name(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<(PathBuf, bool)>) -> Result<(), CliError> {
    if depth > limits::MANIFEST_FOLDER_DEPTH_MAX {
        let message = format!("folders are nested more than {} deep", limits::MANIFEST_FOLDER_DEPTH_MAX);
        return Err(refused(folder, message).help("name the folder itself"));
    }
    let failed = |error: io::Error| unreadable(folder, &error);
    let mut entries =
        std::fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        // A link to a folder may lead back up, so only links to files are followed.
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&path, depth + 1, files)?;
        } else if is_file_name(&name) && !path.is_dir() {
            files.push((path, true));
        }
        if files.len() > limits::MANIFEST_FILES_MAX {
            let message = format!("there are more than {} files", limits::MANIFEST_FILES_MAX);
            return Err(refused(folder, message).help("name the folder itself"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use trimaran_model::error_code;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn load_one(path: &Path) -> Result<Vec<Manifest>, CliError> {
        load(&[path.display().to_string()])
    }

    #[test]
    fn folders_are_read_in_order_and_lists_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "b.yml", "kind: B\n---\nkind: List\nitems:\n- kind: C\n- kind: D\n");
        write(folder.path(), "a/z.json", "{\"kind\": \"A\"}");
        write(folder.path(), ".hidden/x.yaml", "not: [read");
        write(folder.path(), "notes.txt", "not: [read");
        let found = load_one(folder.path()).unwrap();
        let kinds: Vec<_> = found.iter().map(|it| it.value["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["A", "B", "C", "D"]);
        let last = &found[3];
        assert_eq!((last.place("/kind").line, last.place("/kind").column), (6, 9));
        assert!(last.file().ends_with("b.yml"));
        let twice =
            load(&[folder.path().display().to_string(), folder.path().join("b.yml").display().to_string()]);
        assert_eq!(twice.unwrap().len(), 4, "a file named twice is read once");
    }

    #[test]
    fn what_is_no_object_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.yaml", "- 1\n---\ntext\n---\n");
        let values: Vec<_> = load_one(folder.path()).unwrap().into_iter().map(|it| it.value).collect();
        assert_eq!(values, [json!([1]), json!("text")]);
    }

    #[test]
    fn unreadable_paths_say_which_and_where() {
        let folder = tempfile::tempdir().unwrap();
        let missing = load_one(&folder.path().join("nothing.yaml")).unwrap_err();
        assert_eq!((missing.code, missing.exit()), (error_code::UNREADABLE, 11));
        assert!(load_one(folder.path()).unwrap_err().more.cause.unwrap().contains("holds no file"));
        write(folder.path(), "a.yaml", "kind: A\n  x: [\n");
        let broken = load_one(folder.path()).unwrap_err();
        let position = broken.more.position.clone().unwrap();
        assert_eq!((broken.exit(), position.line), (11, 2));
        assert!(position.file.ends_with("a.yaml"));
    }

    #[test]
    fn links_to_folders_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.yaml", "kind: A\n");
        std::os::unix::fs::symlink(folder.path(), folder.path().join("up")).unwrap();
        assert_eq!(load_one(folder.path()).unwrap().len(), 1);
    }
}
