//! Where a guest's output goes, by the name that the engine gives it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use rustix::fs::OFlags;
use tokio::net::unix::pipe;

use super::ring::Ring;

/// Why a stream cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The operating system refused.
    #[error("opening the {stream} of the container, {name}: {source}")]
    Open {
        /// stdin, stdout or stderr.
        stream: &'static str,
        /// What the engine called it.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Neither a FIFO nor a kind of URI that this build knows.
    #[error("the {stream} of the container is {name}; use a FIFO (the default) or file:///PATH")]
    Unsupported {
        /// stdin, stdout or stderr.
        stream: &'static str,
        /// What the engine called it.
        name: String,
    },
}

/// One output stream: its buffer, and what it is written to.
pub struct Output {
    target: Target,
    ring: Ring,
}

enum Target {
    /// Opened for reading as well, so that a reader may come and go.
    Fifo {
        pipe: pipe::Sender,
        path: PathBuf,
    },
    File(File),
    Null,
}

impl Output {
    /// Opens what `name` says: nothing, a FIFO's path, or a `file://` URI. Never waits for a reader, and keeps
    /// `buffer` bytes for one that is slow.
    ///
    /// # Errors
    ///
    /// [`StreamError`].
    pub fn open(stream: &'static str, name: &str, buffer: usize) -> Result<Output, StreamError> {
        let failed = |source| StreamError::Open { stream, name: name.to_owned(), source };
        let target = match Name::parse(name) {
            Name::None => Target::Null,
            Name::Fifo(path) => {
                let pipe = pipe::OpenOptions::new().read_write(true).open_sender(path).map_err(failed)?;
                Target::Fifo { pipe, path: path.to_owned() }
            }
            Name::File(path) => Target::File(open_log(&path).map_err(failed)?),
            Name::Unknown => return Err(StreamError::Unsupported { stream, name: name.to_owned() }),
        };
        Ok(Output { target, ring: Ring::new(buffer) })
    }

    /// Takes output and writes as much as the target takes now.
    pub fn push(&mut self, bytes: &[u8]) {
        self.ring.push(bytes);
        self.flush();
    }

    /// Waits until the target takes bytes that it did not take before. Never returns while there are none.
    pub async fn wait_writable(&self) {
        match &self.target {
            // An error shows in the write that follows.
            Target::Fifo { pipe, .. } if !self.ring.is_empty() => drop(pipe.writable().await),
            _ => std::future::pending().await,
        }
    }

    /// Writes what the target takes without waiting. A target that fails is given up, with its output.
    pub fn flush(&mut self) {
        while !self.ring.is_empty() {
            let bytes = self.ring.front();
            let written = match &mut self.target {
                Target::Fifo { pipe, .. } => pipe.try_write(bytes),
                // The page cache takes it; there is no way to ask a file whether it would wait.
                Target::File(file) => file.write(bytes),
                Target::Null => Ok(bytes.len()),
            };
            match written {
                Ok(count) => self.ring.consume(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.give_up(&error),
            }
        }
    }

    /// The reader is gone for good, or a disk is full: what waits for it is lost. A file may have room again
    /// later.
    fn give_up(&mut self, error: &io::Error) {
        tracing::warn!(%error, "output of the container is lost");
        self.ring.clear();
        if !matches!(self.target, Target::File(_)) {
            self.target = Target::Null;
        }
    }

    /// Writes the rest to whoever still reads, then closes. Without a reader it ends at once.
    pub async fn finish(mut self) {
        self.let_go_of_reading_end();
        self.flush();
        while matches!(self.target, Target::Fifo { .. }) && !self.ring.is_empty() {
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

/// Opens the stdin of a container, where it has one. Reading and writing, so that clients may come and go
/// without an end of file.
///
/// # Errors
///
/// [`StreamError`].
pub fn open_stdin(name: &str) -> Result<Option<pipe::Receiver>, StreamError> {
    let stream = "stdin";
    match Name::parse(name) {
        Name::None => Ok(None),
        Name::Fifo(path) => pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(path)
            .map(Some)
            .map_err(|source| StreamError::Open { stream, name: name.to_owned(), source }),
        Name::File(_) | Name::Unknown => Err(StreamError::Unsupported { stream, name: name.to_owned() }),
    }
}

/// What an engine calls a stream.
#[derive(Debug, PartialEq, Eq)]
enum Name<'a> {
    None,
    Fifo(&'a Path),
    File(PathBuf),
    Unknown,
}

impl Name<'_> {
    fn parse(name: &str) -> Name<'_> {
        let absolute = |path| Some(Path::new(path)).filter(|path: &&Path| path.is_absolute());
        match name.split_once("://") {
            None if name.is_empty() => Name::None,
            None => absolute(name).map_or(Name::Unknown, Name::Fifo),
            Some(("fifo", path)) => absolute(path).map_or(Name::Unknown, Name::Fifo),
            // A URI: percent-encoded, and what follows a `?` is not part of the path.
            Some(("file", path)) => {
                let path = path.split('?').next().unwrap_or(path);
                let path: Cow<'_, [u8]> = percent_decode_str(path).into();
                let path = PathBuf::from(OsStr::from_bytes(&path));
                if path.is_absolute() { Name::File(path) } else { Name::Unknown }
            }
            Some(_) => Name::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let fifo = |path| Name::Fifo(Path::new(path));
        let table = [
            ("", Name::None),
            ("/run/containerd/fifo/1/x-stdout", fifo("/run/containerd/fifo/1/x-stdout")),
            ("fifo:///run/x", fifo("/run/x")),
            ("file:///var/log/x.log", Name::File("/var/log/x.log".into())),
            ("file:///var/log/a%20b.log", Name::File("/var/log/a b.log".into())),
            ("binary:///usr/bin/logger?id=1", Name::Unknown),
            ("relative", Name::Unknown),
            ("file://relative", Name::Unknown),
        ];
        for (name, expected) in table {
            assert_eq!(Name::parse(name), expected, "{name}");
        }
    }
}
