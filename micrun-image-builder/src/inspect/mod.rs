//! The facts of a firmware, put together for people and programs. Nothing is judged here: that is [`crate::check`].
//!
//! What the file does not say is None, never a guess; what was concluded says from what.

use std::fmt;
use std::io;

use micrun_image_spec::board::{BoardProfile, Boards};
use micrun_image_spec::firmware::Arch;
use serde::{Serialize, Serializer};

mod core;
mod debug;
pub mod image;
mod memory;
mod pedestals;
mod resources;
mod symbols;

pub use self::core::{Core, FloatAbi};
pub use debug::DebugInfo;
pub use memory::{MappedSegment, MemoryNeed};
pub use pedestals::PedestalFit;
pub use resources::{Resources, SharedPlace};
pub use symbols::{Purpose, Reservation};

use crate::detect;
use crate::elf::Elf;

/// Everything that is known about a firmware.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// Bytes of the file.
    pub file_size: u64,
    /// The core that it was built for.
    #[serde(flatten)]
    pub core: Core,
    /// What runs in it; None if that was not recognised.
    pub rtos: Option<RtosFact>,
    /// Where it begins.
    pub entry: EntryPoint,
    /// The board whose memory the map is compared with.
    pub board: Option<Known<String>>,
    /// What is loaded where.
    pub segments: Vec<MappedSegment>,
    /// The least memory that it can run in, by region.
    pub memory: Vec<MemoryNeed>,
    /// The space that it sets aside, where symbols or sections tell.
    pub reservations: Vec<Reservation>,
    /// Its resource table.
    pub resource_table: Option<Resources>,
    /// What it brings for a debugger.
    pub debug: DebugInfo,
    /// What can run it, as far as the file tells.
    pub pedestals: Vec<PedestalFit>,
}

/// The operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RtosFact {
    /// Its name.
    pub name: String,
    /// Its version; None unless the file says it.
    pub version: Option<String>,
    /// What gave it away.
    pub because: String,
}

/// Where a firmware begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryPoint {
    /// The address of the first instruction.
    pub address: Address,
    /// True where it is Thumb code, which the ELF file marks with the lowest bit.
    pub thumb: bool,
}

/// A value and what says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known<T> {
    /// The value.
    pub value: T,
    /// What says so.
    pub because: String,
}

/// An address, written in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(pub u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:#x}", self.0))
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Facts {
    /// Collects the facts of a firmware. Without a board, the usual one is taken if its memory holds the firmware.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn of(elf: &Elf<'_>, board: Option<&BoardProfile>, boards: &Boards) -> io::Result<Facts> {
        let identity = detect::identify(elf)?;
        let found = choose_board(elf, board, identity.as_ref(), boards);
        let profile = found.as_ref().map(|board| board.value);
        let symbols = symbols::collect(elf)?;
        Ok(Facts {
            file_size: elf.file_len(),
            core: Core::of(elf),
            rtos: identity.map(|identity| RtosFact {
                name: identity.rtos.to_string(),
                version: identity.version,
                because: identity.evidence,
            }),
            entry: EntryPoint {
                address: Address(elf.entry_address()),
                thumb: elf.arch == Arch::Arm && elf.entry & 1 == 1,
            },
            segments: memory::map(elf, profile),
            memory: memory::needs(elf, profile, &symbols.reservations),
            resource_table: resources::read(elf, profile)?,
            debug: debug::read(elf, symbols.count)?,
            pedestals: pedestals::fits(elf, profile)?,
            reservations: symbols.reservations,
            board: found.map(|board| Known { value: board.value.name.to_string(), because: board.because }),
        })
    }
}

fn choose_board<'b>(
    elf: &Elf<'_>,
    given: Option<&'b BoardProfile>,
    identity: Option<&detect::Identity>,
    boards: &'b Boards,
) -> Option<Known<&'b BoardProfile>> {
    if let Some(value) = given {
        return Some(Known { value, because: "given".to_owned() });
    }
    let guess = detect::guess_board(elf, identity.map(|identity| &identity.rtos), boards)?;
    let fits = detect::outside_memory(elf, guess.board).is_none();
    fits.then_some(Known { value: guess.board, because: guess.reason })
}
