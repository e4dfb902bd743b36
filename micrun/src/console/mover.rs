//! The task that moves the bytes of one container.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::input::{Input, Next};
use super::output::TerminalOutput;
use super::pace::{Pace, Turn};
use super::streams::Streams;
use super::tap::TapEnd;
use super::{Setup, tap};
use crate::pedestal;

/// How long the last bytes of a guest that is gone may take to arrive.
const LAST_BYTES: Duration = Duration::from_millis(500);

/// How long a log may take to have them afterwards. With the above, less than the second within which an exit is told.
const LAST_WRITES: Duration = Duration::from_millis(400);

/// How much is read from a guest at once: what a pipe holds (pipe(7)). Costs the pages that were ever used.
const READ: usize = 64 * 1024;

/// How much is read from stdin at once.
const READ_STDIN: usize = 16 * 1024;

/// What the task is told.
pub(super) enum Control {
    Attach(pedestal::Console),
    Tap(TapEnd),
    /// Whether there is a guest's console.
    IsConnected(oneshot::Sender<bool>),
    CloseStdin,
    Drain(oneshot::Sender<()>),
}

type Guest = (ReadHalf<pedestal::Console>, WriteHalf<pedestal::Console>);

pub(super) struct Mover {
    guest: Option<Guest>,
    streams: Streams,
    input: Input,
    /// Input that the guest has not taken yet.
    pending: VecDeque<u8>,
    pace: Pace,
    /// What a terminal does not get; none where this is not one.
    rules: Option<TerminalOutput>,
    /// While a command has the console, nothing else is typed.
    tap: Option<TapEnd>,
    interrupts: mpsc::UnboundedSender<()>,
}

impl Mover {
    pub fn new(
        streams: Streams,
        console: Option<pedestal::Console>,
        terminal: bool,
        setup: &Setup,
        interrupts: mpsc::UnboundedSender<()>,
    ) -> Mover {
        Mover {
            guest: console.map(split),
            streams,
            input: Input::new(terminal && setup.ctrl_c),
            pending: VecDeque::new(),
            pace: Pace::new(setup.pacing),
            rules: terminal.then(TerminalOutput::default),
            tap: None,
            interrupts,
        }
    }

    /// Moves bytes until the guest is gone and its last output taken, or nobody has the [`super::Hub`] any more.
    pub async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Control>) {
        let mut buffer = vec![0; READ];
        loop {
            let next = self.input.next(self.pending.len(), self.tap.is_some());
            if next == Next::Close {
                self.streams.stdin = None;
            }
            let turn = self.pace.turn(self.pending.as_slices().0.len(), Instant::now());
            let (reader, writer) = match &mut self.guest {
                Some((reader, writer)) => (Some(reader), Some(writer)),
                None => (None, None),
            };
            // Not biased: a guest that floods must not keep a Ctrl-C waiting.
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Control::Attach(console)) => self.guest = Some(split(console)),
                    Some(Control::Tap(end)) => self.tap = Some(end),
                    // Whoever asked may have gone.
                    Some(Control::IsConnected(reply)) => drop(reply.send(self.guest.is_some())),
                    Some(Control::CloseStdin) => self.input.close(),
                    Some(Control::Drain(done)) => return self.finish(&mut buffer, done).await,
                    None => return,
                },
                read = from_guest(reader, &mut buffer) => match read {
                    Some(length) => self.output(&buffer[..length]),
                    None => self.guest = None,
                },
                typed = tap::typed(self.tap.as_mut()) => match typed {
                    Some(bytes) => self.pending.extend(bytes),
                    None => self.tap = None,
                },
                written = to_guest(writer, &self.pending, turn) => match written {
                    Some(count) => self.was_taken(count),
                    None => self.guest = None,
                },
                () = self.streams.stdout.wait_writable() => self.streams.stdout.flush(),
                () = readable(self.streams.stdin.as_ref(), next) => self.read_stdin(),
            }
        }
    }

    /// Hands on what the guest wrote: to the streams by their rules, to a command as it is.
    fn output(&mut self, bytes: &[u8]) {
        let shown = match &mut self.rules {
            Some(rules) => rules.apply(bytes),
            None => Cow::Borrowed(bytes),
        };
        self.streams.stdout.push(&shown);
        if let Some(tap) = &self.tap {
            tap.output(bytes);
        }
    }

    /// The guest took so many bytes of what waits.
    fn was_taken(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.pending.drain(..count);
        self.pace.sent(count, Instant::now());
        if self.pending.is_empty() {
            // An idle container keeps no buffer.
            self.pending = VecDeque::new();
        }
    }

    /// Takes what is in the FIFO.
    fn read_stdin(&mut self) {
        let Some(stdin) = &self.streams.stdin else { return };
        let mut buffer = [0; READ_STDIN];
        match stdin.try_read(&mut buffer) {
            Ok(length @ 1..) => {
                let typed = self.input.typed(&buffer[..length]);
                self.pending.extend(&*typed.forward);
                if typed.interrupt {
                    // The container that would act on it is gone when nobody listens.
                    let _ = self.interrupts.send(());
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => self.input.found_empty(),
            // No end of file comes from a FIFO that is open for writing here.
            _ => self.input.end(),
        }
    }

    /// The guest is gone: takes its last bytes, and writes them to whoever reads.
    async fn finish(mut self, buffer: &mut [u8], drained: oneshot::Sender<()>) {
        self.streams.stdin = None;
        let deadline = Instant::now() + LAST_BYTES;
        if let Some((mut reader, _)) = self.guest.take() {
            while let Ok(Some(length)) = timeout_at(deadline, from_guest(Some(&mut reader), buffer)).await {
                self.output(&buffer[..length]);
            }
        }
        if let Some(rules) = &mut self.rules {
            self.streams.stdout.push(rules.end());
        }
        if timeout(LAST_WRITES, self.streams.stdout.flushed()).await.is_err() {
            tracing::debug!("the log does not have the last output yet");
        }
        // A command has everything, too.
        self.tap = None;
        // The container that waits for this may be gone.
        let _ = drained.send(());
        self.streams.finish().await;
    }
}

/// Reads from the guest; `None` when its console is at its end. Waits for ever without a console.
async fn from_guest(reader: Option<&mut ReadHalf<pedestal::Console>>, buffer: &mut [u8]) -> Option<usize> {
    match reader {
        Some(reader) => reader.read(buffer).await.ok().filter(|length| *length > 0),
        None => std::future::pending().await,
    }
}

/// Writes to the guest what may go out; `None` when its console is at its end. Waits for ever without a console or bytes.
async fn to_guest(
    writer: Option<&mut WriteHalf<pedestal::Console>>,
    pending: &VecDeque<u8>,
    turn: Turn,
) -> Option<usize> {
    match (writer, turn) {
        (None, _) | (_, Turn::Send(0)) => std::future::pending().await,
        (Some(writer), Turn::Send(count)) => {
            let bytes = &pending.as_slices().0[..count];
            writer.write(bytes).await.ok().filter(|count| *count > 0)
        }
        (Some(_), Turn::Wait(until)) => {
            sleep_until(until).await;
            Some(0)
        }
    }
}

/// Waits until stdin is to be read.
async fn readable(stdin: Option<&pipe::Receiver>, next: Next) {
    match (stdin, next) {
        // An error shows in the read that follows.
        (Some(stdin), Next::Await) => drop(stdin.readable().await),
        (Some(_), Next::TakeRest) => {}
        _ => std::future::pending().await,
    }
}
