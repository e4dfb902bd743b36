//! Intel HEX: lines such as `:10010000214601360121470136007EFE09D2190140`, each with a length, a 16-bit address, a type,
//! data and a checksum (Intel, Hexadecimal Object File Format Specification, revision A).

use std::io::{self, BufRead, Read};

use super::Contents;

/// Data of all records, in bytes: more than any flash that is written from such files. Other than an ELF file, it is held
/// in memory.
pub const MAX_DATA: usize = 64 << 20;

/// Records whose data do not follow each other's.
const MAX_EXTENTS: usize = 1 << 20;

/// Length, address, type, checksum.
const FRAME: usize = 5;
const MAX_RECORD: usize = FRAME + 255;

/// Why a file is no Intel HEX file.
#[derive(Debug, thiserror::Error)]
pub enum HexError {
    /// A line that is no record, or none that can follow.
    #[error("line {line}: {reason}")]
    Record {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: Reason,
    },
    /// Two records for one address.
    #[error("line {line}: address {address:#x} is written a second time")]
    Overlap {
        /// Counted from 1.
        line: u64,
        /// The address.
        address: u64,
    },
    /// More than this reader holds in memory.
    #[error("it has more than {} MiB of data, or more than {MAX_EXTENTS} separate pieces", MAX_DATA >> 20)]
    TooLarge,
    /// No record has data.
    #[error("it has no data")]
    Empty,
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Something else than a record.
    #[error("a record begins with a colon")]
    NoColon,
    /// Something else than digits.
    #[error("a record has an even number of hexadecimal digits, and nothing else")]
    NoDigits,
    /// Not as long as it says.
    #[error("the record is not as long as its first two digits say")]
    Length,
    /// Damaged.
    #[error("the checksum is wrong: expected {expected:02X}, found {found:02X}")]
    Checksum {
        /// What the digits before it make.
        expected: u8,
        /// What is there.
        found: u8,
    },
    /// None of types 0 to 5, or not of that type's length.
    #[error("there is no record of type {0:02X} with this length")]
    Type(u8),
    /// Addresses have 32 bits, and in 16-bit segments 16.
    #[error("the record's data go beyond the address space")]
    BeyondAddresses,
    /// The file goes on.
    #[error("the end record :00000001FF is followed by more")]
    AfterEnd,
    /// The file stops.
    #[error("the file ends without its end record :00000001FF")]
    NoEnd,
}

/// What an Intel HEX file holds.
#[derive(Debug, PartialEq, Eq)]
pub struct HexFile {
    /// The data, in order of address, each piece as long as it can be.
    pub contents: Contents,
    /// Where the program begins, if the file says it.
    pub entry: Option<u64>,
}

/// True if a file begins like Intel HEX.
pub fn is_hex(beginning: &[u8]) -> bool {
    matches!(beginning, [b':', digits @ ..] if digits.len() >= 10 && digits[..10].iter().all(u8::is_ascii_hexdigit))
}

/// Reads a file.
///
/// # Errors
/// At the first line that is no record, if data overlap or are too many, or if the file cannot be read.
pub fn parse(mut file: impl BufRead) -> Result<HexFile, HexError> {
    let mut reader = Reader::default();
    let mut text = Vec::with_capacity(2 * MAX_RECORD);
    loop {
        text.clear();
        // A line longer than any record ends in the middle, and is refused for its length.
        let n = Read::by_ref(&mut file).take(2 * MAX_RECORD as u64 + 4).read_until(b'\n', &mut text)?;
        if n == 0 {
            return reader.finish();
        }
        reader.line += 1;
        let line = text.trim_ascii();
        if !line.is_empty() {
            reader.record(line)?;
        }
    }
}

#[derive(Default)]
struct Reader {
    line: u64,
    base: Base,
    data: Vec<u8>,
    extents: Vec<Extent>,
    entry: Option<u64>,
    ended: bool,
}

/// What is added to a record's 16-bit address.
#[derive(Clone, Copy)]
enum Base {
    /// The upper half of a 32-bit address.
    Linear(u64),
    /// Sixteen times an 8086 segment; data do not leave it.
    Segment(u64),
}

impl Default for Base {
    fn default() -> Self {
        Base::Linear(0)
    }
}

/// Data without a gap.
#[derive(Debug, Clone, Copy)]
struct Extent {
    address: u64,
    /// Where in the data read so far.
    at: usize,
    len: usize,
    line: u64,
}

impl Reader {
    fn record(&mut self, line: &[u8]) -> Result<(), HexError> {
        if self.ended {
            return Err(self.error(Reason::AfterEnd));
        }
        let mut buffer = [0; MAX_RECORD];
        let record = decode(line, &mut buffer).map_err(|reason| self.error(reason))?;
        let (address, kind) = (u64::from(record.address), record.kind);
        match (kind, record.data) {
            (0, data) => return self.data(address, data),
            (1, []) => self.ended = true,
            (2, &[a, b]) => self.base = Base::Segment(u64::from(u16::from_be_bytes([a, b])) << 4),
            (3, &[a, b, c, d]) => {
                let (segment, offset) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                self.entry = Some((u64::from(segment) << 4) + u64::from(offset));
            }
            (4, &[a, b]) => self.base = Base::Linear(u64::from(u16::from_be_bytes([a, b])) << 16),
            (5, &[a, b, c, d]) => self.entry = Some(u64::from(u32::from_be_bytes([a, b, c, d]))),
            _ => return Err(self.error(Reason::Type(kind))),
        }
        Ok(())
    }

    fn data(&mut self, offset: u64, data: &[u8]) -> Result<(), HexError> {
        let end = offset + data.len() as u64;
        let (address, fits) = match self.base {
            Base::Linear(base) => (base + offset, base + end <= 1 << 32),
            Base::Segment(base) => (base + offset, end <= 1 << 16),
        };
        if !fits {
            return Err(self.error(Reason::BeyondAddresses));
        }
        if data.is_empty() {
            return Ok(());
        }
        let at = self.data.len();
        if data.len() > MAX_DATA - at {
            return Err(HexError::TooLarge);
        }
        self.data.extend_from_slice(data);
        let is_full = self.extents.len() == MAX_EXTENTS;
        match self.extents.last_mut() {
            Some(last) if last.address + last.len as u64 == address => last.len += data.len(),
            _ if is_full => return Err(HexError::TooLarge),
            _ => self.extents.push(Extent { address, at, len: data.len(), line: self.line }),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<HexFile, HexError> {
        if !self.ended {
            self.line += 1;
            return Err(self.error(Reason::NoEnd));
        }
        if self.extents.is_empty() {
            return Err(HexError::Empty);
        }
        let was_sorted = self.extents.is_sorted_by_key(|extent| extent.address);
        self.extents.sort_by_key(|extent| extent.address);
        let mut contents = Contents::default();
        for extent in &self.extents {
            let free_from = contents.end().unwrap_or(0);
            if extent.address < free_from {
                return Err(HexError::Overlap { line: extent.line, address: extent.address });
            }
            contents.push_range(extent.address, extent.len as u64);
        }
        contents.data = if was_sorted {
            self.data
        } else {
            let pieces = self.extents.iter().map(|extent| &self.data[extent.at..extent.at + extent.len]);
            pieces.collect::<Vec<_>>().concat()
        };
        Ok(HexFile { contents, entry: self.entry })
    }

    fn error(&self, reason: Reason) -> HexError {
        HexError::Record { line: self.line, reason }
    }
}

struct Record<'a> {
    address: u16,
    kind: u8,
    data: &'a [u8],
}

fn decode<'b>(line: &[u8], buffer: &'b mut [u8; MAX_RECORD]) -> Result<Record<'b>, Reason> {
    let digits = line.strip_prefix(b":").ok_or(Reason::NoColon)?;
    if digits.len() / 2 > MAX_RECORD {
        return Err(Reason::Length);
    }
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Reason::NoDigits);
    }
    for (byte, &[high, low]) in buffer.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    let [length, a, b, kind, data @ .., found] = &buffer[..pairs.len()] else { return Err(Reason::Length) };
    if data.len() != usize::from(*length) {
        return Err(Reason::Length);
    }
    let sum = buffer[..pairs.len() - 1].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    let expected = sum.wrapping_neg();
    if *found != expected {
        return Err(Reason::Checksum { expected, found: *found });
    }
    Ok(Record { address: u16::from_be_bytes([*a, *b]), kind: *kind, data })
}

fn digit(character: u8) -> Result<u8, Reason> {
    let value = char::from(character).to_digit(16).ok_or(Reason::NoDigits)?;
    Ok(value as u8)
}
