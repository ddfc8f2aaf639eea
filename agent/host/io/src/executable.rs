//! Why a program can't be run. The system's words name the program also where something else is missing: the
//! interpreter of a script, the loader of a binary, the machine that it was built for.
//!
//! [`problem`] is asked before anything is stopped and says only what is certain; [`explain`] is asked after a start
//! that failed. Not here: libraries that a loader misses, which the program's own output shows.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The kernel reads so much of a script's first line (linux/binfmts.h, `BINPRM_BUF_SIZE`).
const HEAD_BYTES: usize = 256;
/// The path of an ELF loader is not longer (linux/limits.h, `PATH_MAX`).
const LOADER_BYTES_MAX: u64 = 4096;

/// What is wrong with `program`, relative to the unpacked release at `root` unless it is absolute.
pub(crate) fn problem(root: &Path, program: &str) -> Option<String> {
    let place = if Path::new(program).is_absolute() { "on this host" } else { "in the archive" };
    let path = root.join(program);
    match std::fs::metadata(&path) {
        Ok(found) if !found.is_file() => Some(format!("the command's program `{program}` is not a file")),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            let mode = found.permissions().mode() & 0o7777;
            Some(format!("the command's program `{program}` is not executable: its mode is {mode:o}"))
        }
        Ok(_) => {
            let missing = Head::read(&path).and_then(|head| missing_interpreter(root, &path, &head))?;
            Some(format!("the command's program `{program}` can't be run: {missing}"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("the command's program `{program}` is not {place}"))
        }
        Err(error) => Some(format!("the command's program `{program}` can't be inspected: {error}")),
    }
}

/// More of why execve(2) refused `program` in the working directory `cwd`; `None` where the system's words say it.
pub(crate) fn explain(program: &Path, cwd: &Path, error: &io::Error) -> Option<String> {
    if !cwd.is_dir() {
        return Some(format!("its working directory {} is not there", cwd.display()));
    }
    if program.is_dir() {
        return Some("it is a directory".to_owned());
    }
    let head = Head::read(program)?;
    match error.raw_os_error()? {
        libc::ENOENT => missing_interpreter(cwd, program, &head),
        libc::EACCES => not_permitted(cwd, program, &head),
        libc::ENOEXEC => Some(wrong_format(&head)),
        libc::ELOOP => Some("its interpreters lead to each other".to_owned()),
        libc::E2BIG => Some("command and environment are longer than this host allows".to_owned()),
        libc::ETXTBSY => Some("another process has it open for writing".to_owned()),
        _ => None,
    }
}

/// The beginning of a program.
struct Head(Vec<u8>);

impl Head {
    /// `None` when it can't be read, which says nothing of whether it runs.
    fn read(path: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        // What is no file is not opened: a pipe would wait for its other end.
        let file = std::fs::metadata(path)
            .ok()
            .filter(std::fs::Metadata::is_file)
            .and_then(|_| File::open(path).ok())?;
        file.take(HEAD_BYTES as u64).read_to_end(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The first line of a script with its interpreter, as the kernel reads it: up to a blank or the line's end.
    fn interpreter(&self) -> Option<(String, String)> {
        let rest = self.0.strip_prefix(b"#!")?;
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
        let path: Vec<u8> = line.iter().copied().skip_while(blank).take_while(|byte| !blank(byte)).collect();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((format!("#!{}", text(line)), text(&path)))
    }

    fn elf(&self) -> Option<Elf<'_>> {
        self.0.starts_with(b"\x7fELF").then_some(Elf(&self.0))
    }
}

/// The interpreter of a script, or the loader of a binary, that is not there.
fn missing_interpreter(root: &Path, program: &Path, head: &Head) -> Option<String> {
    if let Some((line, interpreter)) = head.interpreter() {
        let written = line.escape_default();
        if interpreter.is_empty() {
            return Some(format!("its first line `{written}` names no interpreter"));
        }
        let found = root.join(&interpreter).exists();
        // `env` looks for what follows it, with the carriage return; other interpreters may pass over it.
        let is_env = Path::new(&interpreter).file_name().is_some_and(|name| name == "env");
        if line.ends_with('\r') && (is_env || !found) {
            let wanted = line.trim_start_matches("#!").trim_start().escape_default();
            return Some(format!(
                "its interpreter `{wanted}` is not on this host; the first line ends with a carriage return, so the \
                 file has Windows line ends: save it with Unix ones"
            ));
        }
        return (!found).then(|| {
            format!(
                "its interpreter `{}` (first line `{written}`) is not on this host",
                interpreter.escape_default()
            )
        });
    }
    let loader = head.elf()?.loader(program)?;
    (!Path::new(&loader).exists()).then(|| {
        format!("its loader `{loader}` is not on this host: it was built for another system or C library")
    })
}

fn not_permitted(root: &Path, program: &Path, head: &Head) -> Option<String> {
    if is_noexec(program) {
        return Some("its file system is mounted `noexec`, so nothing on it can be run".to_owned());
    }
    let executable = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if !executable(program) {
        let mode = std::fs::metadata(program).ok()?.permissions().mode() & 0o7777;
        return Some(format!("it is not executable (mode {mode:04o}): `chmod +x` it before it is packed"));
    }
    let (_, interpreter) = head.interpreter()?;
    let path = root.join(&interpreter);
    if is_noexec(&path) {
        return Some(format!("its interpreter `{interpreter}` is on a file system that is mounted `noexec`"));
    }
    (!executable(&path))
        .then(|| format!("its interpreter `{}` is not an executable file", interpreter.escape_default()))
}

fn is_noexec(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC))
}

/// The kernel knows no way to run these bytes.
fn wrong_format(head: &Head) -> String {
    let bytes = head.0.as_slice();
    if let Some(elf) = head.elf() {
        let own = Head::read(Path::new("/proc/self/exe"));
        let own = own.as_ref().and_then(Head::elf).and_then(|own| own.machine()).unwrap_or_default();
        return match elf.machine() {
            Some(machine) if machine != own => {
                format!("it is built for {}, and this host is {}", machine_name(machine), machine_name(own))
            }
            _ => "it is not a complete ELF program".to_owned(),
        };
    }
    if bytes.is_empty() {
        return "it is empty".to_owned();
    }
    if bytes.starts_with(b"\xef\xbb\xbf#!") {
        return "a byte order mark is before the `#!` of its first line: save it as UTF-8 without one"
            .to_owned();
    }
    let others: [(&[u8], &str); 6] = [
        (b"MZ", "Windows"),
        (b"\xcf\xfa\xed\xfe", "macOS"),
        (b"\xca\xfe\xba\xbe", "macOS or a Java machine"),
        (b"PK\x03\x04", "no system: it is a zip or jar archive"),
        (b"\x1f\x8b", "no system: it is compressed by gzip"),
        (b"\0asm", "a WebAssembly runtime"),
    ];
    match others.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        Some((_, system)) => format!("it is built for {system}"),
        None => "it is neither a program of this system nor a script: its first line has to be `#!` and an interpreter"
            .to_owned(),
    }
}

/// The head of an ELF file (elf(5)).
struct Elf<'a>(&'a [u8]);

impl Elf<'_> {
    fn is_64(&self) -> bool {
        self.0.get(4) == Some(&2)
    }

    /// A number of the file's own byte order.
    fn number<const N: usize>(&self, bytes: &[u8], at: usize) -> Option<u64> {
        let mut field: [u8; N] = bytes.get(at..at + N)?.try_into().ok()?;
        if self.0.get(5) == Some(&2) {
            field.reverse();
        }
        Some(field.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }

    /// `e_machine`.
    fn machine(&self) -> Option<u64> {
        self.number::<2>(self.0, 18)
    }

    /// The path in the program header `PT_INTERP`.
    fn loader(&self, program: &Path) -> Option<String> {
        use std::os::unix::fs::FileExt as _;
        const PT_INTERP: u64 = 3;
        let (start, size, count) = match self.is_64() {
            true => {
                (self.number::<8>(self.0, 32)?, self.number::<2>(self.0, 54)?, self.number::<2>(self.0, 56)?)
            }
            false => {
                (self.number::<4>(self.0, 28)?, self.number::<2>(self.0, 42)?, self.number::<2>(self.0, 44)?)
            }
        };
        let file = File::open(program).ok()?;
        for index in 0..count {
            let mut header = vec![0; usize::try_from(size).ok()?];
            file.read_exact_at(&mut header, start.checked_add(index * size)?).ok()?;
            if self.number::<4>(&header, 0)? != PT_INTERP {
                continue;
            }
            let (at, length) = match self.is_64() {
                true => (self.number::<8>(&header, 8)?, self.number::<8>(&header, 32)?),
                false => (self.number::<4>(&header, 4)?, self.number::<4>(&header, 16)?),
            };
            let mut path = vec![0; usize::try_from(length.min(LOADER_BYTES_MAX)).ok()?];
            file.read_exact_at(&mut path, at).ok()?;
            return Some(String::from_utf8_lossy(path.split(|byte| *byte == 0).next()?).into_owned());
        }
        None
    }
}

/// Names of the usual machines (elf.h, `EM_*`).
fn machine_name(machine: u64) -> String {
    let name = match machine {
        3 => "x86",
        8 => "mips",
        20 => "powerpc",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv",
        258 => "loongarch",
        _ => return format!("machine {machine}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests;
