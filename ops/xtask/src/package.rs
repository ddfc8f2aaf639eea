//! `cargo xtask package BINARIES OUT`: Debian packages of the three programs, and one with what a debugger needs.
//!
//! Programs are stripped; their line tables go into `trimaran-dbg`, where gdb(1) finds them by the link in each program.
//! What a program needs is read from the program itself. Nothing is compiled here: `make package` builds before.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program with a package of its own.
struct Program {
    package: &'static str,
    binary: &'static str,
    description: &'static str,
}

const PROGRAMS: [Program; 3] = [
    Program {
        package: "trimaran-coordinator",
        binary: "trimaran-coordinator",
        description: "continuous delivery control plane: a coordinator of the cluster",
    },
    Program {
        package: "trimaran-agent",
        binary: "trimaran-agent",
        description: "continuous delivery control plane: the agent of a cell, and the runner of a host",
    },
    Program {
        package: "trimaran",
        binary: "trimaran",
        description: "continuous delivery control plane: the command line",
    },
];

const DEBUG_PACKAGE: &str = "trimaran-dbg";
const SECTION: &str = "admin";

/// Packages by the library that they have.
const LIBRARIES: [(&str, &str); 6] = [
    ("libc.so.6", "libc6"),
    ("libm.so.6", "libc6"),
    ("libgcc_s.so.1", "libgcc-s1"),
    ("libstdc++.so.6", "libstdc++6"),
    ("ld-linux-x86-64.so.2", "libc6"),
    ("ld-linux-aarch64.so.1", "libc6"),
];

/// Makes the packages of the programs in `binaries`; returns their files.
pub(crate) fn run(root: &Path, binaries: &Path, out: &Path) -> Result<Vec<PathBuf>, String> {
    let context =
        Context { root, out, architecture: output("dpkg", &["--print-architecture"])?.trim().to_owned() };
    fs::create_dir_all(out).map_err(|error| at(out, &error))?;
    let debug = context.tree(DEBUG_PACKAGE)?;
    let mut made = Vec::new();
    for program in &PROGRAMS {
        made.push(context.program(program, &binaries.join(program.binary), &debug)?);
    }
    let description = "continuous delivery control plane: line tables of the programs";
    made.push(context.finish(DEBUG_PACKAGE, &debug, "", description)?);
    Ok(made)
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Runs a program and returns its output.
fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim()))
}

fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))
}

struct Context<'a> {
    root: &'a Path,
    out: &'a Path,
    architecture: String,
}

impl Context<'_> {
    /// An empty tree of a package.
    fn tree(&self, package: &str) -> Result<PathBuf, String> {
        let tree = self.out.join(package);
        match fs::remove_dir_all(&tree) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&tree, &error)),
            _ => {}
        }
        make(&tree.join("DEBIAN"))?;
        Ok(tree)
    }

    fn program(&self, program: &Program, binary: &Path, debug: &Path) -> Result<PathBuf, String> {
        let tree = self.tree(program.package)?;
        let installed = tree.join("usr/bin").join(program.binary);
        let tables = debug.join("usr/lib/debug/usr/bin").join(format!("{}.debug", program.binary));
        for file in [&installed, &tables] {
            make(file.parent().expect("both are below the tree"))?;
        }
        let (from, to, tables) = (text(binary)?, text(&installed)?, text(&tables)?);
        output("objcopy", &["--only-keep-debug", "--compress-debug-sections", from, tables])?;
        output("objcopy", &["--strip-unneeded", &format!("--add-gnu-debuglink={tables}"), from, to])?;
        mode(&installed, 0o755)?;
        mode(Path::new(tables), 0o644)?;
        for script in ["postinst", "prerm"] {
            let source = self.root.join("ops/packaging").join(format!("{}.{script}", program.package));
            if source.exists() {
                let target = tree.join("DEBIAN").join(script);
                fs::copy(&source, &target).map_err(|error| at(&source, &error))?;
                mode(&target, 0o755)?;
            }
        }
        self.finish(program.package, &tree, &needs(&installed)?, program.description)
    }

    /// Writes what dpkg reads and makes the package of a tree.
    fn finish(&self, package: &str, tree: &Path, needs: &str, description: &str) -> Result<PathBuf, String> {
        let version = env!("CARGO_PKG_VERSION");
        let documents = tree.join("usr/share/doc").join(package);
        make(&documents)?;
        let licence = self.root.join("LICENSE");
        fs::copy(&licence, documents.join("copyright")).map_err(|error| at(&licence, &error))?;
        mode(&documents.join("copyright"), 0o644)?;
        let depends = if needs.is_empty() { String::new() } else { format!("Depends: {needs}\n") };
        let control = format!(
            "Package: {package}\nVersion: {version}\nArchitecture: {}\nMaintainer: The Trimaran project\nSection: {SECTION}\n\
             Priority: optional\nInstalled-Size: {}\n{depends}Description: {description}\n",
            self.architecture,
            size(tree)?.div_ceil(1024),
        );
        let file = tree.join("DEBIAN/control");
        fs::write(&file, control).map_err(|error| at(&file, &error))?;
        let made = self.out.join(format!("{package}_{version}_{}.deb", self.architecture));
        output("dpkg-deb", &["--root-owner-group", "--build", text(tree)?, text(&made)?])?;
        Ok(made)
    }
}

/// A directory as every package has it, whatever the caller's mask of permissions.
fn make(dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|error| at(dir, &error))?;
    mode(dir, 0o755)
}

fn mode(path: &Path, mode: u32) -> Result<(), String> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| at(path, &error))
}

/// Bytes of all files below a directory.
fn size(dir: &Path) -> Result<u64, String> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).map_err(|error| at(dir, &error))? {
        let path = entry.map_err(|error| at(dir, &error))?.path();
        let found = fs::symlink_metadata(&path).map_err(|error| at(&path, &error))?;
        bytes += if found.is_dir() { size(&path)? } else { found.len() };
    }
    Ok(bytes)
}

/// `Depends:` of a program: the packages of its libraries, and the oldest C library that has all it calls.
fn needs(binary: &Path) -> Result<String, String> {
    let headers = output("objdump", &["-p", text(binary)?])?;
    let mut packages = Vec::new();
    for library in headers.lines().filter_map(|line| line.trim().strip_prefix("NEEDED")).map(str::trim) {
        let known = LIBRARIES.iter().find(|(name, _)| *name == library);
        let (_, package) = known.ok_or_else(|| format!("no package is known for {library}"))?;
        packages.push(match *package {
            "libc6" => libc(&headers),
            other => other.to_owned(),
        });
    }
    packages.sort();
    packages.dedup();
    Ok(packages.join(", "))
}

/// The C library, not older than the newest version that the program asks for.
fn libc(headers: &str) -> String {
    let versions = headers.split_whitespace().filter_map(|word| word.strip_prefix("GLIBC_"));
    let newest = versions.filter_map(|version| {
        let (major, minor) = version.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    match newest.max() {
        Some((major, minor)) => format!("libc6 (>= {major}.{minor})"),
        None => "libc6".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_of_the_c_library_counts() {
        let headers = "0x1 0x00 04 GLIBC_2.34\n0x2 0x00 03 GLIBC_2.9\n0x3 0x00 02 GLIBC_2.2.5\n";
        assert_eq!(libc(headers), "libc6 (>= 2.34)");
    }

    /// A package is made, installed, upgraded and removed in a folder of its own, as dpkg(1) does it.
    #[test]
    fn packages_install_upgrade_and_go() {
        let folder = tempfile::tempdir().expect("a directory");
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let binaries = folder.path().join("binaries");
        fs::create_dir(&binaries).expect("made");
        for program in &PROGRAMS {
            // Any program: what a package is made of does not depend on which.
            fs::copy("/proc/self/exe", binaries.join(program.binary)).expect("copied");
        }
        let out = folder.path().join("out");
        let made = run(&root, &binaries, &out).expect("packages");
        assert_eq!(made.len(), 4);
        let size = |path: &Path| fs::metadata(path).expect("it is there").len();
        let stripped = out.join("trimaran-agent/usr/bin/trimaran-agent");
        assert!(
            size(&stripped) < size(&binaries.join("trimaran-agent")),
            "line tables are in a package of their own"
        );
        let system = folder.path().join("system");
        for dir in ["var/lib/dpkg/updates", "var/lib/dpkg/info", "etc/systemd/system"] {
            fs::create_dir_all(system.join(dir)).expect("made");
        }
        fs::write(system.join("var/lib/dpkg/status"), "").expect("written");
        let dpkg = |args: &[&str]| {
            let root = format!("--root={}", system.display());
            let log = format!("--log={}", system.join("dpkg.log").display());
            // Maintainer scripts run outside of the folder, which has no shell.
            let all = [&[&root, &log, "--force-script-chrootless", "--force-depends"], args].concat();
            output("dpkg", &all).unwrap_or_else(|error| panic!("{error}"))
        };
        for _ in 0..2 {
            for package in &made {
                dpkg(&["--install", text(package).expect("UTF-8")]);
            }
        }
        let installed = system.join("usr/bin/trimaran-agent");
        assert_eq!(fs::metadata(&installed).expect("installed").permissions().mode() & 0o7777, 0o755);
        let unit = system.join("etc/systemd/system/trimaran-runner.service");
        fs::write(&unit, "[Service]\n").expect("written");
        dpkg(&["--remove", "trimaran-agent", "trimaran-coordinator", "trimaran", DEBUG_PACKAGE]);
        assert!(!installed.exists() && !unit.exists(), "the unit would start what is gone");
    }
}
