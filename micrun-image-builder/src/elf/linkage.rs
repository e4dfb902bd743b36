//! What tells a Linux program from firmware: how it was linked, and the notes that its toolchain left.

use goblin::elf::dynamic::{DT_NEEDED, DT_NULL};
use goblin::elf::program_header::{PT_INTERP, PT_NOTE};

use super::{Elf, Segment};

/// A program has one to three note segments with a few hundred bytes; more is not looked at.
const MAX_NOTE_SEGMENTS: usize = 16;
const MAX_NOTE_BYTES: u64 = 4096;

/// An ELF note, without its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note<'a> {
    /// Who defined it, without the closing NULs.
    pub owner: &'a [u8],
    /// `n_type`, whose meaning depends on the owner.
    pub kind: u32,
}

impl<'a> Elf<'a> {
    /// True if the kernel has to start a dynamic linker for it.
    pub fn has_interpreter(&self) -> bool {
        self.first_segment(PT_INTERP).is_some()
    }

    /// True if it needs a shared library. Firmware that relocates itself has a dynamic section too, but needs none.
    pub fn needs_libraries(&self) -> bool {
        let word = if self.is_64_bit() { 8 } else { 4 };
        let tag =
            |entry: &[u8]| entry[..word].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
        let tags = self.dynamic_bytes().chunks_exact(2 * word).map(tag);
        tags.take_while(|&tag| tag != DT_NULL).any(|tag| tag == DT_NEEDED)
    }

    /// True if its program headers are part of what is loaded, at the address at which it runs. The kernel hands them
    /// to every Linux program; firmware has its vectors or its first instruction there instead.
    pub fn is_loaded_with_its_headers(&self) -> bool {
        self.loads().any(|s| self.holds_headers(s)) && self.loads().all(|s| s.paddr == s.vaddr)
    }

    pub(super) fn holds_headers(&self, segment: &Segment) -> bool {
        segment.offset <= self.headers_at && self.headers_at - segment.offset < segment.filesz
    }

    /// The notes in the note segments.
    pub fn notes(&self) -> impl Iterator<Item = Note<'a>> {
        let segments = self.segments.iter().filter(|s| s.kind == PT_NOTE).take(MAX_NOTE_SEGMENTS);
        segments.flat_map(|s| Notes { rest: self.slice(s.offset, s.filesz.min(MAX_NOTE_BYTES)) })
    }
}

/// Walks notes: three words (sizes of owner and contents, type), then both, each padded to four bytes.
struct Notes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let (words, rest) = self.rest.split_at_checked(12)?;
        let word = |i: usize| u32::from_le_bytes([words[i], words[i + 1], words[i + 2], words[i + 3]]);
        let (owner_size, contents_size, kind) = (word(0) as usize, word(4) as usize, word(8));
        let owner = rest.get(..owner_size)?;
        let end = owner_size
            .checked_next_multiple_of(4)?
            .checked_add(contents_size.checked_next_multiple_of(4)?)?;
        self.rest = rest.get(end..).unwrap_or_default();
        // Go's linker closes its name with two NULs, the others with one.
        let owner_len = owner.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        Some(Note { owner: &owner[..owner_len], kind })
    }
}
