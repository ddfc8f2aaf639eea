//! The one `execve(2)` of a shim: the first process of its service.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};

use super::control::Started;
use super::signals;
use super::spec::ShimSpec;
use super::sweep::{MARK, Sweep};

/// Starts the service with pipes for its output.
pub(super) fn spawn(spec: &ShimSpec, sweep: &Sweep) -> Result<Child, Started> {
    let image = Image::new(spec, &sweep.mark).map_err(|error| Started::Failed(error.to_string()))?;
    let confinement = spec.confinement.clone();
    let joiner = sweep.group.as_ref().and_then(|group| group.joiner().ok());
    let shim = rustix::process::getpid();
    let mut command = Command::new(spec.program());
    command.current_dir(&spec.cwd).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let enter = move || {
        enter_service(joiner.as_ref())?;
        confinement.enter()?;
        die_with(shim)?;
        Err(image.execute())
    };
    // SAFETY: a shim has one thread, so the child may do whatever its parent might.
    unsafe { command.pre_exec(enter) };
    command.spawn().map_err(|error| match error.raw_os_error() {
        Some(errno) => Started::NotExecuted(errno),
        None => Started::Failed(format!("can't start the process: {error}")),
    })
}

/// Runs in the child, between fork and exec.
fn enter_service(joiner: Option<&File>) -> io::Result<()> {
    signals::unblock()?;
    rustix::process::setsid()?;
    // As a service manager would start it. Who may not raise a priority starts it with the runner's.
    let _ = rustix::process::setpriority_process(None, 0);
    if let Some(joiner) = joiner {
        // Outside of the group the service is still found by descent and mark.
        let _ = rustix::io::write(joiner, b"0");
    }
    Ok(())
}

/// The last step before exec: the kernel forgets it when a process changes its user (prctl(2), `PR_SET_PDEATHSIG`).
fn die_with(shim: Pid) -> io::Result<()> {
    // A service without a shim has no output and no one to see its end: it ends with it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(shim) {
        return Err(io::Error::from(rustix::io::Errno::SRCH));
    }
    Ok(())
}

/// Program, arguments and environment. The library's own call would hand a file of unknown format to a shell
/// (exec(3)); here it is refused.
struct Image {
    program: CString,
    /// The program from the working directory, where it is below that.
    below: Option<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    fn new(spec: &ShimSpec, mark: &str) -> io::Result<Self> {
        let program = spec.program();
        let below = program.strip_prefix(&spec.cwd).ok().map(|it| it.as_os_str().as_bytes().to_vec());
        let below = below.map(CString::new).transpose()?;
        let program = CString::new(program.into_os_string().into_vec())?;
        let rest = spec.command[1..].iter().map(|argument| CString::new(argument.as_str()));
        let arguments = std::iter::once(Ok(program.clone())).chain(rest).collect::<Result<_, _>>()?;
        // Nothing of the shim's own environment: that is of whoever started the runner or typed a command.
        let mut variables: BTreeMap<OsString, OsString> =
            spec.environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        variables.insert(MARK.into(), mark.into());
        let variable = |(name, value): (OsString, OsString)| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        let environment = variables.into_iter().map(variable).collect::<Result<_, _>>()?;
        Ok(Self { program, below, arguments, environment })
    }

    /// Becomes the service; returns only what the system said against it.
    fn execute(&self) -> io::Error {
        let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
            strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        let execute = |program: &CStr| {
            // SAFETY: both lists end with a null pointer, and what they point to outlives the call.
            unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
            io::Error::last_os_error()
        };
        let error = execute(&self.program);
        match &self.below {
            // Another user may not be allowed to pass through what is above the release; it is inside already.
            Some(below) if error.kind() == io::ErrorKind::PermissionDenied => {
                let again = execute(below);
                if again.kind() == io::ErrorKind::NotFound { error } else { again }
            }
            _ => error,
        }
    }
}
