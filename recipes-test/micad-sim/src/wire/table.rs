//! The resource table of a firmware file, as OpenAMP's ELF loader and parser see it.

use goblin::container::Ctx;
use goblin::elf::Elf;
use goblin::elf::section_header::SectionHeader;

use super::until_nul;

/// The section that holds it.
const SECTION: &[u8] = b".resource_table";
/// Entry types of OpenAMP and, from 128 on, of micad.
const VDEV: u32 = 3;
const RING_BUFFERS: u32 = 129;
const VRING_OFFSETS: u32 = 130;
/// A vring's address where the host shall choose one.
const ANY_ADDRESS: u32 = 0xffff_ffff;
/// Largest table that a pedestal with a page for it takes, bytes.
pub const PAGE: usize = 4096;

/// What the loader finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// No ELF file with section headers that can be read.
    NoElf,
    /// No section of that name, or an empty one.
    NoTable,
    /// The table's bytes.
    Table(&'a [u8]),
}

/// Looks for the table in a firmware file.
pub fn find(file: &[u8]) -> Found<'_> {
    let Some(sections) = sections(file) else { return Found::NoElf };
    for (name, section) in sections {
        if name == SECTION && section.sh_size > 0 {
            return match section.file_range().and_then(|range| file.get(range)) {
                Some(bytes) => Found::Table(bytes),
                None => Found::NoElf,
            };
        }
    }
    Found::NoTable
}

fn sections(file: &[u8]) -> Option<Vec<(&[u8], SectionHeader)>> {
    let header = Elf::parse_header(file).ok()?;
    let context = Ctx::new(header.container().ok()?, header.endianness().ok()?);
    if header.e_shnum == 0 {
        return Some(Vec::new());
    }
    let offset = usize::try_from(header.e_shoff).ok()?;
    // Each header takes room in the file, so the count is bounded by the file before anything is allocated.
    let room = file.len().checked_sub(offset)? / usize::from(header.e_shentsize).max(1);
    let count = usize::from(header.e_shnum);
    if count > room {
        return None;
    }
    let headers = SectionHeader::parse(file, offset, count, context).ok()?;
    let names = headers.get(usize::from(header.e_shstrndx))?.file_range()?;
    let names = file.get(names)?;
    let name = |header: &SectionHeader| names.get(header.sh_name..).map_or(&b""[..], until_nul);
    Some(headers.into_iter().map(|header| (name(&header), header)).collect())
}

/// Why OpenAMP's parser refuses a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTable {
    /// The header, the offsets or an entry lie outside.
    #[error("the resource table is cut short")]
    Truncated,
    /// Not version 1.
    #[error("the resource table has an unknown version")]
    Version,
    /// The reserved words are not zero.
    #[error("the resource table's reserved words are not zero")]
    Reserved,
}

/// What of a table decides whether a start succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The vrings' addresses of the first vdev; none without a vdev.
    vrings: Option<Vec<u32>>,
    has_ring_buffers: bool,
    has_vring_offsets: bool,
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    /// What the original's parser refuses.
    pub fn decode(bytes: &[u8]) -> Result<Table, BadTable> {
        let word = |at: usize| word(bytes, at).ok_or(BadTable::Truncated);
        let (version, count) = (word(0)?, word(4)?);
        let reserved = [word(8)?, word(12)?];
        if version != 1 {
            return Err(BadTable::Version);
        }
        // The offsets lie in the table, so the count is bounded by its size.
        let count = usize::try_from(count).map_err(|_| BadTable::Truncated)?;
        if count > (bytes.len() - 16) / 4 {
            return Err(BadTable::Truncated);
        }
        if reserved != [0, 0] {
            return Err(BadTable::Reserved);
        }
        let mut table = Table { vrings: None, has_ring_buffers: false, has_vring_offsets: false };
        for index in 0..count {
            let at = usize::try_from(word(16 + 4 * index)?).map_err(|_| BadTable::Truncated)?;
            table.note(bytes.get(at..).ok_or(BadTable::Truncated)?)?;
        }
        Ok(table)
    }

    fn note(&mut self, entry: &[u8]) -> Result<(), BadTable> {
        match word(entry, 0).ok_or(BadTable::Truncated)? {
            VDEV if self.vrings.is_none() => {
                // struct fw_rsc_vdev: the number of vrings at 25, the vrings from 28 on, 20 bytes each.
                let count = *entry.get(25).ok_or(BadTable::Truncated)?;
                let rings = (0..usize::from(count)).map(|ring| word(entry, 28 + 20 * ring));
                self.vrings = Some(rings.collect::<Option<_>>().ok_or(BadTable::Truncated)?);
            }
            RING_BUFFERS => self.has_ring_buffers = true,
            VRING_OFFSETS => self.has_vring_offsets = true,
            _ => {}
        }
        Ok(())
    }

    /// Whether the rpmsg device comes up. `shared` says that host and guest see the shared memory at different
    /// addresses, as on Xen: then the daemon has to tell the guest where the vrings are.
    pub fn has_rpmsg(&self, shared: bool) -> bool {
        let Some(rings) = self.vrings.as_deref() else { return false };
        let chosen_by_host = rings.iter().rposition(|address| *address == ANY_ADDRESS);
        let told = !shared || chosen_by_host.is_none_or(|last| self.has_vring_offsets && last < 2);
        !rings.is_empty() && told
    }

    /// Whether the debugger's ring buffers have an entry.
    pub fn has_ring_buffers(&self) -> bool {
        self.has_ring_buffers
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}
