//! Where a layer waits until its digest is known, and a file that was taken out of one: in memory while it is small,
//! then in a temporary file.

use std::io;

use tempfile::{SpooledData, SpooledTempFile};

use crate::source::{self, ReadAt};

/// Bytes that were written once and are read from now on.
pub struct Spool {
    data: SpooledData,
    size: u64,
}

impl Spool {
    pub(crate) fn new(written: SpooledTempFile, size: u64) -> Self {
        Spool { data: written.into_inner(), size }
    }

    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self.data, SpooledData::InMemory(_))
    }
}

impl ReadAt for Spool {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.data {
            SpooledData::InMemory(bytes) => bytes.get_ref().read_at(offset, buffer),
            SpooledData::OnDisk(file) => source::positioned_read(file, offset, buffer),
        }
    }
}
