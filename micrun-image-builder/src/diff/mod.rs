//! What changed from one firmware or image to another: code, memory, and what is said about them.
//!
//! | module | what it compares |
//! | --- | --- |
//! | `code` | segments, sections and symbols: sizes, and how many bytes differ |
//! | `statements` | everything that is one value under a name: facts of the ELF file, client.conf, annotations |

use std::io;

use micrun_image_spec::board::Boards;
use micrun_image_spec::digest::Sha256Digest;
use serde::Serialize;

mod code;
mod statements;

pub use code::{PartChange, SymbolChange, Symbols};
pub use statements::{Change, Statements};

use crate::elf::{Elf, ReadError};
use crate::inspect::Facts;
use crate::source::{self, ReadAt};

/// One of the two that are compared.
pub struct Side<'a> {
    /// The firmware.
    pub firmware: &'a dyn ReadAt,
    /// What the image says; None for a firmware outside of any.
    pub image: Option<Statements>,
}

/// A whole firmware file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileFacts {
    /// Bytes.
    pub size: u64,
    /// Their digest.
    pub digest: Sha256Digest,
}

/// What changed.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// True if nothing did: the firmware is the same to the byte, and images say the same.
    pub same: bool,
    /// The firmware files, before and after.
    pub files: [FileFacts; 2],
    /// Facts of the firmware: its core, its RTOS, its entry point, its memory, its stacks and heaps.
    pub facts: Vec<Change>,
    /// What is loaded, segment by segment.
    pub segments: Vec<PartChange>,
    /// The sections of the running program, by name.
    pub sections: Vec<PartChange>,
    /// Functions and data, by name; None where one of the files has no symbols.
    pub symbols: Option<Symbols>,
    /// What the images say. None unless both are images.
    pub image: Option<Vec<Change>>,
}

/// Why two things cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// One cannot be read.
    #[error("cannot read a firmware to compare it: {0}")]
    Io(#[from] io::Error),
    /// One is no firmware.
    #[error(
        "cannot compare, for the {which} of the two is no firmware: {source}; see: micrun-image-builder check"
    )]
    Elf {
        /// `first` or `second`.
        which: &'static str,
        /// What is wrong with it.
        source: ReadError,
    },
}

/// Compares two firmwares, and what their images say.
///
/// # Errors
/// If one of them cannot be read as an ELF file.
pub fn diff(before: &Side<'_>, after: &Side<'_>, boards: &Boards) -> Result<Difference, DiffError> {
    let files = [file_facts(before.firmware)?, file_facts(after.firmware)?];
    let no_firmware = |which| move |source| DiffError::Elf { which, source };
    let elves = [
        Elf::read(before.firmware).map_err(no_firmware("first"))?,
        Elf::read(after.firmware).map_err(no_firmware("second"))?,
    ];
    let image = match (&before.image, &after.image) {
        (Some(before), Some(after)) => Some(before.changes_to(after)),
        _ => None,
    };
    let same_bytes = files[0] == files[1];
    let same = same_bytes && image.as_ref().is_none_or(Vec::is_empty);
    if same_bytes {
        let (facts, segments, sections) = (Vec::new(), Vec::new(), Vec::new());
        return Ok(Difference { same, files, facts, segments, sections, symbols: None, image });
    }
    let [old, new] = &elves;
    let facts = [Facts::of(old, None, boards)?, Facts::of(new, None, boards)?]
        .map(|facts| Statements::of_facts(&facts));
    let mut budget = code::Budget::new(old, new);
    Ok(Difference {
        same,
        files,
        facts: facts[0].changes_to(&facts[1]),
        segments: code::segments(old, new, &mut budget)?,
        sections: code::sections(old, new, &mut budget)?,
        symbols: code::symbols(old, new)?,
        image,
    })
}

fn file_facts(file: &dyn ReadAt) -> io::Result<FileFacts> {
    Ok(FileFacts { size: file.size(), digest: source::digest(file)? })
}
