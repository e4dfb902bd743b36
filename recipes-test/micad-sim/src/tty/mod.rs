//! rpmsg ttys: a pty per guest, its link in `/dev`, and the relay between it and the guest.
//!
//! As in the original the pty is left cooked, with echo, and LF becomes CR LF; the relay stops where nobody reads.
//! The link appears some time after the start, when the guest announces its endpoint, whatever the daemon does at
//! that time; it vanishes when the client stops, and dangles when the daemon dies.

mod names;
mod relay;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use names::{Naming, Ttys};
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::eventfd::EventFd;

use crate::journal::Journal;

/// When a guest says its first words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstWords {
    /// When it was spoken to. The original's guests learn the address of the daemon's end from the first message
    /// that comes from there; until then they cannot send, and what they have to say is kept back or lost.
    WhenSpokenTo,
    /// As soon as somebody made the pty raw, or when spoken to. Milder than the original, for guests that talk at
    /// once: on a cooked pty their words would be echoed to them, and one with a shell would answer itself for ever.
    OnceRaw,
}

/// A guest's rpmsg tty, from its announcement to its end. Dropping it removes the link.
#[derive(Debug)]
pub struct RpmsgTty {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// The link, once it is there.
    link: Mutex<Option<PathBuf>>,
    stop: EventFd,
    abandoned: AtomicBool,
}

impl Shared {
    fn link(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RpmsgTty {
    /// The guest at the other end of `line` announces its tty after `delay`.
    ///
    /// # Errors
    /// If the machine has no more threads or descriptors.
    pub fn announce(
        ttys: Arc<Ttys>,
        client: &str,
        line: OwnedFd,
        delay: Duration,
        journal: Arc<Journal>,
    ) -> io::Result<RpmsgTty> {
        let (link, stop, abandoned) = (Mutex::default(), EventFd::new()?, AtomicBool::new(false));
        let shared = Arc::new(Shared { link, stop, abandoned });
        let (client, ours) = (client.to_owned(), Arc::clone(&shared));
        let thread = thread::Builder::new().name("rpmsg-tty".to_owned()).spawn(move || {
            if let Err(error) = serve(&ttys, &client, &line, delay, &ours) {
                journal.say(format_args!("the tty of {client}: {error}"));
            }
        })?;
        Ok(RpmsgTty { shared, thread: Some(thread) })
    }

    /// The link, once it is there.
    pub fn link(&self) -> Option<PathBuf> {
        self.shared.link().clone()
    }

    /// Ends without cleaning up, as the ttys of a daemon that died.
    pub fn abandon(self) {
        self.shared.abandoned.store(true, Ordering::SeqCst);
    }
}

impl Drop for RpmsgTty {
    fn drop(&mut self) {
        // Adding 1 to a counter that nobody else adds to.
        let _ = self.shared.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The life of one tty, on its own thread: the original serves it beside the daemon's thread, too.
fn serve(ttys: &Ttys, client: &str, line: &OwnedFd, delay: Duration, shared: &Shared) -> io::Result<()> {
    if relay::stopped_within(&shared.stop, delay)? {
        return Ok(());
    }
    // The eleventh tty of a legacy build simply does not come.
    let Some(name) = ttys.take(client) else { return Err(io::Error::other("no number is left")) };
    let result = open(name.link()).and_then(|(master, slave)| {
        *shared.link() = Some(name.link().to_owned());
        if relay::first_words(&master, &slave, ttys.first_words(), &shared.stop)? {
            relay::run(&master, line, &shared.stop)?;
        }
        // The guest is gone, and its tty stays until the client stops.
        relay::stopped(&shared.stop)
    });
    *shared.link() = None;
    if !shared.abandoned.load(Ordering::SeqCst) {
        // Whoever removed it meanwhile wanted it gone.
        let _ = fs::remove_file(name.link());
    }
    result
}

/// A new pty and its link. The slave end is kept open, so that the master never reports its absence.
fn open(link: &std::path::Path) -> io::Result<(PtyMaster, OwnedFd)> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let pts = ptsname_r(&master)?;
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => symlink(&pts, link)?,
    }
    let slave = nix::fcntl::open(
        pts.as_str(),
        OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )?;
    Ok((master, slave))
}
