//! Talking to a guest: through the pipes or the terminal of a `ctr`, here or in a node, or by reading a log file that grows.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::firmware::{Firmware, Shell};
use crate::node::agent::{self as job, Job};
use crate::{Containerd, shell, wait};

/// A running `ctr` with a guest behind it.
#[derive(Debug)]
pub struct Console {
    ctr: Ctr,
    input: Option<Typing>,
    seen: Arc<Seen>,
    /// How far [`Console::wait_for`] has read.
    cursor: usize,
}

/// Where it runs.
#[derive(Debug)]
enum Ctr {
    Here(Child),
    InNode(job::End),
}

/// What it reads.
#[derive(Debug)]
enum Typing {
    Here(File),
    InNode(job::Input),
}

#[derive(Debug, Default)]
struct Seen {
    bytes: Mutex<Bytes>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Bytes {
    data: Vec<u8>,
    /// How many streams still give bytes.
    open: u32,
}

impl Console {
    /// Starts `ctr` with pipes for stdin, stdout and stderr.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn pipes(containerd: &Containerd, arguments: &[&str]) -> Result<Self> {
        let mut command = containerd.ctr(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = containerd.namespace().spawn(&mut command)?;
        let input = child.stdin.take().map(|pipe| Typing::Here(std::os::fd::OwnedFd::from(pipe).into()));
        let seen = Arc::new(Seen::default());
        let stdout = child.stdout.take().map(std::os::fd::OwnedFd::from);
        let stderr = child.stderr.take().map(std::os::fd::OwnedFd::from);
        for stream in [stdout, stderr].into_iter().flatten() {
            follow(&seen, File::from(stream));
        }
        Ok(Self { ctr: Ctr::Here(child), input, seen, cursor: 0 })
    }

    /// Starts `ctr` on a terminal of its own.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn terminal(containerd: &Containerd, arguments: &[&str]) -> Result<Self> {
        let pty = nix::pty::openpty(None, None).context("cannot open a terminal")?;
        let end = |what: &std::os::fd::OwnedFd| what.try_clone().context("cannot share a terminal");
        let mut command: Command = containerd.ctr(arguments);
        command.stdin(end(&pty.slave)?).stdout(end(&pty.slave)?).stderr(pty.slave);
        let child = containerd.namespace().spawn(&mut command)?;
        // Its copies of the terminal would keep it open after ctr's end.
        drop(command);
        let seen = Arc::new(Seen::default());
        follow(&seen, File::from(end(&pty.master)?));
        let input = Some(Typing::Here(pty.master.into()));
        Ok(Self { ctr: Ctr::Here(child), input, seen, cursor: 0 })
    }

    /// A program that runs in the node.
    pub fn in_node(job: Job) -> Self {
        let seen = Arc::new(Seen::default());
        follow(&seen, job.stdout);
        follow(&seen, job.stderr);
        Self { ctr: Ctr::InNode(job.end), input: Some(Typing::InNode(job.input)), seen, cursor: 0 }
    }

    /// Waits until the text has come, after all text that was waited for before, and returns what came up to its end.
    ///
    /// # Errors
    /// After [`wait::DEADLINE`], or when `ctr` has ended without it: then with what came instead.
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        let end = Instant::now() + wait::DEADLINE;
        let mut bytes = self.seen.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the text could begin at the earliest, seen from the cursor: what was looked at is not looked at again.
        let mut from = 0;
        loop {
            let fresh = &bytes.data[self.cursor..];
            if let Some(at) = find(&fresh[from..], text.as_bytes()) {
                let upto = from + at + text.len();
                self.cursor += upto;
                return Ok(String::from_utf8_lossy(&fresh[..upto]).into_owned());
            }
            from = fresh.len().saturating_sub(text.len());
            let now = Instant::now();
            if bytes.open == 0 || now >= end {
                let why = if bytes.open == 0 { "ctr ended" } else { "nothing more came" };
                bail!("waited for {text:?}, but {why}. Seen: {:?}", String::from_utf8_lossy(fresh));
            }
            let waited = self.seen.more.wait_timeout(bytes, end - now);
            bytes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The PID of `ctr` outside of the namespace; none in a node.
    pub fn pid(&self) -> Option<u32> {
        match &self.ctr {
            Ctr::Here(child) => Some(child.id()),
            Ctr::InNode(_) => None,
        }
    }

    /// Everything that came so far.
    pub fn seen(&self) -> String {
        let bytes = self.seen.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes.data).into_owned()
    }

    /// Types bytes.
    ///
    /// # Errors
    /// If nobody reads them any more.
    pub fn type_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.input {
            None => bail!("stdin of ctr is closed already"),
            Some(Typing::Here(input)) => input.write_all(bytes),
            Some(Typing::InNode(input)) => input.write_all(bytes),
        }
        .context("cannot write to ctr")
    }

    /// Waits until the firmware takes commands, past its banner and its boot countdown.
    ///
    /// # Errors
    /// As [`Console::wait_for`], or if the firmware takes none.
    pub fn wait_for_prompt(&mut self, firmware: &Firmware) -> Result<Shell> {
        let shell = firmware.shell.with_context(|| format!("{} takes no commands", firmware.name))?;
        self.wait_for(firmware.banner)?;
        if let Some(countdown) = shell.countdown {
            self.wait_for(countdown)?;
            self.type_bytes(b" ")?;
        }
        self.wait_for(shell.prompt)?;
        Ok(shell)
    }

    /// Types a line as a terminal does, ended by a carriage return.
    ///
    /// # Errors
    /// If nobody reads it any more.
    pub fn send(&mut self, line: &str) -> Result<()> {
        self.type_bytes(format!("{line}\r").as_bytes())
    }

    /// Closes stdin.
    pub fn close_input(&mut self) {
        if let Some(Typing::InNode(mut input)) = self.input.take() {
            // Fails if the node is gone, which the next question tells.
            let _ = input.close();
        }
    }

    /// Waits for the end of `ctr`, with its stdin still open, and returns its exit status: the task's, for `ctr run`.
    ///
    /// # Errors
    /// After [`wait::DEADLINE`], or if it was killed.
    pub fn exit(&mut self) -> Result<i32> {
        let ctr = &mut self.ctr;
        let status = wait::until("ctr to end", || match ctr {
            Ctr::Here(child) => child.try_wait().context("cannot wait for ctr"),
            Ctr::InNode(end) => end.look(),
        });
        let status = status.with_context(|| format!("Seen: {:?}", self.seen()))?;
        status.code().with_context(|| format!("ctr ended with {}", shell::ending(status)))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // These fail if it has ended, which is what we want.
        match &mut self.ctr {
            Ctr::Here(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Ctr::InNode(end) => {
                let _ = end.kill();
            }
        }
    }
}

fn follow(seen: &Arc<Seen>, mut stream: impl Read + Send + 'static) {
    let seen = seen.clone();
    seen.bytes.lock().unwrap_or_else(PoisonError::into_inner).open += 1;
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // A terminal whose other side is closed reads as an error: the end, too.
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let mut bytes = seen.bytes.lock().unwrap_or_else(PoisonError::into_inner);
            bytes.data.extend_from_slice(&buffer[..count]);
            seen.more.notify_all();
        }
        seen.bytes.lock().unwrap_or_else(PoisonError::into_inner).open -= 1;
        seen.more.notify_all();
    });
}

/// Waits until a log file holds the text.
///
/// # Errors
/// After [`wait::DEADLINE`], with what it holds.
pub fn wait_for_log(log: &Path, text: &str) -> Result<()> {
    let read = || std::fs::read(log).unwrap_or_default();
    wait::until(&format!("{text:?} in {}", log.display()), || Ok(find(&read(), text.as_bytes()).map(drop)))
        .with_context(|| format!("it holds {:?}", String::from_utf8_lossy(&read())))
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}
