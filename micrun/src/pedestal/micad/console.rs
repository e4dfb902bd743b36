//! The console of a guest: a pty of the daemon's, with a name under `/dev` that `status` tells.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use libmica::{ClientName, Status};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::tty::Device;

/// How ttys begin on builds of the daemon that put the client's name into them.
const NAMED: &str = "ttyRPMSG_";

/// Sent to a guest whose console was opened. A guest learns the address of the daemon's end from the first message that
/// comes from there, and can say nothing before (OpenAMP, `rpmsg_virtio_rx_callback`). Shells ignore a NUL.
const GREETING: &[u8] = b"\0";

/// How long a guest gets to take it.
const GREETING_LIMIT: Duration = Duration::from_millis(100);

/// Opens the first of the guest's ttys and makes it raw: the daemon leaves it with echo. `None` where there is none
/// yet, or where it went away meanwhile.
pub async fn open(status: &Status, name: &ClientName, dev: &Path) -> Option<Device> {
    let tty = find(status, name, dev)?;
    match Device::open_terminal(&tty) {
        Ok(mut device) => {
            // A guest that takes nothing is as good as one that has nothing to say.
            let _ = timeout(GREETING_LIMIT, device.write_all(GREETING)).await;
            Some(device)
        }
        Err(error) => {
            tracing::debug!(guest = %name, tty = %tty.display(), %error, "opening the console");
            None
        }
    }
}

/// Guests choose the names of their services, and micad prints these beside the ttys. So a name that is built from
/// another client's does not count.
fn find(status: &Status, name: &ClientName, dev: &Path) -> Option<PathBuf> {
    let suffix: String = name.as_str().chars().map(|c| if c == '.' { '_' } else { c }).collect();
    let ours = format!("{NAMED}{suffix}_");
    let is_ours = |tty: &&Path| {
        let file = tty.file_name().map(|file| file.to_string_lossy()).unwrap_or_default();
        !file.starts_with(NAMED) || file.starts_with(&ours)
    };
    status.ttys(dev).find(is_ours).map(Path::to_owned)
}

/// A console that tells when it ends: whoever reads it is not who opens the next one.
pub struct Told {
    device: Device,
    lost: Arc<Notify>,
}

impl Told {
    /// Tells `lost` once.
    pub fn new(device: Device, lost: Arc<Notify>) -> Told {
        Told { device, lost }
    }
}

impl AsyncRead for Told {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.device).poll_read(cx, buffer));
        if result.is_err() || (buffer.filled().len() == before && buffer.remaining() > 0) {
            self.lost.notify_one();
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Told {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.device).poll_write(cx, bytes));
        if result.is_err() {
            self.lost.notify_one();
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.device).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.device).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(services: &str) -> Option<String> {
        let line = format!("{:<30}{:<20}{:<20}{services}", "a.b-0123456789abcdef", "", "Running");
        let name = ClientName::new("a.b-0123456789abcdef").unwrap();
        let tty = find(&Status::parse(&line).unwrap(), &name, Path::new("/dev"));
        tty.map(|tty| tty.display().to_string())
    }

    #[test]
    fn the_first_tty_that_can_be_the_guests_is_its_console() {
        assert_eq!(found("rpmsg-umt "), None);
        assert_eq!(found("rpmsg-tty(/dev/ttyRPMSG3) rpmsg-tty1(/dev/ttyRPMSG4) ").unwrap(), "/dev/ttyRPMSG3");
        let named = "rpmsg-tty(/dev/ttyRPMSG_a_b-0123456789abcdef_0) ";
        assert_eq!(found(named).unwrap(), "/dev/ttyRPMSG_a_b-0123456789abcdef_0");
        let lie = format!("rpmsg-tty(/dev/ttyRPMSG_other_0) {named}");
        assert_eq!(found(&lie).unwrap(), "/dev/ttyRPMSG_a_b-0123456789abcdef_0");
    }
}
