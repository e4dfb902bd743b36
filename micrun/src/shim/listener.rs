//! The socket that a shim serves on, for ttrpc: one that outlasts a shortage, and knows how many connections there are.
//! ttrpc asks for the next connection at once when one could not be taken, which would keep a processor busy until there are
//! descriptors again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

/// The time between two attempts to take a connection.
const REST: Duration = Duration::from_millis(100);

/// The connections to a socket.
pub struct Connections {
    listener: UnixListener,
    /// Until then nothing is tried.
    rest: Option<Pin<Box<Sleep>>>,
    /// How many there are.
    count: watch::Sender<usize>,
}

/// One of them.
pub struct Connection {
    stream: UnixStream,
    count: watch::Sender<usize>,
}

impl Connections {
    /// Those to this one.
    ///
    /// # Errors
    ///
    /// Where the runtime cannot watch it.
    pub fn of(listener: std::os::unix::net::UnixListener) -> io::Result<Connections> {
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        Ok(Connections { listener, rest: None, count: watch::Sender::new(0) })
    }

    /// How many there are, now and later.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }
}

impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(rest) = &mut self.rest {
                ready!(rest.as_mut().poll(context));
                self.rest = None;
            }
            match ready!(self.listener.poll_accept(context)) {
                Ok((stream, _)) => {
                    let count = self.count.clone();
                    count.send_modify(|count| *count += 1);
                    return Poll::Ready(Some(Ok(Connection { stream, count })));
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection cannot be taken yet");
                    self.rest = Some(Box::pin(sleep(REST)));
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
