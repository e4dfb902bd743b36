//! Where a guest's output goes: a FIFO, a file, a logging program, or nowhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pipe::fcntl_setpipe_size;
use tokio::net::unix::pipe;

use super::ring::Ring;

/// How long to wait before a logging program's pipe is looked at again, at its guest's end: the kernel does
/// not say when a pipe becomes empty.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// One output stream: what it is written to, and what waits for that.
pub struct Sink {
    target: Target,
    ring: Ring,
    /// The last write failed, and the log says so already.
    failing: bool,
}

enum Target {
    /// Opened for reading as well, so that a reader may come and go.
    Fifo {
        pipe: pipe::Sender,
        path: PathBuf,
    },
    File(File),
    /// The pipe to a logging program. It has no other end here: without the program, writing fails.
    Logger(pipe::Sender),
    Null,
}

impl Sink {
    /// Output that nobody wants.
    pub fn null() -> Sink {
        Sink::new(Target::Null, 0)
    }

    /// A FIFO, which is never waited for. It keeps `buffer` bytes for a reader that is slow, and asks the kernel for
    /// a pipe of `pipe_size` bytes.
    ///
    /// # Errors
    ///
    /// The system's refusal to open it.
    pub fn fifo(path: &Path, buffer: usize, pipe_size: Option<usize>) -> io::Result<Sink> {
        let pipe = pipe::OpenOptions::new().read_write(true).open_sender(path)?;
        if let Some(size) = pipe_size
            && let Err(error) = fcntl_setpipe_size(&pipe, size)
        {
            // Above /proc/sys/fs/pipe-max-size, or smaller than what is in it: it works as it is.
            tracing::warn!(%error, size, path = %path.display(), "the FIFO keeps its size");
        }
        Ok(Sink::new(Target::Fifo { pipe, path: path.to_owned() }, buffer))
    }

    /// A file. Appends.
    ///
    /// # Errors
    ///
    /// The system's refusal to open it, or a file that is not a plain one.
    pub fn file(path: &Path, buffer: usize) -> io::Result<Sink> {
        Ok(Sink::new(Target::File(open_log(path)?), buffer))
    }

    /// The pipe to a logging program.
    pub fn logger(pipe: pipe::Sender, buffer: usize) -> Sink {
        Sink::new(Target::Logger(pipe), buffer)
    }

    fn new(target: Target, buffer: usize) -> Sink {
        Sink { target, ring: Ring::new(buffer), failing: false }
    }

    /// Takes output and writes as much as the target takes now.
    pub fn push(&mut self, bytes: &[u8]) {
        self.flush();
        let written = if self.ring.is_empty() { self.write_through(bytes) } else { 0 };
        self.ring.push(&bytes[written..]);
    }

    /// Writes past the empty ring; how much of it. What fails is kept like anything that was not taken.
    fn write_through(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.target.write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed(&error);
                    break;
                }
            }
        }
        written
    }

    /// Waits until the target takes bytes that it did not take before. Never returns while there are none.
    pub async fn wait_writable(&self) {
        match &self.target {
            // An error shows in the write that follows.
            Target::Fifo { pipe, .. } | Target::Logger(pipe) if !self.ring.is_empty() => {
                drop(pipe.writable().await);
            }
            _ => std::future::pending().await,
        }
    }

    /// Writes what the target takes without waiting.
    pub fn flush(&mut self) {
        while !self.ring.is_empty() {
            match self.target.write(self.ring.front()) {
                Ok(count) => {
                    self.ring.consume(count);
                    self.failing = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(&error),
            }
        }
    }

    /// A pipe may be full, and a disk may have room again later. From a pipe without a reader nobody will ever read:
    /// what waits for one is lost, and the guest goes on.
    fn failed(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::WouldBlock {
            return;
        }
        if !self.failing {
            let target = self.target.describe();
            tracing::warn!(%error, target, "the output of the container cannot be written");
        }
        self.failing = true;
        if !matches!(self.target, Target::File(_)) {
            self.ring.clear();
            self.target = Target::Null;
        }
    }

    /// Waits until a log has everything: a file, or a logging program, which has it when it has read it. For other
    /// readers the engine does not want to wait.
    pub async fn flushed(&mut self) {
        self.flush();
        while matches!(self.target, Target::Logger(_)) && !self.ring.is_empty() {
            self.wait_writable().await;
            self.flush();
        }
        while let Target::Logger(pipe) = &self.target
            && rustix::io::ioctl_fionread(pipe).is_ok_and(|unread| unread > 0)
        {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Writes the rest to whoever still reads, then closes. Without a reader it ends at once.
    pub async fn finish(mut self) {
        self.let_go_of_reading_end();
        self.flush();
        while matches!(self.target, Target::Fifo { .. } | Target::Logger(_)) && !self.ring.is_empty() {
            self.wait_writable().await;
            self.flush();
        }
    }

    /// From here on a FIFO without a reader is an error (EPIPE) and not a full pipe.
    fn let_go_of_reading_end(&mut self) {
        if let Target::Fifo { pipe, path } = &mut self.target {
            // Succeeds: the end that is open for reading is still there.
            match pipe::OpenOptions::new().open_sender(&*path) {
                Ok(write_only) => *pipe = write_only,
                Err(error) => {
                    // The engine removed the FIFO, so nobody can come to read.
                    tracing::debug!(%error, path = %path.display(), "the FIFO is gone");
                    self.target = Target::Null;
                }
            }
        }
    }
}

impl Target {
    /// Writes without waiting.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Target::Fifo { pipe, .. } | Target::Logger(pipe) => pipe.try_write(bytes),
            // The page cache takes it; there is no way to ask a file whether it would wait.
            Target::File(file) => file.write(bytes),
            Target::Null => Ok(bytes.len()),
        };
        match written {
            // Nothing that is open here does that; it would be tried for ever.
            Ok(0) if !bytes.is_empty() => Err(io::ErrorKind::WriteZero.into()),
            other => other,
        }
    }

    fn describe(&self) -> &'static str {
        match self {
            Target::Fifo { .. } => "a FIFO",
            Target::File(_) => "a file",
            Target::Logger(_) => "a logging program",
            Target::Null => "nothing",
        }
    }
}

/// Opens a log as containerd's own shim does: made with its folder where it is missing, readable for all.
/// Anything but a plain file is refused, and never waited for.
fn open_log(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().append(true).create(true).mode(0o644).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a plain file")) }
}

#[cfg(test)]
mod tests;
