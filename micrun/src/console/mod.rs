//! Bytes between a guest and the streams that the engine named.
//!
//! One task owns all of it. It reads the guest whatever the readers do: a console that nobody reads would
//! stall the guest's processor. What a reader has not taken waits in a bounded ring ([`ring`]). Nothing
//! here runs while nothing happens.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};

use crate::config::node::ConsoleConfig;
use crate::pedestal;

pub mod input;
pub mod ring;
mod sink;
mod tap;

use sink::Output;
pub use sink::StreamError;
pub use tap::Tap;
use tap::TapEnd;

/// How long the last bytes of a guest that is gone may take to arrive.
const LAST_BYTES: Duration = Duration::from_millis(500);

/// How much input waits for a guest that does not take it, bytes. More stays in the FIFO.
const INPUT_LIMIT: usize = 64 * 1024;

/// The streams of a container, as the engine names them.
#[derive(Clone, Debug, Default)]
pub struct Stdio {
    /// A FIFO, or empty.
    pub stdin: String,
    /// A FIFO, a `file://` URI, or empty.
    pub stdout: String,
    /// As `stdout`. A guest has one console, so nothing is ever written to it.
    pub stderr: String,
    /// Whether the engine's user sits at a terminal.
    pub terminal: bool,
}

/// The handle on the task that moves the bytes.
pub struct Hub {
    control: mpsc::UnboundedSender<Control>,
    task: JoinHandle<()>,
}

enum Control {
    Attach(pedestal::Console),
    Tap(TapEnd),
    CloseStdin,
    Drain(oneshot::Sender<()>),
}

impl Hub {
    /// Opens the streams and begins to move bytes, once there is a console. Each Ctrl-C on a terminal goes to `interrupts`.
    ///
    /// # Errors
    ///
    /// [`StreamError`] where a stream cannot be opened.
    pub fn open(
        stdio: &Stdio,
        console: Option<pedestal::Console>,
        interrupts: mpsc::UnboundedSender<()>,
        config: &ConsoleConfig,
    ) -> Result<Hub, StreamError> {
        let (control, commands) = mpsc::unbounded_channel();
        let worker = Worker {
            guest: console.map(split),
            stdin: sink::open_stdin(&stdio.stdin)?,
            stdout: Output::open("stdout", &stdio.stdout, config.buffer)?,
            _stderr: Output::open("stderr", &stdio.stderr, config.buffer)?,
            pending: Vec::new(),
            closing: false,
            interprets: stdio.terminal && config.ctrl_c,
            tap: None,
            interrupts,
        };
        Ok(Hub { control, task: tokio::spawn(worker.run(commands)) })
    }

    /// Uses a console that replaces a lost one.
    pub fn attach(&self, console: pedestal::Console) {
        self.send(Control::Attach(console));
    }

    /// Gives the console to a command, until the tap is dropped. A tap before this one is at its end.
    pub fn tap(&self) -> Tap {
        let (tap, end) = Tap::new();
        self.send(Control::Tap(end));
        tap
    }

    /// Takes no more input than what is in the FIFO already.
    pub fn close_stdin(&self) {
        self.send(Control::CloseStdin);
    }

    /// Waits until the last bytes of a guest that is gone are in the buffers, 500 ms at most. Afterwards
    /// they flow on to a live reader, and the streams close.
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

struct Worker {
    guest: Option<(ReadHalf<pedestal::Console>, WriteHalf<pedestal::Console>)>,
    stdin: Option<pipe::Receiver>,
    stdout: Output,
    /// Held open so that a client that opens it for reading gets on, and sees its end with ours.
    _stderr: Output,
    /// Input that the guest has not taken yet.
    pending: Vec<u8>,
    /// No input comes after what is in the FIFO.
    closing: bool,
    /// Keys have a meaning: this is a terminal, and the node has not said otherwise.
    interprets: bool,
    /// While a command has the console, nothing else is typed.
    tap: Option<TapEnd>,
    interrupts: mpsc::UnboundedSender<()>,
}

impl Worker {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Control>) {
        let mut buffer = vec![0; 8 * 1024];
        loop {
            let takes_input = self.tap.is_none() && self.pending.len() < INPUT_LIMIT;
            let has_rest = takes_input && self.closing && self.stdin.is_some();
            let (reader, writer) = match &mut self.guest {
                Some((reader, writer)) => (Some(reader), Some(writer)),
                None => (None, None),
            };
            // Not biased: a guest that floods must not keep a Ctrl-C waiting.
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Control::Attach(console)) => self.guest = Some(split(console)),
                    Some(Control::Tap(end)) => self.tap = Some(end),
                    Some(Control::CloseStdin) => self.closing = true,
                    Some(Control::Drain(done)) => return self.finish(&mut buffer, done).await,
                    None => return,
                },
                read = from_guest(reader, &mut buffer) => match read {
                    Some(length) => {
                        self.stdout.push(&buffer[..length]);
                        if let Some(tap) = &self.tap {
                            tap.output(&buffer[..length]);
                        }
                    }
                    None => self.guest = None,
                },
                typed = tap::typed(self.tap.as_mut()) => match typed {
                    Some(bytes) => self.pending.extend(bytes),
                    None => self.tap = None,
                },
                written = to_guest(writer, &self.pending) => match written {
                    Some(count) => drop(self.pending.drain(..count)),
                    None => self.guest = None,
                },
                () = self.stdout.wait_writable() => self.stdout.flush(),
                // The rest of input that was closed: nothing to wait for.
                () = std::future::ready(()), if has_rest => self.read_stdin(),
                () = readable(self.stdin.as_ref()), if takes_input => self.read_stdin(),
            }
        }
    }

    /// Takes what is in the FIFO. Input that was closed ends when the FIFO is empty.
    fn read_stdin(&mut self) {
        let mut buffer = [0; 4096];
        match self.stdin.as_ref().map(|pipe| pipe.try_read(&mut buffer)) {
            Some(Ok(length @ 1..)) => {
                let input = input::interpret(&buffer[..length], self.interprets);
                self.pending.extend_from_slice(input.forward);
                if input.interrupt {
                    // The container that would act on it is gone when nobody listens.
                    let _ = self.interrupts.send(());
                }
            }
            Some(Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock && !self.closing => {}
            // Empty; or an error, since no end of file comes from a FIFO that is open for writing here.
            _ => self.stdin = None,
        }
    }

    async fn finish(mut self, buffer: &mut [u8], drained: oneshot::Sender<()>) {
        self.stdin = None;
        let deadline = tokio::time::Instant::now() + LAST_BYTES;
        if let Some((mut reader, _)) = self.guest.take() {
            while let Ok(Some(length)) = timeout_at(deadline, from_guest(Some(&mut reader), buffer)).await {
                self.stdout.push(&buffer[..length]);
            }
        }
        // The container that waits for this may be gone.
        let _ = drained.send(());
        self.stdout.finish().await;
    }
}

/// Reads from the guest; `None` when its console is at its end. Waits for ever without a console.
async fn from_guest(reader: Option<&mut ReadHalf<pedestal::Console>>, buffer: &mut [u8]) -> Option<usize> {
    match reader {
        Some(reader) => reader.read(buffer).await.ok().filter(|length| *length > 0),
        None => std::future::pending().await,
    }
}

/// Writes to the guest; `None` when its console is at its end. Waits for ever without a console or bytes.
async fn to_guest(writer: Option<&mut WriteHalf<pedestal::Console>>, bytes: &[u8]) -> Option<usize> {
    match writer {
        Some(writer) if !bytes.is_empty() => writer.write(bytes).await.ok().filter(|count| *count > 0),
        _ => std::future::pending().await,
    }
}

async fn readable(pipe: Option<&pipe::Receiver>) {
    match pipe {
        // An error shows in the read that follows.
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    }
}
