//! Where a layer waits until its digest is known, and a file that was taken out of one: in memory while it is small,
//! then in a temporary file.

use std::io::{self, Read};

use tempfile::{SpooledData, SpooledTempFile};

use crate::source::{self, ReadAt};
use crate::store::{Data, StoreError};

/// Bytes that were written once and are read from now on.
pub struct Spool {
    data: SpooledData,
    size: u64,
}

impl Spool {
    pub(crate) fn new(written: SpooledTempFile, size: u64) -> Self {
        Spool { data: written.into_inner(), size }
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

impl Data for Spool {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        Ok(Box::new(source::reader(self, offset.min(self.size)..self.size)))
    }
}
