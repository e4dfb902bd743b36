//! The four pedestals, and where a client's guest runs on each.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What a client runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pedestal {
    /// A core that Linux does not use.
    BareMetal,
    /// A Jailhouse cell.
    Jailhouse,
    /// A Xen domain.
    Xen,
    /// A co-processor.
    Hetero,
}

impl Pedestal {
    /// The pedestal of a word: bare metal for every word that is no other.
    pub fn of(word: &OsStr) -> Pedestal {
        match word.to_str() {
            Some("jailhouse") => Pedestal::Jailhouse,
            Some("xen") => Pedestal::Xen,
            Some("hetero") => Pedestal::Hetero,
            _ => Pedestal::BareMetal,
        }
    }
}

/// Where a guest runs. It outlives the daemon, which forgets its clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A core, by its number.
    Core(u32),
    /// A cell, by its name.
    Cell(String),
    /// A domain, by its name.
    Domain(String),
    /// The one co-processor.
    Coprocessor,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Core(number) => write!(f, "core {number}"),
            Place::Cell(name) => write!(f, "cell {name}"),
            Place::Domain(name) => write!(f, "domain {name}"),
            Place::Coprocessor => f.write_str("co-processor"),
        }
    }
}

/// The core in a bare-metal client's CPU text, as strtoul reads it: a number at its beginning, decimal, `0x` or
/// octal, and 0 where there is none.
pub fn core_of(cpu: &OsStr) -> u64 {
    let text = cpu.to_string_lossy();
    let text = text.trim_start().trim_start_matches('+');
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(rest) => (rest, 16),
        None if text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    let length = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    match &digits[..length] {
        "" => 0,
        number => u64::from_str_radix(number, radix).unwrap_or(u64::MAX),
    }
}

/// The name of the cell in a Jailhouse cell file.
///
/// # Errors
/// If the file cannot be read, is too short, or has not the one revision that the daemon knows.
pub fn cell_of(file: &Path) -> io::Result<String> {
    // struct jailhouse_cell_desc: signature[5], u8 architecture, u16 revision, name[32], u32 id.
    const REVISION: [u8; 2] = 13_u16.to_le_bytes();
    let mut head = [0; 44];
    File::open(file)?.read_exact(&mut head)?;
    if head[6..8] != REVISION {
        return Err(io::Error::other("jailhouse configuration revision mismatch"));
    }
    let name = head[8..40].split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_is_bare_metal() {
        for (word, pedestal) in [
            ("xen", Pedestal::Xen),
            ("jailhouse", Pedestal::Jailhouse),
            ("hetero", Pedestal::Hetero),
            ("baremetal", Pedestal::BareMetal),
            ("Xen", Pedestal::BareMetal),
            ("", Pedestal::BareMetal),
        ] {
            assert_eq!(Pedestal::of(OsStr::new(word)), pedestal, "{word}");
        }
    }

    #[test]
    fn cores_are_read_as_strtoul_reads_them() {
        let cores = ["", "3", " 3,4", "0x2", "010", "all", "99999999999999999999"];
        assert_eq!(cores.map(|cpu| core_of(OsStr::new(cpu))), [0, 3, 3, 2, 8, 0, u64::MAX]);
    }
}
