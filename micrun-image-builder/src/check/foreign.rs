//! Forms of firmware that are neither ELF files nor raw bytes, as far as their first bytes tell.

use crate::boot::raw::hex;

/// What a file is instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// Text with addresses, which the builder reads where the architecture is given.
    IntelHex,
    /// Motorola's text with addresses.
    SRecords,
    /// Microsoft's blocks with addresses, for boards that look like a USB stick.
    Uf2,
    /// A library of object files.
    Archive,
    /// Compressed with gzip.
    Gzip,
}

impl Foreign {
    /// Looks at the first bytes of a file, 16 or more of them. Raw code never begins like this.
    pub(crate) fn of(beginning: &[u8]) -> Option<Self> {
        match beginning {
            _ if hex::is_hex(beginning) => Some(Foreign::IntelHex),
            [b'S', b'0'..=b'3', rest @ ..] if begins_with_digits(rest) => Some(Foreign::SRecords),
            [b'U', b'F', b'2', b'\n', 0x57, 0x51, 0x5d, 0x9e, ..] => Some(Foreign::Uf2),
            [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => Some(Foreign::Archive),
            [0x1f, 0x8b, 8, ..] => Some(Foreign::Gzip),
            _ => None,
        }
    }

    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Foreign::IntelHex => "Intel HEX",
            Foreign::SRecords => "S-records",
            Foreign::Uf2 => "UF2",
            Foreign::Archive => "a library",
            Foreign::Gzip => "gzip data",
        }
    }
}

/// Length and address take six digits at least.
fn begins_with_digits(rest: &[u8]) -> bool {
    rest.len() >= 6 && rest[..6].iter().all(u8::is_ascii_hexdigit)
}
