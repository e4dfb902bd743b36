//! The two ways to the kernel: the device that makes taps, and a netlink socket. Both belong to the network namespace
//! of the thread that opens them.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::wire::{self, Answer, Link};
use crate::sys;

/// The device that makes taps.
pub const TUN: &str = "/dev/net/tun";

/// Room for the longest answer: an interface with all its statistics takes two kilobytes.
const LONGEST: usize = 32 * 1024;

/// Makes a tap of this name. It is gone when the last descriptor is closed, whoever holds that.
///
/// # Errors
///
/// The kernel's refusal: `EBUSY` where somebody has such a tap, `EINVAL` for another device of the name.
pub fn make_tap(name: &str) -> io::Result<OwnedFd> {
    let tap = rustix::fs::open(TUN, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    sys::become_tap(&tap, name)?;
    Ok(tap)
}

/// A connection to the kernel's routing code.
pub struct Netlink(OwnedFd);

impl Netlink {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn open() -> io::Result<Netlink> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        // Protocol 0 is NETLINK_ROUTE.
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Netlink(socket))
    }

    /// The interface of this name; `None` where there is none.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn link(&self, name: &str) -> io::Result<Option<Link>> {
        match self.exchange(&wire::get_link(name)) {
            Ok(Answer::Link(link)) => Ok(Some(link)),
            Ok(Answer::Done(_)) => Ok(None),
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has something done.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn ask(&self, request: &[u8]) -> io::Result<()> {
        self.exchange(request).map(drop)
    }

    fn exchange(&self, request: &[u8]) -> io::Result<Answer> {
        rustix::net::send(&self.0, request, SendFlags::empty())?;
        let mut room = vec![0; LONGEST];
        let (length, _) = rustix::net::recv(&self.0, room.as_mut_slice(), RecvFlags::empty())?;
        match wire::parse(room.get(..length).unwrap_or_default()) {
            Some(Answer::Done(Err(errno))) => Err(io::Error::from_raw_os_error(errno)),
            Some(answer) => Ok(answer),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "netlink answered something else")),
        }
    }
}
