//! What tells a Linux program from firmware: how it was linked, and the notes that its toolchain left.

use std::io;

use goblin::elf::dynamic::{DT_NEEDED, DT_NULL};
use goblin::elf::program_header::{PT_DYNAMIC, PT_INTERP, PT_NOTE};

use super::{Elf, Segment};
use crate::source::{self, ReadAt};

/// A program has one to three note segments with a few hundred bytes; more is not looked at.
const MAX_NOTE_SEGMENTS: usize = 16;
const MAX_NOTE_BYTES: u64 = 4096;
/// Bytes of a note's contents that are kept; a build ID has 20.
const MAX_CONTENTS: usize = 64;
/// A dynamic section has some dozens of tags.
const MAX_DYNAMIC_BYTES: u64 = 64 << 10;

/// An ELF note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Who defined it, without the closing NULs.
    pub owner: Vec<u8>,
    /// `n_type`, whose meaning depends on the owner.
    pub kind: u32,
    /// The first bytes of its contents, 64 at most.
    pub contents: Vec<u8>,
}

/// How a program was linked.
#[derive(Debug, Default)]
pub(super) struct Linkage {
    needs_libraries: bool,
    notes: Vec<Note>,
}

impl Linkage {
    pub(super) fn read(file: &dyn ReadAt, segments: &[Segment], is_64_bit: bool) -> io::Result<Self> {
        let mut linkage = Linkage::default();
        if let Some(dynamic) = segments.iter().find(|s| s.kind == PT_DYNAMIC) {
            let tags = source::bytes(file, dynamic.offset, dynamic.filesz.min(MAX_DYNAMIC_BYTES))?;
            linkage.needs_libraries = needs_libraries(&tags, is_64_bit);
        }
        for segment in segments.iter().filter(|s| s.kind == PT_NOTE).take(MAX_NOTE_SEGMENTS) {
            let bytes = source::bytes(file, segment.offset, segment.filesz.min(MAX_NOTE_BYTES))?;
            linkage.notes.extend(Notes { rest: &bytes });
        }
        Ok(linkage)
    }
}

fn needs_libraries(dynamic: &[u8], is_64_bit: bool) -> bool {
    let word = if is_64_bit { 8 } else { 4 };
    let tag = |entry: &[u8]| entry[..word].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
    let tags = dynamic.chunks_exact(2 * word).map(tag);
    tags.take_while(|&tag| tag != DT_NULL).any(|tag| tag == DT_NEEDED)
}

impl Elf<'_> {
    /// True if the kernel has to start a dynamic linker for it.
    pub fn has_interpreter(&self) -> bool {
        self.segments.iter().any(|s| s.kind == PT_INTERP)
    }

    /// True if it needs a shared library. Firmware that relocates itself has a dynamic section too, but needs none.
    pub fn needs_libraries(&self) -> bool {
        self.linkage.needs_libraries
    }

    /// True if its program headers are part of what is loaded, at the address at which it runs. The kernel hands them
    /// to every Linux program; firmware has its vectors or its first instruction there instead.
    pub fn is_loaded_with_its_headers(&self) -> bool {
        self.loads().any(|s| self.holds_headers(s)) && self.loads().all(|s| s.paddr == s.vaddr)
    }

    pub(super) fn holds_headers(&self, segment: &Segment) -> bool {
        segment.offset <= self.headers_at && self.headers_at - segment.offset < segment.filesz
    }

    /// The number by which debuggers know this very build (ld --build-id): from a note segment, or from the section
    /// that firmware often has without one.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn build_id(&self) -> io::Result<Option<Vec<u8>>> {
        const NT_GNU_BUILD_ID: u32 = 3;
        let is_build_id = |note: &Note| note.owner == b"GNU" && note.kind == NT_GNU_BUILD_ID;
        if let Some(note) = self.notes().iter().find(|note| is_build_id(note)) {
            return Ok(Some(note.contents.clone()));
        }
        let section = self.section_bytes(b".note.gnu.build-id", MAX_NOTE_BYTES)?.unwrap_or_default();
        Ok(Notes { rest: &section }.find(is_build_id).map(|note| note.contents))
    }

    /// The notes in the note segments.
    pub fn notes(&self) -> &[Note] {
        &self.linkage.notes
    }
}

/// Walks notes: three words (sizes of owner and contents, type), then both, each padded to four bytes.
struct Notes<'a> {
    rest: &'a [u8],
}

impl Iterator for Notes<'_> {
    type Item = Note;

    fn next(&mut self) -> Option<Note> {
        let (words, rest) = self.rest.split_at_checked(12)?;
        let word = |i: usize| u32::from_le_bytes([words[i], words[i + 1], words[i + 2], words[i + 3]]);
        let (owner_size, contents_size, kind) = (word(0) as usize, word(4) as usize, word(8));
        let owner = rest.get(..owner_size)?;
        let contents_at = owner_size.checked_next_multiple_of(4)?;
        let end = contents_at.checked_add(contents_size.checked_next_multiple_of(4)?)?;
        let contents = rest.get(contents_at..).unwrap_or_default();
        self.rest = rest.get(end..).unwrap_or_default();
        // Go's linker closes its name with two NULs, the others with one.
        let owner_len = owner.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let contents = &contents[..contents_size.min(contents.len()).min(MAX_CONTENTS)];
        Some(Note { owner: owner[..owner_len].to_vec(), kind, contents: contents.to_vec() })
    }
}
