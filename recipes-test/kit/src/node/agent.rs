//! The agent in the node, seen from outside: programs there with their streams, and connections to its sockets.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use micrun_node_agent::frame::{Frame, Kind, PIECE};

use crate::wait;

/// How long a program may take. Emulation is slow, and a boot is waited for with this, too.
const PATIENCE: Duration = Duration::from_secs(240);

/// The line to the node. Clones share it.
#[derive(Clone, Debug)]
pub struct Agent(Arc<Line>);

struct Line {
    writer: Mutex<Box<dyn Write + Send>>,
    jobs: Mutex<HashMap<u32, Sinks>>,
    next: AtomicU32,
}

/// Where what comes from a job goes.
struct Sinks {
    stdout: Sender<Vec<u8>>,
    stderr: Sender<Vec<u8>>,
    end: Sender<Vec<u8>>,
}

/// A program in the node, or a connection to a socket there.
#[derive(Debug)]
pub struct Job {
    /// To its stdin.
    pub input: Input,
    /// From its stdout.
    pub stdout: Bytes,
    /// From its stderr.
    pub stderr: Bytes,
    /// How it ends.
    pub end: End,
}

/// Its stdin; dropped, it stays open.
#[derive(Debug)]
pub struct Input {
    line: Agent,
    channel: u32,
}

/// One of its streams.
#[derive(Debug)]
pub struct Bytes {
    pieces: Receiver<Vec<u8>>,
    rest: Vec<u8>,
}

/// Its end.
#[derive(Debug)]
pub struct End {
    line: Agent,
    channel: u32,
    said: Receiver<Vec<u8>>,
    status: Option<ExitStatus>,
}

impl Agent {
    /// Waits for the agent's first word on a line to the node, then listens to it.
    ///
    /// # Errors
    /// If what comes is something else.
    pub fn meet(mut reader: impl Read + Send + 'static, writer: impl Write + Send + 'static) -> Result<Self> {
        let hello = Frame::read(&mut reader)?.context("the node ended before its agent was there")?;
        if hello.kind != Kind::Hello {
            bail!("the agent began with {:?}", hello.kind);
        }
        let line = Line {
            writer: Mutex::new(Box::new(writer)),
            jobs: Mutex::new(HashMap::new()),
            next: AtomicU32::new(1),
        };
        let agent = Self(Arc::new(line));
        let line = agent.clone();
        thread::spawn(move || {
            while let Ok(Some(frame)) = Frame::read(&mut reader) {
                line.take(frame);
            }
            // Nobody answers any more: whoever waits for a job learns it.
            line.jobs().clear();
        });
        Ok(agent)
    }

    /// Starts a program.
    ///
    /// # Errors
    /// If the node is gone. That it could not start is the job's end.
    pub fn start(&self, arguments: &[&str]) -> Result<Job> {
        let words: Vec<u8> = arguments.iter().flat_map(|word| word.bytes().chain([0])).collect();
        self.ask(Kind::Run, words)
    }

    /// Connects to a Unix socket: its bytes are the job's stdin and stdout.
    ///
    /// # Errors
    /// If the node is gone. That it could not connect is the job's end.
    pub fn connect(&self, path: &str) -> Result<Job> {
        self.ask(Kind::Connect, path.into())
    }

    fn ask(&self, kind: Kind, payload: Vec<u8>) -> Result<Job> {
        let channel = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (stdout, stdout_pieces) = mpsc::channel();
        let (stderr, stderr_pieces) = mpsc::channel();
        let (end, said) = mpsc::channel();
        self.jobs().insert(channel, Sinks { stdout, stderr, end });
        self.send(channel, kind, payload)?;
        let bytes = |pieces| Bytes { pieces, rest: Vec::new() };
        Ok(Job {
            input: Input { line: self.clone(), channel },
            stdout: bytes(stdout_pieces),
            stderr: bytes(stderr_pieces),
            end: End { line: self.clone(), channel, said, status: None },
        })
    }

    fn send(&self, channel: u32, kind: Kind, payload: Vec<u8>) -> Result<()> {
        let mut writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Frame { channel, kind, payload }.write(&mut **writer).context("the node does not answer any more")
    }

    /// Hands a frame to its job. A job that nobody holds any more gets nothing.
    fn take(&self, frame: Frame) {
        let mut jobs = self.jobs();
        let Some(sinks) = jobs.get(&frame.channel) else { return };
        let _ = match frame.kind {
            Kind::Output => sinks.stdout.send(frame.payload),
            Kind::Error => sinks.stderr.send(frame.payload),
            Kind::Ended => {
                let sent = sinks.end.send(frame.payload);
                jobs.remove(&frame.channel);
                sent
            }
            Kind::Hello | Kind::Run | Kind::Connect | Kind::Input | Kind::Kill => Ok(()),
        };
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<u32, Sinks>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Input {
    /// Ends the stream.
    ///
    /// # Errors
    /// If the node is gone.
    pub fn close(&mut self) -> Result<()> {
        self.line.send(self.channel, Kind::Input, Vec::new())
    }
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for piece in bytes.chunks(PIECE) {
            self.line.send(self.channel, Kind::Input, piece.to_vec()).map_err(std::io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.is_empty() {
            match self.pieces.recv() {
                Ok(piece) => self.rest = piece,
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        for (to, from) in buffer.iter_mut().zip(self.rest.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }
}

/// As a stream of bytes, for protocols.
impl Read for Job {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stdout.read(buffer)
    }
}

impl Write for Job {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.input.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.input.flush()
    }
}

impl End {
    /// How it ended, if it has.
    ///
    /// # Errors
    /// If it could not start, with the reason; or if the node is gone.
    pub fn look(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_some() {
            return Ok(self.status);
        }
        match self.said.try_recv() {
            Ok(said) => self.status = Some(status(&said)?),
            Err(mpsc::TryRecvError::Empty) => {}
            Err(mpsc::TryRecvError::Disconnected) => bail!("the node is gone"),
        }
        Ok(self.status)
    }

    /// Waits for it.
    ///
    /// # Errors
    /// As [`End::look`], or after four minutes.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        wait::within(PATIENCE, "a program in the node to end", || self.look())
    }

    /// Kills it.
    ///
    /// # Errors
    /// If the node is gone.
    pub fn kill(&self) -> Result<()> {
        self.line.send(self.channel, Kind::Kill, Vec::new())
    }
}

fn status(said: &[u8]) -> Result<ExitStatus> {
    match said {
        [a, b, c, d] => Ok(ExitStatus::from_raw(i32::from_le_bytes([*a, *b, *c, *d]))),
        [_, _, _, _, why @ ..] => bail!("{}", String::from_utf8_lossy(why)),
        _ => bail!("the agent answered {said:?}"),
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}
