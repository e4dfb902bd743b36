//! Section headers. Firmware runs without them; they only say what it is.

use std::io;

use goblin::container::Ctx;
use goblin::elf::header::Header;
use goblin::elf::section_header::{SHF_ALLOC, SHN_XINDEX, SHT_NOBITS, SectionHeader};

use super::{Elf, table};
use crate::source::{self, ReadAt};

/// Bytes of a name that are looked at; every name that means something here is shorter.
const MAX_NAME: usize = 64;
/// Section headers that are read, and bytes of their names: a linked program has some dozens, built with one section
/// per function some thousands.
const MAX_SECTIONS: u64 = 100_000;
const MAX_NAMES: u64 = 4 << 20;

/// The section headers, as far as they could be read.
#[derive(Debug, Default)]
pub struct SectionTable {
    sections: Vec<Section>,
    problem: Option<String>,
}

/// A section header.
#[derive(Debug, Clone)]
pub struct Section {
    /// The name, cut after 64 bytes; empty where it cannot be read.
    pub name: Vec<u8>,
    /// `sh_type`.
    pub kind: u32,
    /// True if it is part of the running program.
    pub allocated: bool,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// Its size; bytes in the file unless it is NOBITS.
    pub size: u64,
    pub(super) link: u32,
}

impl Section {
    /// Bytes that the section takes in the file, by its own account.
    pub fn file_size(&self) -> u64 {
        if self.kind == SHT_NOBITS { 0 } else { self.size }
    }
}

impl SectionTable {
    pub(super) fn read(file: &dyn ReadAt, header: &Header, context: Ctx) -> io::Result<Self> {
        if header.e_shoff == 0 {
            return Ok(SectionTable::default());
        }
        match read(file, header, context) {
            Ok(sections) => Ok(SectionTable { sections, problem: None }),
            Err(Failure::Problem(problem)) => {
                Ok(SectionTable { sections: Vec::new(), problem: Some(problem) })
            }
            Err(Failure::Io(error)) => Err(error),
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
    pub fn iter(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter()
    }

    /// The first section of a name.
    pub fn named(&self, name: &[u8]) -> Option<&Section> {
        self.iter().find(|section| section.name == name)
    }

    pub(super) fn at(&self, index: u32) -> Option<&Section> {
        self.sections.get(usize::try_from(index).ok()?)
    }
}

/// Why there are no sections.
enum Failure {
    /// What is wrong with the headers.
    Problem(String),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

impl From<String> for Failure {
    fn from(problem: String) -> Self {
        Failure::Problem(problem)
    }
}

fn read(file: &dyn ReadAt, header: &Header, context: Ctx) -> Result<Vec<Section>, Failure> {
    let (headers, names_index) = read_headers(file, header, context)?;
    let names = headers.get(names_index);
    let names = names.map(|h| source::bytes(file, h.sh_offset, h.sh_size.min(MAX_NAMES))).transpose()?;
    let names = names.unwrap_or_default();
    let sections = headers.iter().map(|h| Section {
        name: name_at(&names, h.sh_name as u64).to_vec(),
        kind: h.sh_type,
        allocated: h.sh_flags & u64::from(SHF_ALLOC) != 0,
        offset: h.sh_offset,
        size: h.sh_size,
        link: h.sh_link,
    });
    Ok(sections.collect())
}

/// The section headers, and the index of the one with their names.
fn read_headers(
    file: &dyn ReadAt,
    header: &Header,
    context: Ctx,
) -> Result<(Vec<SectionHeader>, usize), Failure> {
    let entry_size = SectionHeader::size(context) as u64;
    if u64::from(header.e_shentsize) != entry_size {
        return Err(
            format!("section headers have {} bytes each, not {entry_size}", header.e_shentsize).into()
        );
    }
    let (count, names_index) = counts(file, header, context)?;
    let headers = parse_table(file, header.e_shoff, count, context)?;
    Ok((headers, usize::try_from(names_index).unwrap_or(usize::MAX)))
}

impl Elf<'_> {
    /// The section headers as they stand in the file, in the order of [`Elf::sections`], and the index of the section
    /// with their names. None at all where they cannot be read.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn section_headers(&self) -> io::Result<(Vec<SectionHeader>, usize)> {
        if self.sections.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let header = super::read_header(self.file).map_err(io::Error::other)?;
        match read_headers(self.file, &header, self.context) {
            Ok(found) => Ok(found),
            Err(Failure::Problem(problem)) => Err(io::Error::other(problem)),
            Err(Failure::Io(error)) => Err(error),
        }
    }
}

/// Number of sections and index of the one with their names. Where a number does not fit its 16 bits, it stands
/// in the first section header (ELF gABI, "Section Header Table Index").
fn counts(file: &dyn ReadAt, header: &Header, context: Ctx) -> Result<(u64, u64), Failure> {
    let (count, names) = (u64::from(header.e_shnum), u32::from(header.e_shstrndx));
    if count != 0 && names != SHN_XINDEX {
        return Ok((count, u64::from(names)));
    }
    let first = parse_table(file, header.e_shoff, 1, context)?.swap_remove(0);
    let count = if count == 0 { first.sh_size } else { count };
    let names = if names == SHN_XINDEX { first.sh_link } else { names };
    Ok((count, u64::from(names)))
}

/// Decodes that many headers, at least one, all of which must be inside the file.
fn parse_table(
    file: &dyn ReadAt,
    offset: u64,
    count: u64,
    context: Ctx,
) -> Result<Vec<SectionHeader>, Failure> {
    if count > MAX_SECTIONS {
        return Err(format!(
            "the file claims {count} section headers; no linker makes more than {MAX_SECTIONS}"
        )
        .into());
    }
    let size = count.saturating_mul(SectionHeader::size(context) as u64);
    let outside = || {
        let len = file.size();
        format!(
            "the section headers should be {size} bytes at offset {offset:#x}, but the file has {len} bytes"
        )
    };
    let headers = table(file, offset, size)?.ok_or_else(outside)?;
    let count = headers.len() / SectionHeader::size(context);
    if count == 0 {
        return Err("the section headers have an offset, but there are none".to_owned().into());
    }
    SectionHeader::parse_from(&headers, 0, count, context)
        .map_err(|_| "the section headers cannot be decoded".to_owned().into())
}

pub(super) fn name_at(names: &[u8], offset: u64) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(names.len());
    let window = &names[start..names.len().min(start + MAX_NAME)];
    window.iter().position(|&b| b == 0).map_or(window, |end| &window[..end])
}
