//! Runs `xl`: an argument vector and no shell, a deadline, and its own words where it fails.
//!
//! No tokio::process, whose SIGCHLD handler would compete with whoever else waits for a child: the end is
//! known through a pidfd, and the status is taken in one place.

use std::io::{self, PipeReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::XenError;
use crate::sys;
use crate::trace::{self, step};

/// Looked through after `PATH`, which an engine may hand over empty.
const DIRS: [&str; 6] =
    ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/usr/lib/xen/bin"];

/// The most that is taken of what `xl` prints, bytes: a thousand domains in `xl list -v`, seven times over.
const MAX_OUTPUT: usize = 1 << 20;

/// How many lines of an error are passed on. The first ones say what happened, later ones what followed.
const ERROR_LINES: usize = 3;

/// The program.
#[derive(Clone, Debug)]
pub struct Xl {
    program: PathBuf,
}

impl Xl {
    /// Looks for that of the running version, on `PATH`, and in the usual places.
    ///
    /// # Errors
    ///
    /// [`XenError::NoTools`].
    pub fn find() -> Result<Xl, XenError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::env::split_paths(&path).filter(|dir| dir.is_absolute());
        let dirs = of_running_version().into_iter().chain(dirs).chain(DIRS.map(PathBuf::from));
        let runnable = |file: &PathBuf| Path::is_file(file) && access(file, Access::EXEC_OK).is_ok();
        dirs.map(|dir| dir.join("xl")).find(runnable).map(Xl::at).ok_or(XenError::NoTools)
    }

    /// The program at this path.
    pub fn at(program: PathBuf) -> Xl {
        Xl { program }
    }

    /// Runs it and returns what it printed. A caller that stops waiting ends it.
    ///
    /// # Errors
    ///
    /// [`XenError::Refused`] with its words where it fails, [`XenError::Deadline`] where it does not end in
    /// time; it is ended then.
    pub async fn run(&self, arguments: &[&str], limit: Duration) -> Result<String, XenError> {
        let doing = format!("xl {}", arguments.join(" "));
        step("xl", self.run_within(doing, arguments, limit)).await
    }

    async fn run_within(
        &self,
        doing: String,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<String, XenError> {
        trace::note("process.command_line", &doing);
        let finished = async {
            let mut running = Running::start(&self.program, arguments)?;
            let status = running.finish().await?;
            Ok::<_, io::Error>((status, running))
        };
        let (status, running) = match tokio::time::timeout(limit, finished).await {
            Ok(result) => result.map_err(XenError::io(doing.as_str()))?,
            Err(_) => return Err(XenError::Deadline { doing, limit }),
        };
        if status.success() {
            return Ok(String::from_utf8_lossy(&running.output.bytes).into_owned());
        }
        let words = words(&String::from_utf8_lossy(&running.errors.bytes));
        Err(XenError::refused(doing, if words.is_empty() { status.to_string() } else { words }))
    }
}

/// Where Debian keeps the tools of one version of Xen. What is on `PATH` there is a shell script that looks
/// for this, too.
fn of_running_version() -> Option<PathBuf> {
    let number = |name: &str| -> Option<u16> {
        let text = std::fs::read_to_string(format!("/sys/hypervisor/version/{name}")).ok()?;
        text.trim().parse().ok()
    };
    Some(PathBuf::from(format!("/usr/lib/xen-{}.{}/bin", number("major")?, number("minor")?)))
}

/// The first lines of what a program said, on one.
fn words(errors: &str) -> String {
    let lines = errors.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.take(ERROR_LINES).collect::<Vec<_>>().join("; ")
}

/// A child process with its output. It does not outlive this handle.
struct Running {
    child: Option<Child>,
    output: Stream,
    errors: Stream,
}

impl Running {
    fn start(program: &Path, arguments: &[&str]) -> io::Result<Running> {
        let (output, output_theirs) = io::pipe()?;
        let (errors, errors_theirs) = io::pipe()?;
        let child = Command::new(program)
            .args(arguments)
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output_theirs)
            .stderr(errors_theirs)
            .spawn()?;
        Ok(Running { child: Some(child), output: Stream::new(output)?, errors: Stream::new(errors)? })
    }

    /// Takes its output until it ends. Not until the pipes close: somebody that it left behind may hold them.
    async fn finish(&mut self) -> io::Result<ExitStatus> {
        let Some(child) = &mut self.child else { return Err(io::ErrorKind::NotFound.into()) };
        let pid =
            i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let ended = sys::watch(pidfd_open(pid, PidfdFlags::empty())?)?;
        loop {
            tokio::select! {
                biased;
                () = self.output.read() => {}
                () = self.errors.read() => {}
                ready = ended.readable() => {
                    drop(ready?);
                    break;
                }
            }
        }
        self.output.drain();
        self.errors.drain();
        // The kernel has told its end, so this does not block.
        let status = child.wait()?;
        self.child = None;
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        tracing::warn!(pid = child.id(), "ending xl before it is done");
        // Nothing more can be done about a kernel that refuses. It may take its time over a hypercall, too.
        let _ = child.kill();
        let _ = std::thread::Builder::new().spawn(move || child.wait());
    }
}

/// One output stream; what is beyond the bound is read and forgotten.
struct Stream {
    pipe: Option<pipe::Receiver>,
    bytes: Vec<u8>,
}

impl Stream {
    fn new(pipe: PipeReader) -> io::Result<Stream> {
        Ok(Stream { pipe: Some(pipe::Receiver::from_owned_fd(pipe.into())?), bytes: Vec::new() })
    }

    /// Waits for bytes and takes them. Never returns once the stream has ended.
    async fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        let mut buffer = [0; 4096];
        match pipe.read(&mut buffer).await {
            Ok(length @ 1..) => self.keep(&buffer[..length]),
            _ => self.pipe = None,
        }
    }

    /// Takes what is there.
    fn drain(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = pipe.try_read(&mut buffer) {
            self.keep(&buffer[..length]);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_OUTPUT.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn sh() -> Xl {
        Xl::at("/bin/sh".into())
    }

    #[tokio::test]
    async fn output_is_kept_apart_from_errors() {
        let said = sh().run(&["-c", "echo out; echo err >&2"], SOON).await.unwrap();
        assert_eq!(said, "out\n");
    }

    #[tokio::test]
    async fn a_failure_is_told_in_its_own_words() {
        let script = "printf '\\n one \\ntwo\\nthree\\nfour' >&2; exit 3";
        let error = sh().run(&["-c", script], SOON).await.unwrap_err();
        assert!(error.to_string().ends_with(": one; two; three"), "{error}");
        let error = sh().run(&["-c", "exit 3"], SOON).await.unwrap_err();
        assert!(error.to_string().ends_with(": exit status: 3"), "{error}");
    }

    #[tokio::test]
    async fn more_output_than_a_pipe_holds_is_taken() {
        let script =
            "i=0; while [ $i -lt 4000 ]; do echo 01234567890123456789012345678901234567890; i=$((i+1)); done";
        assert_eq!(sh().run(&["-c", script], SOON).await.unwrap().len(), 4000 * 42);
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("echo $$ > {}; exec sleep 600", file.display());
        let error = sh().run(&["-c", &script], Duration::from_secs(2)).await.unwrap_err();
        assert!(matches!(error, XenError::Deadline { .. }), "{error}");
        let pid: u32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        while crate::process::ProcessId::of(pid).is_ok_and(|process| process.is_alive()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn one_that_leaves_a_child_with_its_pipes_behind_is_not_waited_for() {
        let said = sh().run(&["-c", "sleep 10 & echo done"], Duration::from_secs(5)).await.unwrap();
        assert_eq!(said, "done\n");
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = Xl::at("/nonexistent/xl".into()).run(&["list"], SOON).await.unwrap_err();
        assert!(error.to_string().starts_with("xl list: "), "{error}");
    }
}
