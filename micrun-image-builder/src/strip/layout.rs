//! Where everything lies in the new file.

use std::ops::Range;

use goblin::elf::section_header::{SHT_NOBITS, SectionHeader};

use super::sections::{Kept, is_loaded};
use super::{Content, StripError};
use crate::elf::Elf;
use crate::source;

/// Sections that nobody loads are aligned for the sake of their readers, never by more than this.
const MAX_ALIGNMENT: u64 = 4096;

/// A part of the new file.
pub(super) struct Piece {
    pub(super) range: Range<u64>,
    pub(super) content: Content,
}

/// Lays out the new file: the fixed part, the other sections, the section headers.
pub(super) fn lay_out(elf: &Elf<'_>, kept: &Kept) -> Result<Vec<Piece>, StripError> {
    let fixed_end = fixed_ranges(elf, kept).last().map_or(0, |range| range.end);
    let mut headers = kept.headers.clone();
    let mut tail = Pieces { pieces: Vec::new(), end: fixed_end };
    let mut moved: Vec<usize> =
        (1..headers.len()).filter(|&index| moves(elf, kept, index, fixed_end)).collect();
    moved.sort_by_key(|&index| headers[index].sh_offset);
    for index in moved {
        let header = &mut headers[index];
        let range = source::clamp(elf.file(), header.sh_offset, header.sh_size);
        let (size, content) = match &kept.tables[index] {
            Some(table) => (table.size(), Content::Table(table.clone())),
            None => (range.end - range.start, Content::File(range.start)),
        };
        tail.align(header.sh_addralign);
        (header.sh_offset, header.sh_size) = (tail.end, size);
        tail.push(size, content);
        // Sections that lie upon each other would be written once each.
        if tail.end - fixed_end > elf.file_len() {
            return Err(StripError::Unusual("its sections lie upon each other"));
        }
    }
    tail.align(8);
    let table_at = tail.end;
    let table = write_headers(elf, &headers);
    tail.push(table.len() as u64, Content::Bytes(table));

    let elf_header = elf_header(elf, table_at, headers.len(), kept.names_index)?;
    let mut all = fixed_part(elf, kept, fixed_end, elf_header);
    all.pieces.extend(tail.pieces);
    Ok(all.pieces)
}

/// Pieces that follow each other.
struct Pieces {
    pieces: Vec<Piece>,
    end: u64,
}

impl Pieces {
    fn push(&mut self, size: u64, content: Content) {
        if size > 0 {
            self.pieces.push(Piece { range: self.end..self.end + size, content });
            self.end += size;
        }
    }

    fn align(&mut self, alignment: u64) {
        let usual = alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT;
        let aligned = self.end.next_multiple_of(if usual { alignment } else { 1 });
        self.push(aligned - self.end, Content::Zeros);
    }
}

/// What has to stay where it is: headers, segments of any kind, and sections that are loaded. In order and joined.
fn fixed_ranges(elf: &Elf<'_>, kept: &Kept) -> Vec<Range<u64>> {
    let segments = elf.segments.iter().map(|s| source::clamp(elf.file(), s.offset, s.filesz));
    let loaded = kept.headers.iter().filter(|header| is_loaded(header) && has_bytes(header));
    let sections = loaded.map(|header| source::clamp(elf.file(), header.sh_offset, header.sh_size));
    source::join(elf.header_ranges().into_iter().chain(segments).chain(sections))
}

/// True for a section that finds a new place behind the fixed part.
fn moves(elf: &Elf<'_>, kept: &Kept, index: usize, fixed_end: u64) -> bool {
    let header = &kept.headers[index];
    let end = source::clamp(elf.file(), header.sh_offset, header.sh_size).end;
    !is_loaded(header) && has_bytes(header) && (end > fixed_end || kept.tables[index].is_some())
}

/// The first part of the new file: the old one with another ELF header. Where nothing is left, it has zeros.
fn fixed_part(elf: &Elf<'_>, kept: &Kept, fixed_end: u64, elf_header: Vec<u8>) -> Pieces {
    let stays = |index: &usize| has_bytes(&kept.headers[*index]) && !moves(elf, kept, *index, fixed_end);
    let sections = (1..kept.headers.len()).filter(stays).map(|index| &kept.headers[index]);
    let sections = sections.map(|header| source::clamp(elf.file(), header.sh_offset, header.sh_size));
    let mut part = Pieces { pieces: Vec::new(), end: 0 };
    part.push(elf_header.len() as u64, Content::Bytes(elf_header));
    for range in source::join(fixed_ranges(elf, kept).into_iter().chain(sections)) {
        let start = range.start.max(part.end);
        part.push(start - part.end, Content::Zeros);
        part.push(range.end.saturating_sub(start), Content::File(start));
    }
    part
}

fn has_bytes(header: &SectionHeader) -> bool {
    header.sh_type != SHT_NOBITS
}

/// The ELF header, with another place and number of section headers.
fn elf_header(elf: &Elf<'_>, table_at: u64, count: usize, names_index: usize) -> Result<Vec<u8>, StripError> {
    let [range, _] = elf.header_ranges();
    let mut header = source::bytes(elf.file(), range.start, range.end - range.start)?;
    // e_shoff; e_shnum and e_shstrndx are the last of the header.
    let (at, size) = if elf.is_64_bit() { (0x28, 8) } else { (0x20, 4) };
    header[at..at + size].copy_from_slice(&table_at.to_le_bytes()[..size]);
    let counts_at = header.len() - 4;
    header[counts_at..counts_at + 2].copy_from_slice(&(count as u16).to_le_bytes());
    header[counts_at + 2..].copy_from_slice(&(names_index as u16).to_le_bytes());
    Ok(header)
}

fn write_headers(elf: &Elf<'_>, headers: &[SectionHeader]) -> Vec<u8> {
    let word_size = if elf.is_64_bit() { 8 } else { 4 };
    let mut table = Vec::new();
    for header in headers {
        let mut half = |value: u32| table.extend_from_slice(&value.to_le_bytes());
        half(header.sh_name as u32);
        half(header.sh_type);
        let words = [header.sh_flags, header.sh_addr, header.sh_offset, header.sh_size];
        words.iter().for_each(|word| table.extend_from_slice(&word.to_le_bytes()[..word_size]));
        let mut half = |value: u32| table.extend_from_slice(&value.to_le_bytes());
        half(header.sh_link);
        half(header.sh_info);
        let words = [header.sh_addralign, header.sh_entsize];
        words.iter().for_each(|word| table.extend_from_slice(&word.to_le_bytes()[..word_size]));
    }
    table
}
