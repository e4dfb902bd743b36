//! Why a file cannot be read as an ELF file.

use std::io;

use micrun_image_spec::firmware::Arch;

/// A file that has no facts to offer. The image builder turns it into a finding with a code and a remedy.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system failed.
    #[error("cannot read the firmware: {0}")]
    Io(#[from] io::Error),
    /// No byte in it.
    #[error("the file is empty")]
    Empty,
    /// It does not begin with the ELF magic.
    #[error("the file is not an ELF file: it does not begin with 7f 45 4c 46")]
    NotElf,
    /// It ends inside the ELF header.
    #[error("the file ends inside its ELF header, after {file_len} bytes")]
    HeaderCut {
        /// The file's length.
        file_len: u64,
    },
    /// The header contradicts the ELF specification.
    #[error("the ELF header makes no sense: {0}")]
    Header(String),
    /// No guest has such a core.
    #[error("this is an ELF file for {}", machine_sentence(*machine, *is_64_bit, *big_endian))]
    Machine {
        /// `e_machine`.
        machine: u16,
        /// The class.
        is_64_bit: bool,
        /// The byte order.
        big_endian: bool,
    },
    /// A machine in a class that it does not have.
    #[error("a {}-bit ELF file for {arch} is not supported", if *is_64_bit { 64 } else { 32 })]
    Class {
        /// The machine, by the name that it has in the other class.
        arch: Arch,
        /// The class.
        is_64_bit: bool,
    },
    /// A supported machine, but big-endian.
    #[error("this is a big-endian ELF file for {arch}; every supported board is little-endian")]
    ByteOrder {
        /// The machine.
        arch: Arch,
    },
    /// The program headers are not in the file.
    #[error(
        "the program headers should be {size} bytes at offset {offset:#x}, but the file has {file_len} bytes"
    )]
    ProgramHeadersOutside {
        /// Where they should begin.
        offset: u64,
        /// Their size in bytes.
        size: u64,
        /// The file's length.
        file_len: u64,
    },
}

/// Names the machines that people mix up with firmware; the EM_* numbers are those of the ELF gABI.
fn machine_sentence(machine: u16, is_64_bit: bool, big_endian: bool) -> String {
    let name = match machine {
        2 | 18 | 43 => "SPARC",
        4 => "Motorola 68000",
        8 | 10 => "MIPS",
        15 => "PA-RISC",
        20 | 21 => "PowerPC",
        22 => "S/390",
        42 => "SuperH",
        50 => "Itanium",
        83 => "AVR",
        94 => "Xtensa",
        113 => "Nios II",
        189 => "MicroBlaze",
        195 | 93 => "ARC",
        247 => "BPF",
        252 => "C-SKY",
        258 => "LoongArch",
        other => return format!("machine number {other}, which is not supported"),
    };
    let bits = if is_64_bit { 64 } else { 32 };
    let order = if big_endian { "big" } else { "little" };
    format!("{name} ({bits}-bit, {order}-endian), which is not supported")
}
