//! The machine's side. A thread per stream: nothing here is fast, and nothing here waits for anything else.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::frame::{Frame, Kind, PIECE};

/// How often a program is asked whether it has ended.
const INTERVAL: Duration = Duration::from_millis(5);

/// What jobs answer through.
type Output = Arc<Mutex<dyn Write + Send>>;

/// A job that runs.
struct Job {
    input: Sender<Vec<u8>>,
    /// None for a socket.
    child: Option<Arc<Mutex<Child>>>,
}

/// Does what comes until the other side is gone.
///
/// # Errors
/// If what comes is no frame, or nobody takes the answers.
pub fn serve(mut input: impl Read, output: impl Write + Send + 'static) -> Result<()> {
    let output: Output = Arc::new(Mutex::new(output));
    send(&output, 0, Kind::Hello, &[])?;
    let mut jobs: HashMap<u32, Job> = HashMap::new();
    while let Some(Frame { channel, kind, payload }) = Frame::read(&mut input)? {
        let started = match kind {
            Kind::Run => run(channel, &payload, &output),
            Kind::Connect => connect(channel, &payload, &output),
            Kind::Input | Kind::Kill => {
                if let Some(job) = jobs.get(&channel) {
                    job.tell(kind, payload);
                }
                continue;
            }
            Kind::Hello | Kind::Output | Kind::Error | Kind::Ended => continue,
        };
        match started {
            Ok(job) => drop(jobs.insert(channel, job)),
            Err(error) => {
                let said = format!("{error:#}");
                send(&output, channel, Kind::Ended, &[&[0; 4], said.as_bytes()].concat())?;
            }
        }
    }
    Ok(())
}

impl Job {
    fn tell(&self, kind: Kind, payload: Vec<u8>) {
        match &self.child {
            // Either fails if it has ended, which is what the other side is about to hear.
            Some(child) if kind == Kind::Kill => {
                let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
            }
            _ => {
                let _ = self.input.send(payload);
            }
        }
    }
}

fn run(number: u32, arguments: &[u8], output: &Output) -> Result<Job> {
    let mut words = arguments.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let mut command = Command::new(words.next().context("no program is named")?);
    let mut words: Vec<_> = words.collect();
    // Every argument is followed by a NUL, the last one too.
    words.pop();
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    let (input, bytes) = channel();
    if let Some(stdin) = child.stdin.take() {
        thread::spawn(move || feed(stdin, &bytes));
    }
    let mut readers = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        readers.push(follow(stdout, number, Kind::Output, output));
    }
    if let Some(stderr) = child.stderr.take() {
        readers.push(follow(stderr, number, Kind::Error, output));
    }
    let child = Arc::new(Mutex::new(child));
    let (waited, output) = (child.clone(), output.clone());
    thread::spawn(move || {
        // Killing must stay possible, so nobody waits with the lock in hand.
        let status = loop {
            match waited.lock().unwrap_or_else(PoisonError::into_inner).try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => break status.into_raw(),
                Err(_) => break -1,
            }
            thread::sleep(INTERVAL);
        };
        for reader in readers {
            let _ = reader.join();
        }
        send(&output, number, Kind::Ended, &status.to_le_bytes())
    });
    Ok(Job { input, child: Some(child) })
}

fn connect(number: u32, path: &[u8], output: &Output) -> Result<Job> {
    let path = OsStr::from_bytes(path);
    let socket =
        UnixStream::connect(path).with_context(|| format!("cannot connect to {}", path.display()))?;
    let reader = socket.try_clone().context("cannot share a socket")?;
    let (input, bytes) = channel();
    thread::spawn(move || {
        feed(&socket, &bytes);
        socket.shutdown(Shutdown::Write)
    });
    let (follower, output) = (follow(reader, number, Kind::Output, output), output.clone());
    thread::spawn(move || {
        let _ = follower.join();
        send(&output, number, Kind::Ended, &0_i32.to_le_bytes())
    });
    Ok(Job { input, child: None })
}

/// Writes what comes until it is to be closed, or nobody reads it.
fn feed(mut stream: impl Write, bytes: &Receiver<Vec<u8>>) {
    for piece in bytes {
        if piece.is_empty() || stream.write_all(&piece).and_then(|()| stream.flush()).is_err() {
            break;
        }
    }
}

/// Sends what a stream gives until its end.
fn follow(
    mut stream: impl Read + Send + 'static,
    number: u32,
    kind: Kind,
    output: &Output,
) -> thread::JoinHandle<()> {
    let output = output.clone();
    thread::spawn(move || {
        let mut buffer = [0; PIECE];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if send(&output, number, kind, &buffer[..count]).is_err() {
                break;
            }
        }
    })
}

fn send(output: &Output, channel: u32, kind: Kind, payload: &[u8]) -> Result<()> {
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    Frame { channel, kind, payload: payload.to_vec() }.write(&mut *output)
}
