//! The task that follows an emulator to its end: reads what it says, and takes its exit status.
//!
//! The end is known through a pidfd, and the status is taken in one place: no SIGCHLD handler, nobody who
//! could take it away.

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use micrun_image_spec::board::ExitConvention;
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::{OwnedReadHalf, pipe};
use tokio::sync::mpsc;

use super::exit::Seen;
use super::jail::Emulator;
use super::qmp::{self, Answer, Lines, Message};
use crate::cgroup::{Cgroup, oom};
use crate::pedestal::{Event, ExitCause};
use crate::sys;

/// How much of the emulator's error stream goes into an error message, bytes.
const STDERR_KEPT: usize = 1024;

/// What the handle on the emulator tells its watcher.
#[derive(Debug, Default)]
pub struct Known {
    ready: AtomicBool,
    forced: AtomicBool,
}

impl Known {
    /// The emulator came up: from here on its exit status can be the guest's.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// The shim ends the emulator.
    pub fn set_forced(&self) {
        self.forced.store(true, Ordering::Relaxed);
    }
}

/// Follows an emulator.
pub struct Watcher {
    child: Emulator,
    ended: AsyncFd<OwnedFd>,
    control: OwnedReadHalf,
    stderr: Stderr,
    known: Arc<Known>,
    seen: Seen,
    exit: ExitConvention,
    memory: Memory,
}

/// The end of the memory, as far as the emulator's cgroup tells of it.
#[derive(Default)]
struct Memory {
    cgroup: Option<Arc<Cgroup>>,
    watch: Option<oom::Watch>,
    told: bool,
}

impl Memory {
    /// Waits until it is used up. Never returns where nobody tells.
    async fn used_up(&mut self) {
        match &mut self.watch {
            Some(watch) => watch.hit().await,
            None => std::future::pending().await,
        }
    }
}

impl Watcher {
    /// Takes charge of a child.
    ///
    /// # Errors
    ///
    /// Where the runtime cannot watch its descriptors. The child is ended then.
    pub fn new(
        child: Emulator,
        pidfd: OwnedFd,
        control: OwnedReadHalf,
        stderr: PipeReader,
        known: Arc<Known>,
        exit: ExitConvention,
    ) -> io::Result<Watcher> {
        let stderr = Stderr {
            pipe: Some(pipe::Receiver::from_owned_fd(stderr.into())?),
            tail: Vec::new(),
            lines: Lines::default(),
        };
        let (ended, seen, memory) = (sys::watch(pidfd)?, Seen::default(), Memory::default());
        Ok(Watcher { child, ended, control, stderr, known, seen, exit, memory })
    }

    /// Tells when the memory of the cgroup is used up, where that has a limit.
    pub fn watch_memory(&mut self, cgroup: Arc<Cgroup>) {
        let is_limited = cgroup.metrics().memory.is_some_and(|memory| memory.limit.is_some());
        if is_limited {
            match cgroup.watch_memory() {
                Ok(watch) => self.memory.watch = Some(watch),
                Err(error) => {
                    tracing::warn!(%error, "nobody will be told when the guest's memory is used up")
                }
            }
        }
        self.memory.cgroup = Some(cgroup);
    }

    /// Passes on what the emulator says until it ends, then why it ended.
    pub async fn run(
        mut self,
        answers: mpsc::UnboundedSender<(u64, Answer)>,
        events: mpsc::UnboundedSender<Event>,
    ) {
        let to = Outlets { answers, events };
        let mut lines = Lines::default();
        let mut buffer = vec![0; 4096];
        let mut connected = true;
        loop {
            tokio::select! {
                biased;
                read = self.control.read(&mut buffer), if connected => match read {
                    Ok(length) if length > 0 => self.take(&mut lines, &buffer[..length], &to),
                    _ => connected = false,
                },
                () = self.stderr.read() => {}
                () = self.memory.used_up() => self.tell_used_up(&to),
                _ = self.ended.readable() => break,
            }
        }
        // What the emulator wrote before it ended is still in the sockets.
        while let Ok(length @ 1..) = self.control.try_read(&mut buffer) {
            self.take(&mut lines, &buffer[..length], &to);
        }
        self.stderr.drain();
        // The limit of a cgroup above can be the one that was met.
        if self.memory.cgroup.as_ref().is_some_and(|cgroup| cgroup.oom_kills() > 0) {
            self.seen.note_out_of_memory();
            self.tell_used_up(&to);
        }
        to.event(Event::Exited(self.cause()));
    }

    /// Once is enough: the emulator does not outlive it.
    fn tell_used_up(&mut self, to: &Outlets) {
        self.memory.watch = None;
        if !std::mem::replace(&mut self.memory.told, true) {
            to.event(Event::OutOfMemory);
        }
    }

    fn cause(&mut self) -> ExitCause {
        let status = match self.child.wait() {
            Ok(status) => status,
            Err(error) => return ExitCause::Failed(format!("the status of QEMU cannot be read: {error}")),
        };
        if self.known.forced.load(Ordering::Relaxed) {
            self.seen.note_forced();
        }
        // An emulator that never came up ends with a status of its own.
        let ready = self.known.ready.load(Ordering::Relaxed);
        let convention = if ready { self.exit } else { ExitConvention::None };
        self.seen.cause(status, convention, &self.stderr.text())
    }

    fn take(&mut self, lines: &mut Lines, bytes: &[u8], to: &Outlets) {
        let Some(lines) = lines.feed(bytes) else {
            return self.give_up("it sent an endless line");
        };
        for line in lines {
            match Message::parse(&line) {
                Ok(Message::Answer(id, answer)) => to.answer(id, answer),
                Ok(Message::Event(event)) => self.on_event(event, to),
                Ok(Message::Greeting) => {}
                Err(error) => self.give_up(&error.to_string()),
            }
        }
    }

    fn on_event(&mut self, event: qmp::Event, to: &Outlets) {
        match event {
            qmp::Event::Stopped => to.event(Event::Paused),
            qmp::Event::Resumed => to.event(Event::Resumed),
            other => {
                if self.seen.note(other) {
                    self.give_up("its guest was reset");
                }
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

/// Where messages go. Nobody may be listening any more: then the guest is being undone, and needs no reason.
struct Outlets {
    answers: mpsc::UnboundedSender<(u64, Answer)>,
    events: mpsc::UnboundedSender<Event>,
}

impl Outlets {
    fn answer(&self, id: u64, answer: Answer) {
        let _ = self.answers.send((id, answer));
    }

    fn event(&self, event: Event) {
        let _ = self.events.send(event);
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

    /// The last thing it wrote, on one line.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.tail).trim().replace('\n', "; ")
    }
}
