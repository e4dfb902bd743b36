//! Section headers and symbols. Firmware runs without them; they only say what it is.

use goblin::container::Ctx;
use goblin::elf::header::Header;
use goblin::elf::section_header::{SHF_ALLOC, SHN_ABS, SHN_XINDEX, SHT_NOBITS, SHT_SYMTAB, SectionHeader};
use goblin::elf::sym::Symtab;

use super::{Elf, clamp, table};

/// Bytes of a name that are looked at; every name that means something here is shorter.
const MAX_NAME: usize = 64;

/// The section headers, as far as they could be read.
#[derive(Debug, Default)]
pub struct SectionTable<'a> {
    sections: Vec<Section<'a>>,
    problem: Option<String>,
}

/// A section header.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    /// The name, cut after 64 bytes; empty where it cannot be read.
    pub name: &'a [u8],
    /// `sh_type`.
    pub kind: u32,
    /// True if it is part of the running program.
    pub allocated: bool,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// Its size; bytes in the file unless it is NOBITS.
    pub size: u64,
    link: u32,
}

impl Section<'_> {
    /// Bytes that the section takes in the file, by its own account.
    pub fn file_size(&self) -> u64 {
        if self.kind == SHT_NOBITS { 0 } else { self.size }
    }
}

/// A symbol.
#[derive(Debug, Clone, Copy)]
pub struct Symbol<'a> {
    /// The name, cut after 64 bytes.
    pub name: &'a [u8],
    /// True for a number that is no address.
    pub absolute: bool,
}

impl<'a> SectionTable<'a> {
    pub(super) fn read(bytes: &'a [u8], header: &Header, context: Ctx) -> Self {
        if header.e_shoff == 0 {
            return SectionTable::default();
        }
        match read(bytes, header, context) {
            Ok(sections) => SectionTable { sections, problem: None },
            Err(problem) => SectionTable { sections: Vec::new(), problem: Some(problem) },
        }
    }

    /// Why the file has section headers that cannot be read; None if it has good ones or none at all.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// True if there is no section header.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// The sections, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Section<'a>> {
        self.sections.iter()
    }

    /// The first section of a name.
    pub fn named(&self, name: &[u8]) -> Option<&Section<'a>> {
        self.iter().find(|section| section.name == name)
    }
}

fn read<'a>(bytes: &'a [u8], header: &Header, context: Ctx) -> Result<Vec<Section<'a>>, String> {
    let entry_size = SectionHeader::size(context) as u64;
    if u64::from(header.e_shentsize) != entry_size {
        return Err(format!("section headers have {} bytes each, not {entry_size}", header.e_shentsize));
    }
    let (count, names_index) = counts(bytes, header, context)?;
    let headers = parse_table(bytes, header.e_shoff, count, context)?;
    let names_index = usize::try_from(names_index).unwrap_or(usize::MAX);
    let names = headers.get(names_index).map_or(&[][..], |h| &bytes[clamp(bytes, h.sh_offset, h.sh_size)]);
    let sections = headers.iter().map(|h| Section {
        name: name_at(names, h.sh_name as u64),
        kind: h.sh_type,
        allocated: h.sh_flags & u64::from(SHF_ALLOC) != 0,
        offset: h.sh_offset,
        size: h.sh_size,
        link: h.sh_link,
    });
    Ok(sections.collect())
}

/// Number of sections and index of the one with their names. Where a number does not fit its 16 bits, it stands
/// in the first section header (ELF gABI, "Section Header Table Index").
fn counts(bytes: &[u8], header: &Header, context: Ctx) -> Result<(u64, u64), String> {
    let (count, names) = (u64::from(header.e_shnum), u32::from(header.e_shstrndx));
    if count != 0 && names != SHN_XINDEX {
        return Ok((count, u64::from(names)));
    }
    let first = parse_table(bytes, header.e_shoff, 1, context)?.swap_remove(0);
    let count = if count == 0 { first.sh_size } else { count };
    let names = if names == SHN_XINDEX { first.sh_link } else { names };
    Ok((count, u64::from(names)))
}

/// Decodes that many headers, at least one, all of which must be inside the file.
fn parse_table(bytes: &[u8], offset: u64, count: u64, context: Ctx) -> Result<Vec<SectionHeader>, String> {
    let size = count.saturating_mul(SectionHeader::size(context) as u64);
    let outside = || {
        let file = bytes.len();
        format!(
            "the section headers should be {size} bytes at offset {offset:#x}, but the file has {file} bytes"
        )
    };
    let headers = table(bytes, offset, size).ok_or_else(outside)?;
    let count = headers.len() / SectionHeader::size(context);
    if count == 0 {
        return Err("the section headers have an offset, but there are none".to_owned());
    }
    SectionHeader::parse_from(headers, 0, count, context)
        .map_err(|_| "the section headers cannot be decoded".to_owned())
}

fn name_at(names: &[u8], offset: u64) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(names.len());
    let window = &names[start..names.len().min(start + MAX_NAME)];
    window.iter().position(|&b| b == 0).map_or(window, |end| &window[..end])
}

impl<'a> Elf<'a> {
    /// The symbols of the first symbol table, decoded one at a time.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol<'a>> {
        let table = self.sections.iter().find(|section| section.kind == SHT_SYMTAB);
        let bytes = table.map_or(&[][..], |section| self.slice(section.offset, section.size));
        let names = table
            .and_then(|section| self.sections.sections.get(section.link as usize))
            .map_or(&[][..], |section| self.slice(section.offset, section.file_size()));
        let entry_size = if self.is_64_bit() { 24 } else { 16 };
        let symbols = Symtab::parse(bytes, 0, bytes.len() / entry_size, self.context).ok();
        let count = symbols.as_ref().map_or(0, |_| bytes.len() / entry_size);
        (0..count).filter_map(move |index| {
            let symbol = symbols.as_ref()?.get(index)?;
            let absolute = symbol.st_shndx == SHN_ABS as usize;
            Some(Symbol { name: name_at(names, symbol.st_name as u64), absolute })
        })
    }
}
