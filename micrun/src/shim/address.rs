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
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

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

/// How long a process that is dying may go on to take connections, until the kernel has closed the last of its files; and how
/// long a shim that is busy or stopped is waited for.
const DYING: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A ttrpc request of no service: ten bytes of header (length 0, stream 1, type 1: request, no flags), and nothing else. A server
/// says that there is none.
const QUESTION: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 1, 1, 0];

/// Connects, where somebody serves; none where the queue of connections is full. Never waits for one that serves and is busy or
/// stopped.
fn connect(socket: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let connection = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&connection, &SocketAddrUnix::new(socket)?) {
        Ok(()) => Ok(Some(connection)),
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether somebody takes connections there, who may be about to end.
pub fn is_open(socket: &Path) -> bool {
    connect(socket).is_ok()
}

/// Whether nobody serves there any more, or somebody is about to end.
pub fn is_dead(socket: &Path) -> bool {
    let connection = match connect(socket) {
        Err(_) => return true,
        // More come than it takes: somebody is there.
        Ok(None) => return false,
        Ok(Some(connection)) => connection,
    };
    // A shim that lives answers at once; of one that is ending, the end of the connection comes.
    if rustix::net::send(&connection, &QUESTION, SendFlags::NOSIGNAL).is_err() {
        return true;
    }
    let mut answer = [PollFd::new(&connection, PollFlags::IN)];
    if poll(&mut answer, Some(&DYING)).unwrap_or_default() == 0 {
        return false;
    }
    let mut byte = [0];
    !matches!(rustix::net::recv(&connection, &mut byte, RecvFlags::DONTWAIT), Ok((1, _)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn listener() -> (tempfile::TempDir, PathBuf, UnixListener) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        (dir, path, listener)
    }

    #[test]
    fn a_socket_of_nobody_is_dead() {
        let (_dir, path, listener) = listener();
        drop(listener);
        assert!(is_dead(&path) && !is_open(&path));
        assert!(is_dead(&path.with_extension("other")));
    }

    #[test]
    fn one_that_answers_lives_and_one_that_hangs_up_is_dead() {
        let (_dir, path, listener) = listener();
        let serving = std::thread::spawn(move || {
            let mut asked = [0; QUESTION.len()];
            let (mut client, _) = listener.accept().unwrap();
            client.read_exact(&mut asked).unwrap();
            client.write_all(b"no such service").unwrap();
            drop(listener.accept().unwrap());
            asked
        });
        assert!(!is_dead(&path), "it answers");
        assert!(is_dead(&path), "it hangs up");
        assert_eq!(serving.join().unwrap(), QUESTION);
    }

    #[test]
    fn one_that_is_busy_or_stopped_lives() {
        let (_dir, path, _listener) = listener();
        assert!(!is_dead(&path), "it takes the connection and says nothing");
        let full: Vec<_> = std::iter::from_fn(|| connect(&path).unwrap()).take(10_000).collect();
        assert!(full.len() < 10_000 && connect(&path).unwrap().is_none(), "its queue is full");
        assert!(!is_dead(&path));
    }
}
