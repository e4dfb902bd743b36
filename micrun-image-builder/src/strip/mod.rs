//! A firmware without its debug information, shown while it is read: nothing is written anywhere, and the memory taken
//! does not depend on the file's size.
//!
//! What goes is what debuggers alone read: sections that are not loaded and have the names of DWARF, stabs or gdb's
//! index, the relocations of those, and their symbols. Everything else stays, the symbol table too: the RTOS is recognised
//! by it, and a backtrace without it is worth little.
//!
//! | part of the file | what becomes of it |
//! | --- | --- |
//! | up to the last byte that a segment or a loaded section takes | stays where it is; debug information in between reads as zeros |
//! | other sections behind that | follow without gaps |
//! | section headers | at the end, numbered anew; symbols, relocations and links between sections follow |
//! | ELF header | as it was but for where the section headers are |
//!
//! So every byte that is loaded keeps its place and value. The one exception is a program that loads its own ELF header:
//! what that says of sections changes there as well, as with any other tool.

use std::io;

use crate::elf::Elf;
use crate::source::{self, ReadAt};

pub mod debug;
mod layout;
mod sections;
mod tables;

use layout::Piece;
use tables::Table;

/// Why debug information cannot be taken out of a file.
#[derive(Debug, thiserror::Error)]
pub enum StripError {
    /// The file cannot be read.
    #[error("cannot read the firmware: {0}")]
    Io(#[from] io::Error),
    /// The file is built in a way that linkers do not build firmware.
    #[error("the debug information cannot be taken out: {0}")]
    Unusual(&'static str),
}

/// An ELF file without debug information.
pub struct Stripped<'a> {
    file: &'a dyn ReadAt,
    /// In order and without gaps.
    pieces: Vec<Piece>,
}

/// Where the bytes of a piece come from.
enum Content {
    /// From the original, from this offset on.
    File(u64),
    Zeros,
    Bytes(Vec<u8>),
    Table(Table),
}

impl<'a> Stripped<'a> {
    /// Plans what the file looks like without debug information. None if it has none.
    ///
    /// # Errors
    /// If the file cannot be read, or is built in a way that no linker of firmware builds it.
    pub fn new(elf: &Elf<'a>) -> Result<Option<Self>, StripError> {
        let Some(kept) = sections::choose(elf)? else { return Ok(None) };
        Ok(Some(Stripped { file: elf.file(), pieces: layout::lay_out(elf, &kept)? }))
    }
}

impl ReadAt for Stripped<'_> {
    fn size(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.range.end)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let index = self.pieces.partition_point(|piece| piece.range.end <= offset);
        let Some(piece) = self.pieces.get(index) else { return Ok(0) };
        let skip = offset - piece.range.start;
        let rest = usize::try_from(piece.range.end - offset).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(rest);
        let buffer = &mut buffer[..wanted];
        match &piece.content {
            Content::File(at) => self.file.read_at(at + skip, buffer),
            Content::Bytes(bytes) => bytes.read_at(skip, buffer),
            Content::Table(table) => table.read_at(self.file, skip, buffer),
            Content::Zeros => {
                buffer.fill(0);
                Ok(buffer.len())
            }
        }
    }
}

/// Strips a file that is nothing but bytes, for tests and fuzzing: the result, or None if there is nothing to take out or
/// it is no firmware.
///
/// # Errors
/// As for [`Stripped::new`].
pub fn strip_bytes(file: &[u8]) -> Result<Option<Vec<u8>>, StripError> {
    let Ok(elf) = Elf::read(&file) else { return Ok(None) };
    match Stripped::new(&elf)? {
        Some(stripped) => Ok(Some(source::bytes(&stripped, 0, stripped.size())?)),
        None => Ok(None),
    }
}
