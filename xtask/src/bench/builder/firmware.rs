//! Firmware to be packed: the same bytes on every machine, and about as compressible as real ones.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Where it is loaded: RAM of the board qemu_arm64.
const ADDRESS: u64 = 0x4000_0000;
const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;

/// A firmware file.
#[derive(Debug)]
pub struct Firmware {
    pub name: &'static str,
    pub path: PathBuf,
    pub size: u64,
}

impl Firmware {
    /// One that is there.
    pub fn at(name: &'static str, path: &Path) -> Result<Self> {
        let size = path.metadata().with_context(|| format!("cannot look at {}", path.display()))?.len();
        Ok(Self { name, path: path.to_owned(), size })
    }

    /// One of about so many bytes, which are all loaded. Made once.
    pub fn make(folder: &Path, name: &'static str, size: u64) -> Result<Self> {
        let path = folder.join(format!("made-{size}.elf"));
        write_once(&path, |out| {
            let payload = size - HEADER - PROGRAM_HEADER;
            write_header(out, payload, 0)?;
            Noise::new(1).write(out, payload)
        })?;
        Self::at(name, &path)
    }

    /// One as the linker writes it: 2 MB of program, a hundred thousand symbols, and debug information.
    pub fn unstripped(folder: &Path, name: &'static str) -> Result<Self> {
        const SYMBOLS: u64 = 100_000;
        const NAME: u64 = 20;
        let sections = [
            Section { name: ".text", kind: 1, flags: 6, size: 2_000_000, link: 0 },
            Section { name: ".debug_info", kind: 1, flags: 0, size: 2_400_000, link: 0 },
            Section { name: ".debug_line", kind: 1, flags: 0, size: 1_000_000, link: 0 },
            Section { name: ".debug_str", kind: 1, flags: 0, size: 200_000, link: 0 },
            Section { name: ".symtab", kind: 2, flags: 0, size: SYMBOLS * 24, link: 6 },
            Section { name: ".strtab", kind: 3, flags: 0, size: SYMBOLS * NAME, link: 0 },
            Section { name: ".shstrtab", kind: 3, flags: 0, size: 80, link: 0 },
        ];
        let path = folder.join("made-unstripped.elf");
        write_once(&path, |out| {
            let contents: u64 = sections.iter().map(|section| section.size).sum();
            let headers_at = HEADER + PROGRAM_HEADER + contents;
            write_header(out, sections[0].size, headers_at)?;
            let mut noise = Noise::new(2);
            for section in &sections[..4] {
                noise.write(out, section.size)?;
            }
            for number in 0..SYMBOLS {
                write_symbol(out, number * NAME, ADDRESS + number * 16)?;
            }
            for number in 0..SYMBOLS {
                write!(out, "driver_init_{number:07}\0")?;
            }
            write_sections(out, &sections)
        })?;
        Self::at(name, &path)
    }
}

/// A section to be written; its name's offset follows from the order.
struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    size: u64,
    link: u32,
}

/// Writes a file that appears when it is whole.
fn write_once(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let part = path.with_extension("part");
    let written = File::create(&part).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write(&mut out)?;
        out.flush()?;
        std::fs::rename(&part, path)
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn words(out: &mut dyn Write, halves: &[u16]) -> std::io::Result<()> {
    halves.iter().try_for_each(|half| out.write_all(&half.to_le_bytes()))
}

fn longs(out: &mut dyn Write, longs: &[u64]) -> std::io::Result<()> {
    longs.iter().try_for_each(|long| out.write_all(&long.to_le_bytes()))
}

/// An ELF header for aarch64 and one program header for what follows it.
fn write_header(out: &mut dyn Write, loaded: u64, sections_at: u64) -> std::io::Result<()> {
    out.write_all(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0")?;
    words(out, &[2, 183, 1, 0])?;
    longs(out, &[ADDRESS, HEADER, sections_at])?;
    let count = if sections_at == 0 { 0 } else { 8 };
    words(out, &[0, 0, 64, 56, 1, 64, count, count.saturating_sub(1)])?;
    // PT_LOAD, readable, writable and executable.
    words(out, &[1, 0, 7, 0])?;
    longs(out, &[HEADER + PROGRAM_HEADER, ADDRESS, ADDRESS, loaded, loaded, 8])
}

fn write_symbol(out: &mut dyn Write, name: u64, value: u64) -> std::io::Result<()> {
    out.write_all(&(name as u32).to_le_bytes())?;
    // A global function in section 1.
    words(out, &[0x12, 1])?;
    longs(out, &[value, 16])
}

/// The names of the sections, and their headers.
fn write_sections(out: &mut dyn Write, sections: &[Section]) -> std::io::Result<()> {
    let mut names = vec![0];
    let mut headers = vec![0; 64];
    let mut offset = HEADER + PROGRAM_HEADER;
    for section in sections {
        headers.extend_from_slice(&(names.len() as u32).to_le_bytes());
        names.extend_from_slice(section.name.as_bytes());
        names.push(0);
        headers.extend_from_slice(&section.kind.to_le_bytes());
        let address = if section.flags == 0 { 0 } else { ADDRESS };
        longs(&mut headers, &[section.flags, address, offset, section.size])?;
        headers.extend_from_slice(&section.link.to_le_bytes());
        headers.extend_from_slice(&1u32.to_le_bytes());
        longs(&mut headers, &[8, if section.kind == 2 { 24 } else { 0 }])?;
        offset += section.size;
    }
    names.resize(80, 0);
    out.write_all(&names)?;
    out.write_all(&headers)
}

/// Bytes like those of firmware: code, tables, texts, empty space, and what is compressed already. gzip and zstd find about
/// as much in it as in U-Boot: zstd at level 3 is better by less than a hundredth.
struct Noise(u64);

impl Noise {
    const BLOCK: usize = 4096;

    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// xorshift64 (Marsaglia, 2003).
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn write(&mut self, out: &mut dyn Write, size: u64) -> std::io::Result<()> {
        let mut left = size;
        let mut block = Vec::with_capacity(2 * Self::BLOCK);
        while left > 0 {
            block.clear();
            let kind = self.next() % 16;
            while block.len() < Self::BLOCK {
                self.piece(kind, &mut block);
            }
            let n = left.min(Self::BLOCK as u64) as usize;
            out.write_all(&block[..n])?;
            left -= n as u64;
        }
        Ok(())
    }

    /// A few bytes more of a block: of 16 blocks, 9 are code, 2 texts, 2 tables, 2 are empty, 1 is compressed already.
    fn piece(&mut self, kind: u64, block: &mut Vec<u8>) {
        let random = self.next();
        match kind {
            0..9 => self.idiom(random, block),
            9..11 => {
                block.extend_from_slice(WORDS[(random % WORDS.len() as u64) as usize].as_bytes());
                if (random >> 8).is_multiple_of(3) {
                    block.extend_from_slice(format!("{:x}", random >> 16 & 0xff).as_bytes());
                }
            }
            11..13 => {
                let address = ADDRESS as u32 + 4 * (random as u32 & 0x3f) + 64 * block.len() as u32;
                block.extend_from_slice(&address.to_le_bytes());
                block.extend_from_slice(&((random >> 32) as u32 & 7).to_le_bytes());
            }
            13..15 => block.extend_from_slice(&[0; 64]),
            _ => block.extend_from_slice(&random.to_le_bytes()),
        }
    }

    /// One or two instructions of 2^12 pairs, the lower ones much more often; every second instruction has operands of
    /// its own.
    fn idiom(&mut self, random: u64, block: &mut Vec<u8>) {
        const SCATTER: u32 = 0x9e37_79b1;
        let bits = |at: u32| random >> at & 0xfff;
        let pair = ((bits(0) * bits(12) * bits(24)) >> 24) as u32;
        for instruction in 0..=(pair.wrapping_mul(SCATTER) & 1) {
            let opcode = (2 * pair + instruction).wrapping_mul(SCATTER);
            let operands = self.next();
            let word = if operands & 1 == 0 { opcode } else { opcode ^ (operands >> 20) as u32 & 0x3ff };
            block.extend_from_slice(&word.to_le_bytes());
        }
    }
}

/// What messages of firmware are made of.
const WORDS: [&str; 20] = [
    "error", "device ", "driver", "cannot ", "init", "%s: ", "failed\0", "timeout ", "memory", "_irq",
    "uart", "%d\n\0", "spi", "clock", "gpio", "read ", "write ", "invalid ", "/soc/", "reset",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_size_that_was_asked_for_and_is_the_same_again() {
        let folder = tempfile::tempdir().unwrap();
        let one = Firmware::make(folder.path(), "one", 10_000).unwrap();
        assert_eq!(one.size, 10_000);
        let bytes = std::fs::read(&one.path).unwrap();
        std::fs::remove_file(&one.path).unwrap();
        let again = Firmware::make(folder.path(), "one", 10_000).unwrap();
        assert_eq!(std::fs::read(again.path).unwrap(), bytes);
    }
}
