//! What guests run on. It is no part of the daemon: it outlives a restart, guests included.

mod qemu;
mod xen;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

pub use qemu::QemuBoard;
pub use xen::XenBoard;

use crate::pedestal::{Pedestal, Place};

/// What a guest is booted from.
#[derive(Debug, Clone)]
pub struct Boot {
    /// The client's name.
    pub name: String,
    /// The firmware ELF.
    pub firmware: PathBuf,
    /// What xl is given: `/etc/xen/<name>-xen.cfg`.
    pub xen_config: PathBuf,
    /// The boot image of the client, which the domain's kernel is.
    pub boot_image: PathBuf,
    /// MiB; none for what the board has.
    pub memory: Option<u32>,
    /// MiB that a domain may be given later; none for no more than it has.
    pub max_memory: Option<u32>,
}

/// A guest, as tests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// The client that started it, which the daemon may have forgotten.
    pub name: String,
    /// Where it runs.
    pub place: Place,
    /// Its emulator; none for a domain of Xen's and for one that is paused.
    pub pid: Option<u32>,
}

/// Why the hardware or its tools did not do what they were told: a line for the journal.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    /// A failure that says this.
    pub fn new(text: impl Into<String>) -> Failure {
        Failure(text.into())
    }
}

/// What a guest does that nobody asked it to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trick {
    /// It no longer listens.
    Deaf,
    /// It dies.
    Die,
    /// It writes down that its core is off, and turns it off.
    Off,
}

/// The board, as the daemon's drivers use it.
pub trait Board: Send {
    /// Whether the board has what a pedestal needs.
    ///
    /// # Errors
    /// What is missing.
    fn offers(&self, pedestal: Pedestal) -> Result<(), Failure>;

    /// Reserves a domain or cell: `xl create -p`, `jailhouse cell create`. `inherited` are the daemon's sockets, none
    /// of which is closed on exec: the `xl` that watches a domain has them until the domain ends.
    ///
    /// # Errors
    /// If it exists, or cannot be made.
    fn prepare(&mut self, place: &Place, boot: &Boot, inherited: Vec<OwnedFd>) -> Result<(), Failure>;

    /// Whether a guest that runs there answers the daemon's call, so that a new daemon can take it over.
    fn answers(&mut self, place: &Place) -> bool;

    /// Boots: `xl unpause`, CPU_ON.
    ///
    /// # Errors
    /// If something runs there, or nothing was prepared.
    fn run(&mut self, place: &Place, boot: &Boot) -> Result<(), Failure>;

    /// The guest's serial line. Nobody else may read it meanwhile.
    ///
    /// # Errors
    /// If there is no guest.
    fn console(&mut self, place: &Place) -> Result<OwnedFd, Failure>;

    /// Asks the guest to turn itself off, and does not wait.
    fn ask_off(&mut self, place: &Place);

    /// Ends the guest: `xl destroy`, `jailhouse cell shutdown`.
    ///
    /// # Errors
    /// If there is no such domain.
    fn end(&mut self, place: &Place) -> Result<(), Failure>;

    /// Gives a cell back: `jailhouse cell destroy`.
    fn release(&mut self, place: &Place);

    /// Whether the guest wrote 0x84000002 into its resource table.
    fn wrote_off(&mut self, place: &Place) -> bool;

    /// Runs `xl` for a domain that was asked to change.
    ///
    /// # Errors
    /// If xl refuses.
    fn xl(&mut self, arguments: &[&str]) -> Result<(), Failure>;

    /// The guests that there are.
    fn guests(&mut self) -> Vec<Guest>;

    /// Lets a guest misbehave.
    ///
    /// # Errors
    /// If there is no such guest, or this board cannot make it do that.
    fn trick(&mut self, name: &str, trick: Trick) -> Result<(), Failure>;

    /// Ends every guest that was started here.
    fn end_all(&mut self);
}

/// Opens the kernel or firmware, as a check that it is there.
fn check_file(path: &Path) -> Result<(), Failure> {
    std::fs::File::open(path)
        .map(|_| ())
        .map_err(|error| Failure::new(format!("cannot open {}: {error}", path.display())))
}
