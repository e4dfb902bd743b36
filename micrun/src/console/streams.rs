//! The streams of a container, opened.

use std::io;
use std::path::Path;

use tokio::net::unix::pipe;

use super::logger::{Alive, Logger, Loggers};
use super::name::{LoggerUri, Name};
use super::sink::Sink;
use super::{Setup, Stdio};
use crate::id::Key;
use crate::remedy::remedy;

/// Why a stream cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The operating system refused.
    #[error("opening the {stream} of the container, {name}: {source}{}", remedy(.source))]
    Open {
        /// stdin, stdout or stderr.
        stream: &'static str,
        /// What the engine called it.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Neither a FIFO nor a kind of URI that there is.
    #[error(
        "the {stream} of the container is {name}; use a FIFO (the default), file:///PATH or binary:///PROGRAM?KEY=VALUE"
    )]
    Unsupported {
        /// stdin, stdout or stderr.
        stream: &'static str,
        /// What the engine called it.
        name: String,
    },
}

/// All of them.
pub struct Streams {
    /// The input; none where the engine named none.
    pub stdin: Option<pipe::Receiver>,
    /// Everything that the guest writes.
    pub stdout: Sink,
    /// Nothing is written to these, since a guest has one console. They are held so that whoever reads from them
    /// gets on, and sees their end with that of `stdout`.
    silent: Vec<Sink>,
    /// The logging programs. Behind the sinks that write to them: it is dropped after those.
    programs: Vec<Alive>,
}

impl Streams {
    /// Opens what the engine named. Never waits for a reader, but for a logging program to be ready.
    pub async fn open(
        stdio: &Stdio,
        key: &Key,
        setup: &Setup,
        loggers: &Loggers,
    ) -> Result<Streams, StreamError> {
        let stdin = open_stdin(&stdio.stdin)?;
        let mut opening = Opening { key, setup, loggers, silent: Vec::new(), programs: Vec::new() };
        let (stdout, shared) = opening.stdout(&stdio.stdout).await?;
        opening.stderr(&stdio.stderr, shared).await?;
        Ok(Streams { stdin, stdout, silent: opening.silent, programs: opening.programs })
    }

    /// Writes the rest to whoever still reads; then all of them are closed.
    pub async fn finish(self) {
        self.stdout.finish().await;
        drop(self.silent);
        drop(self.programs);
    }
}

/// Streams on their way to be open.
struct Opening<'a> {
    key: &'a Key,
    setup: &'a Setup,
    loggers: &'a Loggers,
    silent: Vec<Sink>,
    programs: Vec<Alive>,
}

impl Opening<'_> {
    /// The stream that output goes to, and the program that can take stderr as well, where there is one.
    async fn stdout(&mut self, name: &str) -> Result<(Sink, Option<LoggerUri>), StreamError> {
        let Name::Logger(uri) = parse("stdout", name)? else {
            return Ok((self.plain("stdout", name)?, None));
        };
        let program = self.program("stdout", name, &uri).await?;
        self.silent.push(Sink::logger(program.stderr, 0));
        self.programs.push(program.alive);
        Ok((Sink::logger(program.stdout, self.setup.buffer), Some(uri)))
    }

    /// The other one. One program for both is one process.
    async fn stderr(&mut self, name: &str, shared: Option<LoggerUri>) -> Result<(), StreamError> {
        let sinks = match parse("stderr", name)? {
            Name::Logger(uri) if Some(&uri) == shared.as_ref() => return Ok(()),
            Name::Logger(uri) => {
                let program = self.program("stderr", name, &uri).await?;
                self.programs.push(program.alive);
                vec![Sink::logger(program.stdout, 0), Sink::logger(program.stderr, 0)]
            }
            _ => vec![self.plain("stderr", name)?],
        };
        self.silent.extend(sinks);
        Ok(())
    }

    /// Anything but a program.
    fn plain(&self, stream: &'static str, name: &str) -> Result<Sink, StreamError> {
        let opened = match parse(stream, name)? {
            Name::Fifo(path) => Sink::fifo(&path, self.setup.buffer, self.setup.pipe_size),
            Name::File(path) => Sink::file(&path, self.setup.buffer),
            Name::None | Name::Logger(_) => Ok(Sink::null()),
        };
        opened.map_err(failed(stream, name))
    }

    async fn program(
        &self,
        stream: &'static str,
        name: &str,
        uri: &LoggerUri,
    ) -> Result<Logger, StreamError> {
        self.loggers.start(uri, self.key).await.map_err(failed(stream, name))
    }
}

/// Opens the stdin of a container, where it has one. Reading and writing, so that clients may come and go
/// without an end of file.
fn open_stdin(name: &str) -> Result<Option<pipe::Receiver>, StreamError> {
    let open = |path: &Path| pipe::OpenOptions::new().read_write(true).open_receiver(path);
    match parse("stdin", name)? {
        Name::None => Ok(None),
        Name::Fifo(path) => open(&path).map(Some).map_err(failed("stdin", name)),
        Name::File(_) | Name::Logger(_) => Err(unsupported("stdin", name)),
    }
}

fn parse(stream: &'static str, name: &str) -> Result<Name, StreamError> {
    Name::parse(name).ok_or_else(|| unsupported(stream, name))
}

fn unsupported(stream: &'static str, name: &str) -> StreamError {
    StreamError::Unsupported { stream, name: name.to_owned() }
}

fn failed(stream: &'static str, name: &str) -> impl FnOnce(io::Error) -> StreamError {
    move |source| StreamError::Open { stream, name: name.to_owned(), source }
}
