//! The moment when the memory of a cgroup is used up. Costs nothing until then.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use super::{CgroupError, dir, metrics};
use crate::sys;

/// Waits for it.
pub struct Watch {
    told: AsyncFd<OwnedFd>,
    /// Version 2: its file tells of other things as well, and of how many there were.
    events: Option<PathBuf>,
    seen: u64,
}

impl Watch {
    /// Watches the cgroup of the memory controller at `dir`.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn new(dir: &Path, unified: bool) -> Result<Watch, CgroupError> {
        let (fd, file) = if unified { modified(dir) } else { notified(dir) };
        let doing = |source| CgroupError::io("watching", &file)(source);
        let told = fd.and_then(sys::watch).map_err(doing)?;
        Ok(Watch { told, events: unified.then_some(file), seen: 0 })
    }

    /// Returns when memory was used up, and the kernel ended, or is about to end, a process of the cgroup.
    pub async fn hit(&mut self) {
        loop {
            let Ok(mut ready) = self.told.readable().await else { return std::future::pending().await };
            let mut buffer = [0; 4096];
            // What it says is not needed: in both kinds a read makes it wait for the next.
            let _ = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer)?));
            let Some(file) = &self.events else { return };
            let kills = metrics::flat(file).get("oom_kill").copied().unwrap_or_default();
            if kills > std::mem::replace(&mut self.seen, kills) {
                return;
            }
        }
    }
}

/// Version 2: the kernel says that it has modified the file (admin-guide/cgroup-v2, memory.events).
fn modified(dir: &Path) -> (io::Result<OwnedFd>, PathBuf) {
    let file = dir.join("memory.events");
    let watch = || {
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let path = CString::new(file.as_os_str().as_bytes())?;
        inotify::add_watch(&fd, path, WatchFlags::MODIFY)?;
        Ok(fd)
    };
    (watch(), file)
}

/// Version 1: the kernel counts up an eventfd that was registered for it (admin-guide/cgroup-v1/memory.rst, chapter 10).
fn notified(at: &Path) -> (io::Result<OwnedFd>, PathBuf) {
    let file = at.join("memory.oom_control");
    let register = || {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let control = File::open(&file)?;
        let line = format!("{} {}", fd.as_raw_fd(), control.as_raw_fd());
        dir::put(&at.join("cgroup.event_control"), &line)?;
        Ok(fd)
    };
    (register(), file)
}
