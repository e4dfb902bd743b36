//! System calls whose Rust wrappers are unsafe, behind functions that are not. With the hook in
//! `pedestal/qemu/jail.rs` that runs between fork and exec, this is all the unsafe code there is.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
use rustix::thread::UnshareFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Gives the calling thread namespaces of its own. Makes one system call and does not allocate.
///
/// # Errors
///
/// The kernel's refusal. The descriptor table is never unshared, whatever the flags say.
pub fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: unshare(2) is harmless to other threads as long as the descriptor table stays shared.
    unsafe { rustix::thread::unshare_unsafe(flags.difference(UnshareFlags::FILES)) }
}

/// Makes a tap of an open `/dev/net/tun`: whole Ethernet frames, nothing in front of them, nobody waits for it after
/// the last descriptor is closed (Linux, Documentation/networking/tuntap.rst).
///
/// # Errors
///
/// The kernel's refusal, or a name that is too long for an interface.
pub fn become_tap(tun: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    /// `struct ifreq` of `linux/if.h`, as `TUNSETIFF` reads it: the largest of its variants has 24 bytes.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    const IFF_TAP: u16 = 2;
    const IFF_NO_PI: u16 = 0x1000;
    const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
    let mut request = Request { name: [0; 16], flags: IFF_TAP | IFF_NO_PI, rest: [0; 22] };
    // The last byte stays 0.
    let place = request.name.get_mut(..name.len()).filter(|place| place.len() < 16);
    place.ok_or(rustix::io::Errno::INVAL)?.copy_from_slice(name.as_bytes());
    // SAFETY: TUNSETIFF takes a pointer to a struct ifreq, which lives until the call returns; the kernel checks whether
    // the descriptor is the device.
    unsafe { ioctl(tun, Setter::<TUNSETIFF, Request>::new(request)) }
}

/// Waits for a descriptor to become readable.
///
/// # Errors
///
/// Where the runtime cannot watch it.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd names the same open descriptor for as long as it lives.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}

/// Makes sure that no descriptor but the standard three passes to another program.
///
/// # Errors
///
/// Where /proc cannot be read or the kernel refuses.
pub fn close_on_exec_from_3() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|text| text.parse().ok()).filter(|number| *number > 2)
        else {
            continue;
        };
        // SAFETY: the number was listed a moment ago, and this process has one thread, so nobody has
        // closed it since. Borrowed for this call alone.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    }
    Ok(())
}
