//! Embeds the rule files of `rules/` and the rows of `references/schemas/`, sorted by name, so that adding one needs no
//! change of code, and the schema of Kubernetes, compressed.

#![allow(clippy::disallowed_methods, reason = "a build script writes what it generates")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    let folder = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    compress(&folder.join("schema/kubernetes.txt"));
    embed(&folder.join("rules"), "yaml", "builtin_rules.rs");
    embed(&folder.join("references/schemas"), "txt", "builtin_references.rs");
}

/// Writes a list of the files below a folder with their texts, as code.
fn embed(root: &Path, extension: &str, output: &str) {
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(root, extension, &mut files);
    files.sort();
    let mut code = String::from("pub(super) const BUILTIN_FILES: &[(&str, &str)] = &[\n");
    for file in files {
        let name = file.strip_prefix(root).expect("a file below its root").display();
        writeln!(code, "    ({:?}, include_str!({:?})),", name.to_string(), file)
            .expect("writing to a string cannot fail");
    }
    code.push_str("];\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join(output);
    std::fs::write(&out, code).expect("the build directory is writable");
}

/// Writes a text compressed (zlib) into the build directory, under its name with `.zlib`.
fn compress(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
    let text = std::fs::read(path).expect("the schema is readable");
    let name = path.file_name().expect("the schema has a name").display();
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let file =
        std::fs::File::create(out.join(format!("{name}.zlib"))).expect("the build directory is writable");
    let mut encoder = flate2::write::ZlibEncoder::new(file, flate2::Compression::best());
    encoder.write_all(&text).and_then(|()| encoder.try_finish()).expect("the build directory is writable");
}

fn collect(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            println!("cargo::rerun-if-changed={}", path.display());
            collect(&path, extension, files);
        } else if path.extension().is_some_and(|it| it == extension) {
            files.push(path);
        }
    }
}
