//! Program headers: what is loaded where.

use goblin::container::Ctx;
use goblin::elf::header::Header;
use goblin::elf::program_header::{PF_R, PF_W, PF_X, PT_LOAD, ProgramHeader};

use super::{ReadError, table};
use crate::source::ReadAt;

/// A program header.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Place in the table.
    pub index: usize,
    /// `p_type`.
    pub kind: u32,
    /// `p_flags`.
    pub flags: u32,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// Where it runs.
    pub vaddr: u64,
    /// Where it is loaded.
    pub paddr: u64,
    /// Bytes in the file.
    pub filesz: u64,
    /// Bytes in memory.
    pub memsz: u64,
}

impl Segment {
    /// True for PT_LOAD.
    pub fn is_load(&self) -> bool {
        self.kind == PT_LOAD
    }

    /// True if it may be executed.
    pub fn is_executable(&self) -> bool {
        self.flags & PF_X != 0
    }

    /// True if it may be written.
    pub fn is_writable(&self) -> bool {
        self.flags & PF_W != 0
    }

    /// True if it may be written and executed: usual in firmware.
    pub fn is_writable_and_executable(&self) -> bool {
        self.flags & (PF_W | PF_X) == PF_W | PF_X
    }

    /// `rwx`, for people.
    pub fn permissions(&self) -> String {
        [(PF_R, 'r'), (PF_W, 'w'), (PF_X, 'x')]
            .map(|(flag, letter)| if self.flags & flag != 0 { letter } else { '-' })
            .iter()
            .collect()
    }
}

/// Reads the program headers, all of which must be inside the file.
pub(super) fn read(file: &dyn ReadAt, header: &Header, context: Ctx) -> Result<Vec<Segment>, ReadError> {
    let (offset, count) = (header.e_phoff, header.e_phnum);
    if count == 0 {
        return Ok(Vec::new());
    }
    let entry_size = ProgramHeader::size(context);
    if usize::from(header.e_phentsize) != entry_size {
        return Err(ReadError::Header(format!(
            "its program headers have {} bytes each, not {entry_size}",
            header.e_phentsize
        )));
    }
    let size = u64::from(count) * entry_size as u64;
    let outside = || ReadError::ProgramHeadersOutside { offset, size, file_len: file.size() };
    let table = table(file, offset, size)?.ok_or_else(outside)?;
    let undecodable = |_| ReadError::Header("its program headers cannot be decoded".to_owned());
    let headers = ProgramHeader::parse(&table, 0, usize::from(count), context).map_err(undecodable)?;
    Ok(headers.iter().enumerate().map(|(index, header)| segment(index, header)).collect())
}

fn segment(index: usize, header: &ProgramHeader) -> Segment {
    Segment {
        index,
        kind: header.p_type,
        flags: header.p_flags,
        offset: header.p_offset,
        vaddr: header.p_vaddr,
        paddr: header.p_paddr,
        filesz: header.p_filesz,
        memsz: header.p_memsz,
    }
}
