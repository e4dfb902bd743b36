//! A program as it lies in memory after loading: one piece, in the order of physical addresses.
//!
//! It is never made: only the list of its pieces is, and the bytes come out of the firmware's file while they are read.

use std::io;

use crate::elf::Segment;
use crate::source::ReadAt;

/// Gaps up to this size are filled whatever the program's size: the alignment that linkers give to sections for the
/// sake of page tables is 2 MiB, and a few such gaps are common.
const FREE_GAPS: u64 = 16 << 20;

/// The bytes of all loaded segments by physical address, with zeros between them.
pub struct FlatImage<'a> {
    file: &'a dyn ReadAt,
    /// In order, without overlaps.
    pieces: Vec<Piece>,
    address: u64,
    size: u64,
}

/// Bytes of the file that lie in the image.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Where in the image.
    at: u64,
    /// Where in the file.
    offset: u64,
    len: u64,
}

/// Why a program has no flat image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlattenError {
    /// No segment has contents.
    #[error("no segment of type LOAD has contents")]
    Nothing,
    /// Mostly zeros would be packed.
    #[error(
        "the firmware would take {size} bytes from its lowest to its highest load address, and only {contents} of them are contents; \
         the widest gap lies before {address:#x}"
    )]
    Spread {
        /// From the lowest to the highest load address, in bytes.
        size: u64,
        /// Contents, in bytes.
        contents: u64,
        /// Where the segment behind the widest gap is loaded.
        address: u64,
        /// Its index.
        segment: usize,
    },
}

impl<'a> FlatImage<'a> {
    /// Lays out those segments that are loaded and have contents. Where two overlap, the bytes are those of the one that
    /// begins first; bytes that the file does not have are zeros.
    ///
    /// # Errors
    /// If there are no contents, or if the gaps between them take more than the contents themselves and
    /// 16 MiB: nobody wants to store and copy that, and a made-up file could ask for any size.
    pub fn new<'s>(
        file: &'a dyn ReadAt,
        segments: impl IntoIterator<Item = &'s Segment>,
    ) -> Result<FlatImage<'a>, FlattenError> {
        let mut loads: Vec<_> = segments.into_iter().filter(|s| s.is_load() && s.filesz > 0).collect();
        loads.sort_by_key(|s| s.paddr);
        let address = loads.first().ok_or(FlattenError::Nothing)?.paddr;
        let mut pieces = Vec::with_capacity(loads.len());
        let (mut end, mut contents, mut widest) = (address, 0u64, (0, address, 0));
        for segment in loads {
            let segment_end = segment.paddr.saturating_add(segment.filesz);
            let start = segment.paddr.max(end);
            if start >= segment_end {
                continue;
            }
            widest = widest.max((start - end, start, segment.index));
            let (offset, len) = (segment.offset.saturating_add(start - segment.paddr), segment_end - start);
            pieces.push(Piece { at: start - address, offset, len });
            contents = contents.saturating_add(len);
            end = segment_end;
        }
        let size = end - address;
        // Headers can name the same bytes of the file again and again.
        let contents = contents.min(file.size());
        if size > contents.saturating_mul(2).saturating_add(FREE_GAPS) {
            let (_, address, segment) = widest;
            return Err(FlattenError::Spread { size, contents, address, segment });
        }
        Ok(FlatImage { file, pieces, address, size })
    }

    /// The physical address of its first byte.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// The first physical address behind it.
    pub fn end(&self) -> u64 {
        self.address + self.size
    }
}

impl ReadAt for FlatImage<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    /// Reads from one piece or one gap at a time.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let next = self.pieces.partition_point(|piece| piece.at + piece.len <= offset);
        let Some(piece) = self.pieces.get(next) else { return Ok(0) };
        if offset < piece.at {
            return Ok(zeros(buffer, piece.at - offset));
        }
        let skip = offset - piece.at;
        let wanted = at_most(buffer, piece.len - skip);
        match self.file.read_at(piece.offset.saturating_add(skip), wanted)? {
            // The file ends inside the segment.
            0 => Ok(zeros(buffer, piece.len - skip)),
            n => Ok(n),
        }
    }
}

/// As much of the buffer as `len` bytes take.
pub(super) fn at_most(buffer: &mut [u8], len: u64) -> &mut [u8] {
    let len = buffer.len().min(usize::try_from(len).unwrap_or(usize::MAX));
    &mut buffer[..len]
}

/// Reads up to `len` zeros.
pub(super) fn zeros(buffer: &mut [u8], len: u64) -> usize {
    let zeros = at_most(buffer, len);
    zeros.fill(0);
    zeros.len()
}
