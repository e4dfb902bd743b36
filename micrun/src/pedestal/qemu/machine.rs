//! One running emulator: its messages and its end.
//!
//! The end is known through a pidfd, and only the watcher here reaps the process: no SIGCHLD handler,
//! nobody who could take the exit status away.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use micrun_image_spec::board::ExitConvention;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, pipe};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::OnDisk;
use super::exit::Seen;
use super::jail::Process;
use super::qmp::{self, Lines, Message};
use crate::pedestal::{Capabilities, Created, DriverError, Event, ExitCause, ExitNotice, Guest, Usage};
use crate::process::{ProcessId, Stat};
use crate::sys;

/// How long an emulator may take for an answer. Starting one takes 0.1 s on an idle machine; this leaves
/// room for a node that is not idle.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How much of the emulator's error stream goes into an error message, bytes.
const STDERR_KEPT: usize = 1024;

/// Waits until the emulator is ready, takes the node's files away from it, and hands it over, paused.
///
/// # Errors
///
/// What the emulator said, where it did not come up; it is gone then.
pub async fn start_paused(process: Process, exit: ExitConvention) -> Result<Created, DriverError> {
    let pid = process.child.id();
    let root = process.root.clone();
    let doing = || DriverError::io::<io::Error>(format!("connecting to QEMU (process {pid})"));
    let (mut machine, console, mut events) = Machine::connect(process, exit).map_err(doing())?;
    let ready = match machine.command("qmp_capabilities").await {
        Ok(()) => root.empty(pid).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ready {
        machine.force().await?;
        // The reason why it ended says more than the silence that followed.
        return Err(match events.recv().await {
            Some(Event::Exited(ExitCause::Failed(why))) => DriverError::backend("starting the guest", why),
            _ => error,
        });
    }
    let record = OnDisk { process: Some(machine.process) }.record();
    Ok(Created { guest: Box::new(machine), record, console: Box::new(console), events })
}

/// The handle on a running emulator. Dropping it ends the emulator.
struct Machine {
    process: ProcessId,
    pidfd: OwnedFd,
    control: OwnedWriteHalf,
    answers: mpsc::UnboundedReceiver<Result<(), String>>,
    forced: Arc<AtomicBool>,
}

impl Machine {
    fn connect(
        process: Process,
        exit: ExitConvention,
    ) -> io::Result<(Machine, UnixStream, mpsc::UnboundedReceiver<Event>)> {
        let Process { child, control, console, stderr, .. } = process;
        let pid = child.id();
        let pidfd = pidfd_of(pid)?;
        let (control_in, control_out) = stream(control)?.into_split();
        let (answers_in, answers) = mpsc::unbounded_channel();
        let (events_in, events) = mpsc::unbounded_channel();
        let forced = Arc::new(AtomicBool::new(false));
        let ended = sys::watch(pidfd.try_clone()?)?;
        let watcher = Watcher {
            child,
            ended,
            control: control_in,
            stderr: Stderr {
                pipe: Some(pipe::Receiver::from_owned_fd(stderr.into())?),
                tail: Vec::new(),
                lines: Lines::default(),
            },
            answers: answers_in,
            events: events_in,
            forced: Arc::clone(&forced),
            seen: Seen::default(),
            exit,
        };
        let process = ProcessId::of(pid)?;
        tokio::spawn(watcher.run());
        let machine = Machine { process, pidfd, control: control_out, answers, forced };
        Ok((machine, stream(console)?, events))
    }

    /// Sends one command and waits for its answer.
    async fn command(&mut self, name: &str) -> Result<(), DriverError> {
        let doing = || format!("QEMU's command {name}");
        let exchange = async {
            self.control.write_all(qmp::command(name).as_bytes()).await.map_err(DriverError::io(doing()))?;
            match self.answers.recv().await {
                Some(Ok(())) => Ok(()),
                Some(Err(refusal)) => Err(DriverError::backend(doing(), refusal)),
                None => Err(DriverError::backend(doing(), "QEMU ended before it answered")),
            }
        };
        timeout(ANSWER_LIMIT, exchange)
            .await
            .unwrap_or_else(|_| Err(DriverError::Deadline { doing: doing(), limit: ANSWER_LIMIT }))
    }

    fn kill(&self) -> rustix::io::Result<()> {
        self.forced.store(true, Ordering::Relaxed);
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => other,
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Nothing can be done about a kernel that refuses; the record on disk still names the process.
        let _ = self.kill();
    }
}

#[async_trait]
impl Guest for Machine {
    fn pid(&self) -> Option<u32> {
        Some(self.process.pid)
    }

    fn capabilities(&self) -> Capabilities {
        // None of today's boards has a guest that listens to a power button.
        Capabilities { ask: false, force: true, pause: true, exit: ExitNotice::Event }
    }

    async fn start(&mut self) -> Result<(), DriverError> {
        self.command("cont").await
    }

    async fn ask(&mut self) -> Result<(), DriverError> {
        Err(DriverError::Unsupported("this board has no way to ask its guest to stop"))
    }

    /// SIGKILL and not `quit`: an emulator can take minutes to listen, and has nothing to save.
    async fn force(&mut self) -> Result<(), DriverError> {
        self.kill().map_err(DriverError::io(format!("ending QEMU (process {})", self.process.pid)))
    }

    async fn pause(&mut self) -> Result<(), DriverError> {
        self.command("stop").await
    }

    async fn resume(&mut self) -> Result<(), DriverError> {
        self.command("cont").await
    }

    fn usage(&self) -> Result<Usage, DriverError> {
        let stat = Stat::read(self.process.pid)
            .map_err(DriverError::io(format!("reading the use of QEMU (process {})", self.process.pid)))?;
        let per_second = rustix::param::clock_ticks_per_second();
        let time = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1000) / per_second.max(1));
        Ok(Usage {
            user: time(stat.user_ticks),
            system: time(stat.system_ticks),
            memory: stat.resident_pages.saturating_mul(rustix::param::page_size() as u64),
        })
    }
}

/// Follows an emulator to its end.
struct Watcher {
    child: Child,
    ended: AsyncFd<OwnedFd>,
    control: OwnedReadHalf,
    stderr: Stderr,
    answers: mpsc::UnboundedSender<Result<(), String>>,
    events: mpsc::UnboundedSender<Event>,
    forced: Arc<AtomicBool>,
    seen: Seen,
    exit: ExitConvention,
}

impl Watcher {
    async fn run(mut self) {
        let mut lines = Lines::default();
        let mut buffer = vec![0; 4096];
        let mut connected = true;
        loop {
            tokio::select! {
                biased;
                read = self.control.read(&mut buffer), if connected => match read {
                    Ok(length) if length > 0 => self.take(&mut lines, &buffer[..length]),
                    _ => connected = false,
                },
                () = self.stderr.read() => {}
                _ = self.ended.readable() => break,
            }
        }
        // What the emulator wrote before it ended is still in the sockets.
        while let Ok(length @ 1..) = self.control.try_read(&mut buffer) {
            self.take(&mut lines, &buffer[..length]);
        }
        self.stderr.drain();
        let cause = match self.child.wait() {
            Ok(status) => {
                if self.forced.load(Ordering::Relaxed) {
                    self.seen.note_forced();
                }
                self.seen.cause(status, self.exit, self.stderr.text())
            }
            Err(error) => ExitCause::Failed(format!("the status of QEMU cannot be read: {error}")),
        };
        // Without a receiver the container is being undone and needs no reason.
        let _ = self.events.send(Event::Exited(cause));
    }

    fn take(&mut self, lines: &mut Lines, bytes: &[u8]) {
        let Some(lines) = lines.feed(bytes) else {
            return self.give_up("it sent an endless line");
        };
        for line in lines {
            match Message::parse(&line) {
                // A command that timed out leaves nobody to take its answer.
                Ok(Message::Done) => drop(self.answers.send(Ok(()))),
                Ok(Message::Refused(words)) => drop(self.answers.send(Err(words))),
                Ok(Message::Event(event)) => {
                    if self.seen.note(event) {
                        self.give_up("its guest was reset");
                    }
                }
                Ok(Message::Greeting) => {}
                Err(error) => self.give_up(&error.to_string()),
            }
        }
    }

    /// Ends the emulator; the wait for its end goes on as usual.
    fn give_up(&mut self, why: &str) {
        tracing::info!(pid = self.child.id(), why, "ending QEMU");
        if let Err(error) = self.child.kill() {
            tracing::error!(pid = self.child.id(), %error, "QEMU cannot be ended");
        }
    }
}

/// The emulator's error stream: logged, and its end kept for an error message.
struct Stderr {
    pipe: Option<pipe::Receiver>,
    tail: Vec<u8>,
    lines: Lines,
}

impl Stderr {
    /// Waits for text and takes it. Never returns once the stream has ended.
    async fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        let mut buffer = [0; STDERR_KEPT];
        match pipe.read(&mut buffer).await {
            Ok(length) if length > 0 => self.keep(&buffer[..length]),
            _ => self.pipe = None,
        }
    }

    fn drain(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        let mut buffer = [0; STDERR_KEPT];
        while let Ok(length @ 1..) = pipe.try_read(&mut buffer) {
            self.keep(&buffer[..length]);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        for line in self.lines.feed(bytes).unwrap_or_default() {
            tracing::debug!(line = %String::from_utf8_lossy(&line), "QEMU wrote to its error stream");
        }
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(STDERR_KEPT);
        self.tail.drain(..surplus);
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.tail).unwrap_or_default().trim()
    }
}

fn pidfd_of(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn stream(socket: StdStream) -> io::Result<UnixStream> {
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
