//! The console in the hands of a command: it types, and sees what the guest answers. The streams of the container
//! see it, too; what is typed there waits until the tap is gone.

use tokio::sync::{mpsc, oneshot};

use super::mover::Control;
use super::streams::{StreamError, Streams};
use super::{Loggers, Setup, Stdio};
use crate::id::Key;

/// What commands of one container are made with: its console, and streams of their own like the container's.
#[derive(Clone)]
pub struct Taps {
    pub(super) control: mpsc::UnboundedSender<Control>,
    pub(super) key: Key,
    pub(super) setup: Setup,
    pub(super) loggers: Loggers,
}

/// A command's end.
pub struct Tap {
    keys: mpsc::UnboundedSender<Vec<u8>>,
    output: mpsc::UnboundedReceiver<Vec<u8>>,
}

/// The console's end. Its queues have no limit: both sides move bytes on as fast as they come, and keep their own limits.
pub(super) struct TapEnd {
    keys: mpsc::UnboundedReceiver<Vec<u8>>,
    output: mpsc::UnboundedSender<Vec<u8>>,
}

/// The streams of a command.
pub struct Answer(Streams);

impl Taps {
    /// Gives the console to a command, until the tap is dropped. A tap before this one is at its end.
    pub fn tap(&self) -> Tap {
        let (tap, end) = Tap::new();
        // A console whose guest is gone shows in the first read.
        let _ = self.control.send(Control::Tap(end));
        tap
    }

    /// Whether there is a console at the moment.
    pub async fn is_connected(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        let _ = self.control.send(Control::IsConnected(reply));
        answer.await.unwrap_or(false)
    }

    /// Opens the streams of a command. What comes from its stdin is not read.
    ///
    /// # Errors
    ///
    /// [`StreamError`].
    pub async fn open(&self, stdio: &Stdio) -> Result<Answer, StreamError> {
        Streams::open(stdio, &self.key, &self.setup, &self.loggers).await.map(Answer)
    }
}

impl Answer {
    /// Takes output, and writes what the reader takes now.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.stdout.push(bytes);
    }

    /// Waits until the reader takes bytes that it did not take before. Never returns while there are none.
    pub async fn wait_writable(&self) {
        self.0.stdout.wait_writable().await;
    }

    /// Writes what the reader takes now.
    pub fn flush(&mut self) {
        self.0.stdout.flush();
    }

    /// Writes the rest to whoever still reads; then the streams are closed.
    pub async fn finish(self) {
        self.0.finish().await;
    }
}

impl Tap {
    fn new() -> (Tap, TapEnd) {
        let (keys_in, keys) = mpsc::unbounded_channel();
        let (output_in, output) = mpsc::unbounded_channel();
        (Tap { keys: keys_in, output }, TapEnd { keys, output: output_in })
    }

    /// Types bytes, behind those that the guest has not taken yet.
    pub fn write(&self, bytes: impl Into<Vec<u8>>) {
        // A console at its end shows in the next read.
        let _ = self.keys.send(bytes.into());
    }

    /// What the guest wrote next; `None` when the console is at its end or another has the tap.
    pub async fn read(&mut self) -> Option<Vec<u8>> {
        self.output.recv().await
    }

    /// The same, if it is here already.
    pub fn try_read(&mut self) -> Option<Vec<u8>> {
        self.output.try_recv().ok()
    }
}

impl TapEnd {
    /// Hands over what the guest wrote.
    pub fn output(&self, bytes: &[u8]) {
        // A tap that is being dropped needs it no more.
        let _ = self.output.send(bytes.to_vec());
    }
}

/// What was typed; `None` when the tap is gone. Waits for ever without one.
pub(super) async fn typed(tap: Option<&mut TapEnd>) -> Option<Vec<u8>> {
    match tap {
        Some(tap) => tap.keys.recv().await,
        None => std::future::pending().await,
    }
}
