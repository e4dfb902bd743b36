//! The symbol table. Stripped firmware has none, and nothing needs it to run.

use std::io;
use std::ops::ControlFlow;

use goblin::elf::section_header::{SHN_ABS, SHN_UNDEF, SHT_SYMTAB};
use goblin::elf::sym::{STT_OBJECT, Symtab};

use super::Elf;
use super::sections::name_at;
use crate::source;

/// Bytes of symbol names that are read. The largest firmware seen has a tenth of it.
const MAX_NAMES: u64 = 32 << 20;
/// Bytes of the table that are read at a time.
const PIECE: u64 = 64 << 10;

/// A symbol that is defined in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// The name, cut after 64 bytes.
    pub name: &'a [u8],
    /// Its address, or the number that it stands for.
    pub value: u64,
    /// Bytes; 0 where nobody said so.
    pub size: u64,
    /// True for a number that is no address.
    pub absolute: bool,
    /// True for data, false for code and for what linker scripts define.
    pub object: bool,
}

impl Elf<'_> {
    /// Shows the symbols of the first symbol table, in order, until `look` has seen enough. Names beyond the first
    /// 32 MiB of them are shown as empty.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn each_symbol(&self, mut look: impl FnMut(Symbol<'_>) -> ControlFlow<()>) -> io::Result<()> {
        let Some(table) = self.sections.iter().find(|section| section.kind == SHT_SYMTAB) else {
            return Ok(());
        };
        let names = match self.sections.at(table.link) {
            Some(names) => source::bytes(self.file, names.offset, names.file_size().min(MAX_NAMES))?,
            None => return Ok(()),
        };
        let entry_size = if self.is_64_bit() { 24 } else { 16 };
        let range = source::clamp(self.file, table.offset, table.size);
        let length = (range.end - range.start) / entry_size * entry_size;
        let piece = PIECE / entry_size * entry_size;
        for start in (0..length).step_by(piece as usize) {
            let entries = source::bytes(self.file, range.start + start, piece.min(length - start))?;
            let count = entries.len() / entry_size as usize;
            let Ok(symbols) = Symtab::parse(&entries, 0, count, self.context) else { break };
            for symbol in symbols.iter().filter(|symbol| symbol.st_shndx != SHN_UNDEF as usize) {
                let symbol = Symbol {
                    name: name_at(&names, symbol.st_name as u64),
                    value: symbol.st_value,
                    size: symbol.st_size,
                    absolute: symbol.st_shndx == SHN_ABS as usize,
                    object: symbol.st_type() == STT_OBJECT,
                };
                if look(symbol).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
