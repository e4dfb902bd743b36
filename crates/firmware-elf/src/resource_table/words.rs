//! Reads fields one after the other, until there are none.

/// The rest of an entry.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    bytes: &'a [u8],
    taken: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Words { bytes, taken: 0 }
    }

    /// Bytes that were read or skipped.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        self.taken += N;
        Some(*field)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// An address, where all ones leave the choice to the host (FW_RSC_ADDR_ANY).
    pub(super) fn address(&mut self) -> Option<Option<u32>> {
        self.u32().map(|address| Some(address).filter(|&address| address != u32::MAX))
    }

    /// A name of up to 32 bytes, closed by a NUL where it is shorter.
    pub(super) fn name(&mut self) -> Option<String> {
        let field = self.take::<32>()?;
        let name = field.split(|&byte| byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(name).into_owned())
    }

    pub(super) fn skip(&mut self, len: u32) -> Option<()> {
        let len = usize::try_from(len).ok()?;
        self.bytes = self.bytes.get(len..)?;
        self.taken += len;
        Some(())
    }
}
