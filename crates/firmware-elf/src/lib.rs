//! Reads the facts of an ELF file that may be anything: cut short, corrupt, or made to do harm.
//!
//! The file is not read whole: headers and tables are read where they lie. Each is measured against the file before
//! goblin decodes it, so nothing is allocated by a size that the file merely claims; names, notes and tags are looked
//! at up to fixed numbers. Nothing here judges, except [`resource_table`]: builder and shim
//! keep to the same rules there.
//!
//! [`source`] is what all of it reads from.

use std::fmt;
use std::io;
use std::ops::Range;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::header::{self, Header, header32, header64};
use micrun_image_spec::firmware::Arch;

mod build_attributes;
mod error;
mod linkage;
pub mod resource_table;
mod sections;
mod segment;
pub mod source;
mod symbols;

pub use build_attributes::BuildAttributes;
pub use error::ReadError;
pub use linkage::Note;
pub use sections::{Section, SectionTable};
pub use segment::Segment;
pub use symbols::Symbol;

use crate::source::ReadAt;
use linkage::Linkage;

/// An ELF file for a supported machine, with its tables.
pub struct Elf<'a> {
    file: &'a dyn ReadAt,
    /// The instruction set.
    pub arch: Arch,
    /// `e_type`: what kind of ELF file it is.
    pub file_type: u16,
    /// `EI_OSABI`.
    pub os_abi: u8,
    /// `e_flags`, whose meaning depends on the machine.
    pub flags: u32,
    /// `e_entry`, as it stands in the header.
    pub entry: u64,
    /// The program headers, in order.
    pub segments: Vec<Segment>,
    /// The section headers, as far as the file has them.
    pub sections: SectionTable,
    /// What the toolchain said about the core.
    pub attributes: BuildAttributes,
    linkage: Linkage,
    is_cortex_m: bool,
    /// The first two words at the lowest load address.
    vectors: Option<[u32; 2]>,
    /// `e_phoff`.
    headers_at: u64,
    context: Ctx,
}

impl<'a> Elf<'a> {
    /// Reads header, program headers, section headers and what tells the program's kind.
    ///
    /// # Errors
    /// If the file is no ELF file, or none that any supported machine could run, or if its program headers lie
    /// outside of it, or if it cannot be read. Section headers outside of it are no error here: firmware loads without
    /// them.
    pub fn read(file: &'a dyn ReadAt) -> Result<Elf<'a>, ReadError> {
        let header = read_header(file)?;
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
        let segments = segment::read(file, &header, context)?;
        let mut elf = Elf {
            file,
            arch,
            file_type: header.e_type,
            os_abi: header.e_ident[header::EI_OSABI],
            flags: header.e_flags,
            entry: header.e_entry,
            sections: SectionTable::read(file, &header, context)?,
            linkage: Linkage::read(file, &segments, is_64_bit)?,
            segments,
            attributes: BuildAttributes::default(),
            is_cortex_m: false,
            vectors: None,
            headers_at: header.e_phoff,
            context,
        };
        elf.vectors = elf.read_vectors()?;
        elf.attributes = BuildAttributes::read(&elf)?;
        elf.is_cortex_m = elf.find_cortex_m();
        Ok(elf)
    }

    /// The file itself.
    pub fn file(&self) -> &'a dyn ReadAt {
        self.file
    }

    /// The file's length.
    pub fn file_len(&self) -> u64 {
        self.file.size()
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

    /// Where the ELF header and the program headers stand in the file.
    pub fn header_ranges(&self) -> [Range<u64>; 2] {
        let (header, entry) = if self.is_64_bit() { (64, 56) } else { (52, 32) };
        [0..header, self.headers_at..self.headers_at + entry * self.segments.len() as u64]
    }

    /// The parts of the file that are loaded, joined where they overlap, in order.
    pub fn loaded_ranges(&self) -> Vec<Range<u64>> {
        source::join(self.loads().map(|s| source::clamp(self.file, s.offset, s.filesz)))
    }

    /// Up to `len` bytes at a load address, as far as the file has them; `len` must be bounded by the caller.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn bytes_at_paddr(&self, paddr: u64, len: u64) -> io::Result<Vec<u8>> {
        match self.loads().find(|s| s.paddr <= paddr && paddr - s.paddr < s.filesz) {
            Some(s) => {
                let skip = paddr - s.paddr;
                source::bytes(self.file, s.offset.saturating_add(skip), len.min(s.filesz - skip))
            }
            None => Ok(Vec::new()),
        }
    }

    /// The first bytes of a section, up to `max`; None if there is no section of that name. Nothing for NOBITS.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn section_bytes(&self, name: &[u8], max: u64) -> io::Result<Option<Vec<u8>>> {
        let section = self.sections.named(name);
        section.map(|s| source::bytes(self.file, s.offset, s.file_size().min(max))).transpose()
    }

    /// True if the Arm build attributes, or the vector table at the load address, say that this is a program for
    /// a microcontroller (Cortex-M) and not for an application core.
    pub fn is_cortex_m(&self) -> bool {
        self.is_cortex_m
    }

    /// The reset handler of a Cortex-M program, with the Thumb bit. Such a program begins with a vector table: the
    /// initial stack pointer, then this (Armv7-M ARM, B1.5.3). Only meaningful for Cortex-M.
    pub fn reset_vector(&self) -> Option<u64> {
        self.vectors.map(|[_, reset]| reset.into())
    }

    /// The stack pointer with which a Cortex-M program begins. Only meaningful for Cortex-M.
    pub fn initial_stack_pointer(&self) -> Option<u64> {
        self.vectors.map(|[stack, _]| stack.into())
    }

    fn read_vectors(&self) -> io::Result<Option<[u32; 2]>> {
        let filled = self.loads().filter(|s| s.filesz > 0 && !self.holds_headers(s));
        let Some(lowest) = filled.map(|s| s.paddr).min() else { return Ok(None) };
        let vectors = self.bytes_at_paddr(lowest, 8)?;
        let Some((stack, reset)) = vectors.split_first_chunk() else { return Ok(None) };
        Ok(reset.first_chunk().map(|reset| [u32::from_le_bytes(*stack), u32::from_le_bytes(*reset)]))
    }

    fn find_cortex_m(&self) -> bool {
        match self.attributes.profile {
            _ if self.arch != Arch::Arm => false,
            Some(profile) => profile == b'M',
            // A Cortex-M program's reset handler is usually the ELF's entry point as well.
            None => self.entry & 1 == 1 && self.reset_vector() == Some(self.entry),
        }
    }
}

impl fmt::Debug for Elf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elf")
            .field("arch", &self.arch)
            .field("file_type", &self.file_type)
            .field("entry", &self.entry)
            .field("segments", &self.segments)
            .field("sections", &self.sections)
            .finish_non_exhaustive()
    }
}

fn read_header(file: &dyn ReadAt) -> Result<Header, ReadError> {
    let bytes = source::bytes(file, 0, header64::SIZEOF_EHDR as u64)?;
    let bytes = bytes.as_slice();
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

/// A whole table inside the file; None if any part of it is outside. It is as large as the file at most, and the
/// caller bounds it further.
fn table(file: &dyn ReadAt, offset: u64, size: u64) -> io::Result<Option<Vec<u8>>> {
    match offset.checked_add(size) {
        Some(end) if end <= file.size() => source::bytes(file, offset, size).map(Some),
        _ => Ok(None),
    }
}
