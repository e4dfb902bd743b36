//! What an image may have. Every number is well above what real images have, and keeps the memory and the time that a
//! made-up one can take within bounds.

use super::Problem;

/// Longest path inside an image, bytes: Linux' PATH_MAX (linux/limits.h).
pub const MAX_PATH: usize = 4096;
/// Components of a path.
pub const MAX_DEPTH: usize = 128;
/// Largest extended header of an entry, bytes: the kernel's limit for a file's attributes is a tenth of it.
pub const MAX_EXTENSION: u64 = 1 << 20;
/// Files, directories and links in all layers together. A whole Linux distribution has a fifth of it.
pub const MAX_ENTRIES: usize = 500_000;
/// Bytes of names in all layers together.
pub const MAX_NAMES: usize = 32 << 20;
/// Largest single file, bytes.
pub const MAX_FILE: u64 = 4 << 30;
/// Bytes of all layers together, unpacked.
pub const MAX_UNPACKED: u64 = 16 << 30;

/// What is left for the layers that come.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) bytes: u64,
    entries: usize,
    names: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { bytes: MAX_UNPACKED, entries: MAX_ENTRIES, names: MAX_NAMES }
    }
}

impl Budget {
    /// Takes one entry with so many bytes of names.
    pub(super) fn take_entry(&mut self, names: usize) -> Result<(), Problem> {
        let (Some(entries), Some(names)) = (self.entries.checked_sub(1), self.names.checked_sub(names))
        else {
            return Err(Problem::TooMuch(format!(
                "it has more than {MAX_ENTRIES} files, or more than {} MiB of names",
                MAX_NAMES >> 20
            )));
        };
        (self.entries, self.names) = (entries, names);
        Ok(())
    }
}
