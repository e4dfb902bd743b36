//! The kernel's own way to xenstored, for nodes where that is a domain of its own and has no socket.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

const PATH: &str = "/dev/xen/xenbus";

/// The device. It tells when it can be read, and takes every write at once: it never tells that it can be
/// written, so nobody must wait for that (Linux, drivers/xen/xenbus/xenbus_dev_frontend.c).
pub struct Xenbus {
    // Not a pipe, but what this type does is right for every descriptor that the kernel can poll.
    input: pipe::Receiver,
    output: OwnedFd,
}

impl Xenbus {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; `NotFound` where this is no domain of Xen.
    pub fn open() -> io::Result<Xenbus> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let output = rustix::fs::open(PATH, flags, Mode::empty())?;
        Ok(Xenbus { input: pipe::Receiver::from_owned_fd_unchecked(output.try_clone()?)?, output })
    }
}

impl AsyncRead for Xenbus {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Xenbus {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(rustix::io::write(&self.output, bytes).map_err(io::Error::from))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
