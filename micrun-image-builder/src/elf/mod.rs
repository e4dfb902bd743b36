//! Reads the facts of an ELF file that may be anything: cut short, corrupt, or made to do harm.
//!
//! Every table is measured against the file before goblin decodes it, so nothing is allocated by a size that
//! the file merely claims; names and notes are looked at up to a fixed length, so the time is linear in the
//! file's size. Nothing here judges: that is [`crate::check`].

use std::ops::Range;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::header::{self, Header, header32, header64};
use goblin::elf::program_header::PT_DYNAMIC;
use micrun_image_spec::firmware::Arch;

mod arm_attributes;
mod error;
mod linkage;
mod sections;
mod segment;

pub use error::ReadError;
pub use linkage::Note;
pub use sections::{Section, SectionTable, Symbol};
pub use segment::Segment;

/// An ELF file for a supported machine, with its tables.
#[derive(Debug)]
pub struct Elf<'a> {
    bytes: &'a [u8],
    /// The instruction set.
    pub arch: Arch,
    /// `e_type`: what kind of ELF file it is.
    pub file_type: u16,
    /// `EI_OSABI`.
    pub os_abi: u8,
    /// `e_entry`, as it stands in the header.
    pub entry: u64,
    /// The program headers, in order.
    pub segments: Vec<Segment>,
    /// The section headers, as far as the file has them.
    pub sections: SectionTable<'a>,
    /// `e_phoff`.
    headers_at: u64,
    context: Ctx,
}

impl<'a> Elf<'a> {
    /// Reads header, program headers and section headers.
    ///
    /// # Errors
    /// If the file is no ELF file, or none that any supported machine could run, or if its program headers lie
    /// outside of it. Section headers outside of it are no error here: firmware loads without them.
    pub fn read(bytes: &'a [u8]) -> Result<Elf<'a>, ReadError> {
        let header = read_header(bytes)?;
        let is_64_bit = header.e_ident[header::EI_CLASS] == header::ELFCLASS64;
        let machine = header.e_machine;
        let Some(arch) = Arch::from_elf(machine, is_64_bit) else {
            return Err(match Arch::from_elf(machine, !is_64_bit) {
                Some(arch) => ReadError::Class { arch, is_64_bit },
                None => ReadError::Machine { machine, is_64_bit, big_endian: is_big_endian(&header) },
            });
        };
        if is_big_endian(&header) {
            return Err(ReadError::ByteOrder { arch });
        }
        let container = if is_64_bit { Container::Big } else { Container::Little };
        let context = Ctx::new(container, Endian::Little);
        let segments = segment::read(bytes, &header, context)?;
        let sections = SectionTable::read(bytes, &header, context);
        Ok(Elf {
            bytes,
            arch,
            file_type: header.e_type,
            os_abi: header.e_ident[header::EI_OSABI],
            entry: header.e_entry,
            segments,
            sections,
            headers_at: header.e_phoff,
            context,
        })
    }

    /// The file's length.
    pub fn file_len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The PT_LOAD segments that hold or reserve anything.
    pub fn loads(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|s| s.is_load() && (s.filesz > 0 || s.memsz > 0))
    }

    /// The entry point as an address: a Thumb entry is odd, and the lowest bit is no part of the address.
    pub fn entry_address(&self) -> u64 {
        if self.arch == Arch::Arm { self.entry & !1 } else { self.entry }
    }

    /// True for 64-bit files.
    pub fn is_64_bit(&self) -> bool {
        self.context.is_big()
    }

    /// The parts of the file that are loaded, joined where they overlap, in order.
    pub fn loaded_bytes(&self) -> Vec<&'a [u8]> {
        let mut ranges: Vec<Range<usize>> =
            self.loads().map(|s| clamp(self.bytes, s.offset, s.filesz)).filter(|r| !r.is_empty()).collect();
        ranges.sort_by_key(|range| range.start);
        let mut joined: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        joined.into_iter().map(|range| &self.bytes[range]).collect()
    }

    /// The bytes at a load address, as far as the file has them.
    pub fn bytes_at_paddr(&self, paddr: u64) -> &'a [u8] {
        let segment = self.loads().find(|s| s.paddr <= paddr && paddr - s.paddr < s.filesz);
        segment.map_or(&[], |s| {
            let skip = paddr - s.paddr;
            self.slice(s.offset.saturating_add(skip), s.filesz - skip)
        })
    }

    /// True if the Arm build attributes, or the vector table at the load address, say that this is a program for
    /// a microcontroller (Cortex-M) and not for an application core.
    pub fn is_cortex_m(&self) -> bool {
        if self.arch != Arch::Arm {
            return false;
        }
        let attributes = self.sections.named(b".ARM.attributes").map(|s| self.slice(s.offset, s.size));
        match attributes.and_then(arm_attributes::architecture_profile) {
            Some(profile) => profile == b'M',
            None => self.begins_with_vector_table(),
        }
    }

    /// The reset handler of a Cortex-M program, with the Thumb bit. Such a program begins with a vector table: the
    /// initial stack pointer, then this (Armv7-M ARM, B1.5.3). Only meaningful for Cortex-M.
    pub fn reset_vector(&self) -> Option<u64> {
        let lowest =
            self.loads().filter(|s| s.filesz > 0 && !self.holds_headers(s)).map(|s| s.paddr).min()?;
        let word = self.bytes_at_paddr(lowest).get(4..8)?;
        Some(u64::from(u32::from_le_bytes(word.try_into().ok()?)))
    }

    /// A Cortex-M program's reset handler is usually the ELF's entry point as well.
    fn begins_with_vector_table(&self) -> bool {
        self.entry & 1 == 1 && self.reset_vector() == Some(self.entry)
    }

    /// The file's bytes from an offset on, cut where the file ends.
    pub fn slice(&self, offset: u64, len: u64) -> &'a [u8] {
        &self.bytes[clamp(self.bytes, offset, len)]
    }

    fn first_segment(&self, kind: u32) -> Option<&Segment> {
        self.segments.iter().find(|s| s.kind == kind)
    }

    fn dynamic_bytes(&self) -> &'a [u8] {
        self.first_segment(PT_DYNAMIC).map_or(&[], |s| self.slice(s.offset, s.filesz))
    }
}

fn read_header(bytes: &[u8]) -> Result<Header, ReadError> {
    if bytes.is_empty() {
        return Err(ReadError::Empty);
    }
    if !bytes.starts_with(header::ELFMAG) {
        return Err(ReadError::NotElf);
    }
    let is_64_bit = match bytes.get(header::EI_CLASS) {
        Some(&header::ELFCLASS32) => false,
        Some(&header::ELFCLASS64) => true,
        Some(other) => {
            return Err(ReadError::Header(format!("its class is {other}, not 1 (32 bits) or 2 (64 bits)")));
        }
        None => return Err(ReadError::HeaderCut { file_len: bytes.len() as u64 }),
    };
    let size = if is_64_bit { header64::SIZEOF_EHDR } else { header32::SIZEOF_EHDR };
    let header = bytes.get(..size).ok_or(ReadError::HeaderCut { file_len: bytes.len() as u64 })?;
    if let order @ (0 | 3..) = header[header::EI_DATA] {
        return Err(ReadError::Header(format!(
            "its byte order is {order}, not 1 (little-endian) or 2 (big-endian)"
        )));
    }
    // Not `Elf::parse_header`, which decodes in the byte order of this machine.
    let header = if is_64_bit {
        header64::Header::parse(header).map(Header::from)
    } else {
        header32::Header::parse(header).map(Header::from)
    };
    header.map_err(|_| ReadError::Header("it cannot be decoded".to_owned()))
}

fn is_big_endian(header: &Header) -> bool {
    header.e_ident[header::EI_DATA] == header::ELFDATA2MSB
}

/// A whole table inside the file; None if any part of it is outside.
fn table(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    bytes.get(start..end)
}

/// A range of the file, cut where the file ends.
fn clamp(bytes: &[u8], offset: u64, len: u64) -> Range<usize> {
    let file = bytes.len();
    let start = usize::try_from(offset).unwrap_or(file).min(file);
    let len = usize::try_from(len).unwrap_or(file).min(file - start);
    start..start + len
}
