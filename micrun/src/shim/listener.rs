//! The socket that a shim serves on, for ttrpc: one that outlasts a shortage. ttrpc asks for the next connection at
//! once when one could not be taken, which would keep a processor busy until there are descriptors again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Sleep, sleep};

/// The time between two attempts to take a connection.
const REST: Duration = Duration::from_millis(100);

/// The connections to a socket.
pub struct Connections {
    listener: UnixListener,
    /// Until then nothing is tried.
    rest: Option<Pin<Box<Sleep>>>,
}

impl Connections {
    /// Those to this one.
    ///
    /// # Errors
    ///
    /// Where the runtime cannot watch it.
    pub fn of(listener: std::os::unix::net::UnixListener) -> io::Result<Connections> {
        listener.set_nonblocking(true)?;
        Ok(Connections { listener: UnixListener::from_std(listener)?, rest: None })
    }
}

impl Stream for Connections {
    type Item = io::Result<UnixStream>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(rest) = &mut self.rest {
                ready!(rest.as_mut().poll(context));
                self.rest = None;
            }
            match ready!(self.listener.poll_accept(context)) {
                Ok((stream, _)) => return Poll::Ready(Some(Ok(stream))),
                Err(error) => {
                    tracing::debug!(%error, "a connection cannot be taken yet");
                    self.rest = Some(Box::pin(sleep(REST)));
                }
            }
        }
    }
}
