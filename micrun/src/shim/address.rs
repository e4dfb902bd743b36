//! Where a shim serves: `unix://` addresses and the file in which containerd finds one.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::ActionError;

/// containerd looks for the shim of a bundle in this file when it restarts.
pub fn write_address(bundle: &Path, address: &str) -> Result<(), ActionError> {
    let (file, new) = (bundle.join("address"), bundle.join(".address.new"));
    fs::write(&new, address)
        .and_then(|()| fs::rename(&new, &file))
        .map_err(ActionError::when(format!("writing {}", file.display())))
}

/// The path of a `unix://` address.
pub fn path_of(address: &str) -> PathBuf {
    PathBuf::from(address.strip_prefix("unix://").unwrap_or(address))
}

/// Keeps other `start` and `delete` actions away from the sockets while the result lives: between finding
/// a socket dead, removing it and making a new one, nobody else may do the same.
pub fn lock_sockets(socket: &Path) -> io::Result<OwnedFd> {
    let dir = socket.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let dir = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::flock(&dir, FlockOperation::LockExclusive)?;
    Ok(dir)
}
