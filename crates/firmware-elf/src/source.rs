//! Bytes of known number that can be read anywhere: a file, memory, or a picture of both that is made while it is read.
//!
//! A firmware may have hundreds of megabytes, most of them data that nobody here looks at. So nothing reads it whole:
//! headers and tables are read where they lie, up to fixed sizes, and the rest passes through in pieces.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::{ControlFlow, Range};
use std::path::Path;

use micrun_image_spec::digest::{HashingWriter, Sha256Digest};

/// Bytes that can be read anywhere. Their number does not change.
pub trait ReadAt: Send + Sync {
    /// Number of bytes.
    fn size(&self) -> u64;

    /// Reads from an offset on and says how many bytes it were: at least one, unless the buffer is empty or the offset
    /// is at the end or beyond.
    ///
    /// # Errors
    /// If the bytes cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let n = buffer.len().min(self.len() - start);
        buffer[..n].copy_from_slice(&self[start..start + n]);
        Ok(n)
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (&self[..]).read_at(offset, buffer)
    }
}

/// A regular file, as long as it was when it was opened.
#[derive(Debug)]
pub struct RegularFile {
    file: File,
    opened: Metadata,
}

impl RegularFile {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// If it cannot be read, or is no regular file: what comes from a pipe can be read only once.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Asked first, since opening a FIFO waits for its writer.
        if !path.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let file = File::open(path)?;
        let opened = file.metadata()?;
        Ok(RegularFile { file, opened })
    }

    /// Finds out whether somebody wrote to the file since it was opened. The clock of file systems is coarse, so this
    /// catches a build that is still running and no more.
    ///
    /// # Errors
    /// If the file was changed, or nobody can tell.
    pub fn check_unchanged(&self) -> io::Result<()> {
        let now = self.file.metadata()?;
        if now.len() == self.opened.len() && now.modified()? == self.opened.modified()? {
            return Ok(());
        }
        Err(io::Error::other("the file was changed while it was read; try again when its build is done"))
    }
}

impl ReadAt for RegularFile {
    fn size(&self) -> u64 {
        self.opened.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(rest);
        let n = positioned_read(&self.file, offset, &mut buffer[..wanted])?;
        if n == 0 && wanted > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
        }
        Ok(n)
    }
}

/// Reads from an offset of a file on and says how many bytes it were: one call to the system.
///
/// # Errors
/// If the file cannot be read.
#[cfg(unix)]
pub fn positioned_read(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

/// Reads from an offset of a file on and says how many bytes it were: one call to the system.
///
/// # Errors
/// If the file cannot be read.
#[cfg(windows)]
pub fn positioned_read(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

/// The bytes from an offset on, cut where the source ends. `len` must be bounded by the caller: it may come from a
/// file, and memory is taken for what is there.
///
/// # Errors
/// If they cannot be read.
pub fn bytes(source: &dyn ReadAt, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let range = clamp(source, offset, len);
    let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
    reader(source, range).read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The digest of all of it.
///
/// # Errors
/// If it cannot be read.
pub fn digest(source: &dyn ReadAt) -> io::Result<Sha256Digest> {
    let mut hasher = HashingWriter::new(io::sink());
    io::copy(&mut BufReader::with_capacity(128 << 10, reader(source, 0..source.size())), &mut hasher)?;
    Ok(hasher.finish().1)
}

/// The same bytes as ranges in order that neither overlap nor touch.
pub fn join(ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = ranges.filter(|range| !range.is_empty()).collect();
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// A range, cut where the source ends.
pub fn clamp(source: &dyn ReadAt, offset: u64, len: u64) -> Range<u64> {
    let start = offset.min(source.size());
    start..start + len.min(source.size() - start)
}

/// Reads a range from its start to its end.
pub fn reader(source: &dyn ReadAt, range: Range<u64>) -> Reader<'_> {
    Reader { source, at: range.start, range }
}

/// Reads a range of a source. Positions count from the range's start.
pub struct Reader<'a> {
    source: &'a dyn ReadAt,
    range: Range<u64>,
    /// The offset in the source; behind the range's end after a seek to there.
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.range.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(rest);
        let n = self.source.read_at(self.at, &mut buffer[..wanted])?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(position) => self.range.start.checked_add(position),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.range.end.checked_add_signed(by),
        };
        match at.filter(|at| *at >= self.range.start) {
            Some(at) => {
                self.at = at;
                Ok(at - self.range.start)
            }
            None => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a position before the start, or beyond 2^64",
            )),
        }
    }
}

/// Shows a range in pieces that overlap by `overlap` bytes, so that whatever is not longer is whole in one of them.
/// `look` gets each piece and the number of its bytes in which something may begin; what begins later is in the next
/// piece too.
///
/// # Errors
/// If the range cannot be read.
pub fn scan(
    source: &dyn ReadAt,
    range: Range<u64>,
    overlap: usize,
    mut look: impl FnMut(&[u8], usize) -> ControlFlow<()>,
) -> io::Result<()> {
    const PIECE: usize = 128 << 10;
    let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    let mut buffer = vec![0; length.min(PIECE.max(2 * overlap))];
    let mut reader = reader(source, range);
    let mut filled = 0;
    loop {
        let n = read_full(&mut reader, &mut buffer[filled..])?;
        filled += n;
        let is_last = filled < buffer.len() || n == 0 || length <= buffer.len();
        let beginnings = if is_last { filled } else { filled - overlap };
        if look(&buffer[..filled], beginnings).is_break() || is_last {
            return Ok(());
        }
        buffer.copy_within(filled - overlap..filled, 0);
        filled = overlap;
    }
}

/// True if two stretches of the same length hold the same bytes; the part that is beyond the end is left out.
///
/// # Errors
/// If they cannot be read.
pub fn same(source: &dyn ReadAt, a: u64, b: u64, len: u64) -> io::Result<bool> {
    const PIECE: usize = 64 << 10;
    let (a, b) = (clamp(source, a, len), clamp(source, b, len));
    if a.end - a.start != b.end - b.start {
        return Ok(false);
    }
    let (mut a, mut b) = (reader(source, a), reader(source, b));
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let n = read_full(&mut a, &mut left)?;
        read_full(&mut b, &mut right[..n])?;
        if left[..n] != right[..n] {
            return Ok(false);
        }
        if n < PIECE {
            return Ok(true);
        }
    }
}

/// Fills the buffer as far as there is something to read.
///
/// # Errors
/// If the reader fails.
pub fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_is_there_and_no_more() {
        let source = &b"0123456789"[..];
        assert_eq!(bytes(&source.to_vec(), 8, 100).unwrap(), b"89");
        assert_eq!(bytes(&source.to_vec(), 100, 100).unwrap(), b"");
        assert_eq!(bytes(&source.to_vec(), u64::MAX, u64::MAX).unwrap(), b"");
        assert_eq!(bytes(&source.to_vec(), 2, 3).unwrap(), b"234");
    }

    #[test]
    fn a_file_that_changes_is_noticed() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, b"0123").unwrap();
        let file = RegularFile::open(&path).unwrap();
        file.check_unchanged().unwrap();
        std::fs::write(&path, b"01").unwrap();
        assert!(file.check_unchanged().is_err());
        assert!(bytes(&file, 0, 4).is_err(), "shorter than it was");
    }

    proptest! {
        #[test]
        fn scanning_sees_every_place_once(len in 0usize..400_000, overlap in 1usize..200, at in 0.0..1.0f64) {
            let mut data = vec![0u8; len];
            let at = (at * len as f64) as usize;
            if let Some(byte) = data.get_mut(at) {
                *byte = 1;
            }
            let (mut seen, mut total) = (0, 0);
            scan(&data, 0..len as u64, overlap, |piece, beginnings| {
                seen += piece[..beginnings].iter().filter(|&&b| b == 1).count();
                total += beginnings;
                ControlFlow::Continue(())
            }).unwrap();
            prop_assert_eq!(seen, usize::from(at < len));
            prop_assert_eq!(total, len);
        }
    }
}
