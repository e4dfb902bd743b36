//! What stands at the place of a finding, in one line: a row of the segment table, a section header, some bytes.

use std::fmt::Write as _;

use super::Place;
use crate::elf::{Elf, Section, Segment};
use crate::source::{self, ReadAt};

/// Bytes that are shown at an offset.
const BYTES: u64 = 16;

/// A firmware to be quoted. Its tables are read when the first of them is asked for.
pub(super) struct Quotable<'a> {
    file: &'a dyn ReadAt,
    elf: Option<Option<Elf<'a>>>,
}

impl<'a> Quotable<'a> {
    pub(super) fn new(file: &'a dyn ReadAt) -> Self {
        Quotable { file, elf: None }
    }

    /// None where there is nothing to show.
    pub(super) fn at(&mut self, place: &Place) -> Option<String> {
        match place {
            Place::Offset(offset) => bytes(self.file, *offset),
            Place::Segment(index) => self.elf()?.segments.get(*index).map(segment),
            Place::Section(name) => self.elf()?.sections.named(name.as_bytes()).map(section),
            Place::Option(_) | Place::Key(_) => None,
        }
    }

    fn elf(&mut self) -> Option<&Elf<'a>> {
        self.elf.get_or_insert_with(|| Elf::read(self.file).ok()).as_ref()
    }
}

fn bytes(file: &dyn ReadAt, offset: u64) -> Option<String> {
    let bytes = source::bytes(file, offset, BYTES).ok().filter(|bytes| !bytes.is_empty())?;
    let mut text = format!("{offset:#06x}:");
    for byte in &bytes {
        // Writing into a string cannot fail.
        let _ = write!(text, " {byte:02x}");
    }
    let readable = |&byte: &u8| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '.' };
    let letters: String = bytes.iter().map(readable).collect();
    Some(format!("{text}  {letters}"))
}

fn segment(segment: &Segment) -> String {
    let Segment { offset, vaddr, paddr, filesz, memsz, .. } = segment;
    let kind = if segment.is_load() { "LOAD".to_owned() } else { format!("type {:#x}", segment.kind) };
    let permissions = segment.permissions();
    let load = format!("loaded to {paddr:#x}, {filesz} bytes from offset {offset:#x}");
    format!("{kind} {permissions}  {load}; runs at {vaddr:#x}, {memsz} bytes")
}

fn section(section: &Section) -> String {
    let (offset, size) = (section.offset, section.size);
    let name = String::from_utf8_lossy(&section.name);
    let allocated = if section.allocated { ", allocated" } else { "" };
    format!("{name}  type {:#x}, {size} bytes at offset {offset:#x}{allocated}", section.kind)
}
