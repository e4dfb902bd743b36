//! A logging program (`binary://`), as containerd's runc shim runs it: the container's stdout and stderr on its
//! descriptors 3 and 4, two variables in its environment, and descriptor 5 to say that it is ready.
//!
//! The shim has the only ends for writing. Whatever ends the shim, the program sees the end of both streams
//! and can finish in peace; and one that dies or hangs is no reason to stop a guest.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::name::LoggerUri;
use crate::id::Key;
use crate::namespace::on_own_thread;
use crate::sys;

/// How long a program may take to be ready. runc's shim waits for ever, and a Create with it.
const READY: Duration = Duration::from_secs(10);

/// How long a program has after the end of its streams, before it is asked to end with SIGTERM,
const AFTER_STREAMS: Duration = Duration::from_secs(10);

/// and after that before it is ended.
const AFTER_SIGTERM: Duration = Duration::from_secs(2);

/// How long the kernel may take to do so.
const AFTER_SIGKILL: Duration = Duration::from_secs(2);

/// A logging program that is ready. When this is dropped, together with what writes to the pipes, it is given its
/// time to end.
pub struct Logger {
    /// To its descriptor 3.
    pub stdout: pipe::Sender,
    /// To its descriptor 4.
    pub stderr: pipe::Sender,
    /// Dropped when nothing more is written.
    pub alive: Alive,
}

/// Says that the streams of a program are still open, by being there.
pub struct Alive(
    #[expect(dead_code, reason = "dropping it is all that is done with it")] oneshot::Sender<()>,
);

/// The logging programs of a shim that have not ended. A process that exits before them could not end one that hangs.
#[derive(Clone, Default)]
pub struct Loggers(watch::Sender<usize>);

impl Loggers {
    /// Waits until every program has ended, or was given up: 14 s at most behind the end of their streams.
    pub async fn gone(&self) {
        // No error: the sender is here.
        let _ = self.0.subscribe().wait_for(|running| *running == 0).await;
    }

    /// Starts a program for a container and waits until it is ready.
    ///
    /// # Errors
    ///
    /// The system's refusal, or `TimedOut` for a program that is not ready after 10 s; it is gone then.
    pub async fn start(&self, uri: &LoggerUri, key: &Key) -> io::Result<Logger> {
        let (stdout_theirs, stdout) = io::pipe()?;
        let (stderr_theirs, stderr) = io::pipe()?;
        let (ready, ready_theirs) = io::pipe()?;
        let theirs: [OwnedFd; 3] = [stdout_theirs.into(), stderr_theirs.into(), ready_theirs.into()];
        let command = command(uri, key, theirs)?;
        let mut process = Process::start(command).await?;
        let streams = || io::Result::Ok((sender(stdout)?, sender(stderr)?));
        let started = match streams() {
            Ok(streams) => wait_until_ready(ready.into(), uri.says_ready).await.map(|()| streams),
            Err(error) => Err(error),
        };
        let (stdout, stderr) = match started {
            Ok(streams) => streams,
            Err(error) => {
                process.end_now().await;
                return Err(error);
            }
        };
        let (alive, streams_end) = oneshot::channel();
        self.0.send_modify(|running| *running += 1);
        let loggers = self.clone();
        let program = uri.program.display().to_string();
        let container = key.to_string();
        tokio::spawn(async move {
            process.watch(streams_end, &container, &program).await;
            loggers.0.send_modify(|running| *running -= 1);
        });
        Ok(Logger { stdout, stderr, alive: Alive(alive) })
    }
}

fn command(uri: &LoggerUri, key: &Key, theirs: [OwnedFd; 3]) -> io::Result<Command> {
    let mut command = Command::new(&uri.program);
    command
        .args(&uri.arguments)
        .env_clear()
        .env("CONTAINER_ID", key.id.as_str())
        .env("CONTAINER_NAMESPACE", key.namespace.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mappings = theirs.into_iter().zip(3..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(mappings.collect()).map_err(io::Error::other)?;
    Ok(command)
}

fn sender(pipe: io::PipeWriter) -> io::Result<pipe::Sender> {
    pipe::Sender::from_owned_fd(pipe.into())
}

/// A byte or the end, whatever comes first; where the program has to say it, a byte.
async fn wait_until_ready(ready: OwnedFd, says_ready: bool) -> io::Result<()> {
    let ready = pipe::Receiver::from_owned_fd(ready)?;
    let first_byte = async {
        loop {
            ready.readable().await?;
            match ready.try_read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    };
    let not_in_time = || {
        let text =
            format!("it was not ready after {} s (a byte on descriptor 5, or its end)", READY.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    match timeout(READY, first_byte).await.map_err(|_| not_in_time())?? {
        0 if says_ready => Err(io::Error::other("it ended before it was ready (a byte on descriptor 5)")),
        _ => Ok(()),
    }
}

/// The process of a logging program.
struct Process {
    child: Child,
    pidfd: AsyncFd<OwnedFd>,
}

impl Process {
    /// Starts it on a thread of its own: a file system that does not answer must not hold the shim up.
    async fn start(mut command: Command) -> io::Result<Process> {
        let mut child = on_own_thread(move || command.spawn()).await?;
        let pidfd = Pid::from_raw(child.id().cast_signed())
            .ok_or_else(|| io::Error::other("it has no pid"))
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?))
            .and_then(sys::watch);
        match pidfd {
            Ok(pidfd) => Ok(Process { child, pidfd }),
            Err(error) => {
                // A child is not waited for by anybody else, so this is it and no stranger.
                let _ = child.kill().and_then(|()| child.wait());
                Err(error)
            }
        }
    }

    /// Sees it to its end: by itself, or some time behind the end of its streams.
    async fn watch(mut self, streams_end: oneshot::Receiver<()>, container: &str, program: &str) {
        tokio::select! {
            () = self.ended() => {
                let status = self.reap();
                tracing::warn!(container, program, status, "the logging program ended before its container");
                return;
            }
            _ = streams_end => {}
        }
        if timeout(AFTER_STREAMS, self.ended()).await.is_err() {
            tracing::warn!(container, program, "the logging program does not end; it gets SIGTERM");
            self.signal(Signal::TERM);
            if timeout(AFTER_SIGTERM, self.ended()).await.is_err() {
                tracing::warn!(container, program, "the logging program ignores SIGTERM; it gets SIGKILL");
                return self.end_now().await;
            }
        }
        self.reap();
    }

    /// Ends it by force. One that the kernel does not let go of (a file system that does not answer) is left to it.
    async fn end_now(&mut self) {
        self.signal(Signal::KILL);
        let _ = timeout(AFTER_SIGKILL, self.ended()).await;
        self.reap();
    }

    async fn ended(&self) {
        // A pidfd is readable when its process has ended, and stays so.
        drop(self.pidfd.readable().await);
    }

    fn signal(&self, signal: Signal) {
        // Fails only for a process that has ended.
        let _ = pidfd_send_signal(self.pidfd.as_fd(), signal);
    }

    fn reap(&mut self) -> String {
        match self.child.try_wait() {
            Ok(Some(status)) => status.to_string(),
            Ok(None) => "still running".to_owned(),
            Err(error) => error.to_string(),
        }
    }
}
