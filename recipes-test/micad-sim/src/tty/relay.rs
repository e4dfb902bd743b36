//! Bytes between a guest's serial line and its pty.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::PtyMaster;
use nix::sys::eventfd::EventFd;
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::{read, write};

use super::FirstWords;

/// What one rpmsg message carries to the daemon, bytes (OpenAMP: a buffer of 512 without its header).
const FROM_GUEST: usize = 496;
/// What the daemon reads from the pty at once, bytes.
const TO_GUEST: usize = 256;
/// How often the pty is looked at before the first words.
const LOOK: Duration = Duration::from_millis(10);

/// Whether the tty ends within this time.
pub fn stopped_within(stop: &EventFd, time: Duration) -> io::Result<bool> {
    let mut ready = [PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    Ok(retried(|| poll(&mut ready, time))? > 0)
}

/// Waits for the tty's end.
pub fn stopped(stop: &EventFd) -> io::Result<()> {
    let mut ready = [PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    retried(|| poll(&mut ready, PollTimeout::NONE)).map(drop)
}

/// Waits until the guest may speak; false if the tty ends before.
pub fn first_words(
    master: &PtyMaster,
    slave: &OwnedFd,
    when: FirstWords,
    stop: &EventFd,
) -> io::Result<bool> {
    loop {
        let mut ready =
            [PollFd::new(stop.as_fd(), PollFlags::POLLIN), PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        let time = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::MAX);
        retried(|| poll(&mut ready, time))?;
        let [stopped, spoken_to] = ready.map(|fd| fd.any().unwrap_or(false));
        let raw = || tcgetattr(slave).map(|tty| !tty.local_flags.contains(LocalFlags::ICANON));
        if stopped {
            return Ok(false);
        }
        if spoken_to || (when == FirstWords::OnceRaw && raw()?) {
            return Ok(true);
        }
    }
}

/// Relays until the tty's end or the guest's.
pub fn run(master: &PtyMaster, line: &OwnedFd, stop: &EventFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(line, FcntlArg::F_GETFL)?);
    fcntl(line, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    let mut to_host = Flow::new(line.as_fd(), master.as_fd(), FROM_GUEST, with_carriage_returns);
    let mut to_guest = Flow::new(master.as_fd(), line.as_fd(), TO_GUEST, <[u8]>::to_vec);
    loop {
        let mut ready =
            [PollFd::new(stop.as_fd(), PollFlags::POLLIN), to_host.waits_for(), to_guest.waits_for()];
        retried(|| poll(&mut ready, PollTimeout::NONE))?;
        let [stopped, host, guest] = ready.map(|fd| fd.any().unwrap_or(false));
        if stopped || (host && !to_host.step()?) || (guest && !to_guest.step()?) {
            return Ok(());
        }
    }
}

/// When using a tty, LF becomes CR LF.
fn with_carriage_returns(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| if *byte == b'\n' { &b"\r\n"[..] } else { std::slice::from_ref(byte) })
        .copied()
        .collect()
}

/// One direction: what was read is written before more is read.
struct Flow<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    piece: usize,
    change: fn(&[u8]) -> Vec<u8>,
    pending: Vec<u8>,
}

impl<'a> Flow<'a> {
    fn new(from: BorrowedFd<'a>, to: BorrowedFd<'a>, piece: usize, change: fn(&[u8]) -> Vec<u8>) -> Flow<'a> {
        Flow { from, to, piece, change, pending: Vec::new() }
    }

    fn waits_for(&self) -> PollFd<'a> {
        match self.pending.is_empty() {
            true => PollFd::new(self.from, PollFlags::POLLIN),
            false => PollFd::new(self.to, PollFlags::POLLOUT),
        }
    }

    /// Moves what can be moved; false at the end of either side.
    fn step(&mut self) -> io::Result<bool> {
        if self.pending.is_empty() {
            let mut piece = vec![0; self.piece];
            match read(self.from, &mut piece) {
                Ok(0) => return Ok(false),
                Ok(length) => self.pending = (self.change)(&piece[..length]),
                Err(errno) => return unless_later(errno),
            }
        }
        match write(self.to, &self.pending) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(errno) => return unless_later(errno),
        }
        Ok(true)
    }
}

/// Goes on where a call has to be made later, ends where the other side is gone.
fn unless_later(errno: Errno) -> io::Result<bool> {
    match errno {
        Errno::EAGAIN | Errno::EINTR => Ok(true),
        // A pty whose other side is closed, a process that ended.
        Errno::EIO | Errno::EPIPE | Errno::ECONNRESET => Ok(false),
        other => Err(other.into()),
    }
}

fn retried<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_feed_gets_a_carriage_return() {
        assert_eq!(with_carriage_returns(b"a\nb\r\n\n"), b"a\r\nb\r\r\n\r\n");
    }
}
