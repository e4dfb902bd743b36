//! The ELF file that raw firmware is wrapped into: a header, one program header for each piece, and the data. No
//! sections, since nobody knows any. The same input gives the same bytes.

use std::io;

use goblin::elf::header::ET_EXEC;
use goblin::elf::program_header::{PF_R, PF_W, PF_X, PT_LOAD};
use micrun_image_spec::firmware::Arch;

use super::Range;
use crate::source::ReadAt;

/// The most program headers that e_phnum can count; 0xffff means that the number stands elsewhere.
pub(super) const MAX_RANGES: usize = 0xfffe;

/// An ELF file whose headers are in memory and whose data are somewhere else.
pub struct WrappedElf<'a> {
    headers: Vec<u8>,
    data: Data<'a>,
}

/// The bytes behind the headers.
pub(super) enum Data<'a> {
    File(&'a dyn ReadAt),
    Memory(Vec<u8>),
}

impl Data<'_> {
    fn get(&self) -> &dyn ReadAt {
        match self {
            Data::File(file) => *file,
            Data::Memory(bytes) => bytes,
        }
    }
}

impl<'a> WrappedElf<'a> {
    /// Ranges and data have to be in the same order and of the same length; addresses have to fit the class.
    pub(super) fn new(arch: Arch, entry: u64, ranges: &[Range], data: Data<'a>) -> Self {
        WrappedElf { headers: Headers::write(arch, entry, ranges), data }
    }
}

impl ReadAt for WrappedElf<'_> {
    fn size(&self) -> u64 {
        self.headers.size() + self.data.get().size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match offset.checked_sub(self.headers.size()) {
            Some(offset) => self.data.get().read_at(offset, buffer),
            None => self.headers.read_at(offset, buffer),
        }
    }
}

/// Writes ELF and program headers (System V gABI, "ELF Header" and "Program Header").
struct Headers {
    bytes: Vec<u8>,
    is_64_bit: bool,
}

impl Headers {
    fn write(arch: Arch, entry: u64, ranges: &[Range]) -> Vec<u8> {
        let (machine, is_64_bit) = machine(arch);
        let (header, segment): (u16, u16) = if is_64_bit { (64, 56) } else { (52, 32) };
        let mut to = Headers { bytes: Vec::new(), is_64_bit };
        let class = if is_64_bit { 2 } else { 1 };
        to.bytes.extend_from_slice(&[0x7f, b'E', b'L', b'F', class, 1, 1, 0]);
        to.bytes.extend_from_slice(&[0; 8]);
        to.half(ET_EXEC);
        to.half(machine);
        to.word(1);
        to.address(entry);
        to.address(header.into());
        to.address(0);
        to.word(if arch == Arch::Arm { EF_ARM_EABI_VER5 } else { 0 });
        for value in [header, segment, ranges.len() as u16, 0, 0, 0] {
            to.half(value);
        }
        let mut offset = u64::from(header) + ranges.len() as u64 * u64::from(segment);
        for range in ranges {
            to.program_header(offset, range);
            offset += range.len;
        }
        to.bytes
    }

    fn program_header(&mut self, offset: u64, range: &Range) {
        let &Range { address, len } = range;
        // Nobody knows which parts are code.
        let flags = PF_R | PF_W | PF_X;
        self.word(PT_LOAD);
        if self.is_64_bit {
            self.word(flags);
        }
        for value in [offset, address, address, len, len] {
            self.address(value);
        }
        if !self.is_64_bit {
            self.word(flags);
        }
        // No alignment: the data lie in the file as they come.
        self.address(1);
    }

    fn half(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn word(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn address(&mut self, value: u64) {
        let bytes = value.to_le_bytes();
        self.bytes.extend_from_slice(if self.is_64_bit { &bytes } else { &bytes[..4] });
    }
}

/// Loaders for Arm look at the ABI's version (ELF for the Arm Architecture, "ELF Header").
const EF_ARM_EABI_VER5: u32 = 0x0500_0000;

/// `e_machine` and the class; the inverse of [`Arch::from_elf`].
fn machine(arch: Arch) -> (u16, bool) {
    use goblin::elf::header::{EM_386, EM_AARCH64, EM_ARM, EM_RISCV, EM_X86_64};
    match arch {
        Arch::Aarch64 => (EM_AARCH64, true),
        Arch::Arm => (EM_ARM, false),
        Arch::Riscv64 => (EM_RISCV, true),
        Arch::Riscv32 => (EM_RISCV, false),
        Arch::X86 => (EM_386, false),
        Arch::X86_64 => (EM_X86_64, true),
    }
}

/// The first address beyond those that the class has.
pub(super) fn address_end(arch: Arch) -> u128 {
    if machine(arch).1 { 1 << 64 } else { 1 << 32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_those_that_the_reader_knows() {
        for arch in Arch::ALL {
            let (machine, is_64_bit) = machine(arch);
            assert_eq!(Arch::from_elf(machine, is_64_bit), Some(arch));
        }
    }
}
