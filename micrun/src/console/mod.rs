//! Bytes between a guest and the streams that the engine named.
//!
//! ```text
//!   stdin FIFO ──> input ──> pace ──> guest ──> output ──> stdout: FIFO, file, logging program, or nothing
//! ```
//!
//! - [`name`]: what engines call a stream; [`streams`] opens them.
//! - [`input`], [`output`], [`pace`]: the rules for the bytes, without IO.
//! - [`sink`]: what output is written to, with a bounded [`ring`] for what it has not taken.
//! - [`logger`]: the process behind `binary://`.
//! - [`mover`]: the one task that owns all of it and moves the bytes; [`Hub`] is the handle on that.
//! - [`tap`]: the console in the hands of a command.
//!
//! The task reads the guest whatever the readers do: a console that nobody reads would stall the guest's
//! processor. Nothing here runs while nothing happens.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::Settings;
use crate::config::node::ConsoleConfig;
use crate::id::Key;
use crate::pedestal;
use crate::trace;

pub mod input;
mod logger;
mod mover;
pub mod name;
pub mod output;
pub mod pace;
pub mod ring;
mod sink;
mod streams;
mod tap;

pub use logger::Loggers;
use mover::{Control, Mover};
use pace::Pacing;
pub use streams::StreamError;
use streams::Streams;
pub use tap::{Answer, Tap, Taps};

/// The streams of a container, as the engine names them.
#[derive(Clone, Debug, Default)]
pub struct Stdio {
    /// A FIFO, or empty.
    pub stdin: String,
    /// A FIFO, a `file://` or `binary://` URI, or empty.
    pub stdout: String,
    /// As `stdout`. A guest has one console, so nothing is ever written to it.
    pub stderr: String,
    /// Whether the engine's user sits at a terminal.
    pub terminal: bool,
}

/// How the console of a container behaves.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How much output is kept for a reader that does not take it, bytes.
    pub buffer: usize,
    /// Whether Ctrl-C on a terminal stops the guest.
    pub ctrl_c: bool,
    /// The size of the pipes that output goes through, bytes; the kernel's own without one.
    pub pipe_size: Option<usize>,
    /// How fast the guest can be typed at.
    pub pacing: Option<Pacing>,
}

impl Setup {
    /// As the node and the container have it. Without an OS that says otherwise, input goes as fast as it is taken.
    pub fn new(config: &ConsoleConfig, settings: &Settings) -> Setup {
        Setup { pipe_size: settings.pipe_size, ..Setup::plain(config) }
    }

    /// As the node has it.
    pub fn plain(config: &ConsoleConfig) -> Setup {
        Setup { buffer: config.buffer, ctrl_c: config.ctrl_c, pipe_size: None, pacing: None }
    }
}

/// The handle on the task that moves the bytes.
pub struct Hub {
    control: mpsc::UnboundedSender<Control>,
    task: JoinHandle<()>,
}

impl Hub {
    /// Opens the streams of the container `key` and begins to move bytes, once there is a console. Each Ctrl-C on
    /// a terminal goes to `interrupts`.
    ///
    /// # Errors
    ///
    /// [`StreamError`] where a stream cannot be opened, or a logging program is not ready in time.
    pub async fn open(
        stdio: &Stdio,
        key: &Key,
        setup: &Setup,
        loggers: &Loggers,
        console: Option<pedestal::Console>,
        interrupts: mpsc::UnboundedSender<()>,
    ) -> Result<Hub, StreamError> {
        let streams = Streams::open(stdio, key, setup, loggers).await?;
        let (control, commands) = mpsc::unbounded_channel();
        let mover = Mover::new(streams, console, stdio.terminal, setup, interrupts);
        Ok(Hub { control, task: trace::spawn(mover.run(commands)) })
    }

    /// Uses a console that replaces a lost one.
    pub fn attach(&self, console: pedestal::Console) {
        self.send(Control::Attach(console));
    }

    /// What commands of the container `key` are made with, and streams like those of the container.
    pub fn taps(&self, key: &Key, setup: &Setup, loggers: &Loggers) -> Taps {
        let (control, key) = (self.control.clone(), key.clone());
        Taps { control, key, setup: setup.clone(), loggers: loggers.clone() }
    }

    /// Takes no more input than what is in the FIFO already.
    pub fn close_stdin(&self) {
        self.send(Control::CloseStdin);
    }

    /// Waits until the last bytes of a guest that is gone are in the buffers, and those of a log in the log, 500 ms
    /// at most. Afterwards they flow on to a live reader, and the streams close.
    pub async fn drain(&self) {
        let (done, drained) = oneshot::channel();
        self.send(Control::Drain(done));
        // An error means that the task is at its end already.
        let _ = drained.await;
    }

    /// Waits until the streams are closed, `limit` at most; then they are closed with bytes unread.
    pub async fn close(mut self, limit: Duration) {
        if timeout(limit, &mut self.task).await.is_err() {
            tracing::warn!("the reader did not take the last output in time");
        }
    }

    fn send(&self, control: Control) {
        // A task at its end has nothing left to do any of this to.
        let _ = self.control.send(control);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.task.abort();
    }
}
