//! Tables whose entries change: symbols know their section by its number, and relocations their symbol.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use goblin::elf::section_header::{SHN_LORESERVE, SHT_RELA, SectionHeader};

use super::StripError;
use super::sections::Numbers;
use crate::elf::Elf;
use crate::source::{self, ReadAt};

/// Symbols of debug information that are remembered; a linker writes one per section.
const MAX_DROPPED: usize = 100_000;
/// Bytes of a table that are read at a time.
const PIECE: u64 = 64 << 10;

/// Numbers of the symbols that go with their sections, in order.
#[derive(Debug, Default)]
pub(super) struct Dropped(Vec<u64>);

impl Dropped {
    /// Looks through the symbol table once.
    pub(super) fn find(elf: &Elf<'_>, table: &SectionHeader, gone: &[bool]) -> Result<Self, StripError> {
        let form = SymbolForm::of(elf);
        let range = whole_entries(elf, table, form.size);
        let mut dropped = Vec::new();
        let piece = PIECE / form.size * form.size;
        for start in range.clone().step_by(piece as usize) {
            let entries = source::bytes(elf.file(), start, piece.min(range.end - start))?;
            let first = (start - range.start) / form.size;
            for (number, entry) in (first..).zip(entries.chunks_exact(form.size as usize)) {
                let section = u32::from(form.section(entry));
                if section < SHN_LORESERVE && gone.get(section as usize).is_some_and(|&gone| gone) {
                    dropped.push(number);
                }
            }
            if dropped.len() > MAX_DROPPED {
                return Err(StripError::Unusual("the debug information has too many symbols of its own"));
            }
        }
        Ok(Dropped(dropped))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// The new number of a symbol, or of the next one that stays.
    pub(super) fn new_of(&self, old: u64) -> u64 {
        old - self.0.partition_point(|&dropped| dropped < old) as u64
    }

    /// The old number of a symbol that stays, and the old numbers from there up to the next one that goes.
    fn old_run(&self, new: u64, old_count: u64) -> Range<u64> {
        // Of the symbols before the i-th that goes, i went: it stood where number `dropped - i` stands now.
        let (mut low, mut high) = (0, self.0.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.0[middle] - middle as u64 <= new { low = middle + 1 } else { high = middle }
        }
        new + low as u64..self.0.get(low).copied().unwrap_or(old_count)
    }
}

/// How a class of ELF files writes symbols.
#[derive(Debug, Clone, Copy)]
struct SymbolForm {
    size: u64,
    /// Where `st_shndx` stands in an entry.
    section_at: usize,
}

impl SymbolForm {
    fn of(elf: &Elf<'_>) -> Self {
        if elf.is_64_bit() {
            SymbolForm { size: 24, section_at: 6 }
        } else {
            SymbolForm { size: 16, section_at: 14 }
        }
    }

    fn section(self, entry: &[u8]) -> u16 {
        u16::from_le_bytes([entry[self.section_at], entry[self.section_at + 1]])
    }
}

/// A table that is read from the file and changed on the way.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Where it begins in the file.
    at: u64,
    entry_size: u64,
    old_count: u64,
    entries: Entries,
    numbers: Arc<Numbers>,
    dropped: Arc<Dropped>,
}

#[derive(Debug, Clone, Copy)]
enum Entries {
    Symbols(SymbolForm),
    /// 64-bit files have the symbol's number in the upper half of `r_info`, the others in the upper three bytes.
    Relocations {
        is_64_bit: bool,
    },
}

impl Table {
    pub(super) fn symbols(
        elf: &Elf<'_>,
        header: &SectionHeader,
        numbers: Arc<Numbers>,
        dropped: Arc<Dropped>,
    ) -> Self {
        let form = SymbolForm::of(elf);
        Self::new(elf, header, form.size, Entries::Symbols(form), numbers, dropped)
    }

    pub(super) fn relocations(
        elf: &Elf<'_>,
        header: &SectionHeader,
        numbers: Arc<Numbers>,
        dropped: Arc<Dropped>,
    ) -> Self {
        let is_64_bit = elf.is_64_bit();
        let word = if is_64_bit { 8 } else { 4 };
        let size = if header.sh_type == SHT_RELA { 3 * word } else { 2 * word };
        Self::new(elf, header, size, Entries::Relocations { is_64_bit }, numbers, dropped)
    }

    fn new(
        elf: &Elf<'_>,
        header: &SectionHeader,
        entry_size: u64,
        entries: Entries,
        numbers: Arc<Numbers>,
        dropped: Arc<Dropped>,
    ) -> Self {
        let range = whole_entries(elf, header, entry_size);
        let old_count = (range.end - range.start) / entry_size;
        Table { at: range.start, entry_size, old_count, entries, numbers, dropped }
    }

    pub(super) fn size(&self) -> u64 {
        let gone = if matches!(self.entries, Entries::Symbols(_)) { self.dropped.len() } else { 0 };
        (self.old_count - gone) * self.entry_size
    }

    /// Reads from an offset inside the table on, as [`ReadAt::read_at`] does.
    pub(super) fn read_at(&self, file: &dyn ReadAt, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let (new, skip) = (offset / self.entry_size, offset % self.entry_size);
        let run = match self.entries {
            Entries::Symbols(_) => self.dropped.old_run(new, self.old_count),
            Entries::Relocations { .. } => new..self.old_count,
        };
        let wanted = (skip + buffer.len() as u64).min(PIECE).div_ceil(self.entry_size);
        let count = wanted.min(run.end.saturating_sub(run.start));
        let start = self.at + run.start * self.entry_size;
        let mut entries = source::bytes(file, start, count * self.entry_size)?;
        for entry in entries.chunks_exact_mut(self.entry_size as usize) {
            self.renumber(entry);
        }
        let entries = entries.get(skip as usize..).unwrap_or_default();
        let n = entries.len().min(buffer.len());
        buffer[..n].copy_from_slice(&entries[..n]);
        Ok(n)
    }

    fn renumber(&self, entry: &mut [u8]) {
        match self.entries {
            Entries::Symbols(form) => {
                let old = u32::from(form.section(entry));
                if old < SHN_LORESERVE {
                    let new = self.numbers.translate(old) as u16;
                    entry[form.section_at..form.section_at + 2].copy_from_slice(&new.to_le_bytes());
                }
            }
            Entries::Relocations { is_64_bit: true } => {
                let old = u32::from_le_bytes([entry[12], entry[13], entry[14], entry[15]]);
                let new = self.dropped.new_of(old.into()) as u32;
                entry[12..16].copy_from_slice(&new.to_le_bytes());
            }
            Entries::Relocations { is_64_bit: false } => {
                let old = u32::from_le_bytes([entry[5], entry[6], entry[7], 0]);
                let new = self.dropped.new_of(old.into()) as u32;
                entry[5..8].copy_from_slice(&new.to_le_bytes()[..3]);
            }
        }
    }
}

/// The part of the file that holds a table's entries, as far as it has them.
fn whole_entries(elf: &Elf<'_>, header: &SectionHeader, entry_size: u64) -> Range<u64> {
    let range = source::clamp(elf.file(), header.sh_offset, header.sh_size);
    range.start..range.end - (range.end - range.start) % entry_size
}
