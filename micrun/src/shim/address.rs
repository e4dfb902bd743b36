//! Where a shim serves: `unix://` addresses and the file in which containerd finds one.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::ActionError;

/// containerd looks for the shim of a bundle in this file when it restarts.
pub fn write_address(bundle: &Path, address: &str) -> Result<(), ActionError> {
    let (file, new) = (bundle.join("address"), bundle.join(".address.new"));
    fs::write(&new, address).and_then(|()| fs::rename(&new, &file)).map_err(|error| {
        // What a full disk left of it.
        let _ = fs::remove_file(&new);
        ActionError::io(format!("writing {}", file.display()))(error)
    })
}

/// The path of a `unix://` address.
pub fn path_of(address: &str) -> PathBuf {
    PathBuf::from(address.strip_prefix("unix://").unwrap_or(address))
}

/// How long another `start` or `delete` may hold the lock. They need it for milliseconds, unless they are stopped in the
/// middle, and containerd gives `delete` 5 s in all.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the lock is tried.
const INTERVAL: Duration = Duration::from_millis(5);

/// Keeps other `start` and `delete` actions away from the sockets while the result lives: between finding
/// a socket dead, removing it and making a new one, nobody else may do the same.
pub fn lock_sockets(socket: &Path) -> io::Result<OwnedFd> {
    let path = socket.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let dir = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(dir),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(INTERVAL),
            Err(Errno::WOULDBLOCK) => {
                let (path, seconds) = (path.display(), PATIENCE.as_secs());
                let text =
                    format!("{path} has been locked by another process for {seconds} s; fuser names it");
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// How long a process that is dying may go on to take connections: until the kernel has closed the last of its files.
const DYING: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Connects, where somebody serves. Never waits for one that serves and is busy or stopped.
pub fn connect(socket: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let connection = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&connection, &SocketAddrUnix::new(socket)?) {
        // Its queue is full: somebody is there.
        Ok(()) | Err(Errno::AGAIN) => Ok(connection),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether nobody serves there any more, or somebody is about to end.
pub fn is_dead(socket: &Path) -> bool {
    let Ok(connection) = connect(socket) else { return true };
    // A shim says nothing unasked, so what comes is the end of the connection.
    let mut end = [PollFd::new(&connection, PollFlags::IN)];
    poll(&mut end, Some(&DYING)).is_ok_and(|count| count > 0)
}
