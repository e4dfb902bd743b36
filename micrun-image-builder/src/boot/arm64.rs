//! The header of a raw arm64 Image (Linux, Documentation/arch/arm64/booting.rst): 64 bytes, little-endian.
//!
//! | offset | field | |
//! | --- | --- | --- |
//! | 0x00 | code0, code1 | run first: a branch over the header |
//! | 0x08 | text_offset | distance from the memory's start, which is aligned to 2 MiB, to the Image |
//! | 0x10 | image_size | memory that the program takes, .bss included; 0 in old files |
//! | 0x18 | flags | bit 0: big-endian; bits 1 and 2: page size; bit 3: may be anywhere |
//! | 0x20 | res2, res3, res4 | 0 |
//! | 0x38 | magic | `ARM\x64` |
//! | 0x3c | res5 | offset of a PE header, or 0 |

/// Bytes in the header.
pub const HEADER_SIZE: u64 = 64;

const MAGIC: &[u8; 4] = b"ARM\x64";
const MAGIC_AT: usize = 0x38;
const BIG_ENDIAN: u64 = 1;

/// What the header of an arm64 Image says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// Where the Image is to be loaded: bytes from the start of memory.
    pub text_offset: u64,
    /// Memory that the program takes, in bytes. Not to be trusted: Zephyr states an end address here.
    pub image_size: u64,
    /// Byte order, page size, placement.
    pub flags: u64,
}

impl ImageHeader {
    /// Reads the header at the beginning of a file. None if there is no such header.
    pub fn parse(bytes: &[u8]) -> Option<ImageHeader> {
        let header = bytes.get(..HEADER_SIZE as usize)?;
        if !header[MAGIC_AT..].starts_with(MAGIC) {
            return None;
        }
        Some(ImageHeader {
            text_offset: u64_at(header, 0x08)?,
            image_size: u64_at(header, 0x10)?,
            flags: u64_at(header, 0x18)?,
        })
    }

    /// True if the flags say that the program wants a big-endian core.
    pub fn is_big_endian(&self) -> bool {
        self.flags & BIG_ENDIAN != 0
    }

    /// Writes the header. Its first instruction branches to `entry`, counted in bytes from the header's own start. None
    /// if no branch leads there: it has to be a multiple of 4 below 128 MiB (Arm ARM, instruction B).
    pub fn encode(&self, entry: u64) -> Option<[u8; HEADER_SIZE as usize]> {
        const B: u32 = 0x1400_0000;
        const MAX_BRANCH: u64 = 128 << 20;
        if !entry.is_multiple_of(4) || entry >= MAX_BRANCH {
            return None;
        }
        let words = u32::try_from(entry / 4).ok()?;
        let mut header = [0; HEADER_SIZE as usize];
        header[..4].copy_from_slice(&(B | words).to_le_bytes());
        header[0x08..0x10].copy_from_slice(&self.text_offset.to_le_bytes());
        header[0x10..0x18].copy_from_slice(&self.image_size.to_le_bytes());
        header[0x18..0x20].copy_from_slice(&self.flags.to_le_bytes());
        header[MAGIC_AT..MAGIC_AT + 4].copy_from_slice(MAGIC);
        Some(header)
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
