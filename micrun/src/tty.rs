//! A terminal device as a stream of bytes: the console of a guest that a daemon owns.
//!
//! The daemon holds the controlling side. It is never waited for, and the line discipline changes nothing:
//! left as the kernel makes it, it would echo the guest's output back as input.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

/// A terminal that is read and written without blocking.
pub struct Device {
    // Not pipes, but what these types do is right for every descriptor that the kernel can poll.
    input: pipe::Receiver,
    output: pipe::Sender,
}

impl Device {
    /// Opens a terminal and makes it raw. It does not become the shim's controlling terminal.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, or a file that is no terminal.
    pub fn open_terminal(path: &Path) -> io::Result<Device> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let mut settings = tcgetattr(&fd)?;
        settings.make_raw();
        tcsetattr(&fd, OptionalActions::Now, &settings)?;
        let input = pipe::Receiver::from_owned_fd_unchecked(fd.try_clone()?)?;
        Ok(Device { input, output: pipe::Sender::from_owned_fd_unchecked(fd)? })
    }
}

impl AsyncRead for Device {
    /// A terminal whose other side was closed answers EIO; that is its end and no error.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.input).poll_read(cx, buffer) {
            Poll::Ready(Err(error)) if is_hangup(&error) => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl AsyncWrite for Device {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.output).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn is_hangup(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

#[cfg(test)]
mod tests {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_unchanged_and_the_end_is_an_end() {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let mut device = Device::open_terminal(Path::new(path.to_str().unwrap())).unwrap();

        rustix::io::write(&master, b"\x03a\r\n\x04").unwrap();
        let mut bytes = [0; 5];
        device.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"\x03a\r\n\x04");

        device.write_all(b"b\n").await.unwrap();
        let mut back = [0; 16];
        let length = rustix::io::read(&master, &mut back).unwrap();
        assert_eq!(&back[..length], b"b\n", "nothing is echoed, no line end is changed");

        drop(master);
        assert_eq!(device.read(&mut back).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_file_that_is_no_terminal_is_refused() {
        assert!(Device::open_terminal(Path::new("/dev/null")).is_err());
    }
}
